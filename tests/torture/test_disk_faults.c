/* test_disk_faults.c - the disk fails at call 1, 2, 3 ... until nothing fails any more: journal,
 * shards, snapshots and small files are as before or as after, and go on when the disk does. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include <unistd.h>

#include "common/fs.h"
#include "common/hash.h"
#include "common/mem.h"
#include "common/safetensors_digest.h"
#include "loader/shard.h"
#include "loader/shard_writer.h"
#include "server/journal.h"
#include "server/parameter_store.h"
#include "server/snapshot_folder.h"
#include "tests/torture/faults.h"

enum { CALLS_MIN = 5, CALLS_MAX = 1000 };

static char *folder;

/* Runs trial(n) in a new folder with call n failing, for every n and every mode; it says with
 * faults_disarm whether n was reached. */
static void fail_every_call(int (*trial)(void))
{
    for (int i = 0; i < FAULT_MODE_COUNT; i++) {
        int call = 1;
        for (int failed = 1; failed > 0 && call < CALLS_MAX; call++) {
            char pattern[] = "/tmp/seer-faults-XXXXXX";
            folder = mem_string(mkdtemp(pattern));
            print_message("[ call %d, %s\n", call, fault_modes[i].name);
            faults_arm(call, &fault_modes[i]);
            failed = trial();
            assert_ok(fs_remove_tree(folder));
            mem_free(folder);
        }
        assert_in_range(call, CALLS_MIN, CALLS_MAX - 1);
    }
}

static void assert_disk_blamed(enum status status)
{
    assert_int_equal(status, ERR_IO);
    assert_non_null(strstr(fail_message(), "'/tmp")); /* the folder, or one above it */
}

static int entry_count(const char *path, const char *pattern)
{
    char *command = mem_format("find '%s' -mindepth 1 -name '%s' | wc -l", path, pattern);
    FILE *pipe = popen(command, "r");
    int count = -1;
    assert_int_equal(fscanf(pipe, "%d", &count), 1);
    pclose(pipe);
    mem_free(command);
    return count;
}

/* The journal. */

enum { APPENDS = 3, SKIPS = 300 /* more than a page of LMDB's */ };

static struct message_skip skips[SKIPS];

static enum status append_step(struct journal *journal, uint64_t step)
{
    struct journal_record record = {.kind = JOURNAL_STEP};
    for (int i = 0; i < SKIPS; i++)
        skips[i].reason = "truncated";
    record.step.step = step;
    record.step.skip_count = step % 2 == 0 ? SKIPS : 0;
    record.step.skips = skips;
    return journal_append(journal, &record);
}

static enum status expect_step(void *context, const struct journal_record *record)
{
    uint64_t *step = context;
    assert_int_equal(record->step.step, *step);
    assert_int_equal(record->step.skip_count, *step % 2 == 0 ? SKIPS : 0);
    ++*step;
    return OK;
}

/* Whole, and with no more than what was acknowledged. */
static void assert_journal_holds(uint64_t acknowledged)
{
    struct journal *journal = NULL;
    uint64_t steps = 0;
    assert_ok(journal_open(folder, &journal));
    assert_ok(journal_each(journal, expect_step, &steps));
    assert_int_equal(steps, acknowledged);
    assert_ok(append_step(journal, steps));
    journal_close(journal);
}

static int append_while_calls_fail(void)
{
    struct journal *journal = NULL;
    uint64_t acknowledged = 0;
    enum status status = journal_open(folder, &journal);
    while (status == OK && acknowledged < APPENDS) {
        status = append_step(journal, acknowledged);
        acknowledged += status == OK;
    }
    int failed = faults_disarm();
    if (status != OK)
        assert_disk_blamed(status);
    /* The server ends here; whoever goes on is served or refused, never deceived. */
    if (status != OK && journal != NULL) {
        status = append_step(journal, acknowledged);
        acknowledged += status == OK;
    }
    journal_close(journal);
    assert_journal_holds(acknowledged);
    assert_journal_holds(acknowledged + 1);
    return failed;
}

static void the_journal_survives_every_failing_call(void **state)
{
    (void)state;
    fail_every_call(append_while_calls_fail);
}

/* Shards. */

enum { RECORDS = 5, RECORD_BYTES = 3000 };

static void fill_record(uint32_t i, uint8_t bytes[RECORD_BYTES])
{
    for (uint32_t j = 0; j < RECORD_BYTES; j++)
        bytes[j] = (uint8_t)(7 * i + j);
    memcpy(bytes, "\xFF\xD8\xFF", 3);
}

static enum status write_shard(const char *name)
{
    struct shard_writer *writer = NULL;
    struct store_shard shard;
    uint8_t bytes[RECORD_BYTES];
    enum status status = shard_writer_open(folder, name, 1 << 20, &writer);
    for (uint32_t i = 0; i < RECORDS && status == OK; i++) {
        fill_record(i, bytes);
        const struct record record = {bytes, RECORD_BYTES, (int32_t)i, 5, 6};
        status = shard_writer_add(writer, &record, hash128_bytes(bytes, RECORD_BYTES));
    }
    if (status != OK) {
        shard_writer_destroy(writer);
        return status;
    }
    TRY(shard_writer_seal(&writer, &shard));
    store_shard_done(&shard);
    return OK;
}

static void assert_shard_is_whole(const struct store_shard *described)
{
    struct shard *shard;
    struct shard_reader *reader;
    struct record record;
    uint8_t bytes[RECORD_BYTES];
    assert_int_equal(described->record_count, RECORDS);
    assert_ok(shard_open(described->path, &shard));
    assert_int_equal(shard_record_count(shard), RECORDS);
    assert_ok(shard_reader_open(shard, &reader));
    for (uint32_t i = 0; i < RECORDS; i++) {
        fill_record(i, bytes);
        assert_ok(shard_read(reader, i, &record));
        assert_int_equal(record.length, RECORD_BYTES);
        assert_memory_equal(record.bytes, bytes, RECORD_BYTES);
    }
    shard_reader_close(reader);
    shard_close(shard);
}

static int write_a_shard_while_calls_fail(void)
{
    struct store store;
    enum status status = write_shard("first");
    int failed = faults_disarm();
    if (status != OK)
        assert_disk_blamed(status);
    assert_ok(shard_writer_clean(folder));
    assert_ok(write_shard("second"));
    assert_ok(store_load(folder, &store));
    /* The last flush may fail behind the rename: then it is there although nobody said so. */
    assert_in_range(store.shard_count, status == OK ? 2 : 1, 2);
    for (uint32_t i = 0; i < store.shard_count; i++)
        assert_shard_is_whole(&store.shards[i]);
    assert_int_equal(entry_count(folder, "data.mdb"), store.shard_count);
    store_done(&store);
    return failed;
}

static void a_shard_is_whole_or_absent_whichever_call_fails(void **state)
{
    (void)state;
    fail_every_call(write_a_shard_while_calls_fail);
}

/* Snapshots. */

enum { FLOATS = 1000, PART = 1500 };

static struct buf snapshot; /* the file's bytes */

static void make_snapshot(void)
{
    static float data[FLOATS];
    struct safetensors_header header;
    for (int i = 0; i < FLOATS; i++)
        data[i] = (float)i;
    safetensors_init(&header);
    assert_ok(safetensors_add(&header, "w", SAFETENSORS_F32, 1, (int64_t[]){FLOATS}, NULL));
    safetensors_add_metadata(&header, "everseer.step", "7");
    safetensors_reserve_digests(&header);
    buf_init(&snapshot, 1 << 20);
    assert_ok(safetensors_encode(&header, &snapshot));
    assert_ok(buf_append(&snapshot, data, sizeof(data)));
    safetensors_done(&header);
}

static enum status push(struct parameter_store *store, char *name)
{
    int is_complete = 0;
    TRY(parameter_store_expect(store, name));
    for (size_t offset = 0; offset < snapshot.length; offset += PART) {
        size_t left = snapshot.length - offset;
        struct message_snapshot_part part = {
            .name = name,
            .offset = offset,
            .total = snapshot.length,
            .length = (uint32_t)(left < PART ? left : PART),
            .data = snapshot.bytes + offset,
        };
        part.checksum = hash_bytes(part.data, part.length);
        TRY(parameter_store_write(store, &part, &is_complete));
    }
    assert_true(is_complete);
    return OK;
}

static void assert_snapshot_is_whole(const char *name)
{
    struct buf bytes;
    struct snapshot_proof proof;
    const size_t data = FLOATS * sizeof(float);
    char *path = snapshot_folder_path(folder, name);
    buf_init(&bytes, 1 << 20);
    assert_ok(snapshot_folder_verify(folder, name, &proof));
    assert_true(proof.has_digests);
    assert_ok(fs_read_file(path, &bytes));
    assert_int_equal(bytes.length, snapshot.length);
    assert_memory_equal(bytes.bytes + bytes.length - data, snapshot.bytes + bytes.length - data,
                        data);
    buf_done(&bytes);
    mem_free(path);
}

static int push_a_snapshot_while_calls_fail(void)
{
    struct parameter_store *store = NULL;
    struct snapshot_info *list = NULL;
    int count = 0;
    enum status status = parameter_store_open(folder, &store);
    if (status == OK)
        status = push(store, "first");
    int failed = faults_disarm();
    if (status != OK)
        assert_disk_blamed(status);
    if (store != NULL)
        assert_ok(push(store, "second"));
    parameter_store_close(store);
    assert_ok(parameter_store_open(folder, &store));
    assert_ok(push(store, "third"));
    assert_ok(snapshot_folder_list(folder, &list, &count));
    assert_in_range(count, status == OK ? 3 : 1, 3);
    for (int i = 0; i < count; i++)
        assert_snapshot_is_whole(list[i].name);
    assert_int_equal(entry_count(folder, "*"), count);
    mem_free(list);
    parameter_store_close(store);
    return failed;
}

static void a_snapshot_is_whole_or_absent_whichever_call_fails(void **state)
{
    (void)state;
    make_snapshot();
    fail_every_call(push_a_snapshot_while_calls_fail);
    buf_done(&snapshot);
}

/* Small files. */

static int replace_a_file_while_calls_fail(void)
{
    struct buf bytes;
    char *path = mem_format("%s/file", folder);
    buf_init(&bytes, 100);
    enum status old_status = fs_write_file(path, "old", 3);
    enum status new_status = fs_write_file(path, "new one", 7);
    int failed = faults_disarm();
    if (new_status != OK)
        assert_disk_blamed(new_status);
    if (fs_exists(path)) {
        assert_ok(fs_read_file(path, &bytes));
        int is_new = strcmp((char *)bytes.bytes, "new one") == 0;
        assert_true(is_new || (new_status != OK && strcmp((char *)bytes.bytes, "old") == 0));
    } else {
        assert_true(old_status != OK && new_status != OK);
    }
    assert_int_equal(entry_count(folder, "*"), fs_exists(path));
    buf_done(&bytes);
    mem_free(path);
    return failed;
}

static void a_file_is_the_old_or_the_new_one_whichever_call_fails(void **state)
{
    (void)state;
    fail_every_call(replace_a_file_while_calls_fail);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_journal_survives_every_failing_call),
        cmocka_unit_test(a_shard_is_whole_or_absent_whichever_call_fails),
        cmocka_unit_test(a_snapshot_is_whole_or_absent_whichever_call_fails),
        cmocka_unit_test(a_file_is_the_old_or_the_new_one_whichever_call_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
