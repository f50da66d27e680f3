/* preparation.c - a thread that forms one collective after the other and keeps the last. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/preparation.h"

#include <inttypes.h>

#include "common/log.h"
#include "common/mem.h"

static void lock(struct preparation *preparation)
{
    pthread_mutex_lock(&preparation->lock);
}

static void unlock(struct preparation *preparation)
{
    pthread_mutex_unlock(&preparation->lock);
}

/* From here on who wants to form another one waits for us; what we kept so far is void. */
static void begin(struct preparation *preparation)
{
    lock(preparation);
    struct collective *old = preparation->collective;
    preparation->collective = NULL;
    preparation->is_forming = 1;
    unlock(preparation);
    collective_destroy(old);
}

/* Keeps the collective; NULL = there is none. */
static void end(struct preparation *preparation, const struct job *job,
                struct collective *collective)
{
    lock(preparation);
    preparation->collective = collective;
    preparation->generation = job->action.message.header.generation;
    preparation->nonce = job->action.message.prepare.nonce;
    preparation->is_forming = 0;
    pthread_cond_signal(&preparation->is_idle);
    unlock(preparation);
}

static void prepare(struct preparation *preparation, struct job *job)
{
    struct handover *handover = preparation->means.handover;
    struct collective *collective = NULL;
    struct report *report = report_create(REPORT_PREPARED, job->action.ticket);
    begin(preparation);
    enum status status = handover_check_preparation(handover, job);
    if (status == OK)
        status = group_form(&preparation->means, job, &collective);
    end(preparation, job, collective);
    if (status == OK) {
        log_debug("event=prepared generation=%" PRIu64, job->action.message.header.generation);
    } else {
        report->kind = REPORT_PREPARE_FAILED;
        report->reason = mem_string(fail_message());
    }
    handover_tell(handover, &report);
}

static void preparation_run(void *argument)
{
    struct preparation *preparation = argument;
    struct job *job;
    while ((job = handover_preparation(preparation->means.handover)) != NULL) {
        prepare(preparation, job);
        job_destroy(job);
    }
}

enum status preparation_start(struct preparation *preparation, const struct group_means *means)
{
    preparation->means = *means;
    pthread_mutex_init(&preparation->lock, NULL);
    pthread_cond_init(&preparation->is_idle, NULL);
    return thread_start(&preparation->thread, "prepare", preparation_run, preparation);
}

void preparation_stop(struct preparation *preparation)
{
    if (!preparation->thread.is_running)
        return;
    handover_end_preparations(preparation->means.handover);
    thread_stop(&preparation->thread);
    collective_destroy(preparation->collective);
    pthread_cond_destroy(&preparation->is_idle);
    pthread_mutex_destroy(&preparation->lock);
}

enum status preparation_take(struct preparation *preparation, uint64_t generation, uint64_t nonce,
                             struct collective **ret_collective)
{
    struct collective *collective = NULL;
    lock(preparation);
    if (preparation->generation == generation && preparation->nonce == nonce) {
        collective = preparation->collective;
        preparation->collective = NULL;
    }
    unlock(preparation);
    if (collective == NULL)
        return fail(ERR_STALE, "generation %" PRIu64 " is not prepared here", generation);
    *ret_collective = collective;
    return OK;
}

void preparation_drop(struct preparation *preparation)
{
    lock(preparation);
    while (preparation->is_forming)
        pthread_cond_wait(&preparation->is_idle, &preparation->lock);
    struct collective *collective = preparation->collective;
    preparation->collective = NULL;
    unlock(preparation);
    collective_destroy(collective);
}
