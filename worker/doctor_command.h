/* doctor_command.h - `seer doctor`: is this machine fit to train? */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_DOCTOR_COMMAND_H
#define WORKER_DOCTOR_COMMAND_H

#include "common/command.h"

extern const struct command doctor_command;

#endif
