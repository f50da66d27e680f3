/* preparation.h - the collective of the next generation, formed while the present one trains.
 *
 * A thread of its own takes MEMBER_PREPARE jobs from the handover, forms their collectives and
 * reports. The newest one is kept until the training thread takes it over, drops it, or another
 * preparation replaces it. Whoever waits in here waits for a forming that is abandoned already. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_PREPARATION_H
#define WORKER_PREPARATION_H

#include <pthread.h>

#include "common/thread.h"
#include "worker/group.h"

struct preparation {
    struct thread thread;
    struct group_means means;
    pthread_mutex_t lock;   /* guards what follows */
    pthread_cond_t is_idle; /* is_forming became 0 */
    int is_forming;
    struct collective *collective; /* in waiting; NULL = none */
    uint64_t generation, nonce;    /* of it */
};

/* means are copied. A zeroed preparation may be stopped without a start. */
enum status preparation_start(struct preparation *preparation, const struct group_means *means);
/* Abandons what is being formed, drops what stands, and waits for the thread. */
void preparation_stop(struct preparation *preparation);

/* For the training thread. */
/* Gives what stands, if it is of this generation and nonce. ERR_STALE otherwise. */
enum status preparation_take(struct preparation *preparation, uint64_t generation, uint64_t nonce,
                             struct collective **ret_collective);
/* Ends what stands, and waits until nothing is being formed. What was ordered must have been
 * abandoned. */
void preparation_drop(struct preparation *preparation);

#endif
