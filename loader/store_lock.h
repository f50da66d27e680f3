/* store_lock.h - one ingest at a time writes into a store.
 *
 * Labels are numbered and duplicates are seen by what the store holds when an ingest begins, so a
 * second one waits for the end of the first. The lock is the kernel's (flock(2) on STORE/lock): it
 * ends with its process, however that ends. Readers need none. Threads: one owner. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef LOADER_STORE_LOCK_H
#define LOADER_STORE_LOCK_H

#include <stdatomic.h>

#include "common/status.h"

/* Blocks until nobody else has it; store must exist. waiting, if not NULL, is told once before a
 * wait, with the pid of who has it (0: unknown). A signal that sets *stop (or NULL) ends the wait
 * with ERR_END. ERR_IO: the lock cannot be had at all. *ret_lock goes to store_lock_give. */
enum status store_lock_take(const char *store, void (*waiting)(const char *store, int pid),
                            const atomic_int *stop, int *ret_lock);
void store_lock_give(int lock); /* negative is fine */

#endif
