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
#include "common/log_json.h"
#include "common/rate_limit.h"

enum { LINE_BYTES = 2048, JSON_BYTES = 2 * LINE_BYTES };

static const char format_variable[] = "SEER_LOG_FORMAT";
static const char *const level_names[] = {"error", "warn", "info", "debug"};
static const int level_priorities[] = {3, 4, 6, 7}; /* syslog(3) */

/* Written by log_start and log_use_format before any thread exists, read-only afterwards. */
static const char *program_name = "seer";
static enum log_level level_max = LOG_LEVEL_INFO;
static int has_priorities, is_json;
static struct rate_limit limit = {.burst = 200, .window_ms = 10000};

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
    const char *format = getenv(format_variable);
    is_json = format != NULL && strcmp(format, "json") == 0;
}

enum status log_use_format(const char *format)
{
    if (format == NULL)
        return OK;
    if (strcmp(format, "json") != 0 && strcmp(format, "text") != 0)
        return fail(ERR_INPUT, "--log: '%s' is neither text nor json", format);
    is_json = format[0] == 'j';
    if (setenv(format_variable, format, 1) != 0)
        return fail(ERR_IO, "cannot set %s", format_variable);
    return OK;
}

static void write_line(enum log_level level, const char *text)
{
    char line[JSON_BYTES + 1], now[CLOCK_TEXT_BYTES], priority[8] = "";
    size_t length = 0;
    clock_text(clock_wall_ms(), now);
    if (has_priorities && !is_json)
        snprintf(priority, sizeof(priority), "<%d>", level_priorities[level]);
    if (is_json)
        length = log_json(now, level_names[level], program_name, text, line, JSON_BYTES);
    else
        length = (size_t)snprintf(line, JSON_BYTES, "%s%s %-5s %s: %s", priority, now,
                                  level_names[level], program_name, text);
    line[length] = '\n';
    ssize_t written = write(STDERR_FILENO, line, length + 1);
    (void)written; /* nowhere is left to report it */
}

/* Whether it may be written. What is left out is told, when it begins and afterwards. */
static int passes(const char *text)
{
    char words[LINE_BYTES];
    uint32_t dropped = 0;
    if (level_max == LOG_LEVEL_DEBUG)
        return 1; /* who asks for that wants all of it */
    const enum rate_limit_answer answer = rate_limit_ask(&limit, text, clock_ms(), &dropped);
    if (dropped > 0 || answer == RATE_LIMIT_LAST) {
        snprintf(words, sizeof(words), "event=log_suppressed lines=%u more=%d of=\"%.*s\"", dropped,
                 answer == RATE_LIMIT_LAST, (int)strcspn(text, " "), text);
        write_line(LOG_LEVEL_WARN, words);
    }
    return answer != RATE_LIMIT_DROP;
}

void log_line(enum log_level level, const char *format, ...)
{
    char text[LINE_BYTES];
    if (level > level_max)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    /* A name that came from a peer or a file must not begin a line of its own. */
    for (char *at = text; *at != 0; at++)
        if ((unsigned char)*at < ' ' || *at == 0x7F)
            *at = '?';
    if (passes(text))
        write_line(level, text);
}
