/* test_worker_journal.c - what a worker writes down, and what becomes of what it cannot write. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include <dirent.h>
#include <errno.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/fs.h"
#include "common/mem.h"
#include "worker/worker_journal.h"

enum { RUN = 3, WORKER = 0xabc, FILE_MAX = 32 << 20 };

static char folder[64];

/* A disk that takes its time: while is_slow, each write waits for a permit. */
static _Atomic int is_slow;
static sem_t permits, writes; /* writes: that are done */

/* A disk that refuses: calls are counted, and those from fail_first to fail_last fail. */
static _Atomic int calls, fail_first, fail_last;

static int is_refused(void)
{
    int call = atomic_fetch_add(&calls, 1) + 1;
    return call >= atomic_load(&fail_first) && call <= atomic_load(&fail_last);
}

int __real_ftruncate(int file, off_t length);
int __wrap_ftruncate(int file, off_t length);
int __wrap_ftruncate(int file, off_t length)
{
    errno = EIO;
    return is_refused() ? -1 : __real_ftruncate(file, length);
}

int __real_flock(int file, int operation);
int __wrap_flock(int file, int operation);
int __wrap_flock(int file, int operation)
{
    errno = ENOLCK;
    return is_refused() ? -1 : __real_flock(file, operation);
}

ssize_t __real_write(int file, const void *bytes, size_t length);
ssize_t __wrap_write(int file, const void *bytes, size_t length);
ssize_t __wrap_write(int file, const void *bytes, size_t length)
{
    if (atomic_load(&is_slow))
        sem_wait(&permits);
    if (is_refused()) { /* having taken a part, as a disk that gets full does */
        ssize_t part = length > 40 ? __real_write(file, bytes, 40) : 0;
        errno = ENOSPC;
        return part > 0 ? part : -1;
    }
    ssize_t count = __real_write(file, bytes, length);
    sem_post(&writes);
    return count;
}

static int setup(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/worker-journal-XXXXXX");
    return mkdtemp(folder) == NULL || sem_init(&permits, 0, 0) != 0 || sem_init(&writes, 0, 0) != 0;
}

static int teardown(void **state)
{
    (void)state;
    return fs_remove_tree(folder) != OK;
}

static struct worker_journal *open_journal(uint64_t segment_bytes, uint64_t folder_bytes)
{
    struct worker_journal *journal = NULL;
    const struct worker_journal_setup journal_setup = {.folder = folder,
                                                       .name = "w",
                                                       .segment_bytes = segment_bytes,
                                                       .folder_bytes = folder_bytes};
    assert_ok(worker_journal_open(&journal_setup, &journal));
    return journal;
}

static void tell_state(struct worker_journal *journal, uint64_t worker, uint32_t lineage,
                       uint64_t step)
{
    const struct witness_state state = {.generation = 1, .step = step, .lineage = lineage};
    worker_journal_state(journal, RUN, worker, &state);
}

static void tell_step(struct worker_journal *journal, uint64_t number, uint32_t images)
{
    struct witness_step step = {.generation = 1,
                                .step = number,
                                .is_applied = 1,
                                .slot_count = 1,
                                .slot_images = images,
                                .slots = mem_array(1, sizeof(struct witness_slot)),
                                .images = mem_array(images, sizeof(struct witness_image))};
    worker_journal_step(journal, &step);
    assert_null(step.slots); /* taken */
}

static void read_segment(uint64_t worker, uint32_t segment, struct buf *bytes)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%016llx-%06u.journal", folder, (unsigned long long)worker,
             segment);
    buf_init(bytes, FILE_MAX);
    assert_ok(fs_read_file(path, bytes));
}

/* The next record of the file; the caller frees it. */
static struct witness next_witness(const struct buf *bytes, size_t *at)
{
    struct witness witness;
    size_t taken;
    assert_ok(witness_decode(bytes->bytes + *at, bytes->length - *at, &witness, &taken));
    *at += taken;
    return witness;
}

static int file_count(void)
{
    int count = 0;
    DIR *directory = opendir(folder);
    while (readdir(directory) != NULL)
        count++;
    closedir(directory);
    return count - 2; /* . and .. */
}

static void what_happened_is_there_in_order_and_says_whose_it_is(void **unused)
{
    (void)unused;
    struct worker_journal *journal = open_journal(1 << 20, 1 << 30);
    tell_state(journal, WORKER, 0, 5); /* received: it held nothing */
    tell_step(journal, 5, 4);
    tell_state(journal, WORKER, 0, 6); /* its own */
    tell_state(journal, WORKER, 0, 9); /* it had missed steps */
    tell_state(journal, WORKER, 1, 9); /* the same number in another history */
    worker_journal_close(journal);
    struct buf bytes;
    size_t at = 0;
    read_segment(WORKER, 0, &bytes);
    struct witness witness = next_witness(&bytes, &at);
    assert_int_equal(witness.kind, WITNESS_BEGIN);
    assert_true(witness.begin.run == RUN && witness.begin.worker == WORKER);
    assert_string_equal(witness.begin.name, "w");
    witness_done(&witness);
    static const enum witness_kind kinds[] = {WITNESS_STATE, WITNESS_STEP, WITNESS_STATE,
                                              WITNESS_STATE, WITNESS_STATE};
    static const int is_own[] = {0, -1, 1, 0, 0};
    for (int i = 0; i < 5; i++) {
        witness = next_witness(&bytes, &at);
        assert_int_equal(witness.kind, kinds[i]);
        assert_int_equal(witness.missed, 0);
        if (is_own[i] >= 0)
            assert_int_equal(witness.state.is_own, is_own[i]);
        witness_done(&witness);
    }
    assert_int_equal(at, bytes.length);
    buf_done(&bytes);
}

static void nothing_happened_no_file(void **unused)
{
    (void)unused;
    worker_journal_close(open_journal(1 << 20, 1 << 30));
    assert_int_equal(file_count(), 0);
    worker_journal_state(NULL, RUN, WORKER, &(struct witness_state){0}); /* no journal is fine */
}

/* A write that stops half-way, as on a full disk, leaves no half record in the middle. */
static void what_cannot_be_written_is_counted_and_the_next_is(void **unused)
{
    (void)unused;
    struct rlimit before, limit;
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before);
    limit = (struct rlimit){8192, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    struct worker_journal *journal = open_journal(1 << 20, 1 << 30);
    tell_state(journal, WORKER, 0, 0);
    tell_step(journal, 0, 1);
    tell_step(journal, 1, 2000); /* 16 kB */
    tell_step(journal, 2, 2000);
    tell_step(journal, 3, 1);
    worker_journal_close(journal);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    struct buf bytes;
    size_t at = 0;
    uint32_t missed = 0;
    uint64_t last = 0;
    read_segment(WORKER, 0, &bytes);
    while (at < bytes.length) {
        struct witness witness = next_witness(&bytes, &at);
        missed += witness.missed;
        last = witness.kind == WITNESS_STEP ? witness.step.step : 0;
        witness_done(&witness);
    }
    assert_int_equal(missed, 2);
    assert_int_equal(last, 3);
    buf_done(&bytes);
}

/* Reads all segments: no half record is followed by another, and each record is there or counted.
 * Returns how many that are, the last of them in *ret_last. */
static uint64_t count_records(uint64_t *ret_last)
{
    uint64_t count = 0;
    for (uint32_t segment = 0; segment < (uint32_t)file_count(); segment++) {
        struct buf bytes;
        struct witness witness;
        size_t taken;
        enum status status;
        read_segment(WORKER, segment, &bytes);
        for (size_t at = 0;
             (status = witness_decode(bytes.bytes + at, bytes.length - at, &witness, &taken)) == OK;
             at += taken) {
            count += (uint64_t)(witness.kind != WITNESS_BEGIN) + witness.missed;
            *ret_last = witness.kind == WITNESS_STEP ? witness.step.step : *ret_last;
            witness_done(&witness);
        }
        assert_int_equal(status, ERR_END);
        buf_done(&bytes);
    }
    return count;
}

static void whatever_call_fails_nothing_is_lost_without_a_word(void **unused)
{
    (void)unused;
    enum { STEPS = 12, SEGMENT = 400 };
    int points = 0, is_hit = 1;
    for (int length = 1; length <= 3; length++)
        for (int first = 1; is_hit || first == 1; first++, points++) {
            atomic_store(&calls, 0);
            atomic_store(&fail_last, first + length - 1);
            atomic_store(&fail_first, first);
            struct worker_journal *journal = open_journal(SEGMENT, 1 << 30);
            tell_state(journal, WORKER, 0, 0);
            for (uint64_t step = 0; step < STEPS; step++)
                tell_step(journal, step, 2);
            worker_journal_close(journal);
            is_hit = atomic_load(&calls) >= first;
            uint64_t last = 0, count = count_records(&last);
            if (last == STEPS - 1)
                assert_int_equal(count, STEPS + 1);
            else
                assert_true(count >= STEPS + 1 - (uint64_t)length);
            assert_ok(fs_remove_tree(folder));
        }
    atomic_store(&fail_last, 0);
    assert_true(points > 50);
}

static void training_does_not_wait_for_a_slow_disk(void **unused)
{
    (void)unused;
    enum { STEPS = 1000 };
    struct worker_journal *journal = open_journal(1 << 20, 1 << 30);
    atomic_store(&is_slow, 1);
    tell_state(journal, WORKER, 0, 0);
    for (uint64_t step = 0; step < STEPS; step++) /* would never end if it waited */
        tell_step(journal, step, 1);
    atomic_store(&is_slow, 0);
    sem_post(&permits);
    worker_journal_close(journal);
    struct buf bytes;
    size_t at = 0;
    uint64_t written = 0;
    read_segment(WORKER, 0, &bytes);
    while (at < bytes.length) {
        struct witness witness = next_witness(&bytes, &at);
        written += witness.kind == WITNESS_STEP;
        witness_done(&witness);
    }
    assert_true(written > 100 && written < STEPS);
    buf_done(&bytes);
}

static void old_files_make_room_for_new_ones_but_not_those_being_written(void **unused)
{
    (void)unused;
    enum { SEGMENT = 4096, FOLDER = 5 * SEGMENT };
    struct worker_journal *other = open_journal(SEGMENT, FOLDER);
    tell_state(other, WORKER + 1, 0, 0);
    sem_wait(&writes); /* whose file it is */
    sem_wait(&writes);
    struct worker_journal *journal = open_journal(SEGMENT, FOLDER);
    tell_state(journal, WORKER, 0, 0);
    for (uint64_t step = 0; step < 200; step++)
        tell_step(journal, step, 100); /* some four to a file */
    worker_journal_close(journal);
    worker_journal_close(other);
    assert_true(file_count() <= FOLDER / SEGMENT + 2);
    struct buf bytes;
    read_segment(WORKER + 1, 0, &bytes); /* the oldest of all, but it had an owner */
    buf_done(&bytes);
}

static void a_folder_that_cannot_be_made_is_an_error_at_once(void **unused)
{
    (void)unused;
    struct worker_journal *journal = NULL;
    const struct worker_journal_setup nowhere = {.folder = "/proc/nowhere", .name = "w"};
    assert_fails(worker_journal_open(&nowhere, &journal), ERR_INPUT, "/proc/nowhere");
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(what_happened_is_there_in_order_and_says_whose_it_is),
        IN_FOLDER(nothing_happened_no_file),
        IN_FOLDER(what_cannot_be_written_is_counted_and_the_next_is),
        IN_FOLDER(whatever_call_fails_nothing_is_lost_without_a_word),
        IN_FOLDER(training_does_not_wait_for_a_slow_disk),
        IN_FOLDER(old_files_make_room_for_new_ones_but_not_those_being_written),
        IN_FOLDER(a_folder_that_cannot_be_made_is_an_error_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
