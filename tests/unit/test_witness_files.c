/* test_witness_files.c - workers' journals as files: whole, cut off, damaged, or partly gone. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/fs.h"
#include "server/witness_files.h"

enum { RUN = 3, WORKER = 7, SEGMENTS = 3, STEPS_IN_SEGMENT = 4, STEPS = 12, LIMIT = 1 << 20 };

static char folder[64];
static struct stream *stream;
static struct verdicts *verdicts;

/* Steps of one slot of one image, without images: here it matters only which steps are heard. */
static void write_segment(uint64_t worker, uint64_t run, uint32_t segment)
{
    struct buf bytes;
    char path[128];
    struct witness begin = {.kind = WITNESS_BEGIN,
                            .begin = {.format = WITNESS_FORMAT,
                                      .run = run,
                                      .worker = worker,
                                      .segment = segment,
                                      .name = "w"}};
    buf_init(&bytes, LIMIT);
    assert_ok(witness_encode(&begin, &bytes));
    for (uint64_t step = 0; step < STEPS_IN_SEGMENT; step++) {
        struct witness witness = {
            .kind = WITNESS_STEP,
            .step = {.generation = 1, .step = segment * STEPS_IN_SEGMENT + step, .is_applied = 1}};
        assert_ok(witness_encode(&witness, &bytes));
    }
    snprintf(path, sizeof(path), "%s/%016llx-%06u.journal", folder, (unsigned long long)worker,
             segment);
    assert_ok(fs_write_file(path, bytes.bytes, bytes.length));
    buf_done(&bytes);
}

static const char *path_of(uint32_t segment)
{
    static char path[128];
    snprintf(path, sizeof(path), "%s/%016x-%06u.journal", folder, WORKER, segment);
    return path;
}

static int setup(void **state)
{
    (void)state;
    static struct journal_member member = {.worker = WORKER};
    snprintf(folder, sizeof(folder), "/tmp/witness-files-XXXXXX");
    stream =
        stream_create(&(struct stream_setup){.seed = 3, .block_records = 4, .window_blocks = 2});
    verdicts = verdicts_create();
    struct journal_record record = {.kind = JOURNAL_GENERATION, .generation = {1, 0, 1, &member}};
    assert_ok(verdicts_add(verdicts, &record));
    for (uint64_t step = 0; step < STEPS; step++) {
        record = (struct journal_record){.kind = JOURNAL_STEP,
                                         .step = {.step = step, .generation = 1, .is_commit = 1}};
        assert_ok(verdicts_add(verdicts, &record));
    }
    if (mkdtemp(folder) == NULL)
        return 1;
    for (uint32_t segment = 0; segment < SEGMENTS; segment++)
        write_segment(WORKER, RUN, segment);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    verdicts_destroy(verdicts);
    stream_destroy(stream);
    return fs_remove_tree(folder) != OK;
}

/* Lists, lets `meanwhile` happen, and hears. The words of the first finding are in ret_words. */
static struct hearing_result hear(void (*meanwhile)(void), char ret_words[256])
{
    struct witness_files files = {0};
    struct hearing_result result;
    struct hearing *hearing = hearing_create(stream, verdicts, 1);
    assert_ok(witness_files_add(&files, folder));
    if (meanwhile != NULL)
        meanwhile();
    assert_ok(witness_files_hear(&files, RUN, hearing));
    hearing_end(hearing, &result);
    const char *words = hearing_finding(hearing, 0);
    snprintf(ret_words, 256, "%s", words != NULL ? words : "");
    hearing_destroy(hearing);
    witness_files_done(&files);
    return result;
}

static void assert_agrees(struct hearing_result result, const char *words, uint64_t steps)
{
    assert_string_equal(words, "");
    assert_int_equal(result.workers, 1);
    assert_int_equal(result.steps_witnessed, steps);
}

static void files_are_read_in_order_and_strangers_passed_over(void **state)
{
    (void)state;
    char words[256], path[128];
    write_segment(WORKER + 1, RUN + 1, 0); /* of another run that shares the folder */
    snprintf(path, sizeof(path), "%s/notes.journal", folder);
    assert_ok(fs_write_file(path, "hello", 5));
    assert_agrees(hear(NULL, words), words, STEPS);
}

static void a_file_that_is_cut_off_ends_there(void **state)
{
    (void)state;
    char words[256];
    assert_int_equal(truncate(path_of(2), 200), 0);
    struct hearing_result result = hear(NULL, words);
    assert_string_equal(words, "");
    assert_true(result.steps_witnessed > 8 && result.steps_witnessed < STEPS);
    assert_int_equal(truncate(path_of(2), 0), 0); /* made, and nothing written yet */
    assert_agrees(hear(NULL, words), words, 8);
}

/* Appends a record to the last file. */
static void append(const struct witness *witness)
{
    struct buf bytes;
    buf_init(&bytes, LIMIT);
    assert_ok(fs_read_file(path_of(2), &bytes));
    assert_ok(witness_encode(witness, &bytes));
    assert_ok(fs_write_file(path_of(2), bytes.bytes, bytes.length));
    buf_done(&bytes);
}

static void do_another_step(void)
{
    append(&(struct witness){.kind = WITNESS_STEP, .step = {.generation = 1, .step = STEPS}});
}

static void what_comes_after_the_listing_is_not_heard(void **state)
{
    (void)state;
    char words[256];
    assert_agrees(hear(do_another_step, words), words, STEPS);
    assert_int_equal(hear(NULL, words).applied_without_commit, 1); /* now it was there */
}

static void a_second_beginning_is_damage(void **state)
{
    (void)state;
    char words[256];
    append(&(struct witness){.kind = WITNESS_BEGIN,
                             .begin = {.format = WITNESS_FORMAT, .run = RUN, .worker = WORKER}});
    assert_int_equal(hear(NULL, words).journals_damaged, 1);
    assert_non_null(strstr(words, "a second time"));
}

static void flip_a_bit(const char *path, off_t at)
{
    uint8_t byte;
    int file = open(path, O_RDWR | O_CLOEXEC);
    assert_int_equal(pread(file, &byte, 1, at), 1);
    byte ^= 4;
    assert_int_equal(pwrite(file, &byte, 1, at), 1);
    close(file);
}

static void a_damaged_record_is_found_and_its_place_named(void **state)
{
    (void)state;
    char words[256];
    flip_a_bit(path_of(1), 150);
    struct hearing_result result = hear(NULL, words);
    assert_int_equal(result.journals_damaged, 1);
    assert_int_equal(result.committed_not_applied, 0); /* nobody knows what stood there */
    assert_non_null(strstr(words, "000001.journal"));
    assert_non_null(strstr(words, "checksum"));
}

static void a_file_under_another_name_is_found(void **state)
{
    (void)state;
    char words[256], other[128];
    snprintf(other, sizeof(other), "%s", path_of(1));
    assert_int_equal(rename(path_of(2), other), 0);
    assert_int_equal(hear(NULL, words).journals_damaged, 1);
    assert_non_null(strstr(words, "as its name says"));
}

static void a_file_missing_in_the_middle_is_found(void **state)
{
    (void)state;
    char words[256];
    assert_int_equal(unlink(path_of(1)), 0);
    assert_int_equal(hear(NULL, words).journals_damaged, 1);
    assert_non_null(strstr(words, "the file before it is missing"));
}

static void the_oldest_files_may_be_gone(void **state)
{
    (void)state;
    char words[256];
    assert_int_equal(unlink(path_of(0)), 0);
    assert_agrees(hear(NULL, words), words, 8);
    assert_int_equal(unlink(path_of(1)), 0);
    assert_agrees(hear(NULL, words), words, 4);
}

static void make_room(void)
{
    assert_int_equal(unlink(path_of(0)), 0);
    assert_int_equal(unlink(path_of(1)), 0);
}

static void a_worker_may_make_room_while_they_are_read(void **state)
{
    (void)state;
    char words[256];
    assert_agrees(hear(make_room, words), words, 4);
}

static void a_folder_that_is_not_there_is_an_error(void **state)
{
    (void)state;
    struct witness_files files = {0};
    assert_fails(witness_files_add(&files, "/nowhere"), ERR_INPUT, "/nowhere");
}

#define ONE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ONE(files_are_read_in_order_and_strangers_passed_over),
        ONE(a_file_that_is_cut_off_ends_there),
        ONE(what_comes_after_the_listing_is_not_heard),
        ONE(a_second_beginning_is_damage),
        ONE(a_damaged_record_is_found_and_its_place_named),
        ONE(a_file_under_another_name_is_found),
        ONE(a_file_missing_in_the_middle_is_found),
        ONE(the_oldest_files_may_be_gone),
        ONE(a_worker_may_make_room_while_they_are_read),
        ONE(a_folder_that_is_not_there_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
