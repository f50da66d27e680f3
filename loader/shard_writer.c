/* shard_writer.c - one LMDB environment written front to back, then sealed by a rename. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "loader/shard_writer.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <lmdb.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/fs.h"
#include "common/mem.h"

enum {
    KEY_BYTES = 8,
    /* A transaction keeps its pages in memory: bound both their number and the lists of LMDB. */
    GROUP_RECORDS = 1000,
    GROUP_BYTES = 32 << 20,
    DATUM_OVERHEAD_BYTES = 64,
    HASHES_BYTES_MAX = 1 << 30,
    DISK_FULL_BYTES = 1 << 20, /* less than this is as good as nothing */
};

/* What the owner's file says, so that cleaning touches nothing that is not ours. */
static const char owner_mark[] = "everseer: a shard being written\n";

struct shard_writer {
    char *store;
    char *name;
    char *directory; /* STORE/unsealed/NAME */
    int owner;       /* descriptor of its locked file "owner" */
    MDB_env *env;
    MDB_dbi main;
    MDB_txn *transaction; /* the open group; NULL between groups */
    uint32_t group_records;
    uint64_t group_bytes;
    struct store_shard shard; /* counts so far */
    struct buf value;         /* the Datum being packed */
    struct buf hashes;        /* contents of hashes.bin */
};

/* LMDB calls a write that the full disk cut short an I/O error. */
static int is_disk_full(const struct shard_writer *writer, int error)
{
    uint64_t free_bytes;
    return error == ENOSPC || error == EDQUOT ||
           (error == EIO && fs_free_bytes(writer->store, &free_bytes) == OK &&
            free_bytes < DISK_FULL_BYTES);
}

static enum status writer_fail(const struct shard_writer *writer, int error)
{
    if (is_disk_full(writer, error))
        return fail(ERR_IO,
                    "cannot write shard '%s': %s; free some space and ingest again (sealed shards "
                    "stay valid, what they hold is skipped as duplicate)",
                    writer->directory, strerror(error == EIO ? ENOSPC : error));
    return fail(ERR_IO, "cannot write shard '%s': %s", writer->directory, mdb_strerror(error));
}

/* The lock that keeps cleaning and the birth of a writer apart. */
static enum status lock_directory(const char *directory, int *ret_lock)
{
    char *path = mem_format("%s/lock", directory);
    int lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    enum status status = OK;
    if (lock < 0 || flock(lock, LOCK_EX) != 0)
        status = fail(ERR_IO, "cannot lock '%s': %s", path, strerror(errno));
    if (status != OK && lock >= 0)
        close(lock);
    mem_free(path);
    if (status == OK)
        *ret_lock = lock;
    return status;
}

static enum status make_directories(const char *store)
{
    char *shards = mem_format("%s/shards", store);
    char *temporary = mem_format("%s/unsealed", store);
    enum status status = fs_make_directory(shards);
    if (status == OK)
        status = fs_make_directory(temporary);
    if (status == OK)
        status = fs_require_local(store);
    mem_free(temporary);
    mem_free(shards);
    return status;
}

/* Under the lock of unsealed/: the directory and, held for as long as we live, its owner's lock. */
static enum status claim_directory(struct shard_writer *writer)
{
    char *parent = mem_format("%s/unsealed", writer->store);
    char *owner = mem_format("%s/owner", writer->directory);
    int lock;
    enum status status = lock_directory(parent, &lock);
    if (status == OK) {
        if (mkdir(writer->directory, 0777) != 0)
            status = fail(ERR_IO, "cannot make '%s': %s", writer->directory, strerror(errno));
        if (status == OK)
            writer->owner = open(owner, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        if (status == OK && (writer->owner < 0 || flock(writer->owner, LOCK_EX | LOCK_NB) != 0))
            status = fail(ERR_IO, "cannot lock '%s': %s", owner, strerror(errno));
        if (status == OK && pwrite(writer->owner, owner_mark, sizeof(owner_mark) - 1, 0) !=
                                (ssize_t)sizeof(owner_mark) - 1)
            status = writer_fail(writer, errno);
        close(lock);
    }
    mem_free(owner);
    mem_free(parent);
    return status;
}

/* Crash safety comes from the rename, so LMDB need not flush on the way. The map is only address
 * space: three times the payload covers half-filled pages of the worst record size. */
static enum status open_environment(struct shard_writer *writer, uint64_t limit_bytes)
{
    size_t map_bytes = (size_t)(3 * (limit_bytes + RECORD_BYTES_MAX) + (64u << 20));
    int error = mdb_env_create(&writer->env);
    if (error == 0)
        error = mdb_env_set_mapsize(writer->env, map_bytes);
    if (error == 0)
        error =
            mdb_env_open(writer->env, writer->directory, MDB_NOSYNC | MDB_NOLOCK | MDB_NOTLS, 0666);
    return error == 0 ? OK : writer_fail(writer, error);
}

static enum status begin_group(struct shard_writer *writer)
{
    int error = mdb_txn_begin(writer->env, NULL, 0, &writer->transaction);
    if (error == 0)
        error = mdb_dbi_open(writer->transaction, NULL, 0, &writer->main);
    return error == 0 ? OK : writer_fail(writer, error);
}

static enum status commit_group(struct shard_writer *writer)
{
    if (writer->transaction == NULL)
        return OK;
    int error = mdb_txn_commit(writer->transaction);
    writer->transaction = NULL;
    writer->group_records = 0;
    writer->group_bytes = 0;
    return error == 0 ? OK : writer_fail(writer, error);
}

enum status shard_writer_open(const char *store, const char *name, uint64_t limit_bytes,
                              struct shard_writer **ret_writer)
{
    enum status status = OK;
    struct shard_writer *writer = mem_zero(sizeof(*writer));
    writer->owner = -1;
    writer->store = mem_string(store);
    writer->name = mem_string(name);
    writer->directory = mem_format("%s/unsealed/%s", store, name);
    buf_init(&writer->value, RECORD_BYTES_MAX + DATUM_OVERHEAD_BYTES);
    buf_init(&writer->hashes, HASHES_BYTES_MAX);
    TRY_OUT(make_directories(store));
    TRY_OUT(claim_directory(writer));
    TRY_OUT(open_environment(writer, limit_bytes));
    *ret_writer = writer;
    writer = NULL; /* given to the caller */
out:
    shard_writer_destroy(writer);
    return status;
}

void shard_writer_mark_living(struct shard_writer *writer)
{
    writer->shard.is_living = 1;
}

static void count_record(struct shard_writer *writer, const struct record *record)
{
    writer->shard.record_count++;
    writer->shard.label_count += record->label != LABEL_NONE;
    writer->shard.bytes += record->length;
    writer->group_records++;
    writer->group_bytes += record->length;
}

enum status shard_writer_add(struct shard_writer *writer, const struct record *record,
                             struct hash128 hash)
{
    buf_clear(&writer->value);
    TRY(record_encode(record, &writer->value));
    if (writer->transaction == NULL)
        TRY(begin_group(writer));
    char digits[KEY_BYTES + 3];
    snprintf(digits, sizeof(digits), "%08u", writer->shard.record_count);
    MDB_val key = {.mv_data = digits, .mv_size = KEY_BYTES};
    MDB_val value = {.mv_data = writer->value.bytes, .mv_size = writer->value.length};
    int error = mdb_put(writer->transaction, writer->main, &key, &value, MDB_APPEND);
    if (error != 0)
        return writer_fail(writer, error);
    TRY(buf_append(&writer->hashes, &hash, sizeof(hash)));
    count_record(writer, record);
    if (writer->group_records >= GROUP_RECORDS || writer->group_bytes >= GROUP_BYTES)
        return commit_group(writer);
    return OK;
}

uint32_t shard_writer_count(const struct shard_writer *writer)
{
    return writer->shard.record_count;
}

uint64_t shard_writer_bytes(const struct shard_writer *writer)
{
    return writer->shard.bytes;
}

/* Closes the environment and puts the two files that describe it beside it. */
static enum status finish_files(struct shard_writer *writer)
{
    TRY(commit_group(writer));
    int error = mdb_env_sync(writer->env, 1);
    if (error != 0)
        return writer_fail(writer, error);
    mdb_env_close(writer->env);
    writer->env = NULL;

    enum status status = OK;
    struct stat info;
    char *data = mem_format("%s/data.mdb", writer->directory);
    char *hashes = mem_format("%s/hashes.bin", writer->directory);
    TRY_OUT(fs_sync(data));
    TRY_OUT(store_hash_file(data, &writer->shard.content_hash));
    if (stat(data, &info) != 0) {
        status = fail(ERR_IO, "cannot ask for the size of '%s': %s", data, strerror(errno));
        goto out;
    }
    writer->shard.file_bytes = (uint64_t)info.st_size;
    writer->shard.created_ms = clock_wall_ms();
    TRY_OUT(fs_write_file(hashes, writer->hashes.bytes, writer->hashes.length));
    status = store_manifest_save(writer->directory, &writer->shard);
out:
    mem_free(hashes);
    mem_free(data);
    return status;
}

/* The owner's file goes last: whoever dies before is cleaned up after by it, who dies behind the
 * rename leaves a sealed shard with a file that nobody minds. */
static enum status publish(struct shard_writer *writer)
{
    char *owner = mem_format("%s/owner", writer->shard.path);
    enum status status = fs_sync(writer->directory);
    if (status == OK)
        status = fs_rename(writer->directory, writer->shard.path);
    if (status == OK) {
        unlink(owner);
        mem_free(writer->directory);
        writer->directory = NULL; /* nothing to remove any more */
    }
    mem_free(owner);
    return status;
}

enum status shard_writer_seal(struct shard_writer **writer_at, struct store_shard *ret_shard)
{
    struct shard_writer *writer = *writer_at;
    *writer_at = NULL;
    writer->shard.name = mem_string(writer->name);
    writer->shard.path = mem_format("%s/shards/%s", writer->store, writer->name);
    writer->shard.has_manifest = 1;
    enum status status = finish_files(writer);
    if (status == OK)
        status = publish(writer);
    if (status == OK) {
        *ret_shard = writer->shard;
        writer->shard = (struct store_shard){0}; /* its strings are the caller's */
    }
    shard_writer_destroy(writer);
    return status;
}

/* Files only, no folders: a shard has none, and nothing else may ever be removed by mistake. */
static enum status remove_files(const char *directory)
{
    enum status status = OK;
    DIR *entries = opendir(directory);
    if (entries == NULL)
        return fail(ERR_IO, "cannot read '%s': %s", directory, strerror(errno));
    for (struct dirent *entry; status == OK && (entry = readdir(entries)) != NULL;) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
            strcmp(entry->d_name, "owner") == 0)
            continue;
        char *path = mem_format("%s/%s", directory, entry->d_name);
        if (unlink(path) != 0)
            status = fail(ERR_IO, "cannot remove '%s': %s", path, strerror(errno));
        mem_free(path);
    }
    closedir(entries);
    return status;
}

/* The owner's file last, so that whoever dies on the way is cleaned up after. */
static enum status remove_unsealed(const char *directory)
{
    TRY(remove_files(directory));
    char *owner = mem_format("%s/owner", directory);
    enum status status = OK;
    if (unlink(owner) != 0 || rmdir(directory) != 0)
        status = fail(ERR_IO, "cannot remove '%s': %s", directory, strerror(errno));
    mem_free(owner);
    return status;
}

void shard_writer_destroy(struct shard_writer *writer)
{
    if (writer == NULL)
        return;
    if (writer->transaction != NULL)
        mdb_txn_abort(writer->transaction);
    if (writer->env != NULL)
        mdb_env_close(writer->env);
    if (writer->directory != NULL && writer->owner >= 0)
        remove_unsealed(writer->directory); /* what stays is cleaned by the next ingest */
    if (writer->owner >= 0)
        close(writer->owner);
    store_shard_done(&writer->shard);
    buf_done(&writer->value);
    buf_done(&writer->hashes);
    mem_free(writer->directory);
    mem_free(writer->name);
    mem_free(writer->store);
    mem_free(writer);
}

static int is_marked(int owner)
{
    char text[sizeof(owner_mark)];
    return pread(owner, text, sizeof(text), 0) == (ssize_t)sizeof(owner_mark) - 1 &&
           memcmp(text, owner_mark, sizeof(owner_mark) - 1) == 0;
}

static int is_empty_file(int file)
{
    struct stat info;
    return fstat(file, &info) == 0 && info.st_size == 0;
}

static int count_entries(const char *directory)
{
    int count = 0;
    DIR *entries = opendir(directory);
    for (struct dirent *entry; entries != NULL && (entry = readdir(entries)) != NULL;)
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    if (entries != NULL)
        closedir(entries);
    return count;
}

/* Removes one directory of unsealed/ unless its owner lives; called under the lock of unsealed/.
 * What has no owner's file with our mark is none of ours, unless nothing is in it: a writer that
 * died before it marked it, and so before it wrote anything. */
static enum status clean_one(const char *directory)
{
    enum status status = OK;
    char *path = mem_format("%s/owner", directory);
    int owner = open(path, O_RDWR | O_CLOEXEC);
    if (owner < 0) {
        rmdir(directory);
    } else if (flock(owner, LOCK_EX | LOCK_NB) == 0) {
        if (is_marked(owner))
            status = remove_unsealed(directory);
        else if (is_empty_file(owner) && count_entries(directory) == 1 && unlink(path) == 0)
            rmdir(directory);
    }
    if (owner >= 0)
        close(owner);
    mem_free(path);
    return status;
}

enum status shard_writer_clean(const char *store)
{
    enum status status = OK;
    char *parent = mem_format("%s/unsealed", store);
    DIR *entries = opendir(parent);
    int lock = -1;
    if (entries == NULL) {
        if (errno != ENOENT)
            status = fail(ERR_IO, "cannot read '%s': %s", parent, strerror(errno));
        goto out;
    }
    TRY_OUT(lock_directory(parent, &lock));
    for (struct dirent *entry; status == OK && (entry = readdir(entries)) != NULL;) {
        if (entry->d_name[0] == '.' || strcmp(entry->d_name, "lock") == 0)
            continue;
        char *directory = mem_format("%s/%s", parent, entry->d_name);
        status = clean_one(directory);
        mem_free(directory);
    }
out:
    if (lock >= 0)
        close(lock);
    if (entries != NULL)
        closedir(entries);
    mem_free(parent);
    return status;
}
