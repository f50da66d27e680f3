/* import.h - somebody's weights as the state that a run begins with.
 *
 * The result is a snapshot of step 0 under a config: the trunk from the file, head and prototypes
 * too if it has them, what it lacks random from run.seed as in any run; momentum zero, feature
 * queue empty. All workers of a run with `model.init` begin with its bits. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_EXPORT_IMPORT_H
#define WORKER_EXPORT_IMPORT_H

#include "common/command.h"
#include "common/config.h"
#include "worker/export/weights_match.h"

/* Complete or absent: writes the snapshot `to`. config is checked. The names in *ret_match point
 * into weights; the caller ends both. ERR_INPUT, ERR_CORRUPT, ERR_IO. */
enum status import_save(const struct config *config, struct weights *weights,
                        const struct match_wish *wish, const char *to,
                        struct weights_match *ret_match);

extern const struct command import_command;

#endif
