/* store_command.c - `seer store ls|stat|verify|export`: what is in a store, and is it sound. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "common/clock.h"
#include "common/fs.h"
#include "common/hash.h"
#include "common/json.h"
#include "common/mem.h"
#include "loader/commands.h"
#include "loader/image.h"
#include "loader/shard.h"
#include "loader/store.h"
#include "loader/store_export.h"

enum { OUTPUT_SCHEMA_VERSION = 1, HASHES_BYTES_MAX = 1 << 30, LABELS_COUNTED_MAX = 1 << 20 };

struct arguments {
    const char *output;
    int is_decoding;
    const char *format, *to; /* of export */
};

static int is_json(const struct arguments *arguments)
{
    return options_is_json(arguments->output);
}

static json_t *json_of_shard(const struct store_shard *shard)
{
    char hash[17];
    snprintf(hash, sizeof(hash), "%016" PRIx64, shard->content_hash);
    return json_pack("{ss sI sI sI sI ss sI sb}", "name", shard->name, "records",
                     (json_int_t)shard->record_count, "labelled", (json_int_t)shard->label_count,
                     "image_bytes", (json_int_t)shard->bytes, "file_bytes",
                     (json_int_t)shard->file_bytes, "content_xxh3", hash, "created_ms",
                     (json_int_t)shard->created_ms, "has_manifest", shard->has_manifest);
}

static enum status run_ls(const struct store *store, const struct arguments *arguments)
{
    if (is_json(arguments)) {
        json_t *shards = json_array();
        for (uint32_t i = 0; i < store->shard_count; i++)
            json_array_append_new(shards, json_of_shard(&store->shards[i]));
        json_t *answer = json_pack("{si ss so}", "schema_version", OUTPUT_SCHEMA_VERSION, "store",
                                   store->path, "shards", shards);
        json_print(answer);
        json_decref(answer);
        return OK;
    }
    printf("%-36s %10s %10s %10s  %s\n", "SHARD", "RECORDS", "LABELLED", "MB", "CREATED");
    for (uint32_t i = 0; i < store->shard_count; i++) {
        const struct store_shard *shard = &store->shards[i];
        char created[CLOCK_TEXT_BYTES];
        clock_text(shard->created_ms, created);
        printf("%-36s %10u %10u %10.1f  %s\n", shard->name, shard->record_count, shard->label_count,
               (double)shard->bytes / 1e6, created);
    }
    return OK;
}

/* What one pass over all records counts. */
struct census {
    uint64_t formats[IMAGE_FORMAT_COUNT];
    uint64_t bytes;
    uint64_t unlabelled, labels_beyond;
    uint32_t label_count;                /* one more than the largest label */
    uint64_t labels[LABELS_COUNTED_MAX]; /* records of each */
};

static void count_record(struct census *census, const struct record *record)
{
    census->formats[image_format_of(record->bytes, record->length)]++;
    census->bytes += record->length;
    if (record->label < 0) {
        census->unlabelled++;
    } else if (record->label >= LABELS_COUNTED_MAX) {
        census->labels_beyond++;
    } else {
        census->labels[record->label]++;
        if ((uint32_t)record->label >= census->label_count)
            census->label_count = (uint32_t)record->label + 1;
    }
}

/* Calls visit for each record; the first failure ends the shard. */
static enum status visit_records(const struct store_shard *shard,
                                 enum status (*visit)(void *context, uint32_t index,
                                                      const struct record *record),
                                 void *context)
{
    struct shard *opened;
    struct shard_reader *reader = NULL;
    struct record record;
    TRY(shard_open(shard->path, &opened));
    enum status status = shard_reader_open(opened, &reader);
    for (uint32_t i = 0; status == OK && i < shard_record_count(opened); i++) {
        status = shard_read(reader, i, &record);
        if (status == OK)
            status = visit(context, i, &record);
    }
    if (status == OK && shard_record_count(opened) != shard->record_count)
        status = fail(ERR_CORRUPT, "shard '%s' holds %u records, its manifest says %u", shard->path,
                      shard_record_count(opened), shard->record_count);
    shard_reader_close(reader);
    shard_close(opened);
    return status;
}

static enum status visit_for_census(void *context, uint32_t index, const struct record *record)
{
    (void)index;
    count_record(context, record);
    return OK;
}

static void print_census(const struct store *store, const struct census *census,
                         const struct arguments *arguments)
{
    uint64_t file_bytes = 0;
    json_t *labels = json_object();
    for (uint32_t i = 0; i < store->shard_count; i++)
        file_bytes += store->shards[i].file_bytes;
    for (uint32_t i = 0; i < census->label_count; i++) {
        char name[12];
        snprintf(name, sizeof(name), "%u", i);
        if (census->labels[i] > 0)
            json_object_set_new(labels, name, json_integer((json_int_t)census->labels[i]));
    }
    if (!is_json(arguments)) {
        printf("%-12s %u\n%-12s %" PRIu64 "\n%-12s %.1f MB, on disk %.1f MB\n", "shards",
               store->shard_count, "records", store->record_count, "images",
               (double)census->bytes / 1e6, (double)file_bytes / 1e6);
        printf("%-12s JPEG %" PRIu64 ", PNG %" PRIu64 ", WebP %" PRIu64 ", GIF %" PRIu64
               ", other %" PRIu64 "\n",
               "formats", census->formats[IMAGE_FORMAT_JPEG], census->formats[IMAGE_FORMAT_PNG],
               census->formats[IMAGE_FORMAT_WEBP], census->formats[IMAGE_FORMAT_GIF],
               census->formats[IMAGE_FORMAT_OTHER]);
        printf("%-12s %zu classes, %" PRIu64 " records without\n", "labels",
               json_object_size(labels), census->unlabelled);
        json_decref(labels);
        return;
    }
    json_t *answer = json_pack(
        "{si ss sI sI sI sI s{sI sI sI sI sI} so sI}", "schema_version", OUTPUT_SCHEMA_VERSION,
        "store", store->path, "shards", (json_int_t)store->shard_count, "records",
        (json_int_t)store->record_count, "image_bytes", (json_int_t)census->bytes, "file_bytes",
        (json_int_t)file_bytes, "formats", "jpeg", (json_int_t)census->formats[IMAGE_FORMAT_JPEG],
        "png", (json_int_t)census->formats[IMAGE_FORMAT_PNG], "webp",
        (json_int_t)census->formats[IMAGE_FORMAT_WEBP], "gif",
        (json_int_t)census->formats[IMAGE_FORMAT_GIF], "other",
        (json_int_t)census->formats[IMAGE_FORMAT_OTHER], "labels", labels, "unlabelled",
        (json_int_t)census->unlabelled);
    json_print(answer);
    json_decref(answer);
}

static enum status run_stat(const struct store *store, const struct arguments *arguments)
{
    struct census *census = mem_zero(sizeof(*census));
    enum status status = OK;
    for (uint32_t i = 0; i < store->shard_count && status == OK; i++)
        status = visit_records(&store->shards[i], visit_for_census, census);
    if (status == OK)
        print_census(store, census, arguments);
    mem_free(census);
    return status;
}

struct check {
    struct buf hashes; /* of hashes.bin; empty: the shard has none */
    struct image image;
    int is_decoding;
};

static enum status visit_for_check(void *context, uint32_t index, const struct record *record)
{
    struct check *check = context;
    struct hash128 here = hash128_bytes(record->bytes, record->length), there;
    if (check->hashes.length > 0) {
        if (((size_t)index + 1) * sizeof(there) > check->hashes.length)
            return fail(ERR_CORRUPT, "hashes.bin ends before record %u", index);
        memcpy(&there, check->hashes.bytes + index * sizeof(there), sizeof(there));
        if (here.low != there.low || here.high != there.high)
            return fail(ERR_CORRUPT, "record %u is not what was written: its bytes have changed",
                        index);
    }
    if (check->is_decoding &&
        image_decode(&check->image, record->bytes, record->length, NULL) != OK)
        return fail_add(ERR_CORRUPT, "record %u cannot be decoded (%s)", index,
                        image_reason_name(check->image.reason));
    return OK;
}

static enum status verify_shard(const struct store_shard *shard, int is_decoding)
{
    struct check check = {.is_decoding = is_decoding};
    uint64_t hash;
    buf_init(&check.hashes, HASHES_BYTES_MAX);
    image_init(&check.image);
    char *data = mem_format("%s/data.mdb", shard->path);
    char *hashes = mem_format("%s/hashes.bin", shard->path);
    enum status status = fs_exists(hashes) ? fs_read_file(hashes, &check.hashes) : OK;
    /* Records first: their message names the record, the file's hash names only the file. */
    if (status == OK)
        status = visit_records(shard, visit_for_check, &check);
    if (status == OK && shard->has_manifest)
        status = store_hash_file(data, &hash);
    if (status == OK && shard->has_manifest && hash != shard->content_hash)
        status =
            fail(ERR_CORRUPT, "the bytes of '%s' are not those that its manifest describes", data);
    mem_free(hashes);
    mem_free(data);
    image_done(&check.image);
    buf_done(&check.hashes);
    return status;
}

static enum status run_verify(const struct store *store, const struct arguments *arguments)
{
    uint32_t damaged = 0;
    json_t *shards = json_array();
    for (uint32_t i = 0; i < store->shard_count; i++) {
        const struct store_shard *shard = &store->shards[i];
        enum status status = verify_shard(shard, arguments->is_decoding);
        const char *words = status == OK ? "" : fail_message();
        damaged += status != OK;
        if (!is_json(arguments))
            printf("%-36s %10u  %s%s\n", shard->name, shard->record_count,
                   status == OK ? "ok" : "DAMAGED: ", words);
        json_array_append_new(shards, json_pack("{ss sI sb ss}", "name", shard->name, "records",
                                                (json_int_t)shard->record_count, "ok", status == OK,
                                                "error", words));
    }
    json_t *answer = json_pack("{si ss sI sI so}", "schema_version", OUTPUT_SCHEMA_VERSION, "store",
                               store->path, "records", (json_int_t)store->record_count, "damaged",
                               (json_int_t)damaged, "shards", shards);
    if (is_json(arguments))
        json_print(answer);
    json_decref(answer);
    if (damaged > 0)
        return fail(ERR_CORRUPT,
                    "%u of %u shards are damaged: remove their folders under "
                    "'%s/shards' and ingest their images again",
                    damaged, store->shard_count, store->path);
    return OK;
}

struct exporter {
    struct store_export *export;
    const struct store_shard *shard;
    uint64_t records, bytes;
};

static enum status visit_for_export(void *context, uint32_t index, const struct record *record)
{
    struct exporter *exporter = context;
    exporter->records++;
    exporter->bytes += record->length;
    return store_export_add(exporter->export, exporter->shard->name, index, record);
}

/* On stdout there is the tar. */
static void print_export(const struct exporter *exporter, const struct arguments *arguments)
{
    json_t *answer =
        json_pack("{si sI sI ss ss}", "schema_version", OUTPUT_SCHEMA_VERSION, "records",
                  (json_int_t)exporter->records, "bytes", (json_int_t)exporter->bytes, "format",
                  arguments->format, "to", arguments->to);
    if (is_json(arguments))
        json_print(answer);
    else
        printf("%" PRIu64 " images, %.1f MB, to %s\n", exporter->records,
               (double)exporter->bytes / 1e6, arguments->to);
    json_decref(answer);
}

static enum status run_export(const struct store *store, const struct arguments *arguments)
{
    struct exporter exporter = {0};
    TRY(store_export_open(arguments->format, arguments->to, &exporter.export));
    enum status status = OK;
    for (uint32_t i = 0; i < store->shard_count && status == OK; i++) {
        exporter.shard = &store->shards[i];
        status = visit_records(exporter.shard, visit_for_export, &exporter);
    }
    if (status == OK)
        status = store_export_finish(&exporter.export);
    store_export_destroy(exporter.export);
    if (status == OK && strcmp(arguments->to, "-") != 0)
        print_export(&exporter, arguments);
    return status;
}

/* What each verb does with the store that it is given. */
static enum status with_store(const struct arguments *arguments, const char *path,
                              enum status (*run)(const struct store *store,
                                                 const struct arguments *arguments))
{
    struct store store = {0};
    TRY(store_load(path, &store));
    enum status status = run(&store, arguments);
    store_done(&store);
    return status;
}

static enum status ls(const void *arguments, int count, char **words)
{
    (void)count;
    return with_store(arguments, words[0], run_ls);
}

static enum status stat_all(const void *arguments, int count, char **words)
{
    (void)count;
    return with_store(arguments, words[0], run_stat);
}

static enum status verify(const void *arguments, int count, char **words)
{
    (void)count;
    return with_store(arguments, words[0], run_verify);
}

static enum status export_all(const void *arguments, int count, char **words)
{
    (void)count;
    return with_store(arguments, words[0], run_export);
}

static const struct verb verbs[] = {
    {"ls", "DIR", 1, 1, ls, "its shards"},
    {"stat", "DIR", 1, 1, stat_all, "what is in them"},
    {"verify", "DIR", 1, 1, verify, "check every record against the hashes of when it was written"},
    {"export", "DIR", 1, 1, export_all, "take the images out"}};

enum { VERB_COUNT = sizeof(verbs) / sizeof(verbs[0]) };

static int store_command_run(int argc, char **argv)
{
    struct arguments arguments = {.output = "table"};
    const struct option_row rows[] = {
        {"decode", 0, OPTION_FLAG, &arguments.is_decoding, NULL, "verify: decode every image too"},
        {"format", 0, OPTION_STRING, &arguments.format, "NAME", "export: tar, dir or lsun"},
        {"to", 0, OPTION_STRING, &arguments.to, "PATH", "export: where to; - is stdout"},
        {"output", 'o', OPTION_STRING, &arguments.output, "FORMAT", "table or json"},
        {0},
    };
    const struct usage usage = {
        .program = "seer store",
        .synopsis = "ls|stat|verify|export DIR [options]",
        .summary = "Shows the shards of a store (ls), what is in them (stat), or checks every "
                   "record against\nthe hashes taken when it was written (verify; exit 1 if any is "
                   "damaged),\nor takes the images out as a WebDataset tar, a folder or an LSUN "
                   "LMDB (export).",
        .examples = "  seer store ls store\n  seer store stat store -o json\n"
                    "  seer store verify store --decode\n"
                    "  seer store export store --format tar --to images.tar",
        .options = rows,
        .verbs = verbs,
        .verb_count = VERB_COUNT,
    };
    return verbs_run(&usage, &arguments.output, &arguments, argc, argv);
}

const struct command store_command = {"store", "show, check and export the shards of a store",
                                      store_command_run};
