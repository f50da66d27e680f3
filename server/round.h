/* round.h - the steps of a generation: plans ahead, votes, verdicts.
 *
 * A step's images are positions [step*B, (step+1)*B), dealt to members in whole slots. The verdict
 * is journaled before anybody hears of it; until then the step does not exist. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_ROUND_H
#define SERVER_ROUND_H

#include "server/core.h"

/* Makes ready for a generation of world_size members. */
void round_prepare(struct coordinator *c);
/* All are formed: plans the present step and those after it; again, for those who know them. */
void round_begin(struct coordinator *c);
/* Forgets votes and plans of the generation. */
void round_clear(struct coordinator *c);
/* Plans as far ahead as config and stream allow. */
void round_plan(struct coordinator *c);
/* Writes into the catalogue what shards that came or retired change beyond the planned steps. */
void round_revise(struct coordinator *c);
/* Says to a member, of the present generation or the next, what it may have missed while it was cut
 * off. */
void round_resume(struct coordinator *c, struct worker *worker);
/* A member's vote. */
void round_ready(struct coordinator *c, struct worker *worker, const struct message *message);
/* Decides the present step if all have voted and nothing holds it. */
void round_try_decide(struct coordinator *c);
/* Repeats the last verdict. */
void round_send_verdict(struct coordinator *c, const struct worker *worker);

#endif
