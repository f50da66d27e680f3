/* test_shard.c - shards: what is written is read, by us and by others; what is damaged is refused.
 */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include <sys/wait.h>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <lmdb.h>

#include "common/fs.h"
#include "common/mem.h"
#include "common/random.h"
#include "loader/shard.h"
#include "loader/shard_writer.h"

enum { RECORDS = 300, RECORD_BYTES_LARGEST = 9000 };

static char folder[] = "/tmp/everseer-shard-XXXXXX";

/* Contents of record i: starts like a JPEG, then bytes of its own; 40 to 9000 bytes, so that both
 * LMDB's inline and its large values occur. */
static size_t make_bytes(uint32_t i, uint8_t *bytes)
{
    struct random random;
    random_init(&random, 7, RANDOM_STREAM_TEST, i, 0);
    size_t length = 40 + random_below(&random, RECORD_BYTES_LARGEST - 40);
    for (size_t j = 0; j < length; j++)
        bytes[j] = (uint8_t)random_u32(&random);
    memcpy(bytes, "\xFF\xD8\xFF", 3);
    return length;
}

static struct store_shard write_shard(const char *name)
{
    struct shard_writer *writer;
    struct store_shard shard;
    uint8_t bytes[RECORD_BYTES_LARGEST];
    assert_ok(shard_writer_open(folder, name, 4 << 20, &writer));
    for (uint32_t i = 0; i < RECORDS; i++) {
        struct record record = {.bytes = bytes, .length = make_bytes(i, bytes)};
        record.label = i % 3 == 0 ? LABEL_NONE : (int32_t)i % 10;
        record.width = 5;
        record.height = 6;
        assert_ok(shard_writer_add(writer, &record, hash128_bytes(bytes, record.length)));
    }
    assert_ok(shard_writer_seal(&writer, &shard));
    assert_null(writer);
    return shard;
}

static void read_and_compare(const char *path)
{
    struct shard *shard;
    struct shard_reader *reader;
    uint8_t bytes[RECORD_BYTES_LARGEST];
    struct record record;
    assert_ok(shard_open(path, &shard));
    assert_int_equal(shard_record_count(shard), RECORDS);
    assert_ok(shard_reader_open(shard, &reader));
    for (uint32_t i = RECORDS; i-- > 0;) {
        assert_ok(shard_read(reader, i, &record));
        assert_int_equal(record.length, make_bytes(i, bytes));
        assert_memory_equal(record.bytes, bytes, record.length);
        assert_int_equal(record.label, i % 3 == 0 ? LABEL_NONE : (int32_t)i % 10);
    }
    assert_fails(shard_read(reader, RECORDS, &record), ERR_INPUT, "there is no record");
    shard_reader_close(reader);
    shard_close(shard);
}

static void what_is_written_is_read_back(void **state)
{
    (void)state;
    struct store_shard shard = write_shard("round-trip");
    struct store store;
    read_and_compare(shard.path);
    assert_ok(store_load(folder, &store));
    assert_int_equal(store.record_count, RECORDS);
    assert_int_equal(store.shards[0].label_count, RECORDS - RECORDS / 3);
    assert_true(store.shards[0].content_hash == shard.content_hash);
    store_done(&store);
    store_shard_done(&shard);
}

/* Reads the file with LMDB alone and takes a Datum apart by hand, byte by byte, as proto2 encodes
 * it: what Caffe and DALI see. */
static void values_are_the_datum_that_caffe_reads(void **state)
{
    (void)state;
    struct store_shard shard = write_shard("caffe");
    MDB_env *env;
    MDB_txn *transaction;
    MDB_dbi main_db;
    uint8_t bytes[RECORD_BYTES_LARGEST];
    size_t length = make_bytes(1, bytes);
    assert_int_equal(mdb_env_create(&env), 0);
    assert_int_equal(mdb_env_open(env, shard.path, MDB_RDONLY | MDB_NOLOCK, 0), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, MDB_RDONLY, &transaction), 0);
    assert_int_equal(mdb_dbi_open(transaction, NULL, 0, &main_db), 0);
    MDB_val key = {.mv_data = "00000001", .mv_size = 8}, value;
    assert_int_equal(mdb_get(transaction, main_db, &key, &value), 0);
    const uint8_t head[] = {1 << 3, 3, 2 << 3, 6, 3 << 3, 5, 4 << 3 | 2};
    const uint8_t tail[] = {5 << 3, 1, 7 << 3, 1};
    const uint8_t *at = value.mv_data;
    assert_memory_equal(at, head, sizeof(head));
    at += sizeof(head);
    size_t said = at[0] & 0x7F;
    at += said == at[0] ? 1 : (said |= (size_t)at[1] << 7, 2);
    assert_int_equal(said, length);
    assert_memory_equal(at, bytes, length);
    assert_memory_equal(at + length, tail, sizeof(tail));
    assert_int_equal(value.mv_size, (size_t)(at - (const uint8_t *)value.mv_data) + length + 4);
    mdb_txn_abort(transaction);
    mdb_env_close(env);
    store_shard_done(&shard);
}

static void an_lsun_style_shard_of_bare_images_is_read(void **state)
{
    (void)state;
    char *path = mem_format("%s/lsun", folder);
    uint8_t bytes[RECORD_BYTES_LARGEST];
    MDB_env *env;
    MDB_txn *transaction;
    MDB_dbi main_db;
    assert_ok(fs_make_directory(path));
    assert_int_equal(mdb_env_create(&env), 0);
    assert_int_equal(mdb_env_set_mapsize(env, 8 << 20), 0);
    assert_int_equal(mdb_env_open(env, path, 0, 0666), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, 0, &transaction), 0);
    assert_int_equal(mdb_dbi_open(transaction, NULL, 0, &main_db), 0);
    for (uint32_t i = 0; i < 50; i++) {
        char name[48];
        MDB_val key = {.mv_data = name}, value = {.mv_data = bytes};
        key.mv_size = (size_t)snprintf(name, sizeof(name), "%c-%040u", 'a' + (int)(i % 3), i);
        value.mv_size = make_bytes(i, bytes);
        assert_int_equal(mdb_put(transaction, main_db, &key, &value, 0), 0);
    }
    assert_int_equal(mdb_txn_commit(transaction), 0);
    mdb_env_close(env);

    struct shard *shard;
    struct shard_reader *reader;
    struct record record;
    assert_ok(shard_open(path, &shard));
    assert_int_equal(shard_record_count(shard), 50);
    assert_ok(shard_reader_open(shard, &reader));
    /* Sorted by key: a-0, a-3, ... are the first 17. */
    assert_ok(shard_read(reader, 2, &record));
    assert_int_equal(record.length, make_bytes(6, bytes));
    assert_memory_equal(record.bytes, bytes, record.length);
    assert_int_equal(record.label, LABEL_NONE);
    shard_reader_close(reader);
    shard_close(shard);
    mem_free(path);
}

static void a_shard_cut_off_anywhere_is_refused(void **state)
{
    (void)state;
    struct store_shard shard = write_shard("cut");
    struct shard *opened;
    char *data = mem_format("%s/data.mdb", shard.path);
    for (off_t length = (off_t)shard.file_bytes - 1; length > 0; length -= length / 7 + 1) {
        assert_int_equal(truncate(data, length), 0);
        assert_fails(shard_open(shard.path, &opened), ERR_CORRUPT, "ingest its images again");
        assert_non_null(strstr(fail_message(), shard.path));
    }
    fs_remove_tree(shard.path);
    mem_free(data);
    store_shard_done(&shard);
}

/* Reads everything it can; whatever the damage, the process must live. */
static int read_all(const char *path)
{
    struct shard *shard;
    struct shard_reader *reader;
    struct record record;
    int failed = 0;
    unsigned sum = 0;
    if (shard_open(path, &shard) != OK)
        return -1;
    assert_ok(shard_reader_open(shard, &reader));
    for (uint32_t i = 0; i < shard_record_count(shard); i++) {
        if (shard_read(reader, i, &record) != OK) {
            failed++;
            continue;
        }
        for (size_t j = 0; j < record.length; j++)
            sum += record.bytes[j];
    }
    shard_reader_close(reader);
    shard_close(shard);
    return failed + (sum == 0);
}

static void a_shard_damaged_anywhere_never_crashes_its_reader(void **state)
{
    (void)state;
    struct store_shard shard = write_shard("damaged");
    char *data = mem_format("%s/data.mdb", shard.path);
    struct buf whole;
    buf_init(&whole, 64 << 20);
    assert_ok(fs_read_file(data, &whole));
    const char *given = getenv("SEER_TEST_SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 10) : 1;
    printf("seed %llu (SEER_TEST_SEED)\n", (unsigned long long)seed);
    int refused = 0;
    int file = open(data, O_RDWR);
    assert_true(file >= 0);
    for (uint32_t trial = 0; trial < 600; trial++) {
        struct random random;
        random_init(&random, seed, RANDOM_STREAM_TEST, trial, 1);
        /* Half of the hits go to the first 64 bytes of a page, where the structure is. */
        uint64_t pages = whole.length / 4096;
        uint64_t at = random_below(&random, (uint32_t)pages) * 4096ull;
        at += random_below(&random, trial % 2 == 0 ? 64 : 4096);
        if (trial % 4 == 0)
            at %= 8192 + 4096; /* and many of those to the headers of the file */
        uint8_t byte = (uint8_t)(whole.bytes[at] ^ (1 + random_below(&random, 255)));
        assert_int_equal(pwrite(file, &byte, 1, (off_t)at), 1);
        refused += read_all(shard.path) == -1;
        assert_int_equal(pwrite(file, whole.bytes + at, 1, (off_t)at), 1);
    }
    close(file);
    assert_true(refused > 50);
    read_and_compare(shard.path);
    buf_done(&whole);
    mem_free(data);
    store_shard_done(&shard);
}

/* Another process that dies with a record written and nothing sealed. */
static void write_and_die(const struct record *record)
{
    int code;
    pid_t pid = fork();
    if (pid == 0) {
        struct shard_writer *writer;
        struct hash128 hash = hash128_bytes(record->bytes, record->length);
        _exit(shard_writer_open(folder, "dead", 1 << 20, &writer) != OK ||
              shard_writer_add(writer, record, hash) != OK);
    }
    assert_int_equal(waitpid(pid, &code, 0), pid);
    assert_int_equal(code, 0);
}

static void what_a_dead_writer_left_is_cleaned_and_what_a_live_one_writes_is_not(void **state)
{
    (void)state;
    struct shard_writer *writer;
    uint8_t bytes[RECORD_BYTES_LARGEST];
    struct record record = {.bytes = bytes, .length = make_bytes(0, bytes), .label = 1};
    char *dead = mem_format("%s/unsealed/dead", folder);
    char *young = mem_format("%s/unsealed/young", folder);
    char *young_owner = mem_format("%s/owner", young);
    char *alive = mem_format("%s/unsealed/alive", folder);
    assert_ok(shard_writer_open(folder, "alive", 1 << 20, &writer));
    assert_ok(shard_writer_add(writer, &record, hash128_bytes(bytes, record.length)));
    write_and_die(&record);
    assert_true(fs_exists(dead));
    assert_ok(fs_make_directory(young)); /* died before it had marked its file */
    assert_ok(fs_write_file(young_owner, "", 0));
    assert_ok(shard_writer_clean(folder));
    assert_false(fs_exists(dead));
    assert_false(fs_exists(young));
    assert_true(fs_exists(alive));
    shard_writer_destroy(writer);
    assert_false(fs_exists(alive));
    mem_free(alive);
    mem_free(young_owner);
    mem_free(young);
    mem_free(dead);
}

/* A store at the wrong place must not cost anybody their files. */
static void cleaning_removes_nothing_that_is_not_a_dead_writers(void **state)
{
    (void)state;
    char *file = mem_format("%s/unsealed/notes.txt", folder);
    char *foreign = mem_format("%s/unsealed/foreign", folder);
    char *foreign_file = mem_format("%s/letter", foreign);
    char *nested = mem_format("%s/unsealed/nested/deep", folder);
    char *nested_owner = mem_format("%s/unsealed/nested/owner", folder);
    char *nested_file = mem_format("%s/letter", nested);
    char *owned = mem_format("%s/unsealed/owned", folder);
    char *owned_owner = mem_format("%s/owner", owned), *owned_file = mem_format("%s/letter", owned);
    assert_ok(fs_make_directory(owned)); /* somebody else's file of that name */
    assert_ok(fs_write_file(owned_owner, "Ann", 3));
    assert_ok(fs_write_file(owned_file, "x", 1));
    assert_ok(fs_make_directory(foreign));
    assert_ok(fs_make_directory(nested));
    assert_ok(fs_write_file(file, "x", 1));
    assert_ok(fs_write_file(foreign_file, "x", 1));
    assert_ok(fs_write_file(nested_owner, "", 0));
    assert_ok(fs_write_file(nested_file, "x", 1));
    shard_writer_clean(folder);
    assert_true(fs_exists(file));
    assert_true(fs_exists(foreign_file));
    assert_true(fs_exists(nested_file));
    assert_true(fs_exists(owned_file));
    assert_true(fs_exists(owned_owner));
    char *unsealed = mem_format("%s/unsealed", folder);
    assert_ok(fs_remove_tree(unsealed));
    mem_free(unsealed);
    mem_free(owned_file);
    mem_free(owned_owner);
    mem_free(owned);
    mem_free(nested_file);
    mem_free(nested_owner);
    mem_free(nested);
    mem_free(foreign_file);
    mem_free(foreign);
    mem_free(file);
}

static void a_folder_that_is_no_store_is_named_with_the_remedy(void **state)
{
    (void)state;
    struct store store;
    struct shard *shard;
    assert_fails(store_load("/usr/share", &store), ERR_INPUT, "seer ingest");
    assert_fails(shard_open("/usr/share", &shard), ERR_INPUT, "/usr/share");
    assert_fails(shard_open("/etc/passwd", &shard), ERR_INPUT, "not an LMDB file");
}

static void damaged_values_are_refused_record_by_record(void **state)
{
    (void)state;
    struct record record;
    const uint8_t raw[] = {4 << 3 | 2, 2, 'a', 'b'};
    const uint8_t beyond[] = {4 << 3 | 2, 200, 'a', 'b'};
    const uint8_t huge[] = {4 << 3 | 2, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F, 1};
    const uint8_t group[] = {1 << 3 | 3, 1};
    const uint8_t good[] = {4 << 3 | 2, 2, 'a', 'b', 9 << 3 | 5, 1, 2, 3, 4, 7 << 3, 1};
    assert_fails(record_decode(raw, sizeof(raw), &record), ERR_CORRUPT, "raw pixels");
    assert_fails(record_decode(beyond, sizeof(beyond), &record), ERR_CORRUPT, "not a Caffe Datum");
    assert_fails(record_decode(huge, sizeof(huge), &record), ERR_CORRUPT, "not a Caffe Datum");
    assert_fails(record_decode(group, sizeof(group), &record), ERR_CORRUPT, "not a Caffe Datum");
    assert_fails(record_decode("", 0, &record), ERR_CORRUPT, "no data");
    assert_ok(record_decode(good, sizeof(good), &record));
    assert_int_equal(record.length, 2);
    assert_int_equal(record.label, LABEL_NONE);
}

int main(void)
{
    if (mkdtemp(folder) == NULL)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read_back),
        cmocka_unit_test(values_are_the_datum_that_caffe_reads),
        cmocka_unit_test(an_lsun_style_shard_of_bare_images_is_read),
        cmocka_unit_test(a_shard_cut_off_anywhere_is_refused),
        cmocka_unit_test(a_shard_damaged_anywhere_never_crashes_its_reader),
        cmocka_unit_test(what_a_dead_writer_left_is_cleaned_and_what_a_live_one_writes_is_not),
        cmocka_unit_test(cleaning_removes_nothing_that_is_not_a_dead_writers),
        cmocka_unit_test(a_folder_that_is_no_store_is_named_with_the_remedy),
        cmocka_unit_test(damaged_values_are_refused_record_by_record),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    fs_remove_tree(folder);
    return failed;
}
