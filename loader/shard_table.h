/* shard_table.h - the shards a loader knows, each with a reader for every decode thread.
 *
 * The table opens shards in a thread of its own, since a mount may hang; whoever needs one waits
 * for it. What may pass by itself is tried again: a process without descriptors or memory for as
 * long as it takes, for that says nothing about the shard; a file that is not there or cannot be
 * read for SHARD_PATIENCE_MS. A shard that fails then, is damaged, or loses bytes while it is open
 * is told to the owner, and whoever needs it goes on waiting: whether its records count as bad is
 * not for this process alone to say. The owner says so by removing it.
 *
 * Threads: the owner adds, removes, uses, sweeps and asks; decode threads wait for shards that
 * plans use, and read with their own reader. use_count says whether any such plan is left. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef LOADER_SHARD_TABLE_H
#define LOADER_SHARD_TABLE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "common/status.h"
#include "common/thread.h"
#include "loader/loader.h"
#include "loader/shard.h"

enum {
    SHARD_PATIENCE_MS = 5000, /* NFS shows a client a new file after 3 s, by default */
    SHARD_RETRY_MS = 50,      /* doubled with each attempt, up to */
    SHARD_RETRY_LONGEST_MS = 1000,
};

enum shard_state {
    SHARD_OPENING, /* or being looked at again, after a fault */
    SHARD_OPEN,
    SHARD_FAILED,
};

struct open_shard {
    uint32_t id;
    char *path;
    struct shard *shard;           /* from SHARD_OPEN on */
    struct shard_reader **readers; /* [thread_count] */
    atomic_uint use_count;         /* images of plans not taken yet */
    atomic_int is_faulty;          /* shard_fault.h; what was read of it may be zeros */
    /* Guarded by the table's lock: */
    enum shard_state state;
    int is_removed;   /* no new plan uses it; closed once nobody does */
    int is_busy;      /* the opener is at it, without the lock */
    int attempts;     /* failed so far */
    int64_t since_ms; /* when the first of them failed */
    int64_t next_ms;  /* no attempt is made earlier */
    struct shard_trouble trouble;
    int is_told; /* the trouble is; or there is none */
};

struct shard_table {
    int thread_count;
    struct thread opener;

    pthread_mutex_t lock;   /* guards everything below; taken while no other is held */
    pthread_cond_t changed; /* a shard was added, removed, opened or failed; or wake, stop */
    int is_stopping;
    uint32_t count, capacity;
    struct open_shard **items; /* [count], sorted by id; owned */
};

/* ERR_IO: no thread can be started; to be stopped all the same. */
enum status shard_table_start(struct shard_table *table, int thread_count);
/* Nobody may use any of them any more. Waits for an attempt that is under way. */
void shard_table_stop(struct shard_table *table);
/* The same again is fine, and makes a failed one be told again. ERR_INPUT: the id is another
 * path's. */
enum status shard_table_add(struct shard_table *table, uint32_t id, const char *path);
/* An unknown id is fine. The shard is closed by shard_table_sweep once it is unused. */
void shard_table_remove(struct shard_table *table, uint32_t id);
/* Removes those with ids in [from, until) that are not in `kept`, which is sorted. */
void shard_table_keep(struct shard_table *table, uint32_t from, uint32_t until,
                      const uint32_t *kept, uint32_t count);
void shard_table_sweep(struct shard_table *table);
/* For one image of a plan; NULL if there is none or it was removed. use_count is the caller's to
 * count down. */
struct open_shard *shard_table_use(struct shard_table *table, uint32_t id);
/* The next trouble that was not told yet; 0 = none. */
int shard_table_trouble(struct shard_table *table, struct shard_trouble *ret_trouble);

/* Decode threads: waits until it can be read. ERR_CORRUPT: it was removed before it could be.
 * ERR_STALE: *is_void was set, and shard_table_wake called. */
enum status shard_table_wait(struct shard_table *table, struct open_shard *open,
                             const atomic_int *is_void);
/* is_faulty was found set after reading. */
void shard_table_fault(struct shard_table *table, struct open_shard *open);
void shard_table_wake(struct shard_table *table);

#endif
