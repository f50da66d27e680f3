/* initial_state.h - the snapshot that a run begins with in place of random parameters.
 *
 * `model.init` names one, as `seer import` makes it. Before the run's first generation it is
 * checked against the config and copied into the folder of snapshots as SNAPSHOT_INITIAL; the
 * journal says so from then on, and the file that model.init named is never read again. Step 0 is
 * then what this file says, at the beginning and whenever all other snapshots are lost. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_INITIAL_STATE_H
#define SERVER_INITIAL_STATE_H

#include "common/config.h"
#include "common/status.h"

/* Complete or absent. Reads and writes all of it. ERR_INPUT: no snapshot of step 0, or one that
 * another model than the config's has; the message names what to do. ERR_CORRUPT: damaged; ERR_IO.
 */
enum status initial_state_take(const struct config *config, const char *directory);

#endif
