/* bench_allreduce.h - `seer bench allreduce`: how long a sum among workers of this host takes. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_COLLECTIVE_BENCH_ALLREDUCE_H
#define WORKER_COLLECTIVE_BENCH_ALLREDUCE_H

/* argv[0] is "allreduce"; returns the exit code. */
int bench_allreduce_run(int argc, char **argv);

#endif
