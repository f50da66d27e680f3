/* loader.h - from planned positions to batches of crops: decode threads and bounded prefetch.
 *
 * The owner submits plans (which records are at which position of which slot) some steps ahead and
 * takes finished batches in the order submitted. Every random number is a function of (seed, stream
 * position, crop, purpose), so a batch does not depend on threads, order or worker. A record that
 * cannot be decoded is replaced by the next good record of its slot, cyclically, and reported in
 * batch.skips. A slot without any good record is black, and its images are counted in
 * batch.blank_count: such a batch can be computed with, so that the others are not kept waiting,
 * but is not to be learned from. Records of a shard that is not known (any more) count as ones that
 * cannot be decoded; a batch with records of one that is known and cannot be opened waits, until
 * the owner removes the shard or flushes the plan: see shard_table.h. Bytes out are u8 RGB; the
 * first kernel normalises. Threads: decode threads inside; one thread, the owner, may add, remove,
 * submit and flush while another takes and gives. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef LOADER_LOADER_H
#define LOADER_LOADER_H

#include <stdint.h>

#include "common/config.h"
#include "common/status.h"

struct record_ref {
    uint32_t shard;  /* id in the stream's catalogue */
    uint32_t record; /* 0-based index within the shard */
};

/* Both shard and record, where there is none. */
#define RECORD_NONE UINT32_MAX

/* One slot: slot_images consecutive stream positions, computed by one worker. */
struct slot_plan {
    uint32_t slot;                    /* index within the step, 0..slots-1 */
    uint64_t position;                /* stream position of its first image */
    const struct record_ref *records; /* [slot_images], borrowed during submit (copied) */
};

struct batch_plan {
    uint64_t step;
    uint32_t slot_count; /* slots of this worker */
    const struct slot_plan *slots;
};

struct batch_skip {
    struct record_ref record;
    uint64_t position;
    char reason[96];
};

enum { CROP_GROUPS_MAX = CONFIG_CROPS_MAX };

struct batch {
    uint64_t step;
    uint64_t serial; /* 1, 2, ... in the order taken; no two of a loader are the same */
    uint32_t slot_count;
    uint32_t slot_images;
    uint32_t *slots;     /* [slot_count] index of each within the step; owned */
    uint64_t *positions; /* [slot_count] of each one's first image; owned */
    /* [slot_count][slot_images] whose pixels stand at that place: the record that was planned, its
     * replacement, or RECORD_NONE; owned */
    struct record_ref *trained;
    uint32_t blank_count; /* images of slots without one good record */
    int group_count;
    /* Per resolution group g: u8 [slot][crop][image of slot][size][size][3], i.e. rows as device.h
     * orders them; rows = slot_count * crops * slot_images. Owned by the batch. */
    uint8_t *crops[CROP_GROUPS_MAX];
    uint32_t skip_count;
    struct batch_skip *skips; /* in order of position, each record once; owned */
    int64_t decode_us;        /* thread time spent on it */
};

enum shard_trouble_kind {
    SHARD_TROUBLE_OWN = 1,      /* this process lacks something; it goes on trying */
    SHARD_TROUBLE_UNREACHABLE,  /* the file is gone, or cannot be read from here */
    SHARD_TROUBLE_DAMAGED,      /* it was read, and it is no whole shard */
    SHARD_TROUBLE_AWAITED,      /* a loader that may hold it is away; it goes on trying */
    SHARD_TROUBLE_LOADER_LOST,  /* of no shard: a loader has gone, by name; it goes on trying */
    SHARD_TROUBLE_LOADER_FOUND, /* the opposite of trouble: it is there, or there again */
};

/* Why batches wait for a shard, or would. */
struct shard_trouble {
    enum shard_trouble_kind kind;
    uint32_t shard;
    uint32_t open_count; /* shards that are open at the time */
    char reason[512];
};

struct key;
struct loader;

/* config and key are copied; key: what the worker shows to data.loaders that have keys, NULL: it
 * has none. Starts data.decode_threads threads; each holds one decoded image at a time, of at most
 * data.max_pixels. ERR_INPUT: data.loaders has no address, or asks for a key. */
enum status loader_create(const struct config *config, uint64_t seed, const struct key *key,
                          struct loader **ret_loader);
/* NULL is fine; drops what is in flight. Batches taken must have been given back. */
void loader_destroy(struct loader *loader);
/* Makes shard id known; path is a sealed LMDB environment, which is opened in the background. Again
 * with the same id and path: fine, and its trouble is told again. ERR_INPUT: the id is another
 * path's. */
enum status loader_add_shard(struct loader *loader, uint32_t id, const char *path);
/* As loader_add_shard for one of so many records: where it cannot be read at path it is read from
 * one of data.loaders that holds a shard with the name path ends with. content_hash: of its file
 * (store.h); what says of itself that it has another one is not read, here or there; 0: any. */
enum status loader_add_shard_anywhere(struct loader *loader, uint32_t id, const char *path,
                                      uint32_t records, uint64_t content_hash);
/* Of the shards with ids in [from, until) only those in `kept` (sorted) stay known. The others are
 * closed once no submitted plan reads them; plans that wait for one of them to open go on without.
 */
void loader_keep_shards(struct loader *loader, uint32_t from, uint32_t until, const uint32_t *kept,
                        uint32_t count);
/* The next trouble with a shard that was not told yet; 0 = none. */
int loader_trouble(struct loader *loader, struct shard_trouble *ret_trouble);
/* Queues a plan; never blocks (the owner bounds how far it plans ahead: prefetch_steps + 1). */
void loader_submit(struct loader *loader, const struct batch_plan *plan);
/* The next submitted batch, in order. Waits until deadline_ms (clock_ms; -1 = for ever).
 * ERR_TIMEOUT: it stays the next. ERR_END: nothing is submitted. */
enum status loader_take(struct loader *loader, int64_t deadline_ms, struct batch **ret_batch);
/* What loader_take would give now, if it is finished; NULL if not. It stays the next one unless it
 * is flushed, and as it is until the next take. For the thread that takes. */
const struct batch *loader_peek(struct loader *loader);
/* Gives a batch's memory back for reuse; leaves NULL. */
void loader_give(struct loader *loader, struct batch **batch);
/* Drops the submitted plans of `step` and later that were not taken (they are planned anew). */
void loader_flush(struct loader *loader, uint64_t step);

#endif
