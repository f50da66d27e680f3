/* shard_table.h - the shards a loader knows, each with a reader for every decode thread.
 *
 * The table opens shards in a thread of its own, since a mount may hang; whoever needs one waits
 * for it. What may pass by itself is tried again: a process without descriptors or memory for as
 * long as it takes, for that says nothing about the shard; a file that is not there or cannot be
 * read for SHARD_PATIENCE_MS. A shard that fails then, is damaged, or loses bytes while it is open
 * is told to the owner, and whoever needs it goes on waiting: whether its records count as bad is
 * not for this process alone to say. The owner says so by removing it.
 *
 * A shard that cannot be read at its path may be elsewhere (shard_client.h): then it is open too,
 * as a remote one. While somebody who may hold it is away it is waited for, however long that
 * takes, and the owner is told of whom.
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
#include "loader/holders.h"
#include "loader/loader.h"
#include "loader/shard.h"

enum {
    SHARD_PATIENCE_MS = 5000, /* NFS shows a client a new file after 3 s, by default */
    /* Where it might be elsewhere: until somebody has copied it to a host that serves it. */
    SHARD_PATIENCE_ELSEWHERE_MS = 60000,
    SHARD_REMIND_MS = 30000, /* who waits for somebody says so again */
    SHARD_RETRY_MS = 50,     /* doubled with each attempt, up to */
    SHARD_RETRY_LONGEST_MS = 1000,
};

enum shard_state {
    SHARD_OPENING, /* or being looked at again, after a fault */
    SHARD_OPEN,
    SHARD_FAILED,
};

/* Where shards are that are not here. */
struct shard_elsewhere {
    /* OK: it can be read there. ERR_UNREACHABLE: perhaps later; the words say for whom to wait.
     * Otherwise as shard_open. Called by the opener, without a lock. */
    enum status (*find)(void *context, const struct planned_shard *shard);
    void *context;
};

struct open_shard {
    uint32_t id;
    char *path;
    /* Its name is the last part of path; records 0: it is looked for at path alone. */
    struct planned_shard planned;
    struct shard *shard;           /* from SHARD_OPEN on, if it was read at path */
    struct shard_reader **readers; /* [thread_count] */
    atomic_uint use_count;         /* images of plans not taken yet */
    atomic_int is_faulty;          /* shard_fault.h; what was read of it may be zeros */
    /* Guarded by the table's lock: */
    enum shard_state state;
    int is_removed;     /* no new plan uses it; closed once nobody does */
    int is_busy;        /* the opener is at it, without the lock */
    int is_remote;      /* read it elsewhere */
    int is_pressed;     /* what is elsewhere changed while the opener was at it */
    int64_t told_ms;    /* when the trouble was written */
    int64_t awaited_ms; /* since when somebody is waited for who may have it; 0: nobody */
    int attempts;       /* failed so far */
    int64_t since_ms;   /* when the first of them failed */
    int64_t next_ms;    /* no attempt is made earlier */
    struct shard_trouble trouble;
    int is_told; /* the trouble is; or there is none */
};

struct shard_table {
    int thread_count;
    struct shard_elsewhere elsewhere; /* .find NULL: there is nothing elsewhere */
    struct thread opener;

    pthread_mutex_t lock;   /* guards everything below; taken while no other is held */
    pthread_cond_t changed; /* a shard was added, removed, opened or failed; or wake, stop */
    int is_stopping;
    uint32_t count, capacity;
    struct open_shard **items; /* [count], sorted by id; owned */
};

/* elsewhere is copied; NULL: shards are at their paths alone. ERR_IO: no thread can be started; to
 * be stopped all the same. */
enum status shard_table_start(struct shard_table *table, int thread_count,
                              const struct shard_elsewhere *elsewhere);
/* Nobody may use any of them any more. Waits for an attempt that is under way. */
void shard_table_stop(struct shard_table *table);
/* records: that it must have elsewhere; 0: only at path. content_hash: of the only file that will
 * do, here or elsewhere, as far as a manifest says; 0: any. The same again is fine, and makes a
 * failed one be told again. ERR_INPUT: the id is another path's. */
enum status shard_table_add(struct shard_table *table, uint32_t id, const char *path,
                            uint32_t records, uint64_t content_hash);
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

/* Can it be read elsewhere, as far as is known, and not here? */
int shard_table_is_remote(struct shard_table *table, const struct open_shard *open);
/* Whether it can be read; SHARD_FAILED: *ret_trouble says why not. */
enum shard_state shard_table_state(struct shard_table *table, const struct open_shard *open,
                                   struct shard_trouble *ret_trouble);

/* Decode threads: waits until it can be read; *ret_is_remote: elsewhere. ERR_CORRUPT: it was
 * removed before it could be. ERR_STALE: *is_void was set, and shard_table_wake called. */
enum status shard_table_wait(struct shard_table *table, struct open_shard *open,
                             const atomic_int *is_void, int *ret_is_remote);
/* is_faulty was found set after reading; or a remote one was not to be had. */
void shard_table_fault(struct shard_table *table, struct open_shard *open);
void shard_table_wake(struct shard_table *table);
/* What is elsewhere has changed: looks for all shards that are waited for at once. Any thread. */
void shard_table_retry(struct shard_table *table);

#endif
