/* bench_stream.c - what shards that come and retire cost the server's catalogue:
 * bench_stream [SHARDS [CHANGES]].
 *
 * A pass over SHARDS shards is under way; by turns a shard is added and one retires, and 20,000
 * images are planned. Prints the processor time of an entry, as a running server pays it and one
 * that reads it in its journal, and the memory that all of them take. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "server/stream.h"

enum { SHARDS = 8000, CHANGES = 600, SHARD_RECORDS = 12000, PLANNED = 20000 };

static double now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec * 1e-6;
}

static void add(struct stream *stream)
{
    uint32_t id;
    if (stream_add_shard(stream, SHARD_RECORDS, &id) != OK)
        exit(1);
}

/* Entries that were appended. */
static uint32_t plan(struct stream *stream, uint64_t planned)
{
    const struct stream_entry *entry;
    uint32_t count = 0;
    for (; stream_next_entry(stream, planned, planned + PLANNED, &entry); count++)
        if (stream_append(stream, entry) != OK)
            exit(1);
    return count;
}

int main(int argc, char **argv)
{
    const uint32_t shards = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : SHARDS;
    const uint32_t changes = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : CHANGES;
    struct stream *stream = stream_create(&(struct stream_setup){
        .seed = 1, .block_records = 64, .window_blocks = 16, .is_repeating = 1});
    uint32_t entries = 0;
    for (uint32_t i = 0; i < shards; i++)
        add(stream);
    plan(stream, 0);
    const double start_ms = now_ms();
    for (uint32_t i = 0; i < changes; i++) {
        if (i % 2 == 0)
            add(stream);
        else
            stream_retire_shard(stream, i * 7 % shards);
        entries += plan(stream, (uint64_t)i * PLANNED);
    }
    const double each_ms = (now_ms() - start_ms) / entries;
    const struct mallinfo2 memory = mallinfo2();
    printf("%u shards, %" PRIu64 " images: %u entries, %.3f ms each, %.1f MB in all\n", shards,
           (uint64_t)shards * SHARD_RECORDS, entries, each_ms,
           (double)(memory.uordblks + memory.hblkhd) / 1e6);
    stream_destroy(stream);
    return 0;
}
