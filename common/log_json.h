/* log_json.h - a line of the log as one JSON object, for machines that collect logs.
 *
 * {"time":...,"level":...,"program":...,"event":...} and a member for each key=value of the line:
 * numbers as numbers, all else as text. Words that are no key=value are in "message". */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef COMMON_LOG_JSON_H
#define COMMON_LOG_JSON_H

#include <stddef.h>

/* text: without control characters. Writes at most bytes, the ending 0 included; returns the
 * length. What does not fit is cut value by value, so that it stays JSON. */
size_t log_json(const char *time, const char *level, const char *program, const char *text,
                char *ret_line, size_t bytes);

#endif
