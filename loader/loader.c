/* loader.c - decode threads that share the images of the submitted plans.
 *
 * Model: the owner puts jobs at the end of one list; every thread claims the next image of the
 * first job that has one left, so the oldest batch is always finished first. A batch's bytes depend
 * on the plan alone, since each image is a function of its slot and position. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "loader/loader.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/check.h"
#include "common/clock.h"
#include "common/host.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/thread.h"
#include "loader/batch_job.h"
#include "loader/decoder.h"
#include "loader/shard_client.h"
#include "loader/shard_table.h"

enum { NAME_BYTES = 128 };

struct decode_thread {
    struct loader *loader; /* borrowed */
    struct thread thread;
    struct decoder decoder;
};

struct loader {
    struct config config;
    uint64_t seed;
    int thread_count;
    struct decode_thread *decoders; /* [thread_count] */

    struct shard_table shards;   /* has a lock of its own */
    struct shard_client *client; /* likewise; NULL: there is no loader */

    pthread_mutex_t lock;      /* guards everything below and the progress of jobs */
    pthread_cond_t has_work;   /* something can be claimed, or is_stopping */
    pthread_cond_t has_batch;  /* a job is over */
    struct batch_job *pending; /* submitted and not taken, in order */
    struct batch_job *idle;    /* memory for the next plans */
    struct batch_job *ahead;   /* not pending any more, and not given yet; NULL: none. Changed by
                                  the thread that takes alone */
    uint64_t serial;           /* of the last batch finished */
    int is_stopping;
};

/* These are called with the lock held; release_shards needs none. */

static int job_is_over(const struct batch_job *job)
{
    return job->done == job->wanted;
}

static struct batch_job *find_work(struct loader *loader)
{
    struct batch_job *job = loader->pending;
    while (job != NULL && job->claimed == job->wanted)
        job = job->next;
    return job;
}

static void release_shards(struct loader *loader, struct batch_job *job)
{
    for (uint32_t index = 0; index < job->image_count; index++) {
        struct batch_job_image *image = &job->images[index];
        if (loader->client != NULL)
            shard_client_drop(loader->client, &image->fetch);
        if (image->shard != NULL)
            atomic_fetch_sub(&image->shard->use_count, 1);
    }
}

static void push_idle(struct loader *loader, struct batch_job *job)
{
    job->next = loader->idle;
    loader->idle = job;
}

/* Under the lock: the one ahead is none if it was flushed since. */
static void drop_flushed(struct loader *loader)
{
    if (loader->ahead == NULL || !atomic_load(&loader->ahead->is_dropped))
        return;
    push_idle(loader, loader->ahead);
    loader->ahead = NULL;
}

static void drop_job(struct loader *loader, struct batch_job *job)
{
    release_shards(loader, job);
    push_idle(loader, job);
}

/* A decode thread; takes the lock itself. */
static void decoder_run(void *argument)
{
    struct decode_thread *thread = argument;
    struct loader *loader = thread->loader;
    pthread_mutex_lock(&loader->lock);
    while (!loader->is_stopping) {
        struct batch_job *job = find_work(loader);
        if (job == NULL) {
            pthread_cond_wait(&loader->has_work, &loader->lock);
            continue;
        }
        uint32_t index = job->claimed++;
        pthread_mutex_unlock(&loader->lock);
        int64_t start_us = clock_thread_us();
        decoder_image(&thread->decoder, job, index);
        int64_t decode_us = clock_thread_us() - start_us;
        pthread_mutex_lock(&loader->lock);
        job->batch.decode_us += decode_us;
        job->done++;
        if (job_is_over(job) && atomic_load(&job->is_dropped))
            drop_job(loader, job);
        else if (job_is_over(job))
            pthread_cond_signal(&loader->has_batch);
    }
    pthread_mutex_unlock(&loader->lock);
}

/* The public functions take the lock themselves. */

static enum status find_elsewhere(void *context, const struct planned_shard *shard)
{
    struct loader *loader = context;
    return shard_client_find(loader->client, shard);
}

static void loaders_changed(void *context)
{
    struct loader *loader = context;
    shard_table_retry(&loader->shards);
}

/* The table first: the client tells it of changes. */
static enum status start_shards(struct loader *loader, const struct key *key)
{
    const struct config *config = &loader->config;
    const char *addresses[CONFIG_LOADERS_MAX];
    int count = (int)config->data.loader_count;
    for (int i = 0; i < count; i++)
        addresses[i] = config->data.loaders[i];
    const struct shard_elsewhere elsewhere = {find_elsewhere, loader};
    TRY(shard_table_start(&loader->shards, loader->thread_count, count > 0 ? &elsewhere : NULL));
    if (count == 0)
        return OK;
    char host[NAME_BYTES / 2], name[NAME_BYTES];
    host_name(host, sizeof(host));
    snprintf(name, sizeof(name), "%s-%d", host, (int)getpid());
    const struct shard_client_setup setup = {.worker = name,
                                             .key = key,
                                             .addresses = addresses,
                                             .count = count,
                                             .changed = loaders_changed,
                                             .context = loader};
    return shard_client_start(&setup, &loader->client);
}

enum status loader_create(const struct config *config, uint64_t seed, const struct key *key,
                          struct loader **ret_loader)
{
    struct loader *loader = mem_zero(sizeof(*loader));
    loader->config = *config;
    loader->seed = seed;
    loader->thread_count = (int)config->data.decode_threads;
    pthread_mutex_init(&loader->lock, NULL);
    pthread_cond_init(&loader->has_work, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&loader->has_batch, &monotonic);
    pthread_condattr_destroy(&monotonic);
    loader->decoders = mem_array((size_t)loader->thread_count, sizeof(*loader->decoders));
    enum status status = start_shards(loader, key);
    for (int i = 0; i < loader->thread_count; i++) {
        loader->decoders[i].loader = loader;
        decoder_init(&loader->decoders[i].decoder, &loader->config, seed, i);
        loader->decoders[i].decoder.shards = &loader->shards;
        loader->decoders[i].decoder.client = loader->client;
    }
    TRY_OUT(status);
    for (int i = 0; i < loader->thread_count; i++) {
        char name[24]; /* thread.h keeps 15 */
        snprintf(name, sizeof(name), "decode-%d", i);
        TRY_OUT(thread_start(&loader->decoders[i].thread, name, decoder_run, &loader->decoders[i]));
    }
    *ret_loader = loader;
    loader = NULL; /* given to the caller */
out:
    loader_destroy(loader);
    return status;
}

static void destroy_jobs(struct batch_job *job)
{
    while (job != NULL) {
        struct batch_job *next = job->next;
        batch_job_destroy(job);
        job = next;
    }
}

void loader_destroy(struct loader *loader)
{
    if (loader == NULL)
        return;
    loader_flush(loader, 0);
    pthread_mutex_lock(&loader->lock);
    drop_flushed(loader);
    loader->is_stopping = 1;
    pthread_cond_broadcast(&loader->has_work);
    pthread_mutex_unlock(&loader->lock);
    for (int i = 0; i < loader->thread_count; i++) {
        thread_stop(&loader->decoders[i].thread);
        decoder_done(&loader->decoders[i].decoder);
    }
    mem_free(loader->decoders);
    destroy_jobs(loader->idle);
    shard_client_stop(loader->client);
    shard_table_stop(&loader->shards); /* it may ask the client to the end */
    shard_client_destroy(loader->client);
    pthread_cond_destroy(&loader->has_batch);
    pthread_cond_destroy(&loader->has_work);
    pthread_mutex_destroy(&loader->lock);
    mem_free(loader);
}

enum status loader_add_shard(struct loader *loader, uint32_t id, const char *path)
{
    return shard_table_add(&loader->shards, id, path, 0, 0);
}

enum status loader_add_shard_anywhere(struct loader *loader, uint32_t id, const char *path,
                                      uint32_t records, uint64_t content_hash)
{
    return shard_table_add(&loader->shards, id, path, records, content_hash);
}

void loader_keep_shards(struct loader *loader, uint32_t from, uint32_t until, const uint32_t *kept,
                        uint32_t count)
{
    shard_table_keep(&loader->shards, from, until, kept, count);
}

int loader_trouble(struct loader *loader, struct shard_trouble *ret_trouble)
{
    if (shard_table_trouble(&loader->shards, ret_trouble))
        return 1;
    struct shard_trouble trouble = {.shard = RECORD_NONE};
    int is_there = 0;
    if (loader->client == NULL ||
        !shard_client_note(loader->client, &is_there, trouble.reason, sizeof(trouble.reason)))
        return 0;
    trouble.kind = is_there ? SHARD_TROUBLE_LOADER_FOUND : SHARD_TROUBLE_LOADER_LOST;
    *ret_trouble = trouble;
    return 1;
}

static struct batch_job *take_idle(struct loader *loader)
{
    pthread_mutex_lock(&loader->lock);
    struct batch_job *job = loader->idle;
    if (job != NULL)
        loader->idle = job->next;
    pthread_mutex_unlock(&loader->lock);
    return job != NULL ? job : batch_job_create();
}

void loader_submit(struct loader *loader, const struct batch_plan *plan)
{
    shard_table_sweep(&loader->shards);
    struct batch_job *job = take_idle(loader);
    batch_job_plan(job, &loader->config, plan);
    for (uint32_t index = 0; index < job->image_count; index++) {
        struct batch_job_image *image = &job->images[index];
        image->shard = shard_table_use(&loader->shards, image->record.shard);
        if (image->shard != NULL && shard_table_is_remote(&loader->shards, image->shard))
            image->fetch =
                shard_client_ask(loader->client, &image->shard->planned, image->record.record);
    }
    pthread_mutex_lock(&loader->lock);
    struct batch_job **end = &loader->pending;
    while (*end != NULL)
        end = &(*end)->next;
    *end = job;
    pthread_cond_broadcast(&loader->has_work);
    pthread_mutex_unlock(&loader->lock);
}

/* NULL: none. */
static struct batch_job *take_ahead(struct loader *loader)
{
    pthread_mutex_lock(&loader->lock);
    drop_flushed(loader);
    struct batch_job *job = loader->ahead;
    loader->ahead = NULL;
    pthread_mutex_unlock(&loader->lock);
    return job;
}

/* Waits for the first pending job and moves it to `ahead`; takes the lock itself. */
static enum status finish_next(struct loader *loader, int64_t deadline_ms)
{
    const struct timespec until = {.tv_sec = deadline_ms / 1000,
                                   .tv_nsec = (deadline_ms % 1000) * 1000000};
    pthread_mutex_lock(&loader->lock);
    struct batch_job *job = loader->pending;
    int error = 0;
    while (job != NULL && !job_is_over(job) && error != ETIMEDOUT) {
        error = deadline_ms < 0 ? pthread_cond_wait(&loader->has_batch, &loader->lock)
                                : pthread_cond_timedwait(&loader->has_batch, &loader->lock, &until);
        job = loader->pending; /* the other thread may have flushed it */
    }
    uint64_t step = job != NULL ? job->batch.step : 0;
    uint32_t image_count = job != NULL ? job->image_count : 0;
    uint32_t done = job != NULL ? job->done : 0;
    int is_over = job != NULL && job_is_over(job);
    if (is_over) {
        loader->pending = job->next;
        loader->ahead = job;
        job->batch.serial = ++loader->serial;
    }
    pthread_mutex_unlock(&loader->lock);
    if (job == NULL)
        return fail(ERR_END, "the loader has no plan left: submit one before taking its batch");
    if (!is_over)
        return fail(ERR_TIMEOUT, "step %llu: %u of %u images are decoded at the deadline",
                    (unsigned long long)step, done, image_count);
    release_shards(loader, job);
    batch_job_collect(job);
    return OK;
}

enum status loader_take(struct loader *loader, int64_t deadline_ms, struct batch **ret_batch)
{
    struct batch_job *job = take_ahead(loader);
    while (job == NULL) { /* again if it is flushed this very moment */
        TRY(finish_next(loader, deadline_ms));
        job = take_ahead(loader);
    }
    *ret_batch = &job->batch;
    return OK;
}

const struct batch *loader_peek(struct loader *loader)
{
    pthread_mutex_lock(&loader->lock);
    drop_flushed(loader);
    pthread_mutex_unlock(&loader->lock);
    if (loader->ahead == NULL && finish_next(loader, clock_ms()) != OK)
        return NULL;
    return &loader->ahead->batch;
}

void loader_give(struct loader *loader, struct batch **batch)
{
    if (*batch == NULL)
        return;
    struct batch_job *job = (struct batch_job *)*batch; /* its first member */
    *batch = NULL;
    pthread_mutex_lock(&loader->lock);
    push_idle(loader, job);
    pthread_mutex_unlock(&loader->lock);
}

void loader_flush(struct loader *loader, uint64_t step)
{
    pthread_mutex_lock(&loader->lock);
    struct batch_job **link = &loader->pending;
    if (loader->ahead != NULL && loader->ahead->batch.step >= step)
        atomic_store(&loader->ahead->is_dropped, 1); /* who takes may be reading it */
    while (*link != NULL) {
        struct batch_job *job = *link;
        if (job->batch.step < step) {
            link = &job->next;
            continue;
        }
        *link = job->next;
        atomic_store(&job->is_dropped, 1);
        job->wanted = job->claimed;
        if (job_is_over(job))
            drop_job(loader, job); /* else the thread that ends its last image does it */
    }
    pthread_cond_broadcast(&loader->has_batch);
    pthread_mutex_unlock(&loader->lock);
    shard_table_wake(&loader->shards);
    if (loader->client != NULL)
        shard_client_wake(loader->client);
    shard_table_sweep(&loader->shards);
}
