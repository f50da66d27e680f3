/* call_faults.h - makes the n-th call out of our code fail: sockets, ZeroMQ, processes,
 * descriptors, threads.
 *
 * By --wrap (call_faults.cmake has the list), so that only our objects are hit and not the
 * libraries, which may do with a failing call what they like; faults.h, for the disk, hits those
 * too. Armed are a process, all its threads and whatever it forks, until exec; they count together.
 */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef TESTS_TORTURE_CALL_FAULTS_H
#define TESTS_TORTURE_CALL_FAULTS_H

struct call_fault {
    const char *name;
    int is_momentary; /* EINTR or EAGAIN: the next time it works */
};

/* All that can be made to fail; name NULL at the end. */
extern const struct call_fault call_faults[];

/* Once, before the first fork. */
void call_faults_open(void);
/* The call-th call of this name from now, counted from 1, fails in this process and those it will
 * fork; with is_lasting all after it do too. */
void call_faults_arm(const struct call_fault *fault, int call, int is_lasting);
/* In this process. */
void call_faults_disarm(void);
/* How many calls failed since armed, of all who were. */
int call_faults_failed(void);

#endif
