/* formation.h - generations: who is in the next one, where its state comes from, when it is over.
 *
 * A generation holds at least one member with the state of the present step, or takes it from the
 * seed (step 0), from what the run began with, or from a snapshot; if only an older snapshot is
 * left, the journal is rolled back to it.
 */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_FORMATION_H
#define SERVER_FORMATION_H

#include "server/core.h"

/* May this worker be in the next generation? */
int formation_is_candidate(const struct worker *worker);
/* Does it wait to come in, and will nobody wait for its first step then? */
int formation_is_coming(const struct worker *worker);
/* Forms the next generation if that is possible by now; to be asked again at every tick. */
void formation_try(struct coordinator *c);
/* What was prepared (succession.h) becomes the present generation, and nothing that anybody has
 * begun is aborted. 0: none of its members holds the state, nothing has changed. */
int formation_take_over(struct coordinator *c);
/* For both ways of forming. find: who has this rank in that generation. */
void formation_start_helpers(struct coordinator *c, uint64_t generation, uint64_t nonce,
                             uint32_t count,
                             struct worker *(*find)(struct roster *roster, int rank));
/* Says Regroup (again) to one member. */
void formation_tell(struct coordinator *c, const struct worker *worker);
/* A member says that it is formed. */
void formation_formed(struct coordinator *c, struct worker *worker, const struct message *message);
/* The generation has begun and nothing of the present step is planned to it: by the last verdict,
 * or the forming, each of its members has all of a sharded momentum. */
int formation_is_whole(const struct coordinator *c);
/* The generation is over; the next may be formed after delay_ms. */
void formation_end(struct coordinator *c, const char *reason, int64_t delay_ms);
/* As formation_end when nobody died: waits longer each time. */
void formation_fail(struct coordinator *c, const char *reason);
/* Members begin to give up, because time is over and not because somebody died: then what ends is
 * no reason to end at once, formation_check_deadline finds out for whom they waited. */
int formation_is_late(const struct coordinator *c);
/* Who has neither formed nor said that it cannot, when the deadline passes, is lost. */
void formation_check_deadline(struct coordinator *c);

#endif
