/* loader_message_samples.c - every field has a value of its own. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/unit/loader_message_samples.h"

static struct loader_shard shards[] = {
    {"20261129T013602.498-16146-0000", LOADER_SHARD_HELD, 512, 70000, 0x1234567890abcdef, ""},
    {"foreign", LOADER_SHARD_DAMAGED, 3, 9, 0, "its page 3 points to itself"},
    {"old", LOADER_SHARD_GONE, 0, 0, 0, ""},
};
static uint32_t which[] = {0, 1, 0, 0};
static uint32_t records[] = {5, 2, 0, 511};
static uint8_t bytes[] = {0xFF, 0xD8, 0xFF, 0, 1, 2, 3};
static struct loader_part parts[] = {
    {7, 0, 7, 0xfeedfacecafebeef, 7, bytes},
    {8, 3, 100, 42, 4, bytes},
    {9, 0, 0, 1, 0, bytes},
};

struct loader_message loader_message_sample(int i)
{
    struct loader_message samples[LOADER_SAMPLE_COUNT] = {
        {.kind = LOADER_GREETING, .greeting = {1, "host-17", 64 << 20, 1024}},
        {.kind = LOADER_READ, .read = {7, 2, shards, 4, which, records}},
        {.kind = LOADER_URGE, .request = {9, 1}},
        {.kind = LOADER_CREDIT, .credit = {8 << 20, 128}},
        {.kind = LOADER_FORGET, .request = {7, 3}},
        {.kind = LOADER_INVENTORY, .inventory = {1, 1, 1, 3, shards}},
        {.kind = LOADER_RECORDS, .records = {3, parts}},
        {.kind = LOADER_REFUSAL, .refusal = {8, LOADER_REFUSAL_BAD_RECORD, "no Datum"}},
    };
    return samples[i];
}
