/* log.h - one event, one line, key=value, on stderr.
 *
 * error: a person must act; warn: we recovered; info: life-cycle; debug: per message. Modules below
 * the top level log at debug only; the top level logs each failure once. Any thread may log: a line
 * is one write(2), and control characters in it become '?'. Under systemd ($JOURNAL_STREAM) lines
 * carry sd-daemon(3) priorities. As JSON (log_json.h) a line is an object, without them. Floods are
 * cut (rate_limit.h), 200 lines of a kind in 10 s, unless debug lines are wanted;
 * event=log_suppressed says so. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef COMMON_LOG_H
#define COMMON_LOG_H

#include "common/status.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* Names the program in every line and sets the level; $SEER_LOG=debug|info|warn|error overrides it.
 * Call once, before threads start. program is borrowed for ever. */
void log_start(const char *program, enum log_level level);

/* "text", "json", or NULL: as it is ($SEER_LOG_FORMAT; text). For programs that this one starts
 * too. Before threads start. ERR_INPUT. */
enum status log_use_format(const char *format);
/* The row of a daemon's options that log_use_format wants. */
#define LOG_OPTION(format)                                                                         \
    {                                                                                              \
        "log", 0, OPTION_STRING, &(format), "text|json",                                           \
            "lines on stderr ($SEER_LOG_FORMAT; text)"                                             \
    }

void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
