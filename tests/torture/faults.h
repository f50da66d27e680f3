/* faults.h - makes the n-th system call that writes fail, in our code and in the libraries.
 *
 * The program's own write, fsync, ... stand before those of libc, for liblmdb too (--wrap would
 * reach our objects only). Unarmed they do what they always do. One thread. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef TESTS_TORTURE_FAULTS_H
#define TESTS_TORTURE_FAULTS_H

/* How the disk fails: this call or all from it on; before anything happened, or (writes, flushes
 * and renames) after it was done all the same. */
struct fault_mode {
    const char *name;
    int is_lasting, is_late;
};

enum { FAULT_MODE_COUNT = 4 };
extern const struct fault_mode fault_modes[FAULT_MODE_COUNT];

/* The call-th from now, counted from 1, fails. */
void faults_arm(int call, const struct fault_mode *mode);
/* How many calls failed since then. */
int faults_disarm(void);

#endif
