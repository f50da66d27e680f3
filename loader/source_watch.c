/* source_watch.c - a folder that keeps filling up, as a source that never ends by itself.
 *
 * What was read once is not read again, though the watch may tell of it twice: it is known by path,
 * inode, size and time of change. Of a million that are remembered so all are forgotten at once; a
 * file that is then told of twice is read twice, and a duplicate. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "loader/source.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/mem.h"
#include "loader/folder_watch.h"
#include "loader/hash_set.h"
#include "loader/record.h"
#include "loader/source_file.h"

enum { REMEMBERED_MAX = 1 << 20 };

struct watched {
    struct source base;
    const struct source_options *options; /* borrowed */
    char *root;
    struct folder_watch *watch;
    struct hash_set read; /* by stamp and path */
    struct source *inner; /* an archive that is being read */
    char *archive;        /* its path */
    struct file_stamp stamp;
    struct source_item next; /* of inner; name NULL: none read yet */
    int has_ended;
};

static int is_read_before(struct watched *watched, const char *path, const struct file_stamp *stamp)
{
    struct hash128 hash = hash128_bytes(path, strlen(path));
    struct hash128 stamped = hash128_bytes(stamp, sizeof(*stamp));
    hash.low ^= stamped.low;
    hash.high ^= stamped.high;
    if (watched->read.count == REMEMBERED_MAX)
        hash_set_done(&watched->read);
    return !hash_set_add(&watched->read, hash);
}

static char *folder_of(const struct watched *watched, const char *path)
{
    path += strlen(watched->root);
    path += strspn(path, "/");
    const char *slash = strchr(path, '/');
    return slash == NULL ? NULL : mem_format("%.*s", (int)(slash - path), path);
}

static void name_file(struct source_item *item, const char *path, const struct file_stamp *stamp,
                      int is_last)
{
    item->file = mem_string(path);
    item->stamp = *stamp;
    item->is_last = is_last;
}

static void read_file(struct watched *watched, const char *path, const struct file_stamp *stamp,
                      struct source_item *ret_item)
{
    *ret_item = (struct source_item){.name = mem_string(path), .label = LABEL_NONE};
    source_file_read(path, ret_item);
    if (watched->options->rule == LABEL_RULE_FOLDER)
        ret_item->folder = folder_of(watched, path);
    else if (watched->options->rule == LABEL_RULE_AUTO)
        ret_item->label = source_file_label(path);
    name_file(ret_item, path, stamp, 1);
}

static void leave_archive(struct watched *watched)
{
    source_close(watched->inner);
    watched->inner = NULL;
    mem_free(watched->archive);
    watched->archive = NULL;
    source_item_done(&watched->next);
}

/* One item ahead, to know which is the last of its file. */
static void take_from_archive(struct watched *watched, struct source_item *ret_item)
{
    struct source_item item = watched->next;
    watched->next = (struct source_item){0};
    int is_last = source_next(watched->inner, &watched->next) != OK;
    name_file(&item, watched->archive, &watched->stamp, is_last);
    if (is_last)
        leave_archive(watched);
    *ret_item = item;
}

static void enter_archive(struct watched *watched, const char *path, const struct file_stamp *stamp)
{
    watched->archive = mem_string(path);
    watched->stamp = *stamp;
    if (source_next(watched->inner, &watched->next) == OK)
        return;
    watched->next = (struct source_item){.name = mem_string(path), .label = LABEL_NONE};
    source_item_refuse(&watched->next, IMAGE_REASON_EMPTY, "the archive has no files in it");
}

/* What stands beside a picture is read with it. */
static int is_side_file(const struct watched *watched, const char *path)
{
    return watched->options->rule == LABEL_RULE_AUTO && source_file_ends(path, ".cls");
}

static enum status watched_next(struct source *source, struct source_item *ret_item)
{
    struct watched *watched = (struct watched *)source;
    const char *path;
    struct file_stamp stamp;
    while (watched->inner == NULL) {
        enum status status =
            watched->has_ended ? ERR_END : folder_watch_next(watched->watch, &path);
        if (status == ERR_INPUT) {
            *ret_item = (struct source_item){.name = mem_string(path), .label = LABEL_NONE};
            source_item_refuse(ret_item, IMAGE_REASON_IO, "%s", fail_message());
            return OK;
        }
        if (status != OK) {
            watched->has_ended = 1;
            return status == ERR_END ? ERR_END : fail_add(ERR_END, "the watch has ended");
        }
        if (is_side_file(watched, path) || !source_file_stamp(path, &stamp) ||
            is_read_before(watched, path, &stamp))
            continue;
        if (!source_file_enter(path, watched->options, &watched->inner)) {
            read_file(watched, path, &stamp, ret_item);
            return OK;
        }
        enter_archive(watched, path, &stamp);
    }
    take_from_archive(watched, ret_item);
    return OK;
}

/* Folders are numbered as they come. */
static enum status watched_folders(struct source *source, struct labels *labels)
{
    (void)source;
    (void)labels;
    return OK;
}

static double watched_progress(struct source *source)
{
    (void)source;
    return 0;
}

static void watched_close(struct source *source)
{
    struct watched *watched = (struct watched *)source;
    leave_archive(watched);
    folder_watch_close(watched->watch);
    hash_set_done(&watched->read);
    mem_free(watched->root);
    mem_free(watched);
}

static const struct source_ops watched_ops = {watched_next, watched_folders, watched_progress,
                                              watched_close};

enum status source_watch_open(const char *path, const struct source_options *options,
                              struct source **ret_source)
{
    struct watched *watched = mem_zero(sizeof(*watched));
    watched->base.ops = &watched_ops;
    watched->options = options;
    watched->root = mem_string(path);
    hash_set_init(&watched->read);
    enum status status = folder_watch_open(path, options->wake, &watched->watch);
    if (status != OK) {
        watched_close(&watched->base);
        return status;
    }
    *ret_source = &watched->base;
    return OK;
}
