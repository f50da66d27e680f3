/* clock.h - time for deadlines (monotonic) and time for people (wall clock).
 *
 * Decisions never read a clock: the pure code of server/ gets now_ms as an argument. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef COMMON_CLOCK_H
#define COMMON_CLOCK_H

#include <stdint.h>

/* Monotonic since an arbitrary start; not moved by anyone who sets the wall clock. */
int64_t clock_ms(void);
int64_t clock_us(void);
/* CPU time used by the calling thread. */
int64_t clock_thread_us(void);
/* Milliseconds since 1970 in UTC, for records that people read. */
int64_t clock_wall_ms(void);

#endif
