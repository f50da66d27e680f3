/* bench_allreduce.h - `seer bench allreduce`: how long a sum among workers of this host takes. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_COLLECTIVE_BENCH_ALLREDUCE_H
#define WORKER_COLLECTIVE_BENCH_ALLREDUCE_H

#include "common/command.h"

extern const struct command bench_allreduce_command;

#endif
