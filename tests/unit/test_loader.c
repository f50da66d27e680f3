/* test_loader.c - batches depend on their plans alone; bad records are replaced and reported. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/unit/loader_fixture.h"

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
        test_rest();
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
        cmocka_unit_test(a_deadline_that_passed_leaves_the_batch_for_later),
        cmocka_unit_test(one_thread_may_submit_while_another_takes),
        cmocka_unit_test(the_steady_state_allocates_nothing),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
