/* log.h - one event, one line, key=value, on stderr.
 *
 * error: a person must act; warn: we recovered; info: life-cycle; debug: per message. Modules below
 * the top level log at debug only; the top level logs each failure once. Any thread may log: a line
 * is one write(2), and control characters in it become '?'. Under systemd ($JOURNAL_STREAM) lines
 * carry sd-daemon(3) priorities. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef COMMON_LOG_H
#define COMMON_LOG_H

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* Names the program in every line and sets the level; $SEER_LOG=debug|info|warn|error overrides it.
 * Call once, before threads start. program is borrowed for ever. */
void log_start(const char *program, enum log_level level);

void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
