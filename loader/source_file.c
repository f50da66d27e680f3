/* source_file.c - one file of a folder: is it ours, what is in it, what stands beside it. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "loader/source_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/mem.h"
#include "loader/record.h"

int source_file_is_ignored(const char *name, size_t length)
{
    return name[0] == '.' || strcmp(name, "lock.mdb") == 0 ||
           (length > 5 && strcmp(name + length - 5, ".part") == 0);
}

int source_file_ends(const char *path, const char *suffix)
{
    size_t length = strlen(path), suffix_length = strlen(suffix);
    return length >= suffix_length && strcasecmp(path + length - suffix_length, suffix) == 0;
}

/* Worth a look inside; what it is, its contents tell. */
static int may_be_archive(const char *path)
{
    static const char *const suffixes[] = {".tar", ".tgz", ".gz",    ".zip",
                                           ".zst", ".xz",  "-ubyte", ".mdb"};
    for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
        if (source_file_ends(path, suffixes[i]))
            return 1;
    }
    return 0;
}

static enum status read_whole(int file, struct source_item *item)
{
    struct stat info;
    if (fstat(file, &info) != 0)
        return fail(ERR_IO, "%s", strerror(errno));
    if (info.st_size > RECORD_BYTES_MAX) {
        source_item_refuse(item, IMAGE_REASON_TOO_LARGE, "%lld bytes are over the limit of %d",
                           (long long)info.st_size, RECORD_BYTES_MAX);
        return OK;
    }
    size_t capacity = (size_t)info.st_size;
    item->bytes = mem_alloc(capacity + 1);
    while (item->length < capacity) {
        ssize_t count = read(file, item->bytes + item->length, capacity - item->length);
        if (count == 0)
            break;
        if (count < 0 && errno != EINTR)
            return fail(ERR_IO, "%s", strerror(errno));
        item->length += count > 0 ? (size_t)count : 0;
    }
    return OK;
}

void source_file_read(const char *path, struct source_item *item)
{
    /* Not to hang on a named pipe: O_NONBLOCK; it has no effect on files. */
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0)
        source_item_refuse(item, IMAGE_REASON_IO, "%s", strerror(errno));
    else if (read_whole(file, item) != OK)
        source_item_refuse(item, IMAGE_REASON_IO, "%s", fail_message());
    if (file >= 0)
        close(file);
}

char *source_file_label_path(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *dot = strchr(slash == NULL ? path : slash, '.');
    return dot == NULL ? NULL : mem_format("%.*s.cls", (int)(dot - path), path);
}

int32_t source_file_label(const char *path)
{
    char *beside = source_file_label_path(path);
    if (beside == NULL)
        return LABEL_NONE;
    FILE *file = fopen(beside, "re");
    int label = LABEL_NONE;
    if (file != NULL) {
        if (fscanf(file, "%d", &label) != 1 || label < 0)
            label = LABEL_NONE;
        fclose(file);
    }
    mem_free(beside);
    return label;
}

int source_file_enter(const char *path, const struct source_options *options,
                      struct source **ret_source)
{
    return may_be_archive(path) && (source_idx_open(path, options, ret_source) == OK ||
                                    source_lmdb_open(path, options, ret_source) == OK ||
                                    source_archive_open(path, options, ret_source) == OK);
}

int source_file_stamp(const char *path, struct file_stamp *ret_stamp)
{
    struct stat info;
    if (stat(path, &info) != 0 || !S_ISREG(info.st_mode))
        return 0;
    *ret_stamp = (struct file_stamp){.device = info.st_dev,
                                     .inode = info.st_ino,
                                     .bytes = (uint64_t)info.st_size,
                                     .changed_ns = (int64_t)info.st_mtim.tv_sec * 1000000000 +
                                                   info.st_mtim.tv_nsec};
    return 1;
}

int file_stamp_is_equal(const struct file_stamp *a, const struct file_stamp *b)
{
    return a->device == b->device && a->inode == b->inode && a->bytes == b->bytes &&
           a->changed_ns == b->changed_ns;
}
