/* ingest.c - one reader, several decoders, one writer.
 *
 * Every picture is put in two queues: `work`, from which any decoder takes it, and `order`, from
 * which the writer takes it in the order read and waits until it is decoded. So order costs no
 * sorting, and both queues bound what is in flight. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "loader/ingest.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/check.h"
#include "common/clock.h"
#include "common/fs.h"
#include "common/mem.h"
#include "common/queue.h"
#include "common/thread.h"
#include "loader/hash_set.h"
#include "loader/ingest_report.h"
#include "loader/labels.h"
#include "loader/progress.h"
#include "loader/shard_writer.h"
#include "loader/store_lock.h"

enum {
    PICTURES_PER_JOB = 16,           /* in flight */
    IN_FLIGHT_BYTES_MAX = 512 << 20, /* encoded; one picture may exceed it */
    SHARD_RECORDS_MAX = 1000000,
    STEM_BYTES = CLOCK_TEXT_BYTES + 16, /* time and pid */
    SHARD_NAME_BYTES = STEM_BYTES + 16,
};

/* Named so as not to be taken for the loader's own struct image: the file, then its fate. */
struct picture {
    struct source_item item;
    struct hash128 hash;
    int32_t width;
    int32_t height;
    int is_decoded; /* guarded by ingest.lock */
};

struct ingest {
    const struct ingest_options *options;
    struct ingest_result *result;
    struct source **sources; /* [source_count]; the reader's once it runs */
    int store_lock;          /* -1: none */
    int64_t start_us;        /* since when we are at work, not waiting for the store */
    struct labels labels;
    struct hash_set seen;
    struct ingest_report report;
    struct progress progress;
    struct shard_writer *writer; /* NULL between shards */
    char name_stem[STEM_BYTES];

    struct thread reader;
    struct thread decoders[INGEST_JOBS_MAX];
    struct queue *order;
    struct queue *work;
    atomic_int is_stopping; /* the writer has enough; the reader comes to an end */
    atomic_int permille;    /* of the sources, by the reader */

    pthread_mutex_t lock; /* guards what follows and picture.is_decoded */
    pthread_cond_t changed;
    uint64_t in_flight_bytes;
};

static void picture_destroy(void *picture_pointer)
{
    struct picture *picture = picture_pointer;
    if (picture == NULL)
        return;
    source_item_done(&picture->item);
    mem_free(picture);
}

static int is_stop_asked(const struct ingest *ingest)
{
    return ingest->options->stop != NULL && atomic_load(ingest->options->stop);
}

static void wait_for_room(struct ingest *ingest, uint64_t bytes)
{
    pthread_mutex_lock(&ingest->lock);
    while (ingest->in_flight_bytes > 0 && ingest->in_flight_bytes + bytes > IN_FLIGHT_BYTES_MAX)
        pthread_cond_wait(&ingest->changed, &ingest->lock);
    ingest->in_flight_bytes += bytes;
    pthread_mutex_unlock(&ingest->lock);
}

/* A picture is in both queues at once: the writer owns it, a decoder borrows it until it says
 * is_decoded. */
static void hand_over(struct ingest *ingest, const struct source_item *item)
{
    struct picture *picture = mem_zero(sizeof(*picture));
    picture->item = *item;
    wait_for_room(ingest, picture->item.length);
    void *owned = picture, *borrowed = picture;
    /* Both queues are closed by this thread alone, so pushing cannot fail. */
    CHECK(queue_push(ingest->work, &borrowed, -1) == OK);
    CHECK(queue_push(ingest->order, &owned, -1) == OK);
}

static void read_source(struct ingest *ingest, int index)
{
    struct source *source = ingest->sources[index];
    struct source_item item;
    while (!atomic_load(&ingest->is_stopping) && !is_stop_asked(ingest) &&
           source_next(source, &item) == OK) {
        hand_over(ingest, &item);
        double part = (index + source_progress(source)) / ingest->options->source_count;
        atomic_store(&ingest->permille, (int)(part * 1000));
    }
}

static void reader_run(void *argument)
{
    struct ingest *ingest = argument;
    for (int i = 0; i < ingest->options->source_count; i++)
        read_source(ingest, i);
    queue_close(ingest->work);
    queue_close(ingest->order);
}

static void decode_picture(struct ingest *ingest, struct picture *picture, struct image *image)
{
    struct source_item *item = &picture->item;
    if (item->reason != IMAGE_REASON_NONE)
        return;
    if (image_decode(image, item->bytes, item->length, &ingest->options->limits) != OK) {
        item->reason = image->reason == IMAGE_REASON_NONE ? IMAGE_REASON_CORRUPT : image->reason;
        snprintf(item->detail, sizeof(item->detail), "%s", fail_message());
        return;
    }
    picture->width = image->stored_width;
    picture->height = image->stored_height;
    picture->hash = hash128_bytes(item->bytes, item->length);
}

static void decoder_run(void *argument)
{
    struct ingest *ingest = argument;
    struct image image;
    void *item;
    image_init(&image);
    while (queue_pop(ingest->work, -1, &item) == OK) {
        struct picture *picture = item;
        decode_picture(ingest, picture, &image);
        pthread_mutex_lock(&ingest->lock);
        picture->is_decoded = 1;
        pthread_cond_broadcast(&ingest->changed);
        pthread_mutex_unlock(&ingest->lock);
    }
    image_done(&image);
}

static enum status seal_shard(struct ingest *ingest)
{
    struct ingest_result *result = ingest->result;
    struct store_shard shard;
    if (ingest->writer == NULL)
        return OK;
    TRY(labels_save(&ingest->labels, ingest->options->store));
    TRY(shard_writer_seal(&ingest->writer, &shard));
    result->shards =
        mem_resize(result->shards, (result->shard_count + 1) * sizeof(*result->shards));
    result->shards[result->shard_count++] = shard;
    return OK;
}

static enum status open_shard(struct ingest *ingest)
{
    char name[SHARD_NAME_BYTES];
    snprintf(name, sizeof(name), "%s-%04u", ingest->name_stem, ingest->result->shard_count);
    return shard_writer_open(ingest->options->store, name, ingest->options->shard_bytes,
                             &ingest->writer);
}

/* Folders known beforehand are settled; a list on stdin brings new ones as it goes. */
static enum status number_folder(struct ingest *ingest, const struct source_item *item,
                                 int32_t *ret_label)
{
    *ret_label = item->label;
    if (item->folder == NULL)
        return OK;
    *ret_label = labels_find(&ingest->labels, item->folder);
    if (*ret_label != LABEL_NONE)
        return OK;
    TRY(labels_add(&ingest->labels, item->folder));
    labels_settle(&ingest->labels);
    *ret_label = labels_find(&ingest->labels, item->folder);
    return OK;
}

static enum status write_picture(struct ingest *ingest, const struct picture *picture,
                                 int32_t label)
{
    const struct source_item *item = &picture->item;
    struct record record = {.bytes = item->bytes,
                            .length = item->length,
                            .label = label,
                            .width = picture->width,
                            .height = picture->height};
    if (ingest->writer == NULL)
        TRY(open_shard(ingest));
    TRY(shard_writer_add(ingest->writer, &record, picture->hash));
    if (shard_writer_bytes(ingest->writer) >= ingest->options->shard_bytes ||
        shard_writer_count(ingest->writer) >= SHARD_RECORDS_MAX)
        return seal_shard(ingest);
    return OK;
}

static enum status judge(struct ingest *ingest, const struct picture *picture)
{
    const struct source_item *item = &picture->item;
    struct ingest_result *result = ingest->result;
    result->scanned++;
    if (item->reason != IMAGE_REASON_NONE) {
        result->rejected[item->reason]++;
        result->rejected_count++;
        return ingest_report_add(&ingest->report, item->name, image_reason_name(item->reason),
                                 item->detail);
    }
    if (!hash_set_add(&ingest->seen, picture->hash) && !ingest->options->is_keeping_duplicates) {
        result->duplicates++;
        return ingest_report_add(&ingest->report, item->name, "duplicate",
                                 "the same file is in the store already");
    }
    int32_t label;
    TRY(number_folder(ingest, item, &label));
    if (!ingest->options->is_dry_run)
        TRY(write_picture(ingest, picture, label));
    result->accepted++;
    result->labelled += label != LABEL_NONE;
    result->bytes += item->length;
    if (ingest->options->limit != 0 && result->accepted == ingest->options->limit)
        atomic_store(&ingest->is_stopping, 1);
    return OK;
}

static void await_decoded(struct ingest *ingest, struct picture *picture)
{
    pthread_mutex_lock(&ingest->lock);
    while (!picture->is_decoded)
        pthread_cond_wait(&ingest->changed, &ingest->lock);
    pthread_mutex_unlock(&ingest->lock);
}

static void release(struct ingest *ingest, struct picture *picture, uint64_t bytes)
{
    picture_destroy(picture);
    pthread_mutex_lock(&ingest->lock);
    ingest->in_flight_bytes -= bytes;
    pthread_cond_broadcast(&ingest->changed);
    pthread_mutex_unlock(&ingest->lock);
}

/* Of the sources, or of the limit if that comes sooner. */
static double fraction_done(struct ingest *ingest)
{
    double sources = atomic_load(&ingest->permille) / 1000.0;
    double limit = ingest->options->limit == 0
                       ? 0
                       : (double)ingest->result->accepted / (double)ingest->options->limit;
    return sources > limit ? sources : limit;
}

/* Takes every picture out of the queue, also those that come after the end was called. */
static enum status write_all(struct ingest *ingest)
{
    const struct ingest_result *result = ingest->result;
    enum status status = OK;
    char *words = NULL; /* of the first failure: the queue has words of its own */
    void *item;
    while (queue_pop(ingest->order, -1, &item) == OK) {
        struct picture *picture = item;
        await_decoded(ingest, picture);
        if (status == OK && !atomic_load(&ingest->is_stopping))
            status = judge(ingest, picture);
        if (status != OK && words == NULL) {
            words = mem_string(fail_message());
            atomic_store(&ingest->is_stopping, 1);
        }
        release(ingest, picture, picture->item.length);
        progress_show(&ingest->progress, fraction_done(ingest), result->scanned,
                      result->rejected_count, result->bytes);
    }
    if (status != OK)
        fail(status, "%s", words);
    mem_free(words);
    return status;
}

static enum status start_threads(struct ingest *ingest)
{
    size_t capacity = (size_t)ingest->options->jobs * PICTURES_PER_JOB;
    ingest->order = queue_create(capacity);
    ingest->work = queue_create(capacity + 1);
    for (int i = 0; i < ingest->options->jobs; i++) {
        TRY(thread_start(&ingest->decoders[i], "decode", decoder_run, ingest));
    }
    return thread_start(&ingest->reader, "read", reader_run, ingest);
}

static void stop_threads(struct ingest *ingest)
{
    if (ingest->work == NULL)
        return;
    thread_stop(&ingest->reader);
    queue_close(ingest->work);
    for (int i = 0; i < ingest->options->jobs; i++)
        thread_stop(&ingest->decoders[i]);
    queue_destroy(ingest->work, NULL);
    queue_destroy(ingest->order, picture_destroy);
}

/* All of them before anything is made or written, so that a misspelt one costs nothing. */
static enum status open_sources(struct ingest *ingest)
{
    const struct ingest_options *options = ingest->options;
    ingest->sources = mem_array((size_t)options->source_count, sizeof(*ingest->sources));
    for (int i = 0; i < options->source_count; i++)
        TRY(source_open(options->sources[i], &options->source, &ingest->sources[i]));
    return OK;
}

/* The store is made even if no image will be accepted: an empty store is one. From here to done()
 * nobody else numbers labels or looks for duplicates in it. */
static enum status enter_store(struct ingest *ingest)
{
    if (ingest->options->is_dry_run)
        return OK;
    const struct ingest_options *options = ingest->options;
    char *shards = mem_format("%s/shards", options->store);
    enum status status = fs_make_directory(shards);
    mem_free(shards);
    if (status == OK)
        status =
            store_lock_take(options->store, options->waiting, options->stop, &ingest->store_lock);
    return status;
}

/* What the store holds already; a dry run may be told of none. */
static enum status load_store(struct ingest *ingest)
{
    const char *store = ingest->options->store;
    char *shards = mem_format("%s/shards", store);
    enum status status = OK;
    if (!fs_exists(shards))
        goto out;
    if (!ingest->options->is_dry_run)
        TRY_OUT(shard_writer_clean(store));
    TRY_OUT(labels_load(&ingest->labels, store));
    if (!ingest->options->is_keeping_duplicates)
        TRY_OUT(hash_set_add_store(&ingest->seen, store));
out:
    mem_free(shards);
    return status;
}

static enum status number_folders(struct ingest *ingest)
{
    if (ingest->options->source.rule != LABEL_RULE_FOLDER)
        return OK;
    for (int i = 0; i < ingest->options->source_count; i++)
        TRY(source_folders(ingest->sources[i], &ingest->labels));
    labels_settle(&ingest->labels);
    return OK;
}

/* UTC time, then the process: unique within a store and in the order of time. */
static void name_shards(struct ingest *ingest)
{
    char stamp[CLOCK_TEXT_BYTES];
    clock_stamp(clock_wall_ms(), stamp);
    snprintf(ingest->name_stem, sizeof(ingest->name_stem), "%s-%d", stamp, (int)getpid());
}

static enum status run(struct ingest *ingest)
{
    TRY(open_sources(ingest));
    TRY(enter_store(ingest));
    ingest->start_us = clock_us();
    progress_start(&ingest->progress, "ingest", ingest->options->is_quiet);
    TRY(load_store(ingest));
    TRY(number_folders(ingest));
    TRY(ingest_report_open(&ingest->report, ingest->options->report));
    name_shards(ingest);
    TRY(start_threads(ingest));
    TRY(write_all(ingest));
    TRY(seal_shard(ingest));
    ingest->result->is_stopped = is_stop_asked(ingest);
    return ingest_report_close(&ingest->report);
}

static void done(struct ingest *ingest)
{
    stop_threads(ingest);
    shard_writer_destroy(ingest->writer);
    ingest_report_close(&ingest->report);
    for (int i = 0; ingest->sources != NULL && i < ingest->options->source_count; i++)
        source_close(ingest->sources[i]);
    mem_free(ingest->sources);
    labels_done(&ingest->labels);
    hash_set_done(&ingest->seen);
    store_lock_give(ingest->store_lock);
    pthread_cond_destroy(&ingest->changed);
    pthread_mutex_destroy(&ingest->lock);
}

enum status ingest_run(const struct ingest_options *options, struct ingest_result *ret_result)
{
    CHECK(options->jobs >= 1 && options->jobs <= INGEST_JOBS_MAX && options->source_count >= 1);
    struct ingest *ingest = mem_zero(sizeof(*ingest));
    *ret_result = (struct ingest_result){0};
    ingest->options = options;
    ingest->result = ret_result;
    pthread_mutex_init(&ingest->lock, NULL);
    pthread_cond_init(&ingest->changed, NULL);
    ingest->store_lock = -1;
    ingest->start_us = clock_us();
    enum status status = run(ingest);
    progress_stop(&ingest->progress);
    ret_result->seconds = (double)(clock_us() - ingest->start_us) / 1e6;
    if (status == ERR_END) { /* stopped before it began */
        ret_result->is_stopped = 1;
        status = OK;
    }
    char *words = mem_string(fail_message());
    done(ingest);
    if (status != OK)
        status = fail(status, "%s", words); /* cleaning up may have had words of its own */
    mem_free(words);
    mem_free(ingest);
    return status;
}

void ingest_result_done(struct ingest_result *result)
{
    for (uint32_t i = 0; i < result->shard_count; i++)
        store_shard_done(&result->shards[i]);
    mem_free(result->shards);
    result->shards = NULL;
    result->shard_count = 0;
}
