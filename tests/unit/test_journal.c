/* test_journal.c - what the server writes down comes back as it was, or is refused by name. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/fs.h"
#include "common/hash.h"
#include "common/mem.h"
#include "server/journal.h"
#include "server/journal_codec.h"
#include "tests/unit/journal_samples.h"

static char *directory;

static int make_directory(void **state)
{
    (void)state;
    char pattern[] = "/tmp/seer-journal-XXXXXX";
    directory = mem_string(mkdtemp(pattern));
    return 0;
}

static int remove_directory(void **state)
{
    (void)state;
    assert_ok(fs_remove_tree(directory));
    mem_free(directory);
    return 0;
}

static void encode(const struct journal_record *record, struct buf *bytes)
{
    buf_init(bytes, JOURNAL_RECORD_BYTES_MAX);
    assert_ok(journal_encode(record, bytes));
}

#define SAME(field) assert_memory_equal(&a->field, &b->field, sizeof(a->field))

/* All before the pointers at its end; field by field, since what lies between them is nobody's. */
static void assert_steps_equal(const struct journal_step *a, const struct journal_step *b)
{
    SAME(step), SAME(generation), SAME(epoch), SAME(lineage), SAME(attempt), SAME(world_size);
    SAME(is_commit), SAME(position), SAME(images), SAME(lr), SAME(loss), SAME(grad_norm);
    SAME(digest), SAME(parameter_digest), SAME(unequal_digests), SAME(step_ms);
    SAME(data_wait_ms), SAME(phase_us);
}

static void every_field_of_every_kind_survives(void **state)
{
    (void)state;
    for (int kind = JOURNAL_START; kind <= JOURNAL_KIND_LAST; kind++) {
        struct journal_record record = journal_sample((enum journal_kind)kind), back;
        struct buf bytes, again;
        encode(&record, &bytes);
        assert_ok(journal_decode(bytes.bytes, bytes.length, &back));
        encode(&back, &again);
        assert_int_equal(bytes.length, again.length);
        assert_memory_equal(bytes.bytes, again.bytes, bytes.length);
        if (kind == JOURNAL_STEP) {
            assert_int_equal(back.step.skip_count, 2);
            assert_string_equal(back.step.skips[0].reason, "truncated");
            assert_int_equal(back.step.skips[1].position, UINT64_C(1) << 50);
            assert_steps_equal(&record.step, &back.step);
            assert_memory_equal(record.step.schedule.part_sums, back.step.schedule.part_sums,
                                sizeof(back.step.schedule.part_sums));
        } else if (kind == JOURNAL_START) {
            assert_memory_equal(&record.start, &back.start, sizeof(back.start));
        } else if (kind == JOURNAL_GENERATION) {
            assert_string_equal(back.generation.members[1].name, "w2");
            assert_int_equal(back.generation.members[0].boot, 5);
            assert_int_equal(back.generation.members[0].pid, 1234);
        }
        journal_record_done(&back);
        buf_done(&bytes);
        buf_done(&again);
    }
}

/* The record without its last `cut` bytes, as they were before these were there. */
static void decode_older(enum journal_kind kind, size_t cut, struct journal_record *ret_record)
{
    enum { CHECKSUM_BYTES = 8 };
    struct journal_record record = journal_sample(kind);
    struct buf bytes;
    encode(&record, &bytes);
    size_t body = bytes.length - CHECKSUM_BYTES - cut;
    uint64_t checksum = htole64(hash_bytes(bytes.bytes, body));
    memcpy(bytes.bytes + body, &checksum, sizeof(checksum));
    assert_ok(journal_decode(bytes.bytes, body + CHECKSUM_BYTES, ret_record));
    buf_done(&bytes);
}

static void a_start_of_an_older_journal_is_read_without_its_boot(void **state)
{
    (void)state;
    struct journal_record back;
    decode_older(JOURNAL_START, sizeof(uint64_t), &back);
    assert_int_equal(back.start.window_blocks, 9);
    assert_int_equal(back.start.boot, 0);
    journal_record_done(&back);
}

static void a_generation_of_an_older_journal_is_read_without_its_processes(void **state)
{
    (void)state;
    enum { MEMBERS = 2, PROCESS_BYTES = 12 };
    struct journal_record back;
    decode_older(JOURNAL_GENERATION, (size_t)MEMBERS * PROCESS_BYTES, &back);
    assert_int_equal(back.generation.member_count, MEMBERS);
    assert_string_equal(back.generation.members[1].name, "w2");
    assert_int_equal(back.generation.members[0].pid, 0);
    journal_record_done(&back);
}

static void a_shard_of_an_older_journal_is_read_without_its_hash(void **state)
{
    (void)state;
    struct journal_record back;
    decode_older(JOURNAL_SHARD, sizeof(uint64_t), &back);
    assert_string_equal(back.shard.path, "/store/shards/a");
    assert_int_equal(back.shard.content_hash, 0);
    journal_record_done(&back);
}

static void a_flipped_bit_or_a_missing_byte_is_found(void **state)
{
    (void)state;
    for (int kind = JOURNAL_START; kind <= JOURNAL_KIND_LAST; kind++) {
        struct journal_record record = journal_sample((enum journal_kind)kind), back;
        struct buf bytes;
        encode(&record, &bytes);
        for (size_t i = 0; i < bytes.length; i++) {
            bytes.bytes[i] ^= 0x10;
            assert_int_equal(journal_decode(bytes.bytes, bytes.length, &back), ERR_CORRUPT);
            bytes.bytes[i] ^= 0x10;
            assert_int_equal(journal_decode(bytes.bytes, i, &back), ERR_CORRUPT);
        }
        buf_done(&bytes);
    }
}

/* With one more field behind its last. */
static void a_record_of_a_newer_everseer_says_who_can_read_it(void **state)
{
    (void)state;
    struct journal_record record = journal_sample(JOURNAL_PAUSE), back;
    struct buf bytes;
    encode(&record, &bytes);
    const size_t body = bytes.length; /* where the checksum was the new field is */
    uint64_t checksum = htole64(hash_bytes(bytes.bytes, body));
    assert_ok(buf_append(&bytes, &checksum, sizeof(checksum)));
    assert_fails(journal_decode(bytes.bytes, bytes.length, &back), ERR_CORRUPT,
                 "has 8 bytes too many: a newer everseer wrote it");
    buf_done(&bytes);
}

static enum status count_record(void *context, const struct journal_record *record)
{
    uint64_t *steps = context;
    if (record->kind == JOURNAL_STEP)
        assert_int_equal(record->step.step, (*steps)++);
    return OK;
}

static void append_steps(struct journal *journal, uint64_t from, uint64_t to)
{
    for (uint64_t step = from; step < to; step++) {
        struct journal_record record = journal_sample(JOURNAL_STEP);
        record.step.step = step;
        assert_ok(journal_append(journal, &record));
    }
}

static void records_come_back_in_order_after_a_restart(void **state)
{
    (void)state;
    struct journal *journal = NULL;
    uint64_t steps = 0;
    assert_ok(journal_open(directory, &journal));
    append_steps(journal, 0, 300);
    journal_close(journal);
    assert_ok(journal_open(directory, &journal));
    assert_int_equal(journal_count(journal), 300);
    append_steps(journal, 300, 310);
    assert_ok(journal_each(journal, count_record, &steps));
    assert_int_equal(steps, 310);
    journal_close(journal);
}

/* LMDB must not be opened twice in a process, so the reader is another one. */
static void another_process_reads_while_the_owner_writes_and_cannot_own(void **state)
{
    (void)state;
    struct journal *journal = NULL;
    assert_ok(journal_open(directory, &journal));
    append_steps(journal, 0, 5);
    pid_t child = fork();
    if (child == 0) {
        struct journal *other = NULL;
        uint64_t steps = 0;
        if (journal_open(directory, &other) != ERR_INPUT ||
            strstr(fail_message(), "belongs to") == NULL)
            _exit(1);
        if (journal_open_reader(directory, &other) != OK ||
            journal_each(other, count_record, &steps) != OK || steps != 5)
            _exit(2);
        journal_close(other);
        _exit(0);
    }
    int result = -1;
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_int_equal(result, 0);
    append_steps(journal, 5, 6);
    journal_close(journal);
}

/* A server that was killed and is started again at once meets the last moments of its former life.
 */
static void an_owner_that_is_ending_is_waited_for(void **state)
{
    (void)state;
    enum { LAST_MOMENTS_MS = 300 };
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        struct journal *journal = NULL;
        char is_open = journal_open(directory, &journal) == OK;
        if (write(ends[1], &is_open, 1) == 1)
            poll(NULL, 0, LAST_MOMENTS_MS);
        _exit(0);
    }
    char is_open = 0;
    assert_int_equal(read(ends[0], &is_open, 1), 1);
    assert_true(is_open);
    struct journal *journal = NULL;
    assert_ok(journal_open(directory, &journal));
    journal_close(journal);
    assert_int_equal(waitpid(child, NULL, 0), child);
    close(ends[0]);
    close(ends[1]);
}

/* Whoever dies owns nothing: what was acknowledged is there, and the next one takes over. */
static void what_was_appended_survives_a_kill(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        struct journal *journal = NULL;
        if (journal_open(directory, &journal) != OK)
            _exit(1);
        for (uint64_t step = 0;; step++) {
            struct journal_record record = journal_sample(JOURNAL_STEP);
            record.step.step = step;
            if (journal_append(journal, &record) != OK || write(ends[1], &step, sizeof(step)) < 0)
                _exit(2);
        }
    }
    uint64_t acknowledged = 0, steps = 0;
    while (acknowledged < 100)
        assert_int_equal(read(ends[0], &acknowledged, sizeof(acknowledged)), sizeof(acknowledged));
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
    close(ends[1]);
    while (read(ends[0], &acknowledged, sizeof(acknowledged)) == sizeof(acknowledged))
        ;
    close(ends[0]);
    struct journal *journal = NULL;
    assert_ok(journal_open(directory, &journal));
    assert_ok(journal_each(journal, count_record, &steps));
    assert_true(steps == acknowledged + 1 || steps == acknowledged + 2);
    journal_close(journal);
}

static void write_step(struct journal *journal, uint64_t step)
{
    struct journal_record record = journal_sample(JOURNAL_STEP);
    record.step.step = step;
    assert_ok(journal_write(journal, &record));
}

static void expect_steps(uint64_t expected)
{
    struct journal *journal = NULL;
    uint64_t steps = 0;
    assert_ok(journal_open(directory, &journal));
    assert_ok(journal_each(journal, count_record, &steps));
    assert_int_equal(steps, expected);
    assert_int_equal(journal_count(journal), expected);
    journal_close(journal);
}

/* Writes in another process, which ends at once, without a word to the journal. */
static void write_and_die(uint64_t from, uint64_t to)
{
    pid_t child = fork();
    if (child == 0) {
        struct journal *journal = NULL;
        if (journal_open(directory, &journal) != OK)
            _exit(1);
        for (uint64_t step = from; step < to; step++)
            write_step(journal, step);
        raise(SIGKILL);
    }
    int result = 0;
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_true(WIFSIGNALED(result));
}

static void what_was_written_survives_its_process_and_is_settled_by_the_next(void **state)
{
    (void)state;
    write_and_die(0, 1); /* nothing but this one */
    write_and_die(1, 4); /* each settles the one before */
    expect_steps(4);
    expect_steps(4); /* it is not settled twice */
}

static void what_is_appended_comes_after_what_was_written(void **state)
{
    (void)state;
    struct journal *journal = NULL;
    assert_ok(journal_open(directory, &journal));
    append_steps(journal, 0, 2);
    write_step(journal, 2);
    assert_int_equal(journal_count(journal), 3);
    append_steps(journal, 3, 4);
    write_step(journal, 4);
    assert_ok(journal_settle(journal));
    assert_ok(journal_settle(journal)); /* nothing is left */
    journal_close(journal);
    expect_steps(5);
}

static void a_reader_sees_what_is_only_written(void **state)
{
    (void)state;
    struct journal *journal = NULL;
    assert_ok(journal_open(directory, &journal));
    append_steps(journal, 0, 2);
    write_step(journal, 2);
    pid_t child = fork();
    if (child == 0) {
        struct journal *other = NULL;
        uint64_t steps = 0;
        int is_seen = journal_open_reader(directory, &other) == OK &&
                      journal_each(other, count_record, &steps) == OK && steps == 3;
        journal_close(other);
        _exit(!is_seen);
    }
    int result = -1;
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_int_equal(result, 0);
    journal_close(journal);
}

/* The bytes of the file in which the newest record is written first. */
static void edit_tail(size_t at, uint8_t flip, off_t length)
{
    char *path = mem_format("%s/tail", directory);
    uint8_t byte;
    int file = open(path, O_RDWR);
    assert_true(file >= 0);
    assert_int_equal(pread(file, &byte, 1, (off_t)at), 1);
    byte ^= flip;
    assert_int_equal(pwrite(file, &byte, 1, (off_t)at), 1);
    if (length >= 0)
        assert_int_equal(ftruncate(file, length), 0);
    close(file);
    mem_free(path);
}

/* As after a fall of the host, or a kill within the write: then nobody was told of it. */
static void a_torn_record_is_none(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        write_and_die((uint64_t)i, (uint64_t)i + 2); /* the first of them is settled */
        edit_tail(i == 0 ? 40 : 0, i < 2 ? 1 : 0, i == 2 ? 50 : -1);
        expect_steps((uint64_t)i + 1);
    }
}

static void a_journal_that_ends_before_what_was_written_is_refused(void **state)
{
    (void)state;
    struct journal *journal = NULL;
    char *data = mem_format("%s/data.mdb", directory), *copy = mem_format("%s/copy", directory);
    struct buf old;
    write_and_die(0, 1);
    expect_steps(1);
    buf_init(&old, 64 << 20);
    assert_ok(fs_read_file(data, &old));
    write_and_die(1, 4);
    assert_ok(fs_write_file(copy, old.bytes, old.length));
    assert_ok(fs_rename(copy, data));
    assert_fails(journal_open(directory, &journal), ERR_CORRUPT, "remove the file 'tail'");
    buf_done(&old);
    mem_free(data);
    mem_free(copy);
}

static void a_folder_without_journal_is_named(void **state)
{
    (void)state;
    struct journal *journal = NULL;
    assert_fails(journal_open_reader(directory, &journal), ERR_INPUT, directory);
}

static void put_raw(uint64_t big_endian_number, const void *bytes, size_t length)
{
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi table;
    MDB_val key = {sizeof(big_endian_number), &big_endian_number};
    MDB_val value = {length, (void *)(uintptr_t)bytes};
    assert_int_equal(mdb_env_create(&env), 0);
    assert_int_equal(mdb_env_open(env, directory, 0, 0666), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
    assert_int_equal(mdb_dbi_open(txn, NULL, 0, &table), 0);
    assert_int_equal(mdb_put(txn, table, &key, &value, 0), 0);
    assert_int_equal(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
}

int __real_mdb_put(MDB_txn *txn, MDB_dbi table, MDB_val *key, MDB_val *value, unsigned flags);
int __wrap_mdb_put(MDB_txn *txn, MDB_dbi table, MDB_val *key, MDB_val *value, unsigned flags);

static int put_error; /* of the next put; 0: none */

int __wrap_mdb_put(MDB_txn *txn, MDB_dbi table, MDB_val *key, MDB_val *value, unsigned flags)
{
    int error = put_error;
    put_error = 0;
    return error != 0 ? error : __real_mdb_put(txn, table, key, value, flags);
}

/* Room on the disk would not help. */
static void a_journal_of_its_greatest_size_is_no_full_disk(void **state)
{
    (void)state;
    struct journal *journal = NULL;
    struct journal_record record = journal_sample(JOURNAL_STEP);
    assert_ok(journal_open(directory, &journal));
    put_error = MDB_MAP_FULL;
    assert_fails(journal_append(journal, &record), ERR_IO, "greatest size, 64 GiB");
    put_error = ENOSPC;
    assert_fails(journal_append(journal, &record), ERR_IO, "no space left");
    assert_ok(journal_append(journal, &record));
    journal_close(journal);
}

static void a_foreign_database_is_refused(void **state)
{
    (void)state;
    struct journal *journal = NULL;
    put_raw(0, "something else", 14);
    assert_fails(journal_open(directory, &journal), ERR_INPUT, "no journal of ours");
}

static void a_newer_format_is_refused(void **state)
{
    (void)state;
    struct journal *journal = NULL;
    uint8_t banner[24] = "everseer journal";
    banner[20] = JOURNAL_FORMAT + 1;
    put_raw(0, banner, sizeof(banner));
    assert_fails(journal_open(directory, &journal), ERR_INPUT, "format");
}

static void a_damaged_record_is_named(void **state)
{
    (void)state;
    struct journal *journal = NULL;
    uint64_t steps = 0;
    assert_ok(journal_open(directory, &journal));
    append_steps(journal, 0, 3);
    journal_close(journal);
    put_raw(__builtin_bswap64(2), "rubbish rubbish rubbish", 23);
    assert_ok(journal_open(directory, &journal));
    assert_fails(journal_each(journal, count_record, &steps), ERR_CORRUPT, "record 2");
    journal_close(journal);
}

#define IN_DIRECTORY(test) cmocka_unit_test_setup_teardown(test, make_directory, remove_directory)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field_of_every_kind_survives),
        cmocka_unit_test(a_start_of_an_older_journal_is_read_without_its_boot),
        cmocka_unit_test(a_generation_of_an_older_journal_is_read_without_its_processes),
        cmocka_unit_test(a_shard_of_an_older_journal_is_read_without_its_hash),
        cmocka_unit_test(a_record_of_a_newer_everseer_says_who_can_read_it),
        cmocka_unit_test(a_flipped_bit_or_a_missing_byte_is_found),
        IN_DIRECTORY(records_come_back_in_order_after_a_restart),
        IN_DIRECTORY(another_process_reads_while_the_owner_writes_and_cannot_own),
        IN_DIRECTORY(an_owner_that_is_ending_is_waited_for),
        IN_DIRECTORY(what_was_appended_survives_a_kill),
        IN_DIRECTORY(what_was_written_survives_its_process_and_is_settled_by_the_next),
        IN_DIRECTORY(what_is_appended_comes_after_what_was_written),
        IN_DIRECTORY(a_reader_sees_what_is_only_written),
        IN_DIRECTORY(a_torn_record_is_none),
        IN_DIRECTORY(a_journal_that_ends_before_what_was_written_is_refused),
        IN_DIRECTORY(a_folder_without_journal_is_named),
        IN_DIRECTORY(a_journal_of_its_greatest_size_is_no_full_disk),
        IN_DIRECTORY(a_foreign_database_is_refused),
        IN_DIRECTORY(a_newer_format_is_refused),
        IN_DIRECTORY(a_damaged_record_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
