/* plan_command.h - `seer plan`: what training a config will take of a device's memory. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_PLAN_COMMAND_H
#define WORKER_PLAN_COMMAND_H

#include "common/command.h"

extern const struct command plan_command;

#endif
