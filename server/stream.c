/* stream.c - the catalogue: entries one behind the other, cut where the future changes. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/stream.h"

#include <string.h>

#include "common/check.h"
#include "common/mem.h"
#include "server/pass.h"

/* Entries that keep what they count of their windows: those near the present, of which some are
 * asked at every step. Others count again when they are asked, after a rollback. */
enum { WHOLE_ENTRIES = 8 };

struct shard_fact {
    uint64_t records;
    int is_retired;
    int is_placed; /* is in some pass */
};

/* A pass that was cut and whose rest, from `window` on, is described nowhere yet. */
struct rest {
    struct stream_entry entry; /* own copy; what matters is its pass and shards */
    uint64_t window;
};

struct stream {
    struct stream_setup setup;
    uint32_t shard_count, shard_capacity;
    struct shard_fact *shards;
    uint32_t pass_count, pass_capacity;
    struct pass **passes; /* in order of start */
    uint32_t rest_count;
    struct rest *rests; /* in the order in which they go on */
    uint64_t last_pass;
    uint64_t end;
    uint64_t retired_forgotten; /* retired records of forgotten entries */
    struct stream_entry next;   /* what stream_next_entry lent */
};

struct stream *stream_create(const struct stream_setup *setup)
{
    CHECK(setup->block_records > 0 && setup->window_blocks > 0);
    struct stream *stream = mem_zero(sizeof(*stream));
    stream->setup = *setup;
    return stream;
}

void stream_destroy(struct stream *stream)
{
    if (stream == NULL)
        return;
    for (uint32_t i = 0; i < stream->pass_count; i++)
        pass_destroy(stream->passes[i]);
    for (uint32_t i = 0; i < stream->rest_count; i++)
        stream_entry_done(&stream->rests[i].entry);
    stream_entry_done(&stream->next);
    mem_free(stream->passes);
    mem_free(stream->rests);
    mem_free(stream->shards);
    mem_free(stream);
}

enum status stream_add_shard(struct stream *stream, uint64_t records, uint32_t *ret_id)
{
    if (records == 0 || records > STREAM_SHARD_RECORDS_MAX)
        return fail(ERR_INPUT, "a shard of %llu records: 1 to %d are possible",
                    (unsigned long long)records, STREAM_SHARD_RECORDS_MAX);
    if (stream->shard_count == STREAM_SHARDS_MAX)
        return fail(ERR_INPUT, "more than %d shards: make larger ones", STREAM_SHARDS_MAX);
    if (stream->shard_count == stream->shard_capacity) {
        stream->shard_capacity = stream->shard_capacity * 2 + 16;
        stream->shards =
            mem_resize(stream->shards, stream->shard_capacity * sizeof(*stream->shards));
    }
    stream->shards[stream->shard_count] = (struct shard_fact){.records = records};
    *ret_id = stream->shard_count++;
    return OK;
}

void stream_retire_shard(struct stream *stream, uint32_t shard)
{
    CHECK(shard < stream->shard_count);
    stream->shards[shard].is_retired = 1;
}

void stream_set_repeating(struct stream *stream, int is_repeating)
{
    stream->setup.is_repeating = is_repeating;
}

uint32_t stream_shard_count(const struct stream *stream)
{
    return stream->shard_count;
}

uint64_t stream_shard_records(const struct stream *stream, uint32_t shard)
{
    CHECK(shard < stream->shard_count);
    return stream->shards[shard].records;
}

int stream_is_retired(const struct stream *stream, uint32_t shard)
{
    CHECK(shard < stream->shard_count);
    return stream->shards[shard].is_retired;
}

/* Where entry i ends in the catalogue: at its successor or at the end of all. */
static uint64_t pass_end(const struct stream *stream, uint32_t i)
{
    return i + 1 < stream->pass_count ? stream->passes[i + 1]->entry.start : stream->end;
}

/* The last entry that starts at or before position, not beyond its end; pass_count if none. */
static uint32_t pass_index(const struct stream *stream, uint64_t position)
{
    uint32_t low = 0, high = stream->pass_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (stream->passes[middle]->entry.start <= position)
            low = middle + 1;
        else
            high = middle;
    }
    return low == 0 ? stream->pass_count : low - 1;
}

/* The last entry of the same pass that begins no later in it and has counted; NULL: none. */
static const struct pass *find_before(const struct stream *stream, const struct stream_entry *entry)
{
    for (uint32_t i = stream->pass_count; i-- > 0;) {
        const struct pass *pass = stream->passes[i];
        if (pass->entry.pass == entry->pass && pass->entry.first_window <= entry->first_window &&
            !pass->is_thin)
            return pass;
    }
    return NULL;
}

static struct pass *make_pass(const struct stream *stream, const struct stream_entry *entry)
{
    uint64_t *records = mem_array(entry->shard_count, sizeof(*records));
    for (uint32_t i = 0; i < entry->shard_count; i++)
        records[i] = stream->shards[entry->shards[i]].records;
    struct pass *pass = pass_create(&stream->setup, entry, records, find_before(stream, entry));
    mem_free(records);
    return pass;
}

/* Entry i as one that can be asked for places. */
static const struct pass *pass_at(const struct stream *stream, uint32_t i)
{
    struct pass *pass = stream->passes[i];
    if (pass->is_thin) {
        stream->passes[i] = make_pass(stream, &pass->entry);
        pass_destroy(pass);
    }
    return stream->passes[i];
}

static uint64_t end_window(const struct stream *stream, uint32_t i)
{
    const struct pass *pass = pass_at(stream, i);
    uint64_t length = pass_end(stream, i) - pass->entry.start;
    if (length == pass_length(pass))
        return pass->windows; /* windows without a record may follow the last that has one */
    return pass_window_from(pass, length);
}

static void start_next(struct stream *stream, uint64_t start)
{
    stream_entry_done(&stream->next);
    stream->next = (struct stream_entry){
        .start = start,
        .shards = mem_array(stream->shard_count, sizeof(uint32_t)),
        .dropped = mem_array(stream->shard_count, sizeof(uint32_t)),
    };
}

/* A new pass over live shards: those in no pass yet, or all. 0 if there are none. */
static int propose_pass(struct stream *stream, uint64_t start, int only_new)
{
    start_next(stream, start);
    for (uint32_t i = 0; i < stream->shard_count; i++) {
        const struct shard_fact *shard = &stream->shards[i];
        if (!shard->is_retired && !(only_new && shard->is_placed))
            stream->next.shards[stream->next.shard_count++] = i;
    }
    stream->next.pass = stream->last_pass + 1;
    return stream->next.shard_count > 0;
}

static void propose_rest(struct stream *stream, uint64_t start, const struct stream_entry *of,
                         uint64_t window)
{
    start_next(stream, start);
    stream->next.pass = of->pass;
    stream->next.first_window = window;
    stream->next.shard_count = of->shard_count;
    for (uint32_t i = 0; i < of->shard_count; i++) {
        stream->next.shards[i] = of->shards[i];
        if (stream->shards[of->shards[i]].is_retired)
            stream->next.dropped[stream->next.dropped_count++] = of->shards[i];
    }
}

static int has_new_shards(const struct stream *stream)
{
    for (uint32_t i = 0; i < stream->shard_count; i++)
        if (!stream->shards[i].is_placed && !stream->shards[i].is_retired)
            return 1;
    return 0;
}

/* Does this entry still serve a shard that was retired since? */
static int serves_retired(const struct stream *stream, const struct pass *pass)
{
    for (uint32_t i = 0; i < pass->entry.shard_count; i++)
        if (stream->shards[pass->entry.shards[i]].is_retired && !pass->is_dropped[i])
            return 1;
    return 0;
}

/* The first place between two windows at or beyond position; the end if there is none before. */
static uint64_t boundary(const struct stream *stream, uint64_t position, uint32_t *ret_index,
                         uint64_t *ret_window)
{
    uint32_t i = pass_index(stream, position);
    if (i == stream->pass_count || position >= stream->end)
        return stream->end;
    const struct pass *pass = pass_at(stream, i);
    *ret_index = i;
    *ret_window = pass_window_from(pass, position - pass->entry.start);
    return pass->entry.start + pass_window_start(pass, *ret_window);
}

/* An entry ahead that serves retired shards is cut and goes on without them. */
static int propose_retirement(struct stream *stream, uint64_t planned)
{
    uint32_t i = stream->pass_count;
    uint64_t window = 0, cut = boundary(stream, planned, &i, &window);
    for (; i < stream->pass_count; i++) {
        const struct pass *pass = pass_at(stream, i);
        if (cut <= pass->entry.start) {
            cut = pass->entry.start;
            window = pass->entry.first_window;
        }
        if (cut < pass_end(stream, i) && serves_retired(stream, pass)) {
            propose_rest(stream, cut, &pass->entry, window);
            return 1;
        }
    }
    return 0;
}

static int propose(struct stream *stream, uint64_t planned, uint64_t wanted)
{
    uint32_t i;
    uint64_t window;
    if (has_new_shards(stream))
        return propose_pass(stream, boundary(stream, planned, &i, &window), 1);
    if (propose_retirement(stream, planned))
        return 1;
    if (stream->end >= wanted)
        return 0;
    if (stream->rest_count > 0) {
        propose_rest(stream, stream->end, &stream->rests[0].entry, stream->rests[0].window);
        return 1;
    }
    return stream->setup.is_repeating && propose_pass(stream, stream->end, 0);
}

int stream_next_entry(struct stream *stream, uint64_t planned, uint64_t wanted,
                      const struct stream_entry **ret_entry)
{
    if (!propose(stream, planned, wanted))
        return 0;
    *ret_entry = &stream->next;
    return 1;
}

static int is_known(const struct stream *stream, const uint32_t *ids, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (ids[i] >= stream->shard_count)
            return 0;
    return 1;
}

/* A rest goes on to the end of its pass, so of several rests of a pass only the first counts. That
 * happens when a rollback lets an entry be cut that was cut further behind before. */
static void remove_covered_rests(struct stream *stream)
{
    for (uint32_t i = 0; i < stream->rest_count; i++) {
        uint32_t kept = i + 1;
        for (uint32_t j = i + 1; j < stream->rest_count; j++) {
            if (stream->rests[j].entry.pass == stream->rests[i].entry.pass)
                stream_entry_done(&stream->rests[j].entry);
            else
                stream->rests[kept++] = stream->rests[j];
        }
        stream->rest_count = kept;
    }
}

/* Entries from `start` on are void; what they had to say goes back to the rests, in order. */
static void cut(struct stream *stream, uint64_t start)
{
    uint32_t first = 0;
    while (first < stream->pass_count && pass_end(stream, first) <= start)
        first++;
    uint32_t count = stream->pass_count - first;
    stream->rests =
        mem_resize(stream->rests, (stream->rest_count + count) * sizeof(*stream->rests));
    if (stream->rest_count > 0)
        memmove(stream->rests + count, stream->rests, stream->rest_count * sizeof(*stream->rests));
    uint32_t kept = first;
    for (uint32_t i = first; i < stream->pass_count; i++) {
        struct rest *rest = &stream->rests[i - first];
        stream_entry_copy(&stream->passes[i]->entry, &rest->entry);
        rest->window = rest->entry.first_window;
        if (rest->entry.start < start) {
            rest->window = pass_window_from(pass_at(stream, i), start - rest->entry.start);
            kept = i + 1;
        }
    }
    for (uint32_t i = kept; i < stream->pass_count; i++)
        pass_destroy(stream->passes[i]);
    stream->pass_count = kept;
    stream->rest_count += count;
    remove_covered_rests(stream);
    stream->end = start;
}

/* What the entry describes is no rest any more. */
static void take_rest(struct stream *stream, const struct stream_entry *entry)
{
    for (uint32_t i = 0; i < stream->rest_count; i++) {
        struct rest *rest = &stream->rests[i];
        if (rest->entry.pass != entry->pass)
            continue;
        stream_entry_done(&rest->entry);
        stream->rest_count--;
        memmove(rest, rest + 1, (stream->rest_count - i) * sizeof(*rest));
        return;
    }
}

static void place_pass(struct stream *stream, struct pass *pass)
{
    if (stream->pass_count == stream->pass_capacity) {
        stream->pass_capacity = stream->pass_capacity * 2 + 16;
        stream->passes = mem_resize(stream->passes, stream->pass_capacity * sizeof(struct pass *));
    }
    stream->passes[stream->pass_count++] = pass;
    stream->end = pass->entry.start + pass_length(pass);
    if (pass->entry.pass > stream->last_pass)
        stream->last_pass = pass->entry.pass;
    for (uint32_t i = 0; i < pass->entry.shard_count; i++)
        stream->shards[pass->entry.shards[i]].is_placed = 1;
}

static uint64_t retired_in(const struct stream *stream, uint32_t i)
{
    const uint64_t end = pass_end(stream, i);
    const struct pass *pass = stream->passes[i];
    if (pass->is_thin && pass->retired_end == end)
        return pass->retired;
    pass = pass_at(stream, i);
    uint64_t raw = pass_raw_records(pass, pass->entry.first_window, end_window(stream, i));
    return raw - (end - pass->entry.start);
}

static void thin_entry(struct stream *stream, uint32_t i)
{
    if (!stream->passes[i]->is_thin)
        pass_thin(stream->passes[i], retired_in(stream, i), pass_end(stream, i));
}

enum status stream_append(struct stream *stream, const struct stream_entry *entry)
{
    if (entry->shard_count == 0 || !is_known(stream, entry->shards, entry->shard_count) ||
        !is_known(stream, entry->dropped, entry->dropped_count))
        return fail(ERR_CORRUPT, "stream entry at position %llu names unknown shards",
                    (unsigned long long)entry->start);
    uint64_t window = stream->setup.block_records * stream->setup.window_blocks, records = 0;
    for (uint32_t i = 0; i < entry->shard_count; i++)
        records += stream->shards[entry->shards[i]].records;
    if (entry->start > stream->end || entry->first_window > (records + window - 1) / window)
        return fail(ERR_CORRUPT, "stream entry at position %llu leaves a gap",
                    (unsigned long long)entry->start);
    struct pass *pass = make_pass(stream, entry);
    cut(stream, entry->start);
    take_rest(stream, &pass->entry);
    place_pass(stream, pass);
    if (stream->pass_count > WHOLE_ENTRIES)
        thin_entry(stream, stream->pass_count - 1 - WHOLE_ENTRIES);
    return OK;
}

uint64_t stream_begin(const struct stream *stream)
{
    return stream->pass_count > 0 ? stream->passes[0]->entry.start : 0;
}

uint64_t stream_end(const struct stream *stream)
{
    return stream->end;
}

struct stream_place stream_find(const struct stream *stream, uint64_t position)
{
    CHECK(position < stream->end);
    uint32_t i = pass_index(stream, position);
    CHECK(i < stream->pass_count);
    return pass_find(pass_at(stream, i), position - stream->passes[i]->entry.start);
}

uint64_t stream_retired_records(const struct stream *stream, uint64_t position)
{
    uint64_t retired = stream->retired_forgotten;
    for (uint32_t i = 0; i < stream->pass_count; i++)
        if (stream->passes[i]->entry.start < position)
            retired += retired_in(stream, i);
    return retired;
}

static int entry_serves(const struct stream_entry *entry, uint32_t shard)
{
    for (uint32_t i = 0; i < entry->dropped_count; i++)
        if (entry->dropped[i] == shard)
            return 0;
    for (uint32_t i = 0; i < entry->shard_count; i++)
        if (entry->shards[i] == shard)
            return 1;
    return 0;
}

int stream_uses_shard(const struct stream *stream, uint32_t shard, uint64_t from)
{
    for (uint32_t i = 0; i < stream->pass_count; i++)
        if (pass_end(stream, i) > from && entry_serves(&stream->passes[i]->entry, shard))
            return 1;
    return 0;
}

void stream_forget(struct stream *stream, uint64_t position)
{
    uint32_t count = 0;
    while (count + 1 < stream->pass_count && pass_end(stream, count) <= position)
        stream->retired_forgotten += retired_in(stream, count++);
    for (uint32_t i = 0; i < count; i++)
        pass_destroy(stream->passes[i]);
    stream->pass_count -= count;
    if (count > 0)
        memmove(stream->passes, stream->passes + count, stream->pass_count * sizeof(struct pass *));
}
