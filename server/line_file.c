/* line_file.c - one write(2) a line, taken back if the disk took a part of it. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/line_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/log.h"
#include "common/mem.h"

enum { TAIL_BYTES = 65536, WAITING_BYTES_MAX = 1 << 20 };

struct line_file {
    int file;
    char *name;
    struct buf waiting; /* whole lines that the disk had no room for */
};

/* Cuts off a last line that a crash left unfinished; the last whole one into *ret_last. */
static enum status read_last(const struct line_file *lines, char **ret_last)
{
    struct stat info;
    char tail[TAIL_BYTES + 1];
    if (fstat(lines->file, &info) != 0)
        return fail(ERR_IO, "cannot read '%s': %s", lines->name, strerror(errno));
    off_t start = info.st_size > TAIL_BYTES ? info.st_size - TAIL_BYTES : 0;
    ssize_t length = pread(lines->file, tail, TAIL_BYTES, start);
    if (length < 0)
        return fail(ERR_IO, "cannot read '%s': %s", lines->name, strerror(errno));
    while (length > 0 && tail[length - 1] != '\n')
        length--;
    if (start + length < info.st_size && ftruncate(lines->file, start + length) != 0)
        return fail(ERR_IO, "cannot cut '%s': %s", lines->name, strerror(errno));
    tail[length > 0 ? length - 1 : 0] = 0;
    const char *newline = strrchr(tail, '\n');
    *ret_last = mem_string(newline == NULL ? tail : newline + 1);
    return OK;
}

enum status line_file_open(const char *directory, const char *name, struct line_file **ret_file,
                           char **ret_last)
{
    struct line_file *lines = mem_zero(sizeof(*lines));
    char *path = mem_format("%s/%s", directory, name);
    enum status status = OK;
    lines->name = mem_string(name);
    buf_init(&lines->waiting, WAITING_BYTES_MAX);
    lines->file = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (lines->file < 0)
        status = fail(ERR_IO, "cannot open '%s': %s", path, strerror(errno));
    if (status == OK)
        status = read_last(lines, ret_last);
    if (status == OK) {
        *ret_file = lines;
        lines = NULL; /* given to the caller */
    }
    line_file_close(lines);
    mem_free(path);
    return status;
}

/* All that waits, or nothing of it: a part would be half a line. */
static void write_waiting(struct line_file *lines)
{
    struct stat before;
    if (lines->waiting.length == 0 || fstat(lines->file, &before) != 0)
        return;
    ssize_t length = write(lines->file, lines->waiting.bytes, lines->waiting.length);
    if (length == (ssize_t)lines->waiting.length) {
        buf_clear(&lines->waiting);
        return;
    }
    log_debug("event=lines_wait file=%s bytes=%zu", lines->name, lines->waiting.length);
    if (length > 0 && ftruncate(lines->file, before.st_size) != 0)
        log_error("event=line_torn file=%s reason=\"%s\"", lines->name, strerror(errno));
}

void line_file_write(struct line_file *lines, const char *text)
{
    size_t length = lines->waiting.length;
    if (buf_append(&lines->waiting, text, strlen(text)) != OK ||
        buf_append(&lines->waiting, "\n", 1) != OK) {
        lines->waiting.length = length;
        log_warn("event=line_lost file=%s reason=\"the disk is full\"", lines->name);
    }
    write_waiting(lines);
}

void line_file_close(struct line_file *lines)
{
    if (lines == NULL)
        return;
    if (lines->file >= 0) {
        write_waiting(lines);
        close(lines->file);
    }
    buf_done(&lines->waiting);
    mem_free(lines->name);
    mem_free(lines);
}
