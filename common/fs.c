/* fs.c - files that are complete or absent. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "common/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "common/mem.h"

enum status fs_make_directory(const char *path)
{
    enum status status = OK;
    char *copy = mem_string(path);
    for (char *at = copy + 1; status == OK; at++) {
        int is_end = *at == '\0';
        if (!is_end && *at != '/')
            continue;
        *at = '\0';
        if (mkdir(copy, 0777) != 0 && errno != EEXIST)
            status = fail(ERR_IO, "cannot make directory '%s': %s", copy, strerror(errno));
        if (is_end)
            break;
        *at = '/';
    }
    mem_free(copy);
    return status;
}

enum status fs_sync(const char *path)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0 || fsync(file) != 0) {
        enum status status = fail(ERR_IO, "cannot flush '%s': %s", path, strerror(errno));
        if (file >= 0)
            close(file);
        return status;
    }
    close(file);
    return OK;
}

enum status fs_rename(const char *from, const char *to)
{
    if (rename(from, to) != 0)
        return fail(ERR_IO, "cannot rename '%s' to '%s': %s", from, to, strerror(errno));
    char *copy = mem_string(to);
    enum status status = fs_sync(dirname(copy));
    mem_free(copy);
    return status;
}

static enum status write_all(const char *path, const void *bytes, size_t length)
{
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (file < 0)
        return fail(ERR_IO, "cannot create '%s': %s", path, strerror(errno));
    enum status status = OK;
    for (size_t done = 0; done < length && status == OK;) {
        ssize_t written = write(file, (const char *)bytes + done, length - done);
        if (written > 0)
            done += (size_t)written;
        else if (errno != EINTR)
            status = fail(ERR_IO, "cannot write '%s': %s", path, strerror(errno));
    }
    if (status == OK && fsync(file) != 0)
        status = fail(ERR_IO, "cannot flush '%s': %s", path, strerror(errno));
    if (close(file) != 0 && status == OK)
        status = fail(ERR_IO, "cannot close '%s': %s", path, strerror(errno));
    return status;
}

enum status fs_write_file(const char *path, const void *bytes, size_t length)
{
    char *temporary = mem_format("%s.tmp.%d", path, (int)getpid());
    enum status status = write_all(temporary, bytes, length);
    if (status == OK)
        status = fs_rename(temporary, path);
    if (status != OK)
        unlink(temporary);
    mem_free(temporary);
    return status;
}

enum status fs_read_file(const char *path, struct buf *buf)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return fail(errno == ENOENT ? ERR_INPUT : ERR_IO, "cannot open '%s': %s", path,
                    strerror(errno));
    enum status status = OK;
    while (status == OK) {
        /* At the limit one byte aside tells a file that just fits from one that is too large. */
        uint8_t probe;
        size_t room = buf->limit - buf->length;
        size_t want = room == 0 ? 1 : room < 65536 ? room : 65536;
        TRY_OUT(buf_reserve(buf, room == 0 ? 0 : want));
        ssize_t count = read(file, room == 0 ? &probe : buf->bytes + buf->length, want);
        if (count == 0)
            break;
        if (count < 0 && errno != EINTR)
            status = fail(ERR_IO, "cannot read '%s': %s", path, strerror(errno));
        else if (count > 0 && room == 0)
            status =
                fail(ERR_INPUT, "'%s' is larger than the limit of %zu bytes", path, buf->limit);
        else if (count > 0)
            buf->length += (size_t)count;
    }
out:
    if (buf->bytes != NULL)
        buf->bytes[buf->length] = 0;
    close(file);
    return status;
}

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *where)
{
    (void)info;
    (void)type;
    (void)where;
    return remove(path) == 0 || errno == ENOENT ? 0 : -1; /* others may be removing it too */
}

enum status fs_remove_tree(const char *path)
{
    enum { OPEN_DIRECTORIES = 16, TRIES = 8 };
    /* A folder that somebody else removes during the walk ends the walk. */
    for (int i = 0;
         i < TRIES && nftw(path, remove_entry, OPEN_DIRECTORIES, FTW_DEPTH | FTW_PHYS) != 0; i++)
        if (errno != ENOENT)
            return fail(ERR_IO, "cannot remove '%s': %s", path, strerror(errno));
    return OK;
}

int fs_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

enum status fs_free_bytes(const char *path, uint64_t *ret_bytes)
{
    struct statvfs info;
    if (statvfs(path, &info) != 0)
        return fail(ERR_IO, "cannot ask '%s' for free space: %s", path, strerror(errno));
    *ret_bytes = (uint64_t)info.f_bavail * info.f_frsize;
    return OK;
}

enum status fs_require_local(const char *path)
{
    /* statfs(2) magic numbers: NFS, SMB, CIFS, SMB2, Ceph, 9P, AFS. */
    static const unsigned long remote[] = {0x6969,     0x517B,     0xFF534D42, 0xFE534D42,
                                           0x00C36400, 0x01021997, 0x5346414F};
    struct statfs info;
    if (statfs(path, &info) != 0)
        return fail(ERR_IO, "cannot ask '%s' for its file system: %s", path, strerror(errno));
    for (size_t i = 0; i < sizeof(remote) / sizeof(remote[0]); i++) {
        if ((unsigned long)info.f_type == remote[i])
            return fail(ERR_INPUT,
                        "'%s' is on a network file system, where LMDB cannot work: keep it on a "
                        "local disk of the host that reads it",
                        path);
    }
    return OK;
}
