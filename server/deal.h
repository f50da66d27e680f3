/* deal.h - how many slots of a step each member computes: by measured speed, changed rarely.
 *
 * A step lasts as long as its slowest member. A member's speed is its own time for a slot, without
 * waiting for others, smoothed over steps. Part of that time does not grow with the slots, so a
 * prediction from it is not exact; but the only deal that stays is the one in which all take
 * equally long. A change makes members plan their memory again and is not worth small gains: it
 * must promise DEAL_GAIN for DEAL_PATIENCE steps in a row, after a rest.
 *
 * A change is journaled before any step is planned by it, and holds for steps not planned yet: who
 * restarts or reconnects hears of a step what all others heard. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_DEAL_H
#define SERVER_DEAL_H

#include "server/core.h"

/* Deals `slots` to members in consecutive runs, so that the slowest is done as early as can be;
 * ret_starts[count + 1]. slot_us[count]: each member's time for a slot, positive; NULL = all equal.
 * Every member gets at least one slot if there are enough. */
void deal_slots(uint32_t slots, uint32_t count, const double *slot_us, uint32_t *ret_starts);

/* An even deal for a generation of `count` members that begins at the present step. */
void deal_evenly(struct coordinator *c, uint32_t count);
/* The best one for a generation of `count` members by the speeds that are known: [count + 1], the
 * caller frees. find: who has this rank in it. */
uint32_t *deal_choose(struct coordinator *c, uint32_t count,
                      struct worker *(*find)(struct roster *roster, int rank));
/* The present generation, which begins at the present step, computes by this one [count + 1];
 * journals it if it is not even. */
void deal_begin(struct coordinator *c, uint32_t count, const uint32_t *starts);
/* A deal as the journal has it. ERR_CORRUPT: it does not fit the generation. */
enum status deal_restore(struct coordinator *c, const struct journal_deal *deal);
/* The present step is decided: learns from its votes, and changes the deal if that is worth it. A
 * generation whose successor is prepared keeps its deal. */
void deal_learn(struct coordinator *c);
void deal_try(struct coordinator *c);
/* [world_size + 1] of a step of the present generation: member r computes slots [r]..[r+1]. */
const uint32_t *deal_of(const struct coordinator *c, uint64_t step);

#endif
