/* line_file.h - a file of lines for people and scripts that never holds half a line.
 *
 * A line that the disk does not take whole is taken back and waits, up to 1 MiB of them, for the
 * next write; what does not fit there is lost, with a line in the log. So a disk that was full for
 * a while leaves neither a torn line nor a gap. A last line that a crash tore is cut off when the
 * file is opened. One thread. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_LINE_FILE_H
#define SERVER_LINE_FILE_H

#include "common/status.h"

struct line_file;

/* Opens or makes directory/name for appending. *ret_last: its last line, the caller's; empty text
 * if there is none. ERR_IO. */
enum status line_file_open(const char *directory, const char *name, struct line_file **ret_file,
                           char **ret_last);
/* Tries once more to write what waits. NULL is fine. */
void line_file_close(struct line_file *file);
/* Appends text, which has no newline, as a line. */
void line_file_write(struct line_file *file, const char *text);

#endif
