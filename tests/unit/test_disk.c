/* test_disk.c - jobs run in order beside the loop, and none is lost or run twice. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include <poll.h>

#include "common/check.h"
#include "common/clock.h"
#include "common/mem.h"
#include "common/queue.h"
#include "server/disk.h"

enum { CAPACITY = 8, WAIT_MS = 20000 };

/* What the loop has seen; jobs write it only in finish and destroy of its own thread. */
struct seen {
    int order[2 * CAPACITY];
    int count;
};

struct test_job {
    struct disk_job job;
    int number;
    struct queue *gate; /* if any: run tells that it has begun here ... */
    struct queue *key;  /* ... and waits for an item here */
    int has_run;
};

static _Atomic int alive;

static void test_run(struct disk_job *job)
{
    struct test_job *self = (struct test_job *)job;
    void *item = self;
    if (self->gate != NULL)
        CHECK(queue_push(self->gate, &item, -1) == OK);
    if (self->key != NULL)
        CHECK(queue_pop(self->key, -1, &item) == OK);
    self->has_run++;
}

static void test_finish(struct disk_job *job, void *context)
{
    struct test_job *self = (struct test_job *)job;
    struct seen *seen = context;
    assert_int_equal(self->has_run, 1);
    seen->order[seen->count++] = self->number;
}

static void test_destroy(struct disk_job *job)
{
    alive--;
    mem_free(job);
}

static const struct disk_job_ops test_ops = {test_run, test_finish, test_destroy};

static struct disk_job *job_create(int number, struct queue *gate, struct queue *key)
{
    struct test_job *self = mem_zero(sizeof(*self));
    *self = (struct test_job){{&test_ops}, number, gate, key, 0};
    alive++;
    return &self->job;
}

static void push(struct disk *disk, enum disk_lane lane, int number)
{
    struct disk_job *job = job_create(number, NULL, NULL);
    assert_ok(disk_push(disk, lane, &job));
    assert_null(job);
}

static void finish_until(struct disk *disk, int count, struct seen *seen)
{
    int64_t deadline_ms = clock_ms() + WAIT_MS;
    struct pollfd polled = {.fd = disk_event(disk), .events = POLLIN};
    while (seen->count < count) {
        assert_true(clock_ms() < deadline_ms);
        assert_int_equal(poll(&polled, 1, WAIT_MS), 1);
        disk_finish(disk, 1, seen);
    }
}

/* Holds the lane: from now on it is in a job that ends when the key is given. */
static void hold(struct disk *disk, enum disk_lane lane, int number, struct queue *gate,
                 struct queue *key)
{
    void *begun = NULL;
    struct disk_job *job = job_create(number, gate, key);
    assert_ok(disk_push(disk, lane, &job));
    assert_ok(queue_pop(gate, clock_ms() + WAIT_MS, &begun));
}

static void give(struct queue *key)
{
    void *item = key;
    assert_ok(queue_push(key, &item, 0));
}

static void jobs_of_a_lane_are_finished_in_the_order_of_pushing(void **state)
{
    (void)state;
    struct disk *disk;
    struct seen seen = {0};
    assert_ok(disk_create(CAPACITY, &disk));
    for (int i = 0; i < CAPACITY; i++)
        push(disk, DISK_SNAPSHOTS, i);
    finish_until(disk, CAPACITY, &seen);
    for (int i = 0; i < CAPACITY; i++)
        assert_int_equal(seen.order[i], i);
    disk_destroy(disk);
    assert_int_equal(alive, 0);
}

static void a_lane_that_waits_for_the_disk_holds_up_neither_loop_nor_the_other_lane(void **state)
{
    (void)state;
    struct disk *disk;
    struct seen seen = {0};
    struct queue *gate = queue_create(1), *key = queue_create(1);
    assert_ok(disk_create(CAPACITY, &disk));
    hold(disk, DISK_STORES, 1, gate, key);
    push(disk, DISK_STORES, 2);
    push(disk, DISK_SNAPSHOTS, 3);
    finish_until(disk, 1, &seen);
    give(key);
    finish_until(disk, 3, &seen);
    assert_int_equal(seen.order[0], 3);
    assert_int_equal(seen.order[1], 1);
    assert_int_equal(seen.order[2], 2);
    disk_destroy(disk);
    queue_destroy(gate, NULL);
    queue_destroy(key, NULL);
    assert_int_equal(alive, 0);
}

static void what_a_full_lane_cannot_take_is_refused_at_once(void **state)
{
    (void)state;
    struct disk *disk;
    struct seen seen = {0};
    struct queue *gate = queue_create(1), *key = queue_create(1);
    assert_ok(disk_create(CAPACITY, &disk));
    hold(disk, DISK_SNAPSHOTS, 0, gate, key);
    for (int i = 1; i <= CAPACITY; i++)
        push(disk, DISK_SNAPSHOTS, i);
    struct disk_job *job = job_create(99, NULL, NULL);
    assert_fails(disk_push(disk, DISK_SNAPSHOTS, &job), ERR_STALE, "too slow");
    assert_null(job);
    assert_int_equal(alive, CAPACITY + 1);
    give(key);
    finish_until(disk, CAPACITY + 1, &seen);
    assert_int_equal(seen.order[CAPACITY], CAPACITY);
    disk_destroy(disk);
    queue_destroy(gate, NULL);
    queue_destroy(key, NULL);
    assert_int_equal(alive, 0);
}

static void destroying_waits_for_what_runs_and_frees_what_does_not(void **state)
{
    (void)state;
    struct disk *disk;
    struct queue *gate = queue_create(1), *key = queue_create(1);
    assert_ok(disk_create(CAPACITY, &disk));
    hold(disk, DISK_SNAPSHOTS, 0, gate, key);
    push(disk, DISK_SNAPSHOTS, 1);
    push(disk, DISK_STORES, 2);
    give(key);
    disk_destroy(disk);
    assert_int_equal(alive, 0);
    queue_destroy(gate, NULL);
    queue_destroy(key, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jobs_of_a_lane_are_finished_in_the_order_of_pushing),
        cmocka_unit_test(a_lane_that_waits_for_the_disk_holds_up_neither_loop_nor_the_other_lane),
        cmocka_unit_test(what_a_full_lane_cannot_take_is_refused_at_once),
        cmocka_unit_test(destroying_waits_for_what_runs_and_frees_what_does_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
