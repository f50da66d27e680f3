/* eval_command.h - `seer eval`, its kinds, and `seer embed`. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_EVAL_EVAL_COMMAND_H
#define WORKER_EVAL_EVAL_COMMAND_H

#include "common/command.h"

extern const struct command eval_command;
extern const struct command embed_command;
extern const struct command linear_command; /* kinds of seer eval */
extern const struct command lowshot_command;
extern const struct command finetune_command;

#endif
