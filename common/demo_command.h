/* demo_command.h - `seer demo`: a run from pictures to features, on this CPU. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef COMMON_DEMO_COMMAND_H
#define COMMON_DEMO_COMMAND_H

#include "common/command.h"

extern const struct command demo_command;

#endif
