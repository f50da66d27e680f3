/* store_export.c - one writer for each format, behind one table. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "loader/store_export.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <archive.h>
#include <archive_entry.h>
#include <lmdb.h>

#include "common/fs.h"
#include "common/hash.h"
#include "common/mem.h"

enum { LSUN_GROUP_RECORDS = 1000, TAR_BLOCK_BYTES = 10240 };

struct format {
    const char *name;
    enum status (*open)(struct store_export *export);
    /* One file of a sample; NULL where records are added whole. */
    enum status (*add)(struct store_export *export, const char *shard, uint32_t index,
                       const struct record *record);
    enum status (*finish)(struct store_export *export);
};

struct store_export {
    const struct format *format;
    char *to;
    char *working; /* what is being written; NULL on stdout, or when it is complete */
    struct archive *archive;
    MDB_env *env;
    MDB_dbi main;
    MDB_txn *transaction;
    uint32_t group_records;
};

static const char *extension_of(const struct record *record)
{
    static const struct {
        const char *magic, *extension;
    } kinds[] = {{"\xFF\xD8\xFF", "jpg"}, {"\x89PNG", "png"}, {"RIFF", "webp"}, {"GIF8", "gif"}};
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        size_t length = strlen(kinds[i].magic);
        if (record->length >= length && memcmp(record->bytes, kinds[i].magic, length) == 0)
            return kinds[i].extension;
    }
    return "img";
}

/* ---- tar ---- */

static enum status tar_fail(struct store_export *export)
{
    return fail(ERR_IO, "cannot write '%s': %s", export->to, archive_error_string(export->archive));
}

static enum status tar_open(struct store_export *export)
{
    export->archive = archive_write_new();
    archive_write_set_format_pax_restricted(export->archive);
    archive_write_set_bytes_per_block(export->archive, TAR_BLOCK_BYTES);
    int result = export->working == NULL
                     ? archive_write_open_fd(export->archive, STDOUT_FILENO)
                     : archive_write_open_filename(export->archive, export->working);
    return result == ARCHIVE_OK ? OK : tar_fail(export);
}

static enum status tar_member(struct store_export *export, const char *name, const void *bytes,
                              size_t length)
{
    struct archive_entry *entry = archive_entry_new();
    archive_entry_set_pathname(entry, name);
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_perm(entry, 0644);
    archive_entry_set_size(entry, (la_int64_t)length);
    int is_good = archive_write_header(export->archive, entry) == ARCHIVE_OK &&
                  archive_write_data(export->archive, bytes, length) == (la_ssize_t)length;
    archive_entry_free(entry);
    return is_good ? OK : tar_fail(export);
}

static enum status tar_add(struct store_export *export, const char *shard, uint32_t index,
                           const struct record *record)
{
    char label[16];
    char *name = mem_format("%s/%08u.%s", shard, index, extension_of(record));
    enum status status = tar_member(export, name, record->bytes, record->length);
    mem_free(name);
    if (status != OK || record->label == LABEL_NONE)
        return status;
    name = mem_format("%s/%08u.cls", shard, index);
    int length = snprintf(label, sizeof(label), "%d\n", record->label);
    status = tar_member(export, name, label, (size_t)length);
    mem_free(name);
    return status;
}

static enum status tar_finish(struct store_export *export)
{
    return archive_write_close(export->archive) == ARCHIVE_OK ? OK : tar_fail(export);
}

/* ---- folder ---- */

static enum status dir_open(struct store_export *export)
{
    return fs_make_directory(export->working);
}

/* Not flushed one by one: finishing is not a promise about power. */
static enum status write_file(const char *path, const void *bytes, size_t length)
{
    FILE *file = fopen(path, "we");
    int is_good = file != NULL && fwrite(bytes, 1, length, file) == length;
    int error = errno;
    if (file != NULL && fclose(file) != 0) {
        is_good = 0;
        error = errno;
    }
    return is_good ? OK : fail(ERR_IO, "cannot write '%s': %s", path, strerror(error));
}

static enum status dir_add(struct store_export *export, const char *shard, uint32_t index,
                           const struct record *record)
{
    char label[16];
    char *folder = mem_format("%s/%s", export->working, shard);
    char *path = mem_format("%s/%08u.%s", folder, index, extension_of(record));
    char *side = mem_format("%s/%08u.cls", folder, index);
    enum status status = fs_make_directory(folder);
    if (status == OK)
        status = write_file(path, record->bytes, record->length);
    if (status == OK && record->label != LABEL_NONE) {
        int length = snprintf(label, sizeof(label), "%d\n", record->label);
        status = write_file(side, label, (size_t)length);
    }
    mem_free(side);
    mem_free(path);
    mem_free(folder);
    return status;
}

static enum status nothing_to_finish(struct store_export *export)
{
    (void)export;
    return OK;
}

/* ---- LSUN: the value is the image file ---- */

static enum status lsun_fail(struct store_export *export, int error)
{
    return fail(ERR_IO, "cannot write '%s': %s", export->to, mdb_strerror(error));
}

/* The map is address space only. */
static enum status lsun_open(struct store_export *export)
{
    TRY(fs_make_directory(export->working));
    TRY(fs_require_local(export->working));
    int error = mdb_env_create(&export->env);
    if (error == 0)
        error = mdb_env_set_mapsize(export->env, (size_t)1 << 40);
    if (error == 0)
        error = mdb_env_open(export->env, export->working, MDB_NOSYNC | MDB_NOTLS, 0666);
    return error == 0 ? OK : lsun_fail(export, error);
}

static enum status lsun_commit(struct store_export *export)
{
    if (export->transaction == NULL)
        return OK;
    int error = mdb_txn_commit(export->transaction);
    export->transaction = NULL;
    export->group_records = 0;
    return error == 0 ? OK : lsun_fail(export, error);
}

static enum status lsun_add(struct store_export *export, const char *shard, uint32_t index,
                            const struct record *record)
{
    char digits[33];
    struct hash128 hash = hash128_bytes(record->bytes, record->length);
    int error = 0;
    (void)shard;
    (void)index;
    snprintf(digits, sizeof(digits), "%016llx%016llx", (unsigned long long)hash.high,
             (unsigned long long)hash.low);
    if (export->transaction == NULL)
        error = mdb_txn_begin(export->env, NULL, 0, &export->transaction);
    if (error == 0)
        error = mdb_dbi_open(export->transaction, NULL, 0, &export->main);
    MDB_val key = {.mv_data = digits, .mv_size = sizeof(digits) - 1};
    MDB_val value = {.mv_data = (void *)(uintptr_t)record->bytes, .mv_size = record->length};
    if (error == 0)
        error = mdb_put(export->transaction, export->main, &key, &value, 0);
    if (error != 0)
        return lsun_fail(export, error);
    return ++export->group_records == LSUN_GROUP_RECORDS ? lsun_commit(export) : OK;
}

static enum status lsun_finish(struct store_export *export)
{
    TRY(lsun_commit(export));
    int error = mdb_env_sync(export->env, 1);
    return error == 0 ? OK : lsun_fail(export, error);
}

static const struct format formats[] = {
    {"tar", tar_open, tar_add, tar_finish},
    {"dir", dir_open, dir_add, nothing_to_finish},
    {"lsun", lsun_open, lsun_add, lsun_finish},
};

static const struct format *find_format(const char *name)
{
    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
        if (name != NULL && strcmp(formats[i].name, name) == 0)
            return &formats[i];
    return NULL;
}

enum status store_export_open(const char *format, const char *to, struct store_export **ret_export)
{
    const struct format *chosen = find_format(format);
    if (chosen == NULL)
        return fail(ERR_INPUT, "--format is tar, dir or lsun, not '%s'",
                    format != NULL ? format : "");
    if (to == NULL || to[0] == 0)
        return fail(ERR_INPUT, "--to PATH is missing");
    int is_stdout = strcmp(to, "-") == 0;
    if (is_stdout && chosen != &formats[0])
        return fail(ERR_INPUT, "only a tar can go to stdout: name a path with --to");
    if (!is_stdout && fs_exists(to))
        return fail(ERR_INPUT, "'%s' exists already: name a path where nothing is", to);
    struct store_export *export = mem_zero(sizeof(*export));
    export->format = chosen;
    export->to = mem_string(to);
    export->working = is_stdout ? NULL : mem_format("%s.part", to);
    enum status status = chosen->open(export);
    if (status != OK) {
        store_export_destroy(export);
        return status;
    }
    *ret_export = export;
    return OK;
}

enum status store_export_add(struct store_export *export, const char *shard, uint32_t index,
                             const struct record *record)
{
    return export->format->add(export, shard, index, record);
}

enum status store_export_finish(struct store_export **export_at)
{
    struct store_export *export = *export_at;
    *export_at = NULL;
    enum status status = export->format->finish(export);
    if (status == OK && export->working != NULL)
        status = fs_rename(export->working, export->to);
    if (status == OK) {
        mem_free(export->working);
        export->working = NULL; /* nothing to remove any more */
    }
    store_export_destroy(export);
    return status;
}

void store_export_destroy(struct store_export *export)
{
    if (export == NULL)
        return;
    char *words = mem_string(fail_message());
    if (export->archive != NULL)
        archive_write_free(export->archive);
    if (export->transaction != NULL)
        mdb_txn_abort(export->transaction);
    if (export->env != NULL)
        mdb_env_close(export->env);
    if (export->working != NULL)
        fs_remove_tree(export->working);
    mem_free(export->working);
    mem_free(export->to);
    mem_free(export);
    fail(OK, "%s", words); /* cleaning up may have had words of its own */
    mem_free(words);
}
