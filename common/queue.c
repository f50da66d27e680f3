/* queue.c - a ring of pointers under one mutex. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "common/queue.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>

#include "common/check.h"
#include "common/mem.h"

struct queue {
    size_t capacity;      /* constant after creation */
    pthread_mutex_t lock; /* guards everything below */
    pthread_cond_t not_empty;
    pthread_cond_t not_full;
    size_t head;
    size_t count;
    int is_closed;
    void *items[];
};

struct queue *queue_create(size_t capacity)
{
    CHECK(capacity > 0);
    struct queue *queue = mem_zero(sizeof(*queue) + capacity * sizeof(void *));
    queue->capacity = capacity;
    pthread_mutex_init(&queue->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&queue->not_empty, &monotonic);
    pthread_cond_init(&queue->not_full, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return queue;
}

void queue_destroy(struct queue *queue, void (*free_item)(void *item))
{
    if (queue == NULL)
        return;
    for (; queue->count > 0; queue->count--) {
        if (free_item != NULL)
            free_item(queue->items[queue->head]);
        queue->head = (queue->head + 1) % queue->capacity;
    }
    pthread_cond_destroy(&queue->not_full);
    pthread_cond_destroy(&queue->not_empty);
    pthread_mutex_destroy(&queue->lock);
    mem_free(queue);
}

/* Called with the lock held; false when the deadline has passed. */
static int wait_until(struct queue *queue, pthread_cond_t *condition, int64_t deadline_ms)
{
    if (deadline_ms < 0)
        return pthread_cond_wait(condition, &queue->lock) == 0;
    struct timespec until = {.tv_sec = deadline_ms / 1000,
                             .tv_nsec = (deadline_ms % 1000) * 1000000};
    return pthread_cond_timedwait(condition, &queue->lock, &until) != ETIMEDOUT;
}

enum status queue_push(struct queue *queue, void **item, int64_t deadline_ms)
{
    enum status status = OK;
    pthread_mutex_lock(&queue->lock);
    while (!queue->is_closed && queue->count == queue->capacity && status == OK) {
        if (!wait_until(queue, &queue->not_full, deadline_ms))
            status = ERR_TIMEOUT;
    }
    if (queue->is_closed)
        status = ERR_END;
    if (status == OK) {
        queue->items[(queue->head + queue->count) % queue->capacity] = *item;
        queue->count++;
        *item = NULL;
        pthread_cond_signal(&queue->not_empty);
    }
    pthread_mutex_unlock(&queue->lock);
    return status == OK ? OK : fail(status, "queue %s", status == ERR_END ? "closed" : "full");
}

enum status queue_pop(struct queue *queue, int64_t deadline_ms, void **ret_item)
{
    enum status status = OK;
    pthread_mutex_lock(&queue->lock);
    while (!queue->is_closed && queue->count == 0 && status == OK) {
        if (!wait_until(queue, &queue->not_empty, deadline_ms))
            status = ERR_TIMEOUT;
    }
    if (queue->count > 0) {
        *ret_item = queue->items[queue->head];
        queue->head = (queue->head + 1) % queue->capacity;
        queue->count--;
        status = OK;
        pthread_cond_signal(&queue->not_full);
    } else if (queue->is_closed) {
        status = ERR_END;
    }
    pthread_mutex_unlock(&queue->lock);
    return status == OK ? OK : fail(status, "queue %s", status == ERR_END ? "closed" : "empty");
}

void queue_close(struct queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    queue->is_closed = 1;
    pthread_cond_broadcast(&queue->not_empty);
    pthread_cond_broadcast(&queue->not_full);
    pthread_mutex_unlock(&queue->lock);
}

size_t queue_count(struct queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    size_t count = queue->count;
    pthread_mutex_unlock(&queue->lock);
    return count;
}
