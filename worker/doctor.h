/* doctor.h - what `seer doctor` found out about this machine, check by check. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_DOCTOR_H
#define WORKER_DOCTOR_H

enum { CHECKUP_MAX = 48, CHECKUP_TEXT_BYTES = 256 };

enum finding { FINDING_OK, FINDING_WARN, FINDING_FAIL };

struct checkup_line {
    const char *name; /* static */
    enum finding finding;
    char found[CHECKUP_TEXT_BYTES];
    const char *remedy; /* static; NULL with FINDING_OK */
};

struct checkup {
    int count;
    struct checkup_line lines[CHECKUP_MAX];
};

/* Adds a line; what was found as by printf. Lines beyond CHECKUP_MAX are dropped. */
void checkup_add(struct checkup *checkup, const char *name, enum finding finding,
                 const char *remedy, const char *found, ...) __attribute__((format(printf, 5, 6)));

/* doctor_host.c: limits, memory, file systems, clock, MPI, OpenMP. folders: of state and stores. */
void doctor_host(struct checkup *checkup, const char *const *folders, int folder_count);
/* doctor_gpu.c: driver, GPUs, peers, NCCL, and whether this build can use them. needs_gpu: what is
 * missing then is a failure. */
void doctor_gpu(struct checkup *checkup, int needs_gpu);

#endif
