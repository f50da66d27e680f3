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

enum { CLOCK_TEXT_BYTES = 40 }; /* room for any int64_t */

/* A wall time in UTC, as people and JSON readers take it: "2026-11-23T03:05:01.250Z" (ISO 8601). */
void clock_text(int64_t wall_ms, char text[CLOCK_TEXT_BYTES]);
/* The same fit for a file's name, in the order of time: "20261123T030501.250". */
void clock_stamp(int64_t wall_ms, char text[CLOCK_TEXT_BYTES]);

#endif
