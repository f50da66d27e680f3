/* commands.h - the commands of `seer` that live with the server. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_COMMANDS_H
#define SERVER_COMMANDS_H

#include "common/command.h"

extern const struct command status_command;
extern const struct command events_command;
extern const struct command worker_command;
extern const struct command pause_command;
extern const struct command resume_command;
extern const struct command stop_command;
extern const struct command snapshot_command;
extern const struct command stream_command;
extern const struct command audit_command;
extern const struct command key_command;
/* Of `seer bench`. */
extern const struct command bench_coordinator_command;
extern const struct command bench_gate_command;

#endif
