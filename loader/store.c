/* store.c - manifests as JSON, and the list of them. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "loader/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "common/fs.h"
#include "common/hash.h"
#include "common/mem.h"
#include "loader/shard.h"

enum { MANIFEST_BYTES_MAX = 64 << 10, SHARDS_MAX = 1 << 20 };

enum status store_hash_file(const char *path, uint64_t *ret_hash)
{
    enum status status = OK;
    struct stat info;
    void *bytes = MAP_FAILED;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0 || fstat(file, &info) != 0) {
        status = fail(ERR_IO, "cannot open '%s': %s", path, strerror(errno));
        goto out;
    }
    if (info.st_size == 0) {
        *ret_hash = hash_bytes("", 0);
        goto out;
    }
    bytes = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_SHARED, file, 0);
    if (bytes == MAP_FAILED) {
        status = fail(ERR_IO, "cannot map '%s': %s", path, strerror(errno));
        goto out;
    }
    madvise(bytes, (size_t)info.st_size, MADV_SEQUENTIAL);
    *ret_hash = hash_bytes(bytes, (size_t)info.st_size);
    munmap(bytes, (size_t)info.st_size);
out:
    if (file >= 0)
        close(file);
    return status;
}

void store_shard_done(struct store_shard *shard)
{
    mem_free(shard->name);
    mem_free(shard->path);
    *shard = (struct store_shard){0};
}

enum status store_manifest_save(const char *directory, const struct store_shard *shard)
{
    char hash[17];
    snprintf(hash, sizeof(hash), "%016" PRIx64, shard->content_hash);
    json_t *manifest =
        json_pack("{si ss sI sI sI sI ss sI sb}", "schema_version", STORE_SCHEMA_VERSION, "name",
                  shard->name, "records", (json_int_t)shard->record_count, "labelled",
                  (json_int_t)shard->label_count, "image_bytes", (json_int_t)shard->bytes,
                  "file_bytes", (json_int_t)shard->file_bytes, "content_xxh3", hash, "created_ms",
                  (json_int_t)shard->created_ms, "living", shard->is_living);
    char *text = manifest == NULL ? NULL : json_dumps(manifest, JSON_INDENT(2));
    char *path = mem_format("%s/manifest.json", directory);
    enum status status = text == NULL
                             ? fail(ERR_INPUT, "the shard name '%s' is not UTF-8", shard->name)
                             : fs_write_file(path, text, strlen(text));
    mem_free(path);
    free(text);
    json_decref(manifest);
    return status;
}

/* Before all else: of a newer manifest the other keys may mean something else, or be gone. */
static enum status check_version(const char *path, json_t *manifest)
{
    const json_t *version = json_object_get(manifest, "schema_version");
    if (!json_is_integer(version))
        return fail(ERR_CORRUPT,
                    "'%s' has no schema_version; remove the shard and ingest its images again",
                    path);
    if (json_integer_value(version) != STORE_SCHEMA_VERSION)
        return fail(ERR_INPUT,
                    "'%s' has schema_version %lld; this program reads %d: use a newer everseer",
                    path, (long long)json_integer_value(version), STORE_SCHEMA_VERSION);
    return OK;
}

static enum status unpack_keys(const char *path, json_t *manifest, struct store_shard *ret_shard)
{
    json_error_t error;
    json_int_t records = -1, labelled = -1, bytes = -1, file_bytes = -1, created = -1;
    const char *hash = "";
    int is_living = 0; /* as all shards were before there were living ones */
    TRY(check_version(path, manifest));
    int is_bad =
        json_unpack_ex(manifest, &error, 0, "{sI sI sI sI ss sI s?b}", "records", &records,
                       "labelled", &labelled, "image_bytes", &bytes, "file_bytes", &file_bytes,
                       "content_xxh3", &hash, "created_ms", &created, "living", &is_living);
    if (is_bad)
        return fail(ERR_CORRUPT, "'%s': %s; remove the shard and ingest its images again", path,
                    error.text);
    if (records < 1 || records > UINT32_MAX || labelled < 0 || labelled > records || bytes < 0 ||
        file_bytes < 0)
        return fail(ERR_CORRUPT,
                    "'%s' has impossible counts; remove the shard and ingest its images again",
                    path);
    *ret_shard = (struct store_shard){.record_count = (uint32_t)records,
                                      .label_count = (uint32_t)labelled,
                                      .bytes = (uint64_t)bytes,
                                      .file_bytes = (uint64_t)file_bytes,
                                      .content_hash = strtoull(hash, NULL, 16),
                                      .created_ms = created,
                                      .is_living = is_living,
                                      .has_manifest = 1};
    return OK;
}

static enum status unpack_manifest(const char *path, const struct buf *text,
                                   struct store_shard *ret_shard)
{
    json_error_t error;
    json_t *manifest = json_loadb((const char *)text->bytes, text->length, 0, &error);
    if (manifest == NULL)
        return fail(ERR_CORRUPT, "'%s' line %d: %s; remove the shard and ingest its images again",
                    path, error.line, error.text);
    enum status status = unpack_keys(path, manifest, ret_shard);
    json_decref(manifest);
    return status;
}

/* A foreign shard that somebody put there: counted by opening it. */
static enum status count_foreign(const char *directory, struct store_shard *ret_shard)
{
    struct shard *shard;
    struct stat info;
    TRY(shard_open(directory, &shard));
    char *data = mem_format("%s/data.mdb", directory);
    int has_size = stat(data, &info) == 0;
    mem_free(data);
    *ret_shard = (struct store_shard){.record_count = shard_record_count(shard),
                                      .file_bytes = has_size ? (uint64_t)info.st_size : 0,
                                      .bytes = has_size ? (uint64_t)info.st_size : 0,
                                      .created_ms = has_size ? (int64_t)info.st_mtime * 1000 : 0};
    shard_close(shard);
    return OK;
}

enum status store_manifest_load(const char *directory, struct store_shard *ret_shard)
{
    struct buf text;
    struct store_shard shard;
    buf_init(&text, MANIFEST_BYTES_MAX);
    char *path = mem_format("%s/manifest.json", directory);
    enum status status = fs_exists(path) ? fs_read_file(path, &text) : ERR_END;
    if (status == ERR_END)
        status = count_foreign(directory, &shard);
    else if (status == OK)
        status = unpack_manifest(path, &text, &shard);
    if (status == OK) {
        const char *slash = strrchr(directory, '/');
        *ret_shard = shard;
        ret_shard->path = mem_string(directory);
        ret_shard->name = mem_string(slash == NULL ? directory : slash + 1);
    }
    mem_free(path);
    buf_done(&text);
    return status;
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

/* Not alphasort, whose order depends on the locale. */
static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* Whom to tell of a damaged shard, which is then left out; damaged is NULL where it is a failure.
 */
struct listener {
    void (*damaged)(void *context, const char *reason);
    void *context;
};

static enum status load_shards(const char *directory, struct dirent **entries, int count,
                               const struct listener *listener, struct store *store)
{
    store->shards = mem_array(count > 0 ? (size_t)count : 1, sizeof(*store->shards));
    for (int i = 0; i < count; i++) {
        struct store_shard *shard = &store->shards[store->shard_count];
        char *path = mem_format("%s/%s", directory, entries[i]->d_name);
        enum status status = store_manifest_load(path, shard);
        int is_gone = status != OK && !fs_exists(path); /* retired while we looked */
        mem_free(path);
        if (is_gone)
            continue;
        if (listener->damaged != NULL && (status == ERR_CORRUPT || status == ERR_INPUT)) {
            listener->damaged(listener->context, fail_message());
            continue;
        }
        TRY(status);
        store->shard_count++;
        store->record_count += shard->record_count;
        store->bytes += shard->bytes;
    }
    return OK;
}

/* Why there is no list of what `directory`, the shards of `path`, holds: errno knows. */
static enum status fail_unlisted(const char *path, const char *directory)
{
    if (errno != ENOENT && errno != ENOTDIR)
        return fail(ERR_IO, "cannot read '%s': %s", directory, strerror(errno));
    return fail(ERR_INPUT,
                "'%s' is not a store: it has no folder 'shards'; make one "
                "with 'seer ingest SOURCE... --store %s'",
                path, path);
}

enum status store_require(const char *path)
{
    char *shards = mem_format("%s/shards", path);
    DIR *directory = opendir(shards);
    enum status status = directory == NULL ? fail_unlisted(path, shards) : OK;
    if (directory != NULL)
        closedir(directory);
    mem_free(shards);
    return status;
}

static enum status load(const char *path, const struct listener *listener, struct store *ret_store)
{
    enum status status = OK;
    struct dirent **entries = NULL;
    struct store store = {.path = mem_string(path)};
    char *directory = mem_format("%s/shards", path);
    int count = scandir(directory, &entries, is_visible, by_name);
    if (count < 0)
        status = fail_unlisted(path, directory);
    else if (count > SHARDS_MAX)
        status =
            fail(ERR_INPUT, "store '%s' has %d shards; the limit is %d", path, count, SHARDS_MAX);
    else
        status = load_shards(directory, entries, count, listener, &store);
    for (int i = 0; i < count; i++)
        free(entries[i]);
    free(entries);
    mem_free(directory);
    if (status == OK)
        *ret_store = store;
    else
        store_done(&store);
    return status;
}

enum status store_load(const char *path, struct store *ret_store)
{
    return load(path, &(struct listener){0}, ret_store);
}

enum status store_load_sound(const char *path, void (*damaged)(void *context, const char *reason),
                             void *context, struct store *ret_store)
{
    return load(path, &(struct listener){damaged, context}, ret_store);
}

void store_done(struct store *store)
{
    for (uint32_t i = 0; i < store->shard_count; i++)
        store_shard_done(&store->shards[i]);
    mem_free(store->shards);
    mem_free(store->path);
    *store = (struct store){0};
}
