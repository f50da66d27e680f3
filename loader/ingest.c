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
#include <unistd.h>

#include "common/buf.h"
#include "common/check.h"
#include "common/clock.h"
#include "common/mem.h"
#include "common/queue.h"
#include "common/thread.h"
#include "loader/ingest_sink.h"
#include "loader/png.h"
#include "loader/progress.h"
#include "loader/record.h"

enum {
    PICTURES_PER_JOB = 16,           /* in flight */
    IN_FLIGHT_BYTES_MAX = 512 << 20, /* encoded; one picture may exceed it */
};

struct picture {
    struct ingest_picture facts;
    uint64_t bytes; /* counted in ingest.in_flight_bytes: as read */
    int is_decoded; /* guarded by ingest.lock */
};

struct ingest {
    const struct ingest_options *options;
    struct ingest_result *result;
    struct source **sources; /* [source_count]; the reader's once it runs */
    int64_t start_us;        /* since when we are at work, not waiting for the store */
    struct ingest_sink sink; /* the writer's */
    struct progress progress;
    char *watch_words; /* why a watch came to its end; the reader's until it has ended; or NULL */

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
    source_item_done(&picture->facts.item);
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
    picture->facts.item = *item;
    picture->bytes = item->length;
    wait_for_room(ingest, picture->bytes);
    void *owned = picture, *borrowed = picture;
    /* Both queues are closed by this thread alone, so pushing cannot fail. */
    CHECK(queue_push(ingest->work, &borrowed, -1) == OK);
    CHECK(queue_push(ingest->order, &owned, -1) == OK);
}

static int is_over(struct ingest *ingest)
{
    return atomic_load(&ingest->is_stopping) || is_stop_asked(ingest);
}

/* Nothing more is wanted of the reader, which may be waiting for a picture. */
static void stop_reading(struct ingest *ingest)
{
    const uint64_t one = 1;
    atomic_store(&ingest->is_stopping, 1);
    if (ingest->options->source.is_watching &&
        write(ingest->options->source.wake, &one, sizeof(one)) < 0)
        return; /* it is full: the reader is woken already */
}

static void read_source(struct ingest *ingest, int index)
{
    struct source *source = ingest->sources[index];
    struct source_item item;
    while (!is_over(ingest)) {
        if (source_next(source, &item) != OK) {
            if (ingest->options->source.is_watching && !is_over(ingest))
                ingest->watch_words = mem_string(fail_message());
            return;
        }
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

/* What is left of a file that breaks off is stored as a PNG: whoever decodes it later need not
 * know.
 */
static void keep_as_png(struct picture *picture, const struct image *image)
{
    struct source_item *item = &picture->facts.item;
    struct buf png;
    buf_init(&png, RECORD_BYTES_MAX);
    if (png_encode(image->pixels, (uint32_t)image->width, (uint32_t)image->height, 3, &png) == OK) {
        mem_free(item->bytes);
        item->bytes = png.bytes; /* given to the item */
        item->length = png.length;
        png.bytes = NULL;
        picture->facts.hash = hash128_bytes(item->bytes, item->length);
        picture->facts.width = image->width;
        picture->facts.height = image->height;
        picture->facts.is_cut = 1;
    } else {
        source_item_refuse(item, IMAGE_REASON_TRUNCATED, "what is left of it: %s", fail_message());
    }
    buf_done(&png);
}

static void decode_picture(struct ingest *ingest, struct picture *picture, struct image *image)
{
    struct source_item *item = &picture->facts.item;
    if (item->reason != IMAGE_REASON_NONE)
        return;
    picture->facts.hash = hash128_bytes(item->bytes, item->length);
    picture->facts.is_known = ingest_sink_knows(&ingest->sink, picture->facts.hash);
    if (picture->facts.is_known)
        return;
    ingest_sink_decode(&ingest->sink, &picture->facts, image);
    if (item->reason == IMAGE_REASON_NONE && image->is_cut)
        keep_as_png(picture, image);
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

static void await_decoded(struct ingest *ingest, struct picture *picture)
{
    pthread_mutex_lock(&ingest->lock);
    while (!picture->is_decoded)
        pthread_cond_wait(&ingest->changed, &ingest->lock);
    pthread_mutex_unlock(&ingest->lock);
}

static void release(struct ingest *ingest, struct picture *picture)
{
    uint64_t bytes = picture->bytes;
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

static enum status put(struct ingest *ingest, struct picture *picture)
{
    const struct ingest_result *result = ingest->result;
    if (atomic_load(&ingest->is_stopping))
        return OK;
    TRY(ingest_sink_put(&ingest->sink, &picture->facts));
    if (ingest->options->limit != 0 && result->accepted == ingest->options->limit)
        stop_reading(ingest);
    return OK;
}

/* Takes every picture out of the queue, also those that come after the end was called. A shard that
 * has waited long enough for more is sealed in between. */
static enum status write_all(struct ingest *ingest)
{
    const struct ingest_result *result = ingest->result;
    enum status status = OK, popped;
    char *words = NULL; /* of the first failure: the queue has words of its own */
    void *item;
    for (;;) {
        popped = queue_pop(ingest->order, status == OK ? ingest_sink_deadline(&ingest->sink) : -1,
                           &item);
        if (popped == ERR_END)
            break;
        struct picture *picture = popped == OK ? item : NULL;
        if (picture == NULL) {
            status = ingest_sink_seal(&ingest->sink);
        } else {
            await_decoded(ingest, picture);
            if (status == OK)
                status = put(ingest, picture);
        }
        if (status != OK && words == NULL) {
            words = mem_string(fail_message());
            stop_reading(ingest);
        }
        if (picture == NULL)
            continue;
        release(ingest, picture);
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
    stop_reading(ingest);
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

static enum status number_folders(struct ingest *ingest)
{
    if (ingest->options->source.rule != LABEL_RULE_FOLDER)
        return OK;
    for (int i = 0; i < ingest->options->source_count; i++)
        TRY(source_folders(ingest->sources[i], &ingest->sink.labels));
    labels_settle(&ingest->sink.labels);
    return OK;
}

static enum status run(struct ingest *ingest)
{
    TRY(open_sources(ingest));
    TRY(ingest_sink_open(&ingest->sink));
    ingest->start_us = clock_us();
    progress_start(&ingest->progress, "ingest", ingest->options->is_quiet);
    TRY(number_folders(ingest));
    TRY(start_threads(ingest));
    TRY(write_all(ingest));
    TRY(ingest_sink_close(&ingest->sink));
    ingest->result->is_stopped = is_stop_asked(ingest);
    return ingest->watch_words == NULL ? OK : fail(ERR_IO, "%s", ingest->watch_words);
}

static void done(struct ingest *ingest)
{
    stop_threads(ingest);
    ingest_sink_done(&ingest->sink);
    for (int i = 0; ingest->sources != NULL && i < ingest->options->source_count; i++)
        source_close(ingest->sources[i]);
    mem_free(ingest->sources);
    mem_free(ingest->watch_words);
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
    ingest_sink_init(&ingest->sink, options, ret_result);
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
