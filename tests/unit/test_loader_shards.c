/* test_loader_shards.c - shards that come, go, break, or are not there, under a loader that reads.
 */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/unit/loader_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/mem.h"
#include "loader/store.h"

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

/* One that was being opened as it was removed is closed a little later. */
static void assert_shrinks_to(struct loader *loader, int most)
{
    int64_t deadline_ms = clock_ms() + PATIENCE_MS;
    while (count_open(folder) > most) {
        loader_keep_shards(loader, 0, 0, NULL, 0); /* looks for what can be closed */
        assert_true(clock_ms() < deadline_ms);
    }
    assert_true(count_open(folder) > 0);
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
        assert_shrinks_to(loader, 2 + 2 + 1); /* of open_loader, the kept, and the one beyond */
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

/* By its manifest, whose hash the server has journaled. */
static void another_shard_at_the_path_is_not_trained_on_but_told(void **state)
{
    (void)state;
    struct store_shard shard;
    struct loader *loader = open_loader(2);
    char *path = copy_shard("replaced"), *later = copy_shard("same");
    assert_ok(store_manifest_load(path, &shard));
    assert_true(shard.has_manifest && shard.content_hash != 0);
    assert_ok(loader_add_shard_anywhere(loader, 8, later, shard.record_count, shard.content_hash));
    assert_ok(
        loader_add_shard_anywhere(loader, 9, path, shard.record_count, shard.content_hash + 1));
    submit_with_shard_9(loader, 1);
    struct shard_trouble trouble = wait_for_trouble(loader);
    assert_int_equal(trouble.kind, SHARD_TROUBLE_UNREACHABLE);
    assert_int_equal(trouble.shard, 9);
    assert_non_null(strstr(trouble.reason, "is another one"));
    assert_int_equal(trouble.open_count, SHARDS + 1);
    assert_waits(loader);
    loader_destroy(loader);
    store_shard_done(&shard);
    mem_free(later);
    mem_free(path);
}

/* Such as a copy of its data.mdb alone. */
static void a_shard_without_a_manifest_is_not_taken_for_another_one(void **state)
{
    (void)state;
    struct store_shard shard;
    struct loader *loader = open_loader(2);
    char *path = copy_shard("bare");
    char *manifest = mem_format("%s/manifest.json", path);
    assert_ok(store_manifest_load(path, &shard));
    assert_int_equal(unlink(manifest), 0);
    assert_ok(loader_add_shard_anywhere(loader, 9, path, shard.record_count, shard.content_hash));
    submit_with_shard_9(loader, 1);
    struct batch *batch = take(loader);
    assert_int_equal(batch->skip_count, 0);
    loader_give(loader, &batch);
    loader_destroy(loader);
    store_shard_done(&shard);
    mem_free(manifest);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_removed_shard_serves_the_plans_that_use_it_and_no_others),
        cmocka_unit_test(shards_that_are_not_kept_are_closed),
        cmocka_unit_test(a_damaged_shard_is_told_at_once_and_its_records_wait_for_the_owners_word),
        cmocka_unit_test(a_plan_that_waits_for_a_shard_can_be_flushed),
        cmocka_unit_test(a_shard_that_comes_late_is_no_broken_one_and_one_that_never_comes_is_told),
        cmocka_unit_test(another_shard_at_the_path_is_not_trained_on_but_told),
        cmocka_unit_test(a_shard_without_a_manifest_is_not_taken_for_another_one),
        cmocka_unit_test(a_process_without_descriptors_waits_and_blames_no_shard),
        cmocka_unit_test(a_shard_that_is_cut_off_while_it_is_open_is_told_as_damaged),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
