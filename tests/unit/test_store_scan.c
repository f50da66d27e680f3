/* test_store_scan.c - the server finds new shards, and one damaged shard does not cost the others.
 */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>

#include "common/fs.h"
#include "common/mem.h"
#include "loader/shard_writer.h"
#include "server/server.h"
#include "server/store_scan.h"

static char folder[] = "/tmp/everseer-scan-XXXXXX";

static void write_shard_of(const char *name, uint8_t last_byte)
{
    struct shard_writer *writer;
    struct store_shard shard;
    const uint8_t bytes[] = {0xFF, 0xD8, 0xFF, last_byte};
    struct record record = {.bytes = bytes, .length = sizeof(bytes), .label = LABEL_NONE};
    assert_ok(shard_writer_open(folder, name, 1 << 20, &writer));
    assert_ok(shard_writer_add(writer, &record, hash128_bytes(bytes, sizeof(bytes))));
    assert_ok(shard_writer_seal(&writer, &shard));
    store_shard_done(&shard);
}

static void write_shard(const char *name)
{
    write_shard_of(name, 0);
}

static void replace_shard(const char *name)
{
    char *path = mem_format("%s/shards/%s", folder, name);
    assert_ok(fs_remove_tree(path));
    write_shard_of(name, 1);
    mem_free(path);
}

static void damage_manifest(const char *name)
{
    char *path = mem_format("%s/shards/%s/manifest.json", folder, name);
    assert_ok(fs_write_file(path, "{", 1));
    mem_free(path);
}

struct found {
    int count;
    char names[200]; /* one letter each */
};

static void note(void *context, const struct store_shard *shard)
{
    struct found *found = context;
    assert_int_equal(shard->record_count, 1);
    found->names[found->count++] = shard->name[strlen(shard->name) - 1];
}

static void a_damaged_manifest_costs_its_own_shard_only(void **state)
{
    (void)state;
    struct config config;
    struct store store;
    struct store_scan *scan;
    struct found found = {0};
    config_init(&config);
    config.data.store_count = 1;
    snprintf(config.data.stores[0], sizeof(config.data.stores[0]), "%s", folder);
    write_shard("a");
    write_shard("b");
    damage_manifest("a");
    assert_fails(store_load(folder, &store), ERR_CORRUPT, "manifest.json");
    assert_ok(store_scan_create(&config, &scan));
    store_scan_run(scan, note, &found);
    assert_string_equal(found.names, "b");
    store_scan_run(scan, note, &found);
    assert_string_equal(found.names, "b");
    write_shard("c");
    store_scan_run(scan, note, &found);
    assert_string_equal(found.names, "bc");
    replace_shard("c"); /* between two looks: the name alone would hide it */
    store_scan_run(scan, note, &found);
    assert_string_equal(found.names, "bcc");
    store_scan_destroy(scan);
}

static void put_back_time(const struct timespec *time)
{
    const struct timespec times[2] = {*time, *time};
    char *path = mem_format("%s/shards", folder);
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    mem_free(path);
}

/* Clocks of file systems stand still for milliseconds. */
static void a_shard_that_came_in_the_tick_of_the_last_look_is_found(void **state)
{
    (void)state;
    struct config config;
    struct store_scan *scan;
    struct found found = {0};
    struct stat before;
    config_init(&config);
    config.data.store_count = 1;
    snprintf(config.data.stores[0], sizeof(config.data.stores[0]), "%s", folder);
    write_shard("x");
    char *path = mem_format("%s/shards", folder);
    assert_int_equal(stat(path, &before), 0);
    mem_free(path);
    assert_ok(store_scan_create(&config, &scan));
    store_scan_run(scan, note, &found);
    write_shard("y");
    put_back_time(&before.st_mtim);
    store_scan_run(scan, note, &found);
    assert_int_equal(found.names[found.count - 1], 'y');
    const int count = found.count;
    write_shard("z");
    put_back_time(&before.st_mtim);
    store_scan_run(scan, note, &found); /* twice the same: it is believed */
    assert_int_equal(found.count, count);
    store_scan_destroy(scan);
}

/* Each shard is reported once: what the second of two looks at a time did not find would replace
 * what the first one did, for good. */
static void there_are_no_two_looks_at_a_time(void **state)
{
    (void)state;
    static struct server server; /* large */
    struct config config;
    config_init(&config);
    config.data.store_count = 1;
    snprintf(config.data.stores[0], sizeof(config.data.stores[0]), "%s", folder);
    assert_ok(store_scan_create(&config, &server.scan));
    assert_ok(disk_create(4, &server.disk));
    shard_watch_look(&server);
    assert_int_equal(shard_watch_tell(&server), 0); /* nothing yet, as far as the loop knows */
    assert_true(server.shard_watch.is_looking);
    struct pollfd looked = {.fd = disk_event(server.disk), .events = POLLIN};
    assert_int_equal(poll(&looked, 1, 10000), 1);
    disk_finish(server.disk, 1, &server);
    assert_false(server.shard_watch.is_looking);
    assert_true(server.shard_watch.count > 0);
    shard_watch_done(&server.shard_watch);
    disk_destroy(server.disk);
    store_scan_destroy(server.scan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_damaged_manifest_costs_its_own_shard_only),
        cmocka_unit_test(a_shard_that_came_in_the_tick_of_the_last_look_is_found),
        cmocka_unit_test(there_are_no_two_looks_at_a_time),
    };
    if (mkdtemp(folder) == NULL)
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    fs_remove_tree(folder);
    return failed;
}
