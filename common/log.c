/* log.c - formats a line and writes it with one system call. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "common/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"

static const char *const level_names[] = {"error", "warn", "info", "debug"};
static const int level_priorities[] = {3, 4, 6, 7}; /* syslog(3) */

/* Written by log_start before any thread exists, read-only afterwards. */
static const char *program_name = "seer";
static enum log_level level_max = LOG_LEVEL_INFO;
static int has_priorities;

void log_start(const char *program, enum log_level level)
{
    program_name = program;
    level_max = level;
    has_priorities = getenv("JOURNAL_STREAM") != NULL;
    const char *wanted = getenv("SEER_LOG");
    for (int i = 0; wanted != NULL && i < 4; i++) {
        if (strcmp(wanted, level_names[i]) == 0)
            level_max = (enum log_level)i;
    }
}

void log_line(enum log_level level, const char *format, ...)
{
    if (level > level_max)
        return;
    char line[2048], now[CLOCK_TEXT_BYTES];
    clock_text(clock_wall_ms(), now);
    int used = 0;
    if (has_priorities)
        used = snprintf(line, sizeof(line), "<%d>", level_priorities[level]);
    used += snprintf(line + used, sizeof(line) - (size_t)used, "%s %-5s %s: ", now,
                     level_names[level], program_name);
    va_list args;
    va_start(args, format);
    int more = vsnprintf(line + used, sizeof(line) - (size_t)used, format, args);
    va_end(args);
    size_t length = (size_t)used + (size_t)(more > 0 ? more : 0);
    if (length > sizeof(line) - 2)
        length = sizeof(line) - 2;
    /* A name that came from a peer or a file must not begin a line of its own. */
    for (size_t i = (size_t)used; i < length; i++)
        if ((unsigned char)line[i] < ' ' || line[i] == 0x7F)
            line[i] = '?';
    line[length] = '\n';
    ssize_t written = write(STDERR_FILENO, line, length + 1);
    (void)written; /* nowhere is left to report it */
}
