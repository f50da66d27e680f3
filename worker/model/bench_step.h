/* bench_step.h - `seer bench step`: a whole training step of one worker, phase by phase. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_MODEL_BENCH_STEP_H
#define WORKER_MODEL_BENCH_STEP_H

#include "common/command.h"

extern const struct command bench_step_command;

#endif
