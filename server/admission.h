/* admission.h - who comes and who goes: Hello, leaving, loss. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_ADMISSION_H
#define SERVER_ADMISSION_H

#include "server/core.h"

/* First word, or first word after a reconnection. */
void admission_hello(struct coordinator *c, uint64_t connection, const struct message *message);
/* Takes note of what a message's header says that its sender holds. 0: the message is older than
 * one that was heard already. */
int admission_note_state(struct worker *worker, const struct message *message);
/* Asks whoever sent this to say Hello: it is unknown here. */
void admission_ask_hello(struct coordinator *c, uint64_t connection, uint64_t worker);
/* Wants to go, by its own wish or the operator's. */
void admission_drain(struct coordinator *c, struct worker *worker);
/* Is gone without a word. */
void admission_lose(struct coordinator *c, struct worker *worker, const char *reason);
/* Is gone after a goodbye. */
void admission_forget(struct coordinator *c, struct worker *worker);
/* Is told to end its process, and that a person must act before another comes; counts as lost. */
void admission_send_away(struct coordinator *c, struct worker *worker, const char *reason);
/* The same, but a new process in its place is welcome: whoever supervises it starts one. */
void admission_replace(struct coordinator *c, struct worker *worker, const char *reason);
/* Is told that it may go: exit 0. Its Bye, or its end, shows that it heard. */
void admission_say_goodbye(struct coordinator *c, struct worker *worker, const char *reason);
/* The same, and it is forgotten here at once. */
void admission_dismiss(struct coordinator *c, struct worker *worker, const char *reason);
/* Its state or gradient differed: what it holds is worth nothing. */
void admission_note_deviation(struct worker *worker);
/* Did it differ so often in a row that it is sent away? */
int admission_is_deviant(const struct worker *worker);
/* Sends away who differed several times in a row; for when the generation has ended. */
void admission_expel_deviants(struct coordinator *c);

#endif
