/* boundary.h - what happens between two steps: snapshots, joining, leaving, stopping.
 *
 * Between two steps is when a generation is formed, right after a verdict, and while the run is
 * paused or without images: only then is boundary_pass to be called. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_BOUNDARY_H
#define SERVER_BOUNDARY_H

#include "server/core.h"

/* The members of a formed generation all hold, or are about to apply, the state of the present
 * step: does what waits for that. */
void boundary_pass(struct coordinator *c);
/* Members push the present state under this name ("" = one made of the step). ERR_STALE while
 * another one is under way or there are no members. */
enum status boundary_snapshot(struct coordinator *c, const char *name);
/* This worker will push no more. */
void boundary_lost_pusher(struct coordinator *c, uint64_t worker);
/* What became of the one that is expected: its record is journaled, or it is forgotten. A file that
 * became complete and is not expected any more is removed. */
void boundary_snapshot_done(struct coordinator *c, const char *name);
void boundary_snapshot_failed(struct coordinator *c, const char *name, const char *reason);
/* Gives up one that members have not pushed in their time: it would hold up those that follow. */
void boundary_check_snapshot(struct coordinator *c);
/* Nobody can ask to go back to before this step. */
uint64_t boundary_oldest_step(const struct coordinator *c);
/* Those who drain while there is no generation may go, unless they alone hold the state. */
void boundary_dismiss_idle(struct coordinator *c);
/* Stopping: the run ends here, everybody is told so. */
void boundary_finish(struct coordinator *c);
/* The run is finished: the server may go once nobody is left who might not have heard of it, for
 * ZeroMQ drops what was sent right before a socket closes. */
void boundary_see_off(struct coordinator *c);

#endif
