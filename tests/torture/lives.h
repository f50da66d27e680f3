/* lives.h - the same life again and again, each in a process of its own in which another call
 * fails: the first, second, third ... of each that call_faults.h has.
 *
 * A life ends well, or with a status and words, or with the exit of its process; it never hangs
 * (deadline), and leaves no descriptor, thread, process or file behind when it returns. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef TESTS_TORTURE_LIVES_H
#define TESTS_TORTURE_LIVES_H

#include "common/status.h"

struct lives {
    /* Runs with calls failing; ERR_* with words, if it could not be lived to its end. */
    enum status (*live)(void);
    /* NULL, or what the world outside does: begin once it was born, turn for as long as it lives.
     */
    void (*begin)(void);
    void (*turn)(void);
    void (*end)(void);
    int exit_code;    /* with which it may end by itself instead of returning; 0: it may not */
    int failures_min; /* so many there are at least, or the test tests nothing */
};

/* With every call failing once, and from then on. Prints what came of each. */
void lives_run(const struct lives *lives);
/* For live(): from here on nothing fails any more. */
void lives_spare(void);

#endif
