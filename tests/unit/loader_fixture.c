/* loader_fixture.c - shards of small pictures, and plans that use them. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/unit/loader_fixture.h"

#include <png.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/fs.h"
#include "common/hash.h"
#include "common/mem.h"
#include "common/random.h"
#include "loader/shard_writer.h"

/* Records 5, 6 and 13 of shard 0 are no images; shard 1 has none but 0..3, damaged all. */
static const uint32_t bad_records[] = {5, 6, 13};

char folder[] = "/tmp/everseer-loader-XXXXXX";
char *shard_paths[SHARDS];

size_t make_png(uint32_t i, uint8_t *bytes, size_t capacity)
{
    static uint8_t pixels[80 * 80 * 3];
    struct random random;
    random_init(&random, 3, RANDOM_STREAM_TEST, i, 0);
    png_image image = {.version = PNG_IMAGE_VERSION, .format = PNG_FORMAT_RGB};
    image.width = 20 + random_below(&random, 60);
    image.height = 20 + random_below(&random, 60);
    for (size_t j = 0; j < sizeof(pixels); j++)
        pixels[j] = (uint8_t)(random_u32(&random) & 63) + (uint8_t)(i * 7);
    png_alloc_size_t length = capacity;
    assert_true(png_image_write_to_memory(&image, bytes, &length, 0, pixels, 0, NULL));
    return length;
}

static int is_bad(uint32_t shard, uint32_t record)
{
    for (size_t i = 0; i < sizeof(bad_records) / sizeof(bad_records[0]); i++)
        if (record == bad_records[i])
            return 1;
    return shard == 1;
}

static char *write_shard(const char *name, uint32_t id, uint32_t count)
{
    static uint8_t bytes[32768];
    struct shard_writer *writer;
    struct store_shard shard;
    assert_ok(shard_writer_open(folder, name, 8 << 20, &writer));
    for (uint32_t i = 0; i < count; i++) {
        struct record record = {.bytes = bytes, .label = LABEL_NONE};
        record.length = make_png(i, bytes, sizeof(bytes));
        if (is_bad(id, i))
            record.length /= 2;
        assert_ok(shard_writer_add(writer, &record, hash128_bytes(bytes, record.length)));
    }
    assert_ok(shard_writer_seal(&writer, &shard));
    char *path = mem_string(shard.path);
    store_shard_done(&shard);
    return path;
}

int setup(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(folder));
    shard_paths[0] = write_shard("good", 0, RECORDS);
    shard_paths[1] = write_shard("damaged", 1, SLOT_IMAGES);
    return 0;
}

int teardown(void **state)
{
    (void)state;
    for (int i = 0; i < SHARDS; i++)
        mem_free(shard_paths[i]);
    return fs_remove_tree(folder) != OK;
}

struct config small_config(int threads)
{
    struct config config;
    config_init(&config);
    config.data.decode_threads = threads;
    config.crop_count = 2;
    config.crops[0] = (struct config_crop){2, 24, 0.14, 1.0};
    config.crops[1] = (struct config_crop){3, 16, 0.05, 0.14};
    config.train.slot_images = SLOT_IMAGES;
    return config;
}

struct loader *open_loader(int threads)
{
    struct loader *loader;
    struct config config = small_config(threads);
    assert_ok(loader_create(&config, SEED, NULL, &loader));
    for (uint32_t id = 0; id < SHARDS; id++)
        assert_ok(loader_add_shard(loader, id, shard_paths[id]));
    return loader;
}

/* Slot s of the stream: records s*4 .. s*4+3 of shard 0, at positions that follow from s. */
struct slot_plan make_slot(uint32_t slot, struct record_ref records[SLOT_IMAGES])
{
    for (uint32_t i = 0; i < SLOT_IMAGES; i++)
        records[i] = (struct record_ref){.shard = 0, .record = (slot * SLOT_IMAGES + i) % RECORDS};
    return (struct slot_plan){
        .slot = slot, .position = (uint64_t)slot * SLOT_IMAGES, .records = records};
}

void submit(struct loader *loader, uint64_t step, const uint32_t *slots, uint32_t count)
{
    struct record_ref records[8][SLOT_IMAGES];
    struct slot_plan plans[8];
    for (uint32_t i = 0; i < count; i++)
        plans[i] = make_slot(slots[i], records[i]);
    struct batch_plan plan = {.step = step, .slot_count = count, .slots = plans};
    loader_submit(loader, &plan);
    memset(records, 0xFF, sizeof(records)); /* submit has copied them */
}

struct batch *take(struct loader *loader)
{
    struct batch *batch = NULL;
    assert_ok(loader_take(loader, clock_ms() + PATIENCE_MS, &batch));
    return batch;
}

/* Digest of the rows of slot number `at` of the batch, over all groups. */
uint64_t slot_digest(const struct batch *batch, uint32_t at)
{
    struct config config = small_config(1);
    uint64_t digest = 0;
    for (int g = 0; g < batch->group_count; g++) {
        size_t bytes = (size_t)(config.crops[g].size * config.crops[g].size * 3 *
                                config.crops[g].count * SLOT_IMAGES);
        digest = hash_bytes_seed(batch->crops[g] + at * bytes, bytes, digest);
    }
    return digest;
}
