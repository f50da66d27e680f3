/* commands.h - the commands of `seer` that live with the loader. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef LOADER_COMMANDS_H
#define LOADER_COMMANDS_H

#include "common/command.h"

extern const struct command ingest_command;
extern const struct command store_command;

#endif
