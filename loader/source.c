/* source.c - which kind of source a path is. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "loader/source.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "common/mem.h"

void source_item_done(struct source_item *item)
{
    mem_free(item->name);
    mem_free(item->folder);
    mem_free(item->bytes);
    mem_free(item->file);
    *item = (struct source_item){0};
}

void source_item_refuse(struct source_item *item, enum image_reason reason, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(item->detail, sizeof(item->detail), format, args);
    va_end(args);
    item->reason = reason;
    mem_free(item->bytes);
    item->bytes = NULL;
    item->length = 0;
}

enum status source_open(const char *path, const struct source_options *options,
                        struct source **ret_source)
{
    struct stat info;
    if (options->is_watching)
        return source_watch_open(path, options, ret_source);
    if (strcmp(path, "-") == 0 && options->is_archive_on_stdin)
        return source_archive_open(path, options, ret_source) == OK
                   ? OK
                   : fail(ERR_INPUT, "what comes on stdin is no tar archive");
    if (strcmp(path, "-") == 0)
        return source_paths_open(path, options, ret_source);
    if (stat(path, &info) != 0)
        return fail(errno == ENOENT || errno == ENOTDIR ? ERR_INPUT : ERR_IO,
                    "cannot read source '%s': %s", path, strerror(errno));
    enum status status = source_lmdb_open(path, options, ret_source);
    if (status != ERR_STALE)
        return status;
    if (S_ISREG(info.st_mode)) {
        status = source_idx_open(path, options, ret_source);
        if (status == ERR_STALE)
            status = source_archive_open(path, options, ret_source);
        if (status != ERR_STALE)
            return status;
    }
    return source_paths_open(path, options, ret_source);
}

enum status source_next(struct source *source, struct source_item *ret_item)
{
    return source->ops->next(source, ret_item);
}

enum status source_folders(struct source *source, struct labels *labels)
{
    return source->ops->folders(source, labels);
}

double source_progress(struct source *source)
{
    return source->ops->progress(source);
}

void source_close(struct source *source)
{
    if (source != NULL)
        source->ops->close(source);
}
