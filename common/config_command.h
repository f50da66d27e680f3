/* config_command.h - `seer config`: show what a run would be told, check a file. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef COMMON_CONFIG_COMMAND_H
#define COMMON_CONFIG_COMMAND_H

#include "common/command.h"

extern const struct command config_command;

#endif
