/* bench_loader.h - `seer bench loader`: images per second of one core, stage by stage. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef LOADER_BENCH_LOADER_H
#define LOADER_BENCH_LOADER_H

#include "common/command.h"

extern const struct command bench_loader_command;

#endif
