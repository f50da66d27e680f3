/* respawn.h - a parent that starts the worker again when it dies. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_RESPAWN_H
#define WORKER_RESPAWN_H

/* Runs run(argument) in a child, again and again while it dies by a signal or with an exit code
 * above 2 (0 done, 1 refused, 2 usage). SIGTERM and SIGINT are passed on, then nothing is started
 * any more. Returns the last exit code. Call before any thread starts. */
int respawn(int (*run)(void *argument), void *argument);

#endif
