/* test_loader.c - batches depend on their plans alone; bad records are replaced and reported. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include <sched.h>

#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/fs.h"
#include "common/hash.h"
#include "common/mem.h"
#include "common/random.h"
#include "common/thread.h"
#include "loader/image.h"
#include "loader/loader.h"
#include "loader/multicrop.h"
#include "loader/shard_writer.h"

enum { SLOT_IMAGES = 4, RECORDS = 24, SHARDS = 2, SEED = 11, PATIENCE_MS = 60000 };

/* Records 5, 6 and 13 of shard 0 are no images; shard 1 has none but 0..3, damaged all. */
static const uint32_t bad_records[] = {5, 6, 13};

static char folder[] = "/tmp/everseer-loader-XXXXXX";
static char *shard_paths[SHARDS];

static size_t make_png(uint32_t i, uint8_t *bytes, size_t capacity)
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

static int setup(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(folder));
    shard_paths[0] = write_shard("good", 0, RECORDS);
    shard_paths[1] = write_shard("damaged", 1, SLOT_IMAGES);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (int i = 0; i < SHARDS; i++)
        mem_free(shard_paths[i]);
    return fs_remove_tree(folder) != OK;
}

static struct config small_config(int threads)
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

static struct loader *open_loader(int threads)
{
    struct loader *loader;
    struct config config = small_config(threads);
    assert_ok(loader_create(&config, SEED, &loader));
    for (uint32_t id = 0; id < SHARDS; id++)
        assert_ok(loader_add_shard(loader, id, shard_paths[id]));
    return loader;
}

/* Slot s of the stream: records s*4 .. s*4+3 of shard 0, at positions that follow from s. */
static struct slot_plan make_slot(uint32_t slot, struct record_ref records[SLOT_IMAGES])
{
    for (uint32_t i = 0; i < SLOT_IMAGES; i++)
        records[i] = (struct record_ref){.shard = 0, .record = (slot * SLOT_IMAGES + i) % RECORDS};
    return (struct slot_plan){
        .slot = slot, .position = (uint64_t)slot * SLOT_IMAGES, .records = records};
}

static void submit(struct loader *loader, uint64_t step, const uint32_t *slots, uint32_t count)
{
    struct record_ref records[8][SLOT_IMAGES];
    struct slot_plan plans[8];
    for (uint32_t i = 0; i < count; i++)
        plans[i] = make_slot(slots[i], records[i]);
    struct batch_plan plan = {.step = step, .slot_count = count, .slots = plans};
    loader_submit(loader, &plan);
    memset(records, 0xFF, sizeof(records)); /* submit has copied them */
}

static struct batch *take(struct loader *loader)
{
    struct batch *batch = NULL;
    assert_ok(loader_take(loader, clock_ms() + PATIENCE_MS, &batch));
    return batch;
}

/* Digest of the rows of slot number `at` of the batch, over all groups. */
static uint64_t slot_digest(const struct batch *batch, uint32_t at)
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

static void the_same_plan_gives_the_same_bytes_with_any_number_of_threads(void **state)
{
    (void)state;
    static const uint32_t slots[] = {0, 1, 2, 3, 4, 5};
    uint64_t digests[6];
    for (int threads = 1; threads <= 4; threads *= 2) {
        struct loader *loader = open_loader(threads);
        submit(loader, 7, slots, 6);
        struct batch *batch = take(loader);
        assert_int_equal(batch->step, 7);
        assert_int_equal(batch->slot_count, 6);
        assert_int_equal(batch->slot_images, SLOT_IMAGES);
        assert_int_equal(batch->group_count, 2);
        assert_true(batch->decode_us > 0);
        for (uint32_t i = 0; i < 6; i++) {
            if (threads == 1)
                digests[i] = slot_digest(batch, i);
            assert_true(slot_digest(batch, i) == digests[i]);
            for (uint32_t j = 0; j < i; j++)
                assert_true(digests[i] != digests[j]);
        }
        loader_give(loader, &batch);
        assert_null(batch);
        loader_destroy(loader);
    }
}

static void a_slot_is_the_same_in_any_batch(void **state)
{
    (void)state;
    static const uint32_t forwards[] = {0, 1, 2, 3}, backwards[] = {3, 2, 1, 0}, alone[] = {2};
    struct loader *loader = open_loader(2);
    submit(loader, 1, forwards, 4);
    submit(loader, 2, backwards, 4);
    submit(loader, 3, alone, 1);
    struct batch *first = take(loader), *second = take(loader), *third = take(loader);
    assert_int_equal(first->step, 1);
    assert_int_equal(second->step, 2);
    assert_int_equal(third->step, 3);
    for (uint32_t i = 0; i < 4; i++) {
        assert_true(slot_digest(first, i) == slot_digest(second, 3 - i));
        assert_int_equal(first->slots[i], i);
        assert_int_equal(second->slots[i], 3 - i);
    }
    assert_true(slot_digest(third, 0) == slot_digest(first, 2));
    loader_give(loader, &first);
    loader_give(loader, &second);
    loader_give(loader, &third);
    loader_destroy(loader);
}

/* What the row of (slot 1, crop 1 of group 1, image `image`) must be if it is made of `record`. */
static void assert_made_of(const struct batch *batch, uint32_t image, uint32_t record)
{
    static uint8_t bytes[32768], large[2][24 * 24 * 3], small[3][16 * 16 * 3];
    struct config config = small_config(1);
    struct image decoded;
    image_init(&decoded);
    assert_ok(image_decode(&decoded, bytes, make_png(record, bytes, sizeof(bytes)), NULL));
    struct multicrop *multicrop = multicrop_create(&config, SEED);
    const struct multicrop_target targets[] = {{large[0], sizeof(large[0])},
                                               {small[0], sizeof(small[0])}};
    multicrop_image(multicrop, &decoded, SLOT_IMAGES + image, targets);
    for (size_t crop = 0; crop < 2; crop++) { /* the batch's slot is its first */
        size_t row = crop * SLOT_IMAGES + image;
        assert_memory_equal(batch->crops[0] + row * sizeof(large[0]), large[crop],
                            sizeof(large[0]));
    }
    for (size_t crop = 0; crop < 3; crop++) {
        size_t row = crop * SLOT_IMAGES + image;
        assert_memory_equal(batch->crops[1] + row * sizeof(small[0]), small[crop],
                            sizeof(small[0]));
    }
    multicrop_destroy(multicrop);
    image_done(&decoded);
}

static void a_bad_record_is_replaced_by_the_next_good_one_of_its_slot(void **state)
{
    (void)state;
    static const uint32_t slots[] = {1}; /* records 4, 5 (bad), 6 (bad), 7 at positions 4..7 */
    struct loader *loader = open_loader(3);
    submit(loader, 1, slots, 1);
    struct batch *batch = take(loader);
    assert_made_of(batch, 0, 4);
    assert_made_of(batch, 1, 7);
    assert_made_of(batch, 2, 7);
    assert_made_of(batch, 3, 7);
    static const uint32_t trained[] = {4, 7, 7, 7};
    assert_int_equal(batch->positions[0], 4);
    for (int i = 0; i < SLOT_IMAGES; i++) {
        assert_int_equal(batch->trained[i].shard, 0);
        assert_int_equal(batch->trained[i].record, trained[i]);
    }
    loader_give(loader, &batch);
    loader_destroy(loader);
}

static void each_bad_record_is_reported_once_with_its_reason(void **state)
{
    (void)state;
    static const uint32_t slots[] = {3, 7, 1}; /* slot 7 has the records of slot 1 again */
    struct loader *loader = open_loader(2);
    submit(loader, 1, slots, 3);
    struct batch *batch = take(loader);
    assert_int_equal(batch->skip_count, 3);
    static const uint32_t records[] = {5, 6, 13};
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(batch->skips[i].record.shard, 0);
        assert_int_equal(batch->skips[i].record.record, records[i]);
        assert_int_equal(batch->skips[i].position, records[i]);
        assert_memory_equal(batch->skips[i].reason, "truncated: ", 11);
    }
    loader_give(loader, &batch);
    submit(loader, 2, (const uint32_t[]){0}, 1); /* the same memory, without bad records */
    batch = take(loader);
    assert_int_equal(batch->skip_count, 0);
    loader_give(loader, &batch);
    loader_destroy(loader);
}

static void a_record_that_does_not_exist_is_skipped_too(void **state)
{
    (void)state;
    struct loader *loader = open_loader(2);
    struct record_ref records[SLOT_IMAGES];
    struct slot_plan slot = make_slot(0, records);
    records[2].record = 4000000;
    struct batch_plan plan = {.step = 1, .slot_count = 1, .slots = &slot};
    loader_submit(loader, &plan);
    struct batch *batch = take(loader);
    assert_int_equal(batch->skip_count, 1);
    assert_int_equal(batch->skips[0].record.record, 4000000);
    assert_memory_equal(batch->skips[0].reason, "io: ", 4);
    loader_give(loader, &batch);
    loader_destroy(loader);
}

static int is_black(const struct batch *batch, uint32_t slot)
{
    struct config config = small_config(1);
    for (int g = 0; g < batch->group_count; g++) {
        size_t bytes = (size_t)(config.crops[g].size * config.crops[g].size * 3 *
                                config.crops[g].count * SLOT_IMAGES);
        for (size_t i = 0; i < bytes; i++)
            if (batch->crops[g][slot * bytes + i] != 0)
                return 0;
    }
    return 1;
}

/* Black, not what the memory held before: the step is computed with it, and its digest must not
 * depend on who does. */
static void a_slot_without_a_good_record_is_black_and_counted(void **state)
{
    (void)state;
    struct loader *loader = open_loader(2);
    struct record_ref records[2][SLOT_IMAGES];
    struct slot_plan slots[] = {make_slot(0, records[0]), make_slot(4, records[1])};
    submit(loader, 1, (const uint32_t[]){0, 4}, 2);
    struct batch *batch = take(loader);
    assert_int_equal(batch->blank_count, 0);
    assert_false(is_black(batch, 0));
    loader_give(loader, &batch);
    for (int i = 0; i < SLOT_IMAGES; i++)
        records[0][i].shard = 1;
    struct batch_plan plan = {.step = 2, .slot_count = 2, .slots = slots};
    loader_submit(loader, &plan);
    batch = take(loader);
    assert_int_equal(batch->blank_count, SLOT_IMAGES);
    assert_int_equal(batch->skip_count, SLOT_IMAGES);
    assert_true(is_black(batch, 0));
    assert_false(is_black(batch, 1));
    for (int i = 0; i < SLOT_IMAGES; i++) {
        assert_int_equal(batch->trained[i].shard, RECORD_NONE);
        assert_int_equal(batch->trained[SLOT_IMAGES + i].record, records[1][i].record);
    }
    loader_give(loader, &batch);
    loader_destroy(loader);
}

static void after_a_flush_the_next_plan_is_the_next_batch(void **state)
{
    (void)state;
    struct loader *loader = open_loader(2);
    struct batch *batch = NULL;
    for (uint64_t round = 0; round < 50; round++) {
        for (uint64_t step = 0; step < 3; step++)
            submit(loader, step, (const uint32_t[]){0, 1, 2, 3}, 4);
        if (round % 3 == 1) { /* one taken before: threads are at any point */
            batch = take(loader);
            loader_give(loader, &batch);
        }
        loader_flush(loader, 0);
        assert_fails(loader_take(loader, clock_ms(), &batch), ERR_END, "no plan left");
        submit(loader, 100 + round, (const uint32_t[]){2}, 1);
        batch = take(loader);
        assert_int_equal(batch->step, 100 + round);
        loader_give(loader, &batch);
    }
    loader_destroy(loader);
}

/* Until it is there; the same one every time. */
static const struct batch *peek(struct loader *loader)
{
    const int64_t deadline_ms = clock_ms() + PATIENCE_MS;
    const struct batch *batch = NULL;
    while ((batch = loader_peek(loader)) == NULL && clock_ms() < deadline_ms)
        sched_yield();
    assert_non_null(batch);
    assert_ptr_equal(loader_peek(loader), batch);
    return batch;
}

static void a_batch_that_was_peeked_at_is_the_next_unless_it_is_flushed(void **state)
{
    (void)state;
    struct loader *loader = open_loader(2);
    assert_null(loader_peek(loader));
    submit(loader, 1, (const uint32_t[]){0, 1}, 2);
    submit(loader, 2, (const uint32_t[]){2}, 1);
    const struct batch *first = peek(loader);
    const uint64_t serial = first->serial, digest = slot_digest(first, 1);
    assert_int_equal(first->step, 1);
    loader_flush(loader, 2);
    struct batch *batch = take(loader);
    assert_ptr_equal(batch, first);
    assert_true(slot_digest(batch, 1) == digest);
    loader_give(loader, &batch);

    submit(loader, 2, (const uint32_t[]){3}, 1);
    const struct batch *flushed = peek(loader);
    assert_int_equal(flushed->serial, serial + 1);
    const uint64_t flushed_digest = slot_digest(flushed, 0);
    loader_flush(loader, 2);
    submit(loader, 2, (const uint32_t[]){4}, 1); /* not into the memory that is peeked at */
    assert_true(slot_digest(flushed, 0) == flushed_digest);
    batch = take(loader);
    assert_int_equal(batch->serial, serial + 2);
    assert_int_equal(batch->slots[0], 4);
    loader_give(loader, &batch);

    submit(loader, 3, (const uint32_t[]){0}, 1);
    peek(loader);
    loader_flush(loader, 0);
    assert_fails(loader_take(loader, clock_ms(), &batch), ERR_END, "no plan left");
    submit(loader, 3, (const uint32_t[]){0}, 1);
    peek(loader);
    loader_destroy(loader);
}

static void records_of_a_shard_that_is_not_known_are_replaced_as_bad_ones_are(void **state)
{
    (void)state;
    struct loader *loader = open_loader(2);
    struct record_ref records[SLOT_IMAGES];
    struct slot_plan slot = make_slot(0, records);
    records[3].shard = 77;
    struct batch_plan plan = {.step = 1, .slot_count = 1, .slots = &slot};
    loader_submit(loader, &plan);
    struct batch *batch = take(loader);
    assert_int_equal(batch->skip_count, 1);
    assert_int_equal(batch->skips[0].record.shard, 77);
    assert_string_equal(batch->skips[0].reason, "io: shard cannot be opened");
    assert_int_equal(batch->trained[3].record, records[0].record);
    assert_int_equal(batch->blank_count, 0);
    loader_give(loader, &batch);
    loader_destroy(loader);
}

static void a_removed_shard_serves_the_plans_that_use_it_and_no_others(void **state)
{
    (void)state;
    struct loader *loader = open_loader(2);
    for (uint64_t step = 0; step < 3; step++)
        submit(loader, step, (const uint32_t[]){0, 2, 4}, 3);
    struct batch *batch = take(loader); /* it is open by now */
    loader_give(loader, &batch);
    loader_keep_shards(loader, 0, 1, NULL, 0);
    loader_keep_shards(loader, 50, 60, NULL, 0);
    submit(loader, 9, (const uint32_t[]){0}, 1);
    for (uint64_t step = 1; step < 3; step++) {
        batch = take(loader);
        assert_int_equal(batch->skip_count, 0);
        loader_give(loader, &batch);
    }
    batch = take(loader);
    assert_int_equal(batch->blank_count, SLOT_IMAGES);
    loader_give(loader, &batch);
    assert_ok(loader_add_shard(loader, 0, shard_paths[0]));
    assert_ok(loader_add_shard(loader, 0, shard_paths[0]));
    assert_fails(loader_add_shard(loader, 0, shard_paths[1]), ERR_INPUT, "cannot be");
    submit(loader, 10, (const uint32_t[]){0}, 1);
    batch = take(loader);
    assert_int_equal(batch->skip_count, 0);
    loader_give(loader, &batch);
    loader_destroy(loader);
}

static int count_open(const char *path)
{
    char *command = mem_format("ls -l /proc/%d/fd | grep -cF '%s'", (int)getpid(), path);
    FILE *pipe = popen(command, "re");
    int count = 0;
    assert_non_null(pipe);
    assert_int_equal(fscanf(pipe, "%d", &count), 1);
    pclose(pipe);
    mem_free(command);
    return count;
}

static void shards_that_are_not_kept_are_closed(void **state)
{
    (void)state;
    struct loader *loader = open_loader(2);
    static const uint32_t slots[] = {0};
    for (uint32_t round = 0; round < 5; round++) {
        uint32_t from = 10 + 4 * round;
        for (uint32_t id = from; id < from + 4; id++)
            assert_ok(loader_add_shard(loader, id, shard_paths[id % 2]));
        const uint32_t kept[] = {from - 1, from + 1, from + 9};
        loader_keep_shards(loader, 10, from + 3, kept, 3);
        submit(loader, round, slots, 1);
        struct batch *batch = take(loader);
        loader_give(loader, &batch);
        int most = 2 + 2 + 1; /* those of open_loader, the kept and the one beyond, perhaps one
                               * that was being opened as it was removed */
        assert_in_range(count_open(folder), 1, most);
    }
    loader_destroy(loader);
    assert_int_equal(count_open(folder), 0);
}

static struct shard_trouble wait_for_trouble(struct loader *loader)
{
    struct shard_trouble trouble = {0};
    int64_t deadline_ms = clock_ms() + PATIENCE_MS;
    while (!loader_trouble(loader, &trouble))
        assert_true(clock_ms() < deadline_ms);
    return trouble;
}

/* A slot with two records of shard 9 among those of shard 0. */
static void submit_with_shard_9(struct loader *loader, uint64_t step)
{
    struct record_ref records[SLOT_IMAGES];
    struct slot_plan slot = make_slot(0, records);
    records[1].shard = records[2].shard = 9;
    struct batch_plan plan = {.step = step, .slot_count = 1, .slots = &slot};
    loader_submit(loader, &plan);
}

static void assert_waits(struct loader *loader)
{
    struct batch *batch;
    assert_fails(loader_take(loader, clock_ms() + 100, &batch), ERR_TIMEOUT, "are decoded");
}

static char *copy_shard(const char *name)
{
    char *path = mem_format("%s/%s", folder, name);
    char *command = mem_format("cp -r '%s' '%s'", shard_paths[0], path);
    assert_int_equal(system(command), 0);
    mem_free(command);
    return path;
}

static void a_damaged_shard_is_told_at_once_and_its_records_wait_for_the_owners_word(void **state)
{
    (void)state;
    struct loader *loader = open_loader(2);
    char *path = copy_shard("cut");
    char *file = mem_format("%s/data.mdb", path);
    assert_int_equal(truncate(file, 20000), 0);
    assert_ok(loader_add_shard(loader, 9, path));
    submit_with_shard_9(loader, 1);
    struct shard_trouble trouble = wait_for_trouble(loader), again;
    assert_int_equal(trouble.kind, SHARD_TROUBLE_DAMAGED);
    assert_int_equal(trouble.shard, 9);
    assert_int_equal(trouble.open_count, SHARDS);
    assert_non_null(strstr(trouble.reason, "cut off"));
    assert_int_equal(loader_trouble(loader, &again), 0);
    assert_waits(loader);
    assert_ok(loader_add_shard(loader, 9, path)); /* as after every Welcome */
    assert_int_equal(loader_trouble(loader, &again), 1);
    loader_keep_shards(loader, 9, 10, NULL, 0);
    struct batch *batch = take(loader);
    assert_int_equal(batch->skip_count, 2);
    assert_int_equal(batch->trained[1].record, 3);
    assert_int_equal(batch->trained[2].record, 3);
    assert_string_equal(batch->skips[0].reason, "io: shard cannot be opened");
    loader_give(loader, &batch);
    loader_destroy(loader);
    mem_free(file);
    mem_free(path);
}

static void a_plan_that_waits_for_a_shard_can_be_flushed(void **state)
{
    (void)state;
    struct loader *loader = open_loader(2);
    assert_ok(loader_add_shard(loader, 9, "/nonexistent/shard"));
    submit_with_shard_9(loader, 1);
    assert_waits(loader);
    loader_flush(loader, 0);
    submit(loader, 1, (const uint32_t[]){0}, 1);
    struct batch *batch = take(loader);
    assert_int_equal(batch->skip_count, 0);
    loader_give(loader, &batch);
    submit_with_shard_9(loader, 2); /* waits until the end */
    loader_destroy(loader);
}

static void a_shard_that_comes_late_is_no_broken_one_and_one_that_never_comes_is_told(void **state)
{
    (void)state;
    struct loader *loader = open_loader(2);
    char *path = mem_format("%s/late", folder);
    assert_ok(loader_add_shard(loader, 9, path));
    assert_ok(loader_add_shard(loader, 8, "/nonexistent/shard"));
    submit_with_shard_9(loader, 1);
    assert_waits(loader);
    char *copied = copy_shard("late.tmp");
    assert_int_equal(rename(copied, path), 0);
    struct batch *batch = take(loader);
    assert_int_equal(batch->skip_count, 0);
    loader_give(loader, &batch);
    struct shard_trouble trouble = wait_for_trouble(loader);
    assert_int_equal(trouble.kind, SHARD_TROUBLE_UNREACHABLE);
    assert_int_equal(trouble.shard, 8);
    assert_int_equal(trouble.open_count, SHARDS + 1);
    loader_destroy(loader);
    mem_free(copied);
    mem_free(path);
}

/* For longer than a shard's own trouble would be waited for. */
static void a_process_without_descriptors_waits_and_blames_no_shard(void **state)
{
    (void)state;
    struct loader *loader = open_loader(2);
    submit(loader, 1, (const uint32_t[]){0}, 1);
    struct batch *batch = take(loader);
    loader_give(loader, &batch);
    struct rlimit limit, none;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    none = (struct rlimit){3, limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    char *path = mem_string(shard_paths[0]);
    assert_ok(loader_add_shard(loader, 9, path));
    submit_with_shard_9(loader, 2);
    struct shard_trouble trouble = wait_for_trouble(loader);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(trouble.kind, SHARD_TROUBLE_OWN);
    assert_non_null(strstr(trouble.reason, "open files"));
    batch = take(loader);
    assert_int_equal(batch->skip_count, 0);
    loader_give(loader, &batch);
    loader_destroy(loader);
    mem_free(path);
}

/* Not SIGBUS, and not black or half pictures: whoever reads it waits. */
static void a_shard_that_is_cut_off_while_it_is_open_is_told_as_damaged(void **state)
{
    (void)state;
    struct loader *loader = open_loader(4);
    char *path = copy_shard("open");
    char *file = mem_format("%s/data.mdb", path);
    assert_ok(loader_add_shard(loader, 9, path));
    submit_with_shard_9(loader, 1);
    struct batch *batch = take(loader);
    assert_int_equal(batch->skip_count, 0);
    loader_give(loader, &batch);
    assert_int_equal(truncate(file, 8192), 0);
    submit_with_shard_9(loader, 2);
    submit_with_shard_9(loader, 3);
    struct shard_trouble trouble = wait_for_trouble(loader);
    assert_int_equal(trouble.kind, SHARD_TROUBLE_DAMAGED);
    assert_int_equal(trouble.shard, 9);
    assert_waits(loader);
    loader_keep_shards(loader, 9, 10, NULL, 0);
    for (uint64_t step = 2; step < 4; step++) {
        batch = take(loader);
        assert_int_equal(batch->skip_count, 2);
        loader_give(loader, &batch);
    }
    loader_destroy(loader);
    mem_free(file);
    mem_free(path);
}

static void a_deadline_that_passed_leaves_the_batch_for_later(void **state)
{
    (void)state;
    struct loader *loader = open_loader(1);
    struct batch *batch = NULL;
    for (uint64_t step = 0; step < 20; step++)
        submit(loader, step, (const uint32_t[]){0, 1, 2, 3, 4, 5}, 6);
    /* 20 batches are not decoded in no time; if the first one were, the next would not be. */
    uint64_t taken = 0;
    enum status status;
    while ((status = loader_take(loader, 0, &batch)) == OK) {
        assert_int_equal(batch->step, taken++);
        loader_give(loader, &batch);
    }
    assert_int_equal(status, ERR_TIMEOUT);
    for (; taken < 20; taken++) {
        assert_ok(loader_take(loader, -1, &batch));
        assert_int_equal(batch->step, taken);
        loader_give(loader, &batch);
    }
    loader_destroy(loader);
}

enum { TWO_THREADS_STEPS = 60 };

/* Adds and removes shards, submits and flushes, as a worker's link does. */
static void submit_run(void *argument)
{
    struct loader *loader = argument;
    for (uint64_t step = 0; step < TWO_THREADS_STEPS; step++) {
        assert_ok(loader_add_shard(loader, 100 + (uint32_t)step, shard_paths[0]));
        if (step % 7 == 3) {
            submit(loader, step, (const uint32_t[]){5, 4}, 2);
            loader_flush(loader, 0);
        }
        submit(loader, step, (const uint32_t[]){0, 2}, 2);
        loader_keep_shards(loader, 100, 101 + (uint32_t)step, NULL, 0);
    }
}

static void one_thread_may_submit_while_another_takes(void **state)
{
    (void)state;
    struct loader *loader = open_loader(2);
    struct thread thread = {0};
    assert_ok(thread_start(&thread, "submit", submit_run, loader));
    struct batch *batch = NULL;
    int64_t last = -1;
    int64_t deadline_ms = clock_ms() + PATIENCE_MS;
    while (last < TWO_THREADS_STEPS - 1 && clock_ms() < deadline_ms) {
        enum status status = loader_take(loader, deadline_ms, &batch);
        if (status == ERR_END) /* it has not submitted, or flushed */
            continue;
        assert_int_equal(status, OK);
        assert_true((int64_t)batch->step >= last);
        last = (int64_t)batch->step;
        loader_give(loader, &batch);
    }
    thread_stop(&thread);
    assert_int_equal(last, TWO_THREADS_STEPS - 1);
    loader_destroy(loader);
}

static void the_steady_state_allocates_nothing(void **state)
{
    (void)state;
    static const uint32_t slots[] = {0, 1, 2, 3, 4, 5};
    struct loader *loader = open_loader(1);
    uint64_t calls = 0;
    for (uint64_t step = 0; step < 8; step++) {
        submit(loader, step, slots, 6);
        submit(loader, step, slots, 6);
        for (int i = 0; i < 2; i++) {
            struct batch *batch = take(loader);
            loader_give(loader, &batch);
        }
        if (step == 1)
            calls = mem_call_count();
    }
    assert_int_equal(mem_call_count() - calls, 0);
    loader_destroy(loader);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_plan_gives_the_same_bytes_with_any_number_of_threads),
        cmocka_unit_test(a_slot_is_the_same_in_any_batch),
        cmocka_unit_test(a_bad_record_is_replaced_by_the_next_good_one_of_its_slot),
        cmocka_unit_test(each_bad_record_is_reported_once_with_its_reason),
        cmocka_unit_test(a_record_that_does_not_exist_is_skipped_too),
        cmocka_unit_test(a_slot_without_a_good_record_is_black_and_counted),
        cmocka_unit_test(after_a_flush_the_next_plan_is_the_next_batch),
        cmocka_unit_test(a_batch_that_was_peeked_at_is_the_next_unless_it_is_flushed),
        cmocka_unit_test(records_of_a_shard_that_is_not_known_are_replaced_as_bad_ones_are),
        cmocka_unit_test(a_removed_shard_serves_the_plans_that_use_it_and_no_others),
        cmocka_unit_test(shards_that_are_not_kept_are_closed),
        cmocka_unit_test(a_damaged_shard_is_told_at_once_and_its_records_wait_for_the_owners_word),
        cmocka_unit_test(a_plan_that_waits_for_a_shard_can_be_flushed),
        cmocka_unit_test(a_shard_that_comes_late_is_no_broken_one_and_one_that_never_comes_is_told),
        cmocka_unit_test(a_process_without_descriptors_waits_and_blames_no_shard),
        cmocka_unit_test(a_shard_that_is_cut_off_while_it_is_open_is_told_as_damaged),
        cmocka_unit_test(a_deadline_that_passed_leaves_the_batch_for_later),
        cmocka_unit_test(one_thread_may_submit_while_another_takes),
        cmocka_unit_test(the_steady_state_allocates_nothing),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
