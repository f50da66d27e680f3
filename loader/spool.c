/* spool.c - accepted and rejected files, apart. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "loader/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/fs.h"
#include "common/mem.h"
#include "loader/source_file.h"

enum { NAMES_TRIED_MAX = 10000 };

static enum status make_folders(const char *directory)
{
    static const char *const names[] = {"accepted", "rejected"};
    enum status status = OK;
    for (int i = 0; i < 2 && status == OK; i++) {
        char *path = mem_format("%s/%s", directory, names[i]);
        status = fs_make_directory(path);
        mem_free(path);
    }
    return status;
}

static int is_inside(const char *path, const char *root)
{
    size_t length = strlen(root);
    return strncmp(path, root, length) == 0 && (path[length] == '\0' || path[length] == '/');
}

enum status spool_open(struct spool *spool, const char *directory, const char *root)
{
    *spool = (struct spool){.root = root};
    if (directory == NULL)
        return OK;
    struct stat here, there;
    TRY(make_folders(directory));
    if (stat(directory, &there) != 0 || stat(root, &here) != 0)
        return fail(ERR_IO, "cannot read '%s' or '%s': %s", directory, root, strerror(errno));
    if (here.st_dev != there.st_dev)
        return fail(ERR_INPUT,
                    "--spool '%s' is on another file system than '%s': files are moved by "
                    "renaming, so name a folder on the same one",
                    directory, root);
    char *spool_path = realpath(directory, NULL), *root_path = realpath(root, NULL);
    enum status status = OK;
    if (spool_path != NULL && root_path != NULL && is_inside(spool_path, root_path))
        status = fail(ERR_INPUT,
                      "--spool '%s' lies in the watched folder '%s', where what is moved would be "
                      "found again: name a folder beside it",
                      directory, root);
    free(spool_path);
    free(root_path);
    if (status == OK)
        spool->directory = directory;
    return status;
}

void spool_done(struct spool *spool)
{
    for (size_t i = 0; i < spool->count; i++)
        mem_free(spool->kept[i].path);
    mem_free(spool->kept);
    *spool = (struct spool){0};
}

/* ERR_STALE: there is no such file. */
static enum status move_to(const char *path, const char *target)
{
    char *copy = mem_string(target);
    enum status status = fs_make_directory(dirname(copy));
    mem_free(copy);
    TRY(status);
    int error = renameat2(AT_FDCWD, path, AT_FDCWD, target, RENAME_NOREPLACE) == 0 ? 0 : errno;
    for (int i = 1; error == EEXIST && i < NAMES_TRIED_MAX; i++) {
        char *other = mem_format("%s.%d", target, i);
        error = renameat2(AT_FDCWD, path, AT_FDCWD, other, RENAME_NOREPLACE) == 0 ? 0 : errno;
        mem_free(other);
    }
    if (error == ENOENT)
        return fail(ERR_STALE, "there is no '%s' any more", path);
    return error == 0 ? OK
                      : fail(ERR_IO, "cannot move '%s' to '%s': %s", path, target, strerror(error));
}

/* Below the root as it was, below the spool as it will be. */
static enum status move_file(const struct spool *spool, const char *path, const char *kind)
{
    const char *name = path + strlen(spool->root);
    name += strspn(name, "/");
    char *target = mem_format("%s/%s/%s", spool->directory, kind, name);
    enum status status = move_to(path, target);
    mem_free(target);
    return status == ERR_STALE ? OK : status;
}

/* With x.png goes x.cls, if there is one. */
static enum status move_with_side(const struct spool *spool, const struct spool_file *file,
                                  const char *kind)
{
    struct file_stamp now;
    if (!source_file_stamp(file->path, &now) || !file_stamp_is_equal(&now, &file->stamp))
        return OK;
    TRY(move_file(spool, file->path, kind));
    char *side = source_file_label_path(file->path);
    enum status status = side != NULL ? move_file(spool, side, kind) : OK;
    mem_free(side);
    return status;
}

static void keep(struct spool *spool, const struct source_item *item)
{
    if (spool->count == spool->capacity) {
        spool->capacity = spool->capacity * 2 + 64;
        spool->kept = mem_resize(spool->kept, spool->capacity * sizeof(*spool->kept));
    }
    spool->kept[spool->count++] = (struct spool_file){mem_string(item->file), item->stamp};
}

enum status spool_judge(struct spool *spool, const struct source_item *item)
{
    if (spool->directory == NULL || item->file == NULL)
        return OK;
    spool->has_kept |= item->reason == IMAGE_REASON_NONE;
    if (!item->is_last)
        return OK;
    int has_kept = spool->has_kept;
    spool->has_kept = 0;
    if (has_kept)
        keep(spool, item);
    else if (item->reason != IMAGE_REASON_IO)
        return move_with_side(spool, &(struct spool_file){item->file, item->stamp}, "rejected");
    return OK;
}

enum status spool_release(struct spool *spool)
{
    enum status status = OK;
    for (size_t i = 0; i < spool->count; i++) {
        enum status moved = move_with_side(spool, &spool->kept[i], "accepted");
        status = status == OK ? moved : status;
        mem_free(spool->kept[i].path);
    }
    spool->count = 0;
    return status;
}
