/* queue.h - a bounded queue of pointers between threads; pushing moves ownership.
 *
 * Any number of threads on either side. queue_close wakes everybody: pushes then fail with ERR_END,
 * pops drain what is left and then fail with ERR_END. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef COMMON_QUEUE_H
#define COMMON_QUEUE_H

#include <stddef.h>
#include <stdint.h>

#include "common/status.h"

struct queue;

struct queue *queue_create(size_t capacity);
/* The queue must be empty or its items freed through free_item (may be NULL when empty). NULL ok.
 */
void queue_destroy(struct queue *queue, void (*free_item)(void *item));
/* Takes *item and leaves NULL. Waits while full until deadline_ms (clock_ms; -1 = for ever).
 * ERR_TIMEOUT, ERR_END: *item stays the caller's. */
enum status queue_push(struct queue *queue, void **item, int64_t deadline_ms);
/* Waits while empty until deadline_ms (0 = do not wait; -1 = for ever). ERR_TIMEOUT, ERR_END. */
enum status queue_pop(struct queue *queue, int64_t deadline_ms, void **ret_item);
void queue_close(struct queue *queue);
size_t queue_count(struct queue *queue);

#endif
