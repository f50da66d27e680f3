/* bench_shard_client.c - how fast a seer-loader serves one worker: bench_shard_client STORE LOADER
 * [SECONDS].
 *
 * Reads all records of the store's shards from LOADER (ADDRESS[,KEY]; with SEER_KEY), in a random
 * order as plans have it, AHEAD of what is taken, again and again; prints one line of JSON. The
 * store is read for what there is, never for its records. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/clock.h"
#include "common/mem.h"
#include "common/random.h"
#include "loader/holders.h"
#include "loader/shard_client.h"
#include "loader/store.h"
#include "proto/client_key.h"

enum {
    AHEAD = 1024, /* records asked for and not taken: 4 steps of 256 */
    SECONDS = 10,
    SEED = 1,
    WAIT_MS = 10000, /* for the loader to say what it holds */
};

struct reading {
    struct shard_client *client;
    struct store store;
    struct planned_shard *shards; /* [store.shard_count] */
    struct fetch *ahead[AHEAD];
    uint64_t asked, taken, bytes;
};

static void nothing_to_do(void *context)
{
    (void)context;
}

static enum status open_reading(const char *store, const char *loader, struct reading *reading)
{
    struct key key;
    int has_key = 0;
    TRY(store_load(store, &reading->store));
    TRY(client_key_find(NULL, NULL, &key, &has_key));
    reading->shards = mem_array(reading->store.shard_count, sizeof(*reading->shards));
    for (uint32_t i = 0; i < reading->store.shard_count; i++)
        reading->shards[i] = (struct planned_shard){reading->store.shards[i].name,
                                                    reading->store.shards[i].record_count,
                                                    reading->store.shards[i].content_hash};
    const struct shard_client_setup setup = {.worker = "bench",
                                             .key = has_key ? &key : NULL,
                                             .addresses = &loader,
                                             .count = 1,
                                             .changed = nothing_to_do};
    TRY(shard_client_start(&setup, &reading->client));
    int64_t deadline_ms = clock_ms() + WAIT_MS;
    const struct timespec moment = {.tv_nsec = 1000000};
    while (shard_client_find(reading->client, &reading->shards[0]) != OK)
        if (clock_ms() > deadline_ms)
            return fail_add(ERR_TIMEOUT, "nothing to read");
        else
            nanosleep(&moment, NULL);
    return OK;
}

static void ask(struct reading *reading)
{
    uint64_t count = reading->store.record_count;
    uint64_t place = random_permute(reading->asked % count, count, SEED, RANDOM_STREAM_TEST,
                                    reading->asked / count);
    uint32_t shard = 0;
    while (place >= reading->shards[shard].records)
        place -= reading->shards[shard++].records;
    reading->ahead[reading->asked++ % AHEAD] =
        shard_client_ask(reading->client, &reading->shards[shard], (uint32_t)place);
}

static enum status take(struct reading *reading)
{
    static const atomic_int is_void;
    const uint8_t *bytes;
    size_t length = 0;
    struct fetch **fetch = &reading->ahead[reading->taken++ % AHEAD];
    enum status status = shard_client_wait(reading->client, *fetch, &is_void, &bytes, &length);
    shard_client_drop(reading->client, fetch);
    reading->bytes += length;
    return status;
}

static enum status run(const char *store, const char *loader, long seconds)
{
    struct reading reading = {0};
    enum status status = open_reading(store, loader, &reading);
    int64_t start_us = clock_us(), end_us = start_us + seconds * 1000000;
    while (status == OK && reading.asked < AHEAD)
        ask(&reading);
    for (; status == OK && clock_us() < end_us; ask(&reading))
        status = take(&reading);
    double took = (double)(clock_us() - start_us) / 1e6;
    if (status == OK)
        printf("{\"schema_version\": 1, \"seconds\": %.3f, \"records\": %" PRIu64
               ", \"records_per_second\": %.0f, \"megabytes_per_second\": %.1f}\n",
               took, reading.taken, (double)reading.taken / took,
               (double)reading.bytes / took / 1e6);
    shard_client_stop(reading.client);
    for (int i = 0; i < AHEAD; i++)
        if (reading.ahead[i] != NULL)
            shard_client_drop(reading.client, &reading.ahead[i]);
    shard_client_destroy(reading.client);
    store_done(&reading.store);
    mem_free(reading.shards);
    return status;
}

int main(int argc, char **argv)
{
    long seconds = argc == 4 ? strtol(argv[3], NULL, 10) : SECONDS;
    if (argc < 3 || argc > 4 || seconds < 1) {
        fprintf(stderr, "usage: bench_shard_client STORE LOADER [SECONDS]\n");
        return 2;
    }
    enum status status = run(argv[1], argv[2], seconds);
    if (status != OK)
        fprintf(stderr, "bench_shard_client: %s\n", fail_message());
    return status_exit_code(status);
}
