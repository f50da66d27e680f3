/* rendezvous.h - passes on by what the members of a generation find each other.
 *
 * Only with an engine that wants it (nccl). Rank 0 makes the id once it is told to form, since the
 * process that makes it must live until all have met; the others wait for it. It is kept as long as
 * the generation, for members whose connection was lost meanwhile. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_RENDEZVOUS_H
#define SERVER_RENDEZVOUS_H

#include "server/core.h"

/* A worker says Rendezvous. From anybody but rank 0 of a generation that is being formed or
 * prepared it is counted as stale. */
void rendezvous_note(struct coordinator *c, struct worker *worker, const struct message *message);
/* Says it to one member, if it is known yet. */
void rendezvous_tell(struct coordinator *c, const struct worker *worker, uint64_t generation,
                     uint64_t nonce, const struct core_rendezvous *rendezvous);

#endif
