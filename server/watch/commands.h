/* commands.h - the commands of `seer` that show a run. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_WATCH_COMMANDS_H
#define SERVER_WATCH_COMMANDS_H

#include "common/command.h"

extern const struct command top_command;
extern const struct command dashboard_command;

#endif
