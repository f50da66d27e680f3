/* loader_fixture.h - what the tests of the loader share: shards of small pictures, and plans.
 *
 * Unprefixed: these are the words of the tests. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef TESTS_UNIT_LOADER_FIXTURE_H
#define TESTS_UNIT_LOADER_FIXTURE_H

#include "tests/test.h"

#include "loader/loader.h"

enum { SLOT_IMAGES = 4, RECORDS = 24, SHARDS = 2, SEED = 11, PATIENCE_MS = 60000 };

/* Shard 0 has RECORDS records, of which 5, 6 and 13 are no images; shard 1 has SLOT_IMAGES, all
 * damaged. */
extern char folder[];
extern char *shard_paths[SHARDS];

/* The picture of record i of any shard, as PNG; returns its bytes. */
size_t make_png(uint32_t i, uint8_t *bytes, size_t capacity);
int setup(void **state); /* of a group of tests */
int teardown(void **state);
struct config small_config(int threads);
struct loader *open_loader(int threads); /* knows the shards */
/* Slot s of the stream: records s*4 .. s*4+3 of shard 0, at positions that follow from s. */
struct slot_plan make_slot(uint32_t slot, struct record_ref records[SLOT_IMAGES]);
void submit(struct loader *loader, uint64_t step, const uint32_t *slots, uint32_t count);
struct batch *take(struct loader *loader); /* waits for it */
/* Of the rows of slot number `at` of the batch, over all groups. */
uint64_t slot_digest(const struct batch *batch, uint32_t at);

#endif
