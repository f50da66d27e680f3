/* shard.c - a sealed LMDB environment behind an index of records. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "loader/shard.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <lmdb.h>

#include "common/mem.h"
#include "loader/shard_check.h"

enum {
    KEY_BYTES = 8,               /* of our own keys, "%08u" */
    OWN_RECORDS_MAX = 100000000, /* as many as such keys can name */
};

enum value_kind { VALUE_DATUM, VALUE_IMAGE };

/* Where the key of a foreign record is, in struct shard's key_bytes. */
struct key_span {
    uint64_t offset;
    uint32_t length;
};

struct shard {
    char *path;
    MDB_env *env;
    MDB_dbi main;
    uint32_t record_count;
    enum value_kind kind;
    int may_be_raw;
    struct key_span *keys; /* [record_count]; NULL when keys are our own */
    char *key_bytes;
};

struct shard_reader {
    struct shard *shard;
    MDB_txn *transaction;
};

static enum status shard_fail(const struct shard *shard, int error)
{
    enum status status = status_of_errno(error); /* LMDB's own codes are negative */
    if (error == MDB_CORRUPTED || error == MDB_NOTFOUND || error == MDB_PAGE_NOTFOUND ||
        error == MDB_INVALID || error == MDB_BAD_VALSIZE)
        status = ERR_CORRUPT;
    return fail(status, "shard '%s': %s", shard->path, mdb_strerror(error));
}

static int is_image(const uint8_t *bytes, size_t length)
{
    return length >= 4 &&
           (memcmp(bytes, "\xFF\xD8\xFF", 3) == 0 || memcmp(bytes, "\x89PNG", 4) == 0 ||
            memcmp(bytes, "RIFF", 4) == 0 || memcmp(bytes, "GIF8", 4) == 0);
}

static enum status sniff_value(struct shard *shard, const MDB_val *value)
{
    struct record record;
    int channels;
    if (is_image(value->mv_data, value->mv_size)) {
        shard->kind = VALUE_IMAGE;
        return OK;
    }
    shard->kind = VALUE_DATUM;
    enum status status = shard->may_be_raw
                             ? record_decode_any(value->mv_data, value->mv_size, &record, &channels)
                             : record_decode(value->mv_data, value->mv_size, &record);
    if (status != OK)
        return fail_add(ERR_INPUT,
                        "shard '%s': its first value is neither an image file nor a usable Caffe "
                        "Datum",
                        shard->path);
    return OK;
}

static int is_own_key(const MDB_val *key, uint32_t index)
{
    char expected[KEY_BYTES + 3];
    snprintf(expected, sizeof(expected), "%08u", index);
    return key->mv_size == KEY_BYTES && memcmp(key->mv_data, expected, KEY_BYTES) == 0;
}

/* Keys are sorted, so first and last tell whether all are ours. */
static enum status has_own_keys(struct shard *shard, MDB_cursor *cursor, int *ret_is_own)
{
    MDB_val key, value;
    int error = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
    if (error != 0)
        return shard_fail(shard, error);
    TRY(sniff_value(shard, &value));
    int is_own = shard->record_count <= OWN_RECORDS_MAX && is_own_key(&key, 0);
    error = mdb_cursor_get(cursor, &key, &value, MDB_LAST);
    if (error != 0)
        return shard_fail(shard, error);
    *ret_is_own = is_own && is_own_key(&key, shard->record_count - 1);
    return OK;
}

static enum status index_keys(struct shard *shard, MDB_cursor *cursor)
{
    MDB_val key, value;
    size_t used = 0, capacity = (size_t)shard->record_count * 48;
    shard->keys = mem_array(shard->record_count, sizeof(*shard->keys));
    shard->key_bytes = mem_alloc(capacity);
    for (uint32_t i = 0; i < shard->record_count; i++) {
        int error = mdb_cursor_get(cursor, &key, &value, i == 0 ? MDB_FIRST : MDB_NEXT);
        if (error != 0)
            return shard_fail(shard, error);
        if (used + key.mv_size > capacity) {
            capacity = capacity * 2 + key.mv_size;
            shard->key_bytes = mem_resize(shard->key_bytes, capacity);
        }
        memcpy(shard->key_bytes + used, key.mv_data, key.mv_size);
        shard->keys[i] = (struct key_span){.offset = used, .length = (uint32_t)key.mv_size};
        used += key.mv_size;
    }
    return OK;
}

static enum status learn_layout(struct shard *shard, MDB_txn *transaction)
{
    MDB_cursor *cursor = NULL;
    int is_own = 0;
    int error = mdb_dbi_open(transaction, NULL, 0, &shard->main);
    if (error == 0)
        error = mdb_cursor_open(transaction, shard->main, &cursor);
    if (error != 0)
        return shard_fail(shard, error);
    enum status status = has_own_keys(shard, cursor, &is_own);
    if (status == OK && !is_own)
        status = index_keys(shard, cursor);
    mdb_cursor_close(cursor);
    return status;
}

static enum status open_environment(struct shard *shard, unsigned layout_flag)
{
    MDB_txn *transaction = NULL;
    int error = mdb_env_create(&shard->env);
    if (error == 0)
        error = mdb_env_open(shard->env, shard->path,
                             MDB_RDONLY | MDB_NOLOCK | MDB_NORDAHEAD | MDB_NOTLS | layout_flag, 0);
    if (error == 0)
        error = mdb_txn_begin(shard->env, NULL, MDB_RDONLY, &transaction);
    if (error != 0)
        return shard_fail(shard, error);
    enum status status = learn_layout(shard, transaction);
    if (status == OK)
        mdb_txn_commit(transaction); /* keeps the handle of the main database */
    else
        mdb_txn_abort(transaction);
    return status;
}

static enum status open_shard(const char *path, int may_be_raw, struct shard **ret_shard)
{
    enum status status = OK;
    struct stat info;
    uint64_t records = 0;
    char *file = NULL;
    struct shard *shard = mem_zero(sizeof(*shard));
    shard->path = mem_string(path);
    shard->may_be_raw = may_be_raw;
    if (stat(path, &info) != 0) {
        status = fail(status_of_errno(errno), "shard '%s': %s", path, strerror(errno));
        goto out;
    }
    int is_directory = S_ISDIR(info.st_mode);
    file = is_directory ? mem_format("%s/data.mdb", path) : mem_string(path);
    TRY_OUT(shard_check(file, &records));
    if (records == 0 || records > UINT32_MAX) {
        status = fail(ERR_INPUT, "shard '%s' has %llu records; usable are 1 to %u", path,
                      (unsigned long long)records, UINT32_MAX);
        goto out;
    }
    shard->record_count = (uint32_t)records;
    TRY_OUT(open_environment(shard, is_directory ? 0 : MDB_NOSUBDIR));
    *ret_shard = shard;
    shard = NULL; /* given to the caller */
out:
    mem_free(file);
    shard_close(shard);
    return status;
}

enum status shard_open(const char *path, struct shard **ret_shard)
{
    return open_shard(path, 0, ret_shard);
}

enum status shard_open_any(const char *path, struct shard **ret_shard)
{
    return open_shard(path, 1, ret_shard);
}

void shard_close(struct shard *shard)
{
    if (shard == NULL)
        return;
    if (shard->env != NULL)
        mdb_env_close(shard->env);
    mem_free(shard->keys);
    mem_free(shard->key_bytes);
    mem_free(shard->path);
    mem_free(shard);
}

uint32_t shard_record_count(const struct shard *shard)
{
    return shard->record_count;
}

const char *shard_path(const struct shard *shard)
{
    return shard->path;
}

enum status shard_reader_open(struct shard *shard, struct shard_reader **ret_reader)
{
    struct shard_reader *reader = mem_zero(sizeof(*reader));
    reader->shard = shard;
    int error = mdb_txn_begin(shard->env, NULL, MDB_RDONLY, &reader->transaction);
    if (error != 0) {
        mem_free(reader);
        return shard_fail(shard, error);
    }
    *ret_reader = reader;
    return OK;
}

void shard_reader_close(struct shard_reader *reader)
{
    if (reader == NULL)
        return;
    mdb_txn_abort(reader->transaction);
    mem_free(reader);
}

static enum status find_value(struct shard_reader *reader, uint32_t index, MDB_val *ret_value)
{
    struct shard *shard = reader->shard;
    char own[KEY_BYTES + 3];
    MDB_val key;
    if (shard->keys == NULL) {
        snprintf(own, sizeof(own), "%08u", index);
        key = (MDB_val){.mv_data = own, .mv_size = KEY_BYTES};
    } else {
        key = (MDB_val){.mv_data = shard->key_bytes + shard->keys[index].offset,
                        .mv_size = shard->keys[index].length};
    }
    int error = mdb_get(reader->transaction, shard->main, &key, ret_value);
    return error == 0 ? OK : shard_fail(shard, error);
}

static enum status find_record(struct shard_reader *reader, uint32_t index, MDB_val *ret_value)
{
    const struct shard *shard = reader->shard;
    if (index >= shard->record_count)
        return fail(ERR_INPUT, "shard '%s' has %u records; there is no record %u", shard->path,
                    shard->record_count, index);
    return find_value(reader, index, ret_value);
}

enum status shard_read(struct shard_reader *reader, uint32_t index, struct record *ret_record)
{
    const struct shard *shard = reader->shard;
    MDB_val value;
    enum status status = find_record(reader, index, &value);
    if (status == OK && shard->kind == VALUE_IMAGE)
        *ret_record =
            (struct record){.bytes = value.mv_data, .length = value.mv_size, .label = LABEL_NONE};
    else if (status == OK)
        status = record_decode(value.mv_data, value.mv_size, ret_record);
    if (status == OK && ret_record->length > RECORD_BYTES_MAX) /* no loader could send it */
        status = fail(ERR_CORRUPT, "%zu bytes; an image has %d at most", ret_record->length,
                      RECORD_BYTES_MAX);
    return status == OK ? OK : fail_add(status, "record %u of shard '%s'", index, shard->path);
}

enum status shard_read_any(struct shard_reader *reader, uint32_t index, struct record *ret_record,
                           int *ret_channels)
{
    const struct shard *shard = reader->shard;
    MDB_val value;
    *ret_channels = 0;
    if (shard->kind == VALUE_IMAGE)
        return shard_read(reader, index, ret_record);
    enum status status = find_record(reader, index, &value);
    if (status == OK)
        status = record_decode_any(value.mv_data, value.mv_size, ret_record, ret_channels);
    return status == OK ? OK : fail_add(status, "record %u of shard '%s'", index, shard->path);
}
