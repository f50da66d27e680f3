/* blame.h - who holds a step up, named in the event log before anything is done about it.
 *
 * Members wait for each other in every collective operation, so all stand still when one does. The
 * culprit is whoever is furthest behind by (step, operations, phase) of its heartbeats; or the
 * helper of a member that says its helper gives no sign of life; or, if all stand at the same
 * place, it cannot be told and all are named. Still is who got nothing done for the deadline of its
 * phase, all of it as the one furthest behind: five times what that phase lately took in 95 of 100
 * steps, at least two seconds, at most step_ms.
 *
 * A culprit that computes is sent away. One that waits for images is only named, until step_ms:
 * disks may be slow. A helper, or all, cost one regrouping; each one doubles the deadline until a
 * step is committed, since it may have been hasty.
 *
 * While a generation forms, members wait form_ms and give up; who does neither form nor give up is
 * the culprit, else the helper that never called, else mpirun or a helper. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_BLAME_H
#define SERVER_BLAME_H

#include "server/core.h"

/* The present step is decided: how long it took is in c->last. */
void blame_learn(struct coordinator *c);
/* Time that a member may take in this phase without getting anything done. */
int64_t blame_deadline_ms(const struct coordinator *c, enum worker_phase phase);
/* While forming: members gave up waiting; who is it that did not come? Ends the generation once
 * that is known. */
void blame_forming(struct coordinator *c);
/* While training: does anybody hold the step up? */
void blame_check(struct coordinator *c);

#endif
