/* ingest_sink.c - labels, duplicates, shards and the store's lock, for one ingest. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "loader/ingest_sink.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fs.h"
#include "common/mem.h"
#include "loader/store_lock.h"

enum { SHARD_RECORDS_MAX = 1000000, SHARD_NAME_BYTES = INGEST_STEM_BYTES + 16 };

/* UTC time, then the process: unique within a store and in the order of time. */
static void name_shards(struct ingest_sink *sink)
{
    char stamp[CLOCK_TEXT_BYTES];
    clock_stamp(clock_wall_ms(), stamp);
    snprintf(sink->name_stem, sizeof(sink->name_stem), "%s-%d", stamp, (int)getpid());
}

void ingest_sink_init(struct ingest_sink *sink, const struct ingest_options *options,
                      struct ingest_result *result)
{
    *sink = (struct ingest_sink){.options = options, .result = result, .store_lock = -1};
    pthread_mutex_init(&sink->lock, NULL);
}

void ingest_sink_done(struct ingest_sink *sink)
{
    shard_writer_destroy(sink->writer);
    ingest_report_close(&sink->report);
    spool_done(&sink->spool);
    labels_done(&sink->labels);
    hash_set_done(&sink->seen);
    store_lock_give(sink->store_lock);
    pthread_mutex_destroy(&sink->lock);
}

/* When the shards' folder last got or lost one. */
static struct timespec time_of_shards(const struct ingest_sink *sink)
{
    struct stat info = {0};
    char *shards = mem_format("%s/shards", sink->options->store);
    if (stat(shards, &info) != 0)
        info.st_mtim = (struct timespec){0};
    mem_free(shards);
    return info.st_mtim;
}

/* What the store holds already; a dry run may be told of none. */
static enum status load_store(struct ingest_sink *sink)
{
    const char *store = sink->options->store;
    char *shards = mem_format("%s/shards", store);
    struct hash_set seen;
    enum status status = OK;
    hash_set_init(&seen);
    if (!fs_exists(shards))
        goto out;
    sink->changed = time_of_shards(sink);
    if (!sink->options->is_dry_run)
        TRY_OUT(shard_writer_clean(store));
    labels_done(&sink->labels);
    labels_init(&sink->labels);
    TRY_OUT(labels_load(&sink->labels, store));
    if (!sink->options->is_keeping_duplicates)
        TRY_OUT(hash_set_add_store(&seen, store));
    pthread_mutex_lock(&sink->lock);
    hash_set_done(&sink->seen);
    sink->seen = seen;
    hash_set_init(&seen);
    pthread_mutex_unlock(&sink->lock);
out:
    hash_set_done(&seen);
    mem_free(shards);
    return status;
}

/* Nobody else numbers labels or looks for duplicates in the store while we have its lock. */
static enum status take_lock(struct ingest_sink *sink)
{
    const struct ingest_options *options = sink->options;
    return store_lock_take(options->store, options->waiting, options->stop, &sink->store_lock);
}

static void give_lock(struct ingest_sink *sink)
{
    store_lock_give(sink->store_lock);
    sink->store_lock = -1;
}

/* For a shard that is about to begin. */
static enum status enter_again(struct ingest_sink *sink)
{
    if (sink->store_lock >= 0 || sink->options->is_dry_run)
        return OK;
    TRY(take_lock(sink));
    struct timespec now = time_of_shards(sink);
    int is_changed = now.tv_sec != sink->changed.tv_sec || now.tv_nsec != sink->changed.tv_nsec;
    return is_changed ? load_store(sink) : OK;
}

/* The store is made even if no image will be accepted: an empty store is one. */
static enum status make_store(const struct ingest_options *options)
{
    char *shards = mem_format("%s/shards", options->store);
    enum status status = fs_make_directory(shards);
    mem_free(shards);
    return status;
}

enum status ingest_sink_open(struct ingest_sink *sink)
{
    const struct ingest_options *options = sink->options;
    const char *watched = options->source.is_watching ? options->sources[0] : NULL;
    TRY(spool_open(&sink->spool, options->spool, watched));
    if (!options->is_dry_run) {
        TRY(make_store(options));
        TRY(take_lock(sink));
    }
    TRY(load_store(sink));
    name_shards(sink);
    TRY(ingest_report_open(&sink->report, options->report, options->source.is_watching));
    if (options->source.is_watching)
        give_lock(sink);
    return OK;
}

int ingest_sink_knows(struct ingest_sink *sink, struct hash128 hash)
{
    if (sink->options->is_keeping_duplicates)
        return 0;
    pthread_mutex_lock(&sink->lock);
    int is_known = hash_set_has(&sink->seen, hash);
    pthread_mutex_unlock(&sink->lock);
    return is_known;
}

void ingest_sink_decode(const struct ingest_sink *sink, struct ingest_picture *picture,
                        struct image *image)
{
    struct source_item *item = &picture->item;
    if (image_decode(image, item->bytes, item->length, &sink->options->limits) != OK) {
        /* A library that does not match its header is at fault, and not the picture: no reason. */
        int has_reason = image->reason != IMAGE_REASON_NONE;
        source_item_refuse(item, has_reason ? image->reason : IMAGE_REASON_CORRUPT, "%s",
                           fail_message());
        return;
    }
    picture->width = image->stored_width;
    picture->height = image->stored_height;
}

static int add_hash(struct ingest_sink *sink, struct hash128 hash)
{
    pthread_mutex_lock(&sink->lock);
    int is_new = hash_set_add(&sink->seen, hash);
    pthread_mutex_unlock(&sink->lock);
    return is_new;
}

static void complain(const struct ingest_sink *sink, enum status status)
{
    if (status != OK && sink->options->complain != NULL)
        sink->options->complain(fail_message());
}

static void note_shard(struct ingest_sink *sink, struct store_shard *shard)
{
    struct ingest_result *result = sink->result;
    if (sink->options->sealed != NULL)
        sink->options->sealed(shard);
    result->shards =
        mem_resize(result->shards, (result->shard_count + 1) * sizeof(*result->shards));
    result->shards[result->shard_count++] = *shard;
}

enum status ingest_sink_seal(struct ingest_sink *sink)
{
    struct store_shard shard;
    if (sink->writer == NULL)
        return OK;
    TRY(labels_save(&sink->labels, sink->options->store));
    TRY(shard_writer_seal(&sink->writer, &shard));
    note_shard(sink, &shard);
    complain(sink, spool_release(&sink->spool)); /* it stays where it is, and is in the store */
    if (sink->options->source.is_watching) {
        sink->changed = time_of_shards(sink);
        give_lock(sink);
    }
    return OK;
}

static enum status open_shard(struct ingest_sink *sink)
{
    char name[SHARD_NAME_BYTES];
    snprintf(name, sizeof(name), "%s-%04u", sink->name_stem, sink->result->shard_count);
    sink->shard_ms = clock_ms();
    TRY(shard_writer_open(sink->options->store, name, sink->options->shard_bytes, &sink->writer));
    if (sink->options->is_living)
        shard_writer_mark_living(sink->writer);
    return OK;
}

/* Folders known beforehand are settled; a list on stdin brings new ones as it goes. */
static enum status number_folder(struct ingest_sink *sink, const struct source_item *item,
                                 int32_t *ret_label)
{
    *ret_label = item->label;
    if (item->folder == NULL)
        return OK;
    *ret_label = labels_find(&sink->labels, item->folder);
    if (*ret_label != LABEL_NONE)
        return OK;
    TRY(labels_add(&sink->labels, item->folder));
    labels_settle(&sink->labels);
    *ret_label = labels_find(&sink->labels, item->folder);
    return OK;
}

static enum status write_picture(struct ingest_sink *sink, const struct ingest_picture *picture,
                                 int32_t label)
{
    const struct source_item *item = &picture->item;
    struct record record = {.bytes = item->bytes,
                            .length = item->length,
                            .label = label,
                            .width = picture->width,
                            .height = picture->height};
    if (sink->options->is_dry_run)
        return OK;
    if (sink->writer == NULL)
        TRY(open_shard(sink));
    return shard_writer_add(sink->writer, &record, picture->hash);
}

static int is_shard_full(const struct ingest_sink *sink)
{
    return sink->writer != NULL &&
           (shard_writer_bytes(sink->writer) >= sink->options->shard_bytes ||
            shard_writer_count(sink->writer) >= SHARD_RECORDS_MAX);
}

static enum status refuse(struct ingest_sink *sink, const struct source_item *item)
{
    sink->result->rejected[item->reason]++;
    sink->result->rejected_count++;
    return ingest_report_add(&sink->report, item->name, image_reason_name(item->reason),
                             item->detail);
}

/* It was known when it was read, and what knew it has expired since. */
static void decode_late(const struct ingest_sink *sink, struct ingest_picture *picture)
{
    struct image image;
    image_init(&image);
    ingest_sink_decode(sink, picture, &image);
    image_done(&image);
}

static enum status accept(struct ingest_sink *sink, struct ingest_picture *picture)
{
    const struct source_item *item = &picture->item;
    struct ingest_result *result = sink->result;
    int32_t label;
    TRY(enter_again(sink));
    if (picture->is_known && !ingest_sink_knows(sink, picture->hash))
        decode_late(sink, picture);
    if (item->reason != IMAGE_REASON_NONE)
        return refuse(sink, item);
    if (!add_hash(sink, picture->hash) && !sink->options->is_keeping_duplicates) {
        result->duplicates++;
        return ingest_report_add(&sink->report, item->name, "duplicate",
                                 "the same file is in the store already");
    }
    TRY(number_folder(sink, item, &label));
    TRY(write_picture(sink, picture, label));
    result->accepted++;
    result->labelled += label != LABEL_NONE;
    result->cut += (uint64_t)picture->is_cut;
    result->formats[image_format_of(item->bytes, item->length)]++;
    result->bytes += item->length;
    return OK;
}

enum status ingest_sink_put(struct ingest_sink *sink, struct ingest_picture *picture)
{
    sink->result->scanned++;
    if (picture->item.reason != IMAGE_REASON_NONE)
        TRY(refuse(sink, &picture->item));
    else
        TRY(accept(sink, picture));
    complain(sink, spool_judge(&sink->spool, &picture->item));
    if (is_shard_full(sink))
        return ingest_sink_seal(sink);
    if (sink->writer != NULL)
        return OK;
    /* Only what the store had already can wait here: it is safe. */
    complain(sink, spool_release(&sink->spool));
    if (sink->options->source.is_watching)
        give_lock(sink);
    return OK;
}

int64_t ingest_sink_deadline(const struct ingest_sink *sink)
{
    if (sink->writer == NULL || sink->options->seal_ms == 0)
        return -1;
    return sink->shard_ms + sink->options->seal_ms;
}

enum status ingest_sink_close(struct ingest_sink *sink)
{
    TRY(ingest_sink_seal(sink));
    return ingest_report_close(&sink->report);
}
