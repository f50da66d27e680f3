/* clock.c - time for deadlines and time for people. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "common/clock.h"

#include <stdio.h>
#include <time.h>

static int64_t read_us(clockid_t id)
{
    struct timespec now;
    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t clock_ms(void)
{
    return read_us(CLOCK_MONOTONIC) / 1000;
}

int64_t clock_us(void)
{
    return read_us(CLOCK_MONOTONIC);
}

int64_t clock_thread_us(void)
{
    return read_us(CLOCK_THREAD_CPUTIME_ID);
}

int64_t clock_wall_ms(void)
{
    return read_us(CLOCK_REALTIME) / 1000;
}

/* seconds: how strftime(3) writes all down to the seconds; last: what stands behind the rest. */
static void format(int64_t wall_ms, const char *seconds, const char *last,
                   char text[CLOCK_TEXT_BYTES])
{
    int64_t below_ms = ((wall_ms % 1000) + 1000) % 1000; /* before 1970 too */
    time_t whole = (time_t)(wall_ms / 1000 - (wall_ms % 1000 < 0));
    struct tm utc = {0};
    gmtime_r(&whole, &utc);
    size_t length = strftime(text, CLOCK_TEXT_BYTES, seconds, &utc);
    snprintf(text + length, CLOCK_TEXT_BYTES - length, ".%03d%s", (int)below_ms, last);
}

void clock_text(int64_t wall_ms, char text[CLOCK_TEXT_BYTES])
{
    format(wall_ms, "%Y-%m-%dT%H:%M:%S", "Z", text);
}

void clock_stamp(int64_t wall_ms, char text[CLOCK_TEXT_BYTES])
{
    format(wall_ms, "%Y%m%dT%H%M%S", "", text);
}
