/* parameter_store.c - snapshots received in parts, complete or absent. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/parameter_store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fs.h"
#include "common/hash.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/safetensors_digest.h"
#include "server/intervals.h"
#include "server/snapshot_folder.h"

#define TMP_SUFFIX SNAPSHOT_SUFFIX ".tmp"

struct parameter_store {
    char *directory;
    char expected[JOURNAL_NAME_BYTES]; /* "" = none */
    int file;                          /* of the expected one; -1 before its first part */
    uint64_t total;                    /* bytes, from its first part */
    struct intervals written;
    int claim_count;
    struct snapshot_name *claims; /* [claim_count] about to be removed: not to be pinned */
    struct stat sound;            /* the file that was last found to be sound; st_ino 0 = none */
};

static char *path_of(const struct parameter_store *store, const char *name, const char *suffix)
{
    return mem_format("%s/%s%s", store->directory, name, suffix);
}

/* ---- open and close ---- */

/* What a server that was killed has left: of a snapshot, or of a pin (fs_write_file). */
static int is_unfinished(const char *file_name)
{
    size_t length = strlen(file_name), tail = strlen(TMP_SUFFIX);
    return (length >= tail && strcmp(file_name + length - tail, TMP_SUFFIX) == 0) ||
           strstr(file_name, SNAPSHOT_PIN_SUFFIX ".tmp.") != NULL;
}

static enum status remove_unfinished(struct parameter_store *store)
{
    DIR *directory = opendir(store->directory);
    if (directory == NULL)
        return fail(ERR_IO, "cannot read '%s': %s", store->directory, strerror(errno));
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        if (!is_unfinished(entry->d_name))
            continue;
        log_info("event=snapshot_unfinished file=%s action=removed", entry->d_name);
        unlinkat(dirfd(directory), entry->d_name, 0);
    }
    closedir(directory);
    return OK;
}

static struct parameter_store *store_create(const char *directory)
{
    struct parameter_store *store = mem_zero(sizeof(*store));
    store->directory = mem_string(directory);
    store->file = -1;
    intervals_init(&store->written);
    return store;
}

enum status parameter_store_open(const char *directory, struct parameter_store **ret_store)
{
    struct parameter_store *store = store_create(directory);
    enum status status = fs_make_directory(directory);
    if (status == OK)
        status = remove_unfinished(store);
    if (status != OK) {
        parameter_store_close(store);
        return status;
    }
    *ret_store = store;
    return OK;
}

void parameter_store_close(struct parameter_store *store)
{
    if (store == NULL)
        return;
    parameter_store_drop(store, NULL);
    intervals_done(&store->written);
    mem_free(store->claims);
    mem_free(store->directory);
    mem_free(store);
}

const char *parameter_store_directory(const struct parameter_store *store)
{
    return store->directory;
}

/* ---- receiving ---- */

enum status parameter_store_expect(struct parameter_store *store, const char *name)
{
    TRY(snapshot_name_check(name));
    parameter_store_drop(store, NULL);
    snprintf(store->expected, sizeof(store->expected), "%s", name);
    return OK;
}

void parameter_store_drop(struct parameter_store *store, const char *name)
{
    if (store->expected[0] == 0 || (name != NULL && strcmp(name, store->expected) != 0))
        return;
    if (store->file >= 0) {
        char *path = path_of(store, store->expected, TMP_SUFFIX);
        close(store->file);
        unlink(path);
        mem_free(path);
    }
    store->file = -1;
    store->total = 0;
    store->expected[0] = 0;
    intervals_clear(&store->written);
}

/* Space is taken at once: a full disk is told before an hour of parts, not after. */
static enum status create_file(struct parameter_store *store, uint64_t total)
{
    if (total == 0 || total >> PARAMETER_STORE_BYTES_MAX_SHIFT != 0)
        return fail(ERR_CORRUPT, "snapshot '%s': %" PRIu64 " bytes in all", store->expected, total);
    char *path = path_of(store, store->expected, TMP_SUFFIX);
    enum status status = OK;
    store->file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (store->file < 0)
        status = fail(ERR_IO, "cannot create '%s': %s", path, strerror(errno));
    else if (fallocate(store->file, 0, 0, (off_t)total) != 0 && errno != EOPNOTSUPP &&
             errno != ENOSYS)
        status = fail(ERR_IO, "cannot take %" PRIu64 " bytes for '%s': %s", total, path,
                      strerror(errno));
    mem_free(path);
    store->total = total;
    return status;
}

static enum status write_part(struct parameter_store *store,
                              const struct message_snapshot_part *part)
{
    for (uint32_t done = 0; done < part->length;) {
        ssize_t written = pwrite(store->file, part->data + done, part->length - done,
                                 (off_t)(part->offset + done));
        if (written > 0)
            done += (uint32_t)written;
        else if (errno != EINTR)
            return fail(ERR_IO, "cannot write snapshot '%s' in '%s': %s", store->expected,
                        store->directory, strerror(errno));
    }
    /* Starts writing it out now: gigabytes to flush at the end would hold up all other writes. */
    sync_file_range(store->file, (off_t)part->offset, part->length, SYNC_FILE_RANGE_WRITE);
    intervals_add(&store->written, part->offset, part->offset + part->length);
    return OK;
}

/* The header must describe exactly the file that came; then it gets the digests of what came. */
static enum status seal(struct parameter_store *store, const char *path)
{
    struct safetensors_header header;
    safetensors_init(&header);
    enum status status = safetensors_read_header(path, store->file, &header);
    if (status == OK)
        status = safetensors_write_digests(path, store->file, &header);
    if (status == OK && fsync(store->file) != 0)
        status = fail(ERR_IO, "cannot flush '%s': %s", path, strerror(errno));
    safetensors_done(&header);
    return status;
}

static enum status complete(struct parameter_store *store)
{
    char *from = path_of(store, store->expected, TMP_SUFFIX);
    char *to = path_of(store, store->expected, SNAPSHOT_SUFFIX);
    enum status status = seal(store, from);
    if (status == OK)
        status = fs_rename(from, to);
    mem_free(from);
    mem_free(to);
    if (status != OK)
        return status;
    close(store->file);
    store->file = -1;
    parameter_store_drop(store, NULL);
    return OK;
}

static enum status take_part(struct parameter_store *store,
                             const struct message_snapshot_part *part, int *ret_is_complete)
{
    if (hash_bytes(part->data, part->length) != part->checksum)
        return fail(ERR_CORRUPT, "snapshot '%s': the part at byte %" PRIu64 " was damaged",
                    part->name, part->offset);
    if (store->file < 0)
        TRY(create_file(store, part->total));
    if (part->total != store->total)
        return fail(ERR_CORRUPT, "snapshot '%s': %" PRIu64 " bytes in all, then %" PRIu64,
                    part->name, store->total, part->total);
    TRY(write_part(store, part));
    if (!intervals_cover(&store->written, store->total))
        return OK;
    TRY(complete(store));
    *ret_is_complete = 1;
    return OK;
}

enum status parameter_store_write(struct parameter_store *store,
                                  const struct message_snapshot_part *part, int *ret_is_complete)
{
    int is_complete = 0;
    if (store->expected[0] == 0 || strcmp(part->name, store->expected) != 0)
        return fail(ERR_STALE, "snapshot '%.64s' is not expected", part->name);
    enum status status = take_part(store, part, &is_complete);
    if (status != OK)
        parameter_store_drop(store, NULL);
    else
        *ret_is_complete = is_complete;
    return status;
}

/* ---- serving ---- */

/* Nobody trains on from a damaged file: before the first of its bytes is given out, all of it is
 * read. The file is the same as before while inode, size and time are. */
static enum status require_sound(struct parameter_store *store, const char *name, int file,
                                 const struct stat *info)
{
    struct snapshot_proof proof = {0};
    const struct stat *sound = &store->sound;
    if (sound->st_ino == info->st_ino && sound->st_size == info->st_size &&
        sound->st_mtim.tv_sec == info->st_mtim.tv_sec &&
        sound->st_mtim.tv_nsec == info->st_mtim.tv_nsec)
        return OK;
    TRY(snapshot_verify_file(name, file, &proof));
    store->sound = *info;
    return OK;
}

static enum status read_file(struct parameter_store *store, int file,
                             const struct message_snapshot_read *read,
                             struct message_snapshot_part *part)
{
    struct stat info;
    if (fstat(file, &info) != 0)
        return fail(status_of_errno(errno), "snapshot '%s': %s", read->name, strerror(errno));
    TRY(require_sound(store, read->name, file, &info));
    part->total = (uint64_t)info.st_size;
    part->offset = read->offset;
    if (read->offset >= part->total)
        return OK;
    uint64_t left = part->total - read->offset;
    uint32_t wanted = read->length < MESSAGE_PART_BYTES ? read->length : MESSAGE_PART_BYTES;
    part->length = left < wanted ? (uint32_t)left : wanted;
    part->data = mem_alloc(part->length);
    ssize_t got = pread(file, part->data, part->length, (off_t)read->offset);
    if (got < 0)
        return fail(status_of_errno(errno),
                    "cannot read snapshot '%s' in '%s' at byte %" PRIu64 ": %s", read->name,
                    store->directory, read->offset, strerror(errno));
    if (got != (ssize_t)part->length)
        return fail(ERR_CORRUPT, "snapshot '%s' in '%s' was cut off while it was read", read->name,
                    store->directory);
    part->checksum = hash_bytes(part->data, part->length);
    return OK;
}

enum status parameter_store_read(struct parameter_store *store,
                                 const struct message_snapshot_read *read,
                                 struct message_snapshot_part *ret_part)
{
    TRY(snapshot_name_check(read->name));
    char *path = path_of(store, read->name, SNAPSHOT_SUFFIX);
    struct message_snapshot_part part = {0};
    enum status status = OK;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        status =
            fail(status_of_errno(errno), "cannot open snapshot '%s': %s", path, strerror(errno));
    else
        status = read_file(store, file, read, &part);
    if (file >= 0)
        close(file);
    mem_free(path);
    if (status != OK) {
        mem_free(part.data);
        return status;
    }
    part.name = mem_string(read->name);
    *ret_part = part;
    return OK;
}

/* ---- pinning and removing ---- */

static enum status require(struct parameter_store *store, const char *name)
{
    TRY(snapshot_name_check(name));
    char *path = path_of(store, name, SNAPSHOT_SUFFIX);
    int exists = fs_exists(path);
    enum status status = exists ? OK : fail(ERR_INPUT, "there is no snapshot '%s'", path);
    mem_free(path);
    return status;
}

static int find_claim(const struct parameter_store *store, const char *name)
{
    for (int i = 0; i < store->claim_count; i++)
        if (strcmp(store->claims[i].text, name) == 0)
            return i;
    return -1;
}

enum status parameter_store_pin(struct parameter_store *store, const char *name, int is_pinned)
{
    TRY(require(store, name));
    if (is_pinned && find_claim(store, name) >= 0)
        return fail(ERR_STALE, "snapshot '%s' is about to be removed", name);
    char *pin = path_of(store, name, SNAPSHOT_PIN_SUFFIX);
    enum status status = OK;
    if (is_pinned)
        status = fs_write_file(pin, "", 0);
    else if (unlink(pin) == 0)
        status = fs_sync(store->directory);
    else if (errno != ENOENT)
        status = fail(ERR_IO, "cannot remove '%s': %s", pin, strerror(errno));
    mem_free(pin);
    return status;
}

enum status parameter_store_claim(struct parameter_store *store, const char *name, int *ret_exists)
{
    TRY(snapshot_name_check(name));
    char *path = path_of(store, name, SNAPSHOT_SUFFIX);
    char *pin = path_of(store, name, SNAPSHOT_PIN_SUFFIX);
    int exists = fs_exists(path), is_pinned = exists && fs_exists(pin);
    mem_free(path);
    mem_free(pin);
    if (is_pinned)
        return fail(ERR_INPUT, "snapshot '%s' is pinned: unpin it first", name);
    *ret_exists = exists;
    if (!exists || find_claim(store, name) >= 0)
        return OK;
    store->claims =
        mem_resize(store->claims, (size_t)(store->claim_count + 1) * sizeof(*store->claims));
    snprintf(store->claims[store->claim_count++].text, sizeof(store->claims->text), "%s", name);
    return OK;
}

void parameter_store_keep(struct parameter_store *store, const char *name)
{
    int claim = find_claim(store, name);
    if (claim >= 0)
        store->claims[claim] = store->claims[--store->claim_count];
}

enum status parameter_store_remove(struct parameter_store *store, const char *name)
{
    int exists = 0;
    TRY(parameter_store_claim(store, name, &exists));
    if (!exists)
        return OK;
    char *path = path_of(store, name, SNAPSHOT_SUFFIX);
    enum status status = unlink(path) == 0
                             ? fs_sync(store->directory)
                             : fail(ERR_IO, "cannot remove '%s': %s", path, strerror(errno));
    mem_free(path);
    parameter_store_keep(store, name);
    return status;
}

enum status parameter_store_check_new(struct parameter_store *store, const char *name)
{
    TRY(snapshot_name_check_given(name));
    if (require(store, name) == OK)
        return fail(ERR_INPUT, "there is a snapshot '%s' already: 'seer snapshot rm' removes it",
                    name);
    return OK;
}
