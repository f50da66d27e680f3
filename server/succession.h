/* succession.h - planned changes of the members, prepared while the present generation trains.
 *
 * When somebody waits to come in or wants to go, the next generation is opened beside the present
 * one: its members are chosen, its helpers start, and everybody who will be in it forms its
 * collective in the background (Prepare, Prepared). When all have, the step before which it takes
 * over is the first that nobody was told of yet; from then on what is planned is planned to it, so
 * that its members decode ahead. Then no step is aborted, and the wait at the change is for one
 * broadcast of the state.
 *
 * Any end of the present generation ends the preparation too: after a death there is no time, and
 * nobody works whom waiting could disturb (formation.h). So it is while the run is paused or
 * without images. Nothing of it is journaled before it takes over: a restarted server has forgotten
 * it, and its members forget it with the new epoch. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_SUCCESSION_H
#define SERVER_SUCCESSION_H

#include "server/core.h"

/* While training: opens the next generation if members should change, moves on one that is open,
 * sends away who holds it up. To be asked at every event. */
void succession_advance(struct coordinator *c);
/* The present step is the one before which the next generation takes over. */
int succession_is_due(const struct coordinator *c);
/* It becomes the present one. If it was lost meanwhile the present one ends without an aborted
 * step, and another is formed in the ordinary way. */
void succession_happen(struct coordinator *c);
/* There will be none, for this reason; none being prepared is fine. */
void succession_drop(struct coordinator *c, const char *reason);

/* Is this step planned to the next generation? */
int succession_has_step(const struct coordinator *c, uint64_t step);
/* A member says that its collective stands. */
void succession_prepared(struct coordinator *c, struct worker *worker,
                         const struct message *message);
/* A member says that it cannot be formed, or does not stand any more. */
void succession_broken(struct coordinator *c, struct worker *worker, const char *reason);
void succession_helpers_failed(struct coordinator *c, const char *reason);
/* This worker is about to be forgotten. */
void succession_lose(struct coordinator *c, struct worker *worker);
/* Says again what a worker may have missed that was cut off. */
void succession_resume(struct coordinator *c, struct worker *worker);

#endif
