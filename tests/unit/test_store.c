/* test_store.c - what ingests share in a store: labels, the lock, pictures that expire meanwhile.
 */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include <sys/wait.h>
#include <unistd.h>

#include "common/fs.h"
#include "common/mem.h"
#include "loader/ingest_sink.h"
#include "loader/labels.h"
#include "loader/record.h"
#include "loader/store.h"
#include "loader/store_lock.h"

static char folder[] = "/tmp/everseer-store-XXXXXX";

static void labels_are_numbered_in_sorted_order_and_keep_their_numbers(void **state)
{
    (void)state;
    struct labels labels;
    labels_init(&labels);
    assert_int_equal(labels_find(&labels, "cow"), LABEL_NONE);
    assert_ok(labels_add(&labels, "zebra"));
    assert_ok(labels_add(&labels, "cow"));
    assert_ok(labels_add(&labels, "zebra"));
    assert_int_equal(labels_find(&labels, "cow"), LABEL_NONE);
    labels_settle(&labels);
    assert_int_equal(labels_find(&labels, "cow"), 0);
    assert_int_equal(labels_find(&labels, "zebra"), 1);
    assert_ok(labels_add(&labels, "ant"));
    labels_settle(&labels);
    assert_int_equal(labels_find(&labels, "cow"), 0);
    assert_int_equal(labels_find(&labels, "ant"), 2);
    assert_fails(labels_add(&labels, "a\nb"), ERR_INPUT, "line break");
    labels_done(&labels);
}

static void many_labels_are_found_and_read_back_as_they_were(void **state)
{
    (void)state;
    enum { COUNT = 30000 };
    struct labels labels, again;
    char name[16];
    labels_init(&labels);
    labels_init(&again);
    for (int i = 0; i < COUNT; i++) {
        snprintf(name, sizeof(name), "n%08d", (i * 7919) % COUNT); /* 7919 is prime: each once */
        assert_ok(labels_add(&labels, name));
    }
    labels_settle(&labels);
    assert_ok(labels_save(&labels, folder));
    assert_ok(labels_load(&again, folder));
    assert_int_equal(again.count, COUNT);
    for (int i = 0; i < COUNT; i++) {
        snprintf(name, sizeof(name), "n%08d", i);
        assert_int_equal(labels_find(&labels, name), i);
        assert_int_equal(labels_find(&again, name), i);
    }
    assert_int_equal(labels_find(&labels, "n"), LABEL_NONE);
    labels_done(&again);
    labels_done(&labels);
}

/* A process that has the store until somebody writes into its pipe. */
struct holder {
    pid_t pid;
    int release;
};

static struct holder holder_start(void)
{
    int held[2], release[2], lock;
    char byte;
    assert_int_equal(pipe(held), 0);
    assert_int_equal(pipe(release), 0);
    pid_t pid = fork();
    if (pid == 0) {
        close(release[1]);
        if (store_lock_take(folder, NULL, NULL, &lock) != OK || write(held[1], "x", 1) != 1)
            _exit(1);
        _exit(read(release[0], &byte, 1) < 0);
    }
    assert_true(pid > 0);
    close(held[1]);
    close(release[0]);
    assert_int_equal(read(held[0], &byte, 1), 1);
    close(held[0]);
    return (struct holder){pid, release[1]};
}

static struct holder holder;
static int told_pid, told_count;
static atomic_int stop;

static void let_go(const char *store, int pid)
{
    assert_string_equal(store, folder);
    told_pid = pid;
    told_count++;
    close(holder.release);
}

static void set_stop(const char *store, int pid)
{
    (void)store;
    (void)pid;
    atomic_store(&stop, 1);
}

static void who_comes_second_is_told_and_waits_until_the_first_has_gone(void **state)
{
    (void)state;
    int lock = -1, code;
    holder = holder_start();
    assert_ok(store_lock_take(folder, let_go, NULL, &lock));
    assert_int_equal(told_count, 1);
    assert_int_equal(told_pid, holder.pid);
    assert_int_equal(waitpid(holder.pid, &code, 0), holder.pid);
    assert_int_equal(code, 0);
    store_lock_give(lock);
    assert_ok(store_lock_take(folder, let_go, NULL, &lock));
    assert_int_equal(told_count, 1);
    store_lock_give(lock);
    store_lock_give(-1);
}

static void a_wait_for_the_store_can_be_ended(void **state)
{
    (void)state;
    int lock = -1, code;
    holder = holder_start();
    assert_fails(store_lock_take(folder, set_stop, &stop, &lock), ERR_END, "another ingest");
    assert_int_equal(lock, -1);
    close(holder.release);
    assert_int_equal(waitpid(holder.pid, &code, 0), holder.pid);
}

static void a_store_that_is_not_there_cannot_be_locked(void **state)
{
    (void)state;
    int lock = -1;
    assert_fails(store_lock_take("/proc/none", NULL, NULL, &lock), ERR_IO, "/proc/none/lock");
}

static void assert_manifest_fails(const char *text, enum status status, const char *words)
{
    struct store_shard shard;
    char *directory = mem_format("%s/manifests", folder);
    char *path = mem_format("%s/manifest.json", directory);
    assert_ok(fs_make_directory(directory));
    assert_ok(fs_write_file(path, text, strlen(text)));
    assert_fails(store_manifest_load(directory, &shard), status, words);
    mem_free(path);
    mem_free(directory);
}

/* Or people would remove a shard for which a newer everseer is all that lacks. */
static void a_manifest_of_a_newer_version_is_not_called_damaged(void **state)
{
    (void)state;
    assert_manifest_fails("{\"schema_version\": 2, \"images\": 7}", ERR_INPUT,
                          "use a newer everseer");
    assert_manifest_fails("{\"schema_version\": 1, \"images\": 7}", ERR_CORRUPT,
                          "remove the shard");
    assert_manifest_fails("{\"records\": 7}", ERR_CORRUPT, "remove the shard");
    assert_manifest_fails("[1]", ERR_CORRUPT, "remove the shard");
}

enum status __wrap_image_decode(struct image *image, const void *bytes, size_t length,
                                const struct image_limits *limits);

/* A library that does not match its header: no picture is at fault, so none has a reason. */
enum status __wrap_image_decode(struct image *image, const void *bytes, size_t length,
                                const struct image_limits *limits)
{
    (void)bytes;
    (void)length;
    (void)limits;
    image->reason = IMAGE_REASON_NONE;
    return fail(ERR_INPUT, "libpng does not match its header");
}

static void what_cannot_be_decoded_after_all_is_refused_whatever_the_reason(void **state)
{
    (void)state;
    struct ingest_result result = {0};
    struct ingest_sink sink;
    const struct ingest_options options = {
        .store = folder, .is_dry_run = 1, .shard_bytes = 1, .limits = image_limits_default};
    struct ingest_picture picture = {.item = {.label = LABEL_NONE}, .is_known = 1};
    picture.item.name = mem_string("late.png");
    picture.item.bytes = mem_zero(8);
    picture.item.length = 8;
    ingest_sink_init(&sink, &options, &result);
    assert_ok(ingest_sink_open(&sink));
    assert_ok(ingest_sink_put(&sink, &picture)); /* the shard that knew it is gone */
    assert_int_equal(result.accepted, 0);
    assert_int_equal(result.rejected[IMAGE_REASON_CORRUPT], 1);
    assert_string_equal(picture.item.detail, "libpng does not match its header");
    assert_ok(ingest_sink_close(&sink));
    ingest_sink_done(&sink);
    source_item_done(&picture.item);
    ingest_result_done(&result);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(labels_are_numbered_in_sorted_order_and_keep_their_numbers),
        cmocka_unit_test(many_labels_are_found_and_read_back_as_they_were),
        cmocka_unit_test(who_comes_second_is_told_and_waits_until_the_first_has_gone),
        cmocka_unit_test(a_wait_for_the_store_can_be_ended),
        cmocka_unit_test(a_store_that_is_not_there_cannot_be_locked),
        cmocka_unit_test(a_manifest_of_a_newer_version_is_not_called_damaged),
        cmocka_unit_test(what_cannot_be_decoded_after_all_is_refused_whatever_the_reason),
    };
    if (mkdtemp(folder) == NULL)
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    fs_remove_tree(folder);
    return failed;
}
