/* test_parameter_store.c - snapshots are complete or absent, whatever comes and whatever fails. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include <errno.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/fs.h"
#include "common/hash.h"
#include "common/mem.h"
#include "common/safetensors_digest.h"
#include "server/parameter_store.h"
#include "server/snapshot_folder.h"

/* Calls until the next one of this kind fails; 0: none does. Set by a test, counted down here. */
static int pwrites_left, fsyncs_left, fallocates_left;

ssize_t __real_pwrite(int file, const void *bytes, size_t length, off_t offset);
ssize_t __wrap_pwrite(int file, const void *bytes, size_t length, off_t offset);
int __real_fsync(int file);
int __wrap_fsync(int file);
int __real_fallocate(int file, int mode, off_t offset, off_t length);
int __wrap_fallocate(int file, int mode, off_t offset, off_t length);

static int is_time_to_fail(int *left, int error)
{
    if (*left == 0 || --*left > 0)
        return 0;
    errno = error;
    return 1;
}

ssize_t __wrap_pwrite(int file, const void *bytes, size_t length, off_t offset)
{
    return is_time_to_fail(&pwrites_left, ENOSPC) ? -1 : __real_pwrite(file, bytes, length, offset);
}

int __wrap_fsync(int file)
{
    return is_time_to_fail(&fsyncs_left, EIO) ? -1 : __real_fsync(file);
}

int __wrap_fallocate(int file, int mode, off_t offset, off_t length)
{
    return is_time_to_fail(&fallocates_left, ENOSPC) ? -1
                                                     : __real_fallocate(file, mode, offset, length);
}

struct fixture {
    char *directory;
    struct parameter_store *store;
    struct buf image; /* the bytes of a small snapshot */
};

enum { FLOATS = 1000, PART = 512 };

static void make_image(struct buf *image, uint64_t step)
{
    float data[FLOATS];
    char text[32];
    struct safetensors_header header;
    for (int i = 0; i < FLOATS; i++)
        data[i] = (float)i;
    snprintf(text, sizeof(text), "%llu", (unsigned long long)step);
    safetensors_init(&header);
    assert_ok(safetensors_add(&header, "w", SAFETENSORS_F32, 1, (int64_t[]){FLOATS}, NULL));
    assert_ok(safetensors_add(&header, "a", SAFETENSORS_F32, 1, (int64_t[]){1}, NULL));
    safetensors_add_metadata(&header, "everseer.step", text);
    safetensors_reserve_digests(&header);
    buf_init(image, 1 << 20);
    assert_ok(safetensors_encode(&header, image));
    assert_ok(buf_append(image, data, sizeof(data[0]))); /* 'a' comes first */
    assert_ok(buf_append(image, data, sizeof(data)));
    safetensors_done(&header);
}

static int setup(void **state)
{
    struct fixture *fixture = mem_zero(sizeof(*fixture));
    char pattern[] = "/tmp/seer-parameters-XXXXXX";
    fixture->directory = mem_string(mkdtemp(pattern));
    make_image(&fixture->image, 7);
    assert_ok(parameter_store_open(fixture->directory, &fixture->store));
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    pwrites_left = fsyncs_left = fallocates_left = 0;
    parameter_store_close(fixture->store);
    assert_ok(fs_remove_tree(fixture->directory));
    buf_done(&fixture->image);
    mem_free(fixture->directory);
    mem_free(fixture);
    return 0;
}

static enum status push(struct fixture *fixture, const char *name, size_t offset, int *complete)
{
    size_t left = fixture->image.length - offset;
    struct message_snapshot_part part = {
        .name = (char *)(uintptr_t)name,
        .offset = offset,
        .total = fixture->image.length,
        .length = (uint32_t)(left < PART ? left : PART),
        .data = fixture->image.bytes + offset,
    };
    part.checksum = hash_bytes(part.data, part.length);
    return parameter_store_write(fixture->store, &part, complete);
}

/* Every part from the last to the first, until the snapshot is complete or a call fails. */
static enum status push_all(struct fixture *fixture, const char *name, int *complete)
{
    *complete = 0;
    size_t parts = (fixture->image.length + PART - 1) / PART;
    while (parts-- > 0 && !*complete)
        TRY(push(fixture, name, parts * PART, complete));
    return OK;
}

static int file_count(const struct fixture *fixture)
{
    char *command = mem_format("ls -A %s | wc -l", fixture->directory);
    FILE *pipe = popen(command, "r");
    int count = -1;
    assert_int_equal(fscanf(pipe, "%d", &count), 1);
    pclose(pipe);
    mem_free(command);
    return count;
}

static void a_snapshot_is_there_once_its_last_part_is(void **state)
{
    struct fixture *fixture = *state;
    struct safetensors_file file;
    int complete;
    assert_ok(parameter_store_expect(fixture->store, "step-7"));
    assert_ok(push_all(fixture, "step-7", &complete));
    assert_true(complete); /* with the first part, which was pushed last */
    char *path = mem_format("%s/step-7.safetensors", fixture->directory);
    assert_ok(safetensors_open(path, &file));
    assert_non_null(safetensors_find(&file.header, "w"));
    safetensors_close(&file);
    mem_free(path);
    assert_int_equal(file_count(fixture), 1);
    assert_int_equal(push(fixture, "step-7", 0, &complete), ERR_STALE);
}

static void parts_may_come_twice_and_unexpected_ones_change_nothing(void **state)
{
    struct fixture *fixture = *state;
    int complete = 0;
    assert_int_equal(push(fixture, "step-7", 0, &complete), ERR_STALE);
    assert_ok(parameter_store_expect(fixture->store, "step-7"));
    assert_ok(push(fixture, "step-7", 0, &complete));
    assert_ok(push(fixture, "step-7", 0, &complete));
    assert_int_equal(push(fixture, "step-8", 0, &complete), ERR_STALE);
    assert_false(complete);
    assert_ok(push_all(fixture, "step-7", &complete));
    assert_true(complete);
}

static void a_damaged_part_fails_the_snapshot_and_leaves_no_file(void **state)
{
    struct fixture *fixture = *state;
    int complete = 0;
    assert_ok(parameter_store_expect(fixture->store, "step-7"));
    assert_ok(push(fixture, "step-7", 0, &complete));
    struct message_snapshot_part part = {
        .name = "step-7", .total = fixture->image.length, .length = 1, .data = (uint8_t *)"x"};
    assert_fails(parameter_store_write(fixture->store, &part, &complete), ERR_CORRUPT, "damaged");
    assert_int_equal(file_count(fixture), 0);
}

static void what_is_no_safetensors_file_never_becomes_complete(void **state)
{
    struct fixture *fixture = *state;
    int complete = 0;
    fixture->image.bytes[10] ^= 0x55;
    assert_ok(parameter_store_expect(fixture->store, "step-7"));
    assert_int_equal(push_all(fixture, "step-7", &complete), ERR_CORRUPT);
    assert_false(complete);
    assert_int_equal(file_count(fixture), 0);
}

static void flip_bit(const struct fixture *fixture, const char *name, long from_end)
{
    char *path = mem_format("%s/%s.safetensors", fixture->directory, name);
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, -from_end, SEEK_END), 0);
    int byte = fgetc(file);
    assert_int_equal(fseek(file, -1, SEEK_CUR), 0);
    assert_int_equal(fputc(byte ^ 4, file), byte ^ 4);
    assert_int_equal(fclose(file), 0);
    mem_free(path);
}

enum { DATA_BYTES = (FLOATS + 1) * sizeof(float) };

static void a_damaged_tensor_is_named_and_its_file_not_served(void **state)
{
    struct fixture *fixture = *state;
    struct message_snapshot_read read = {.name = "best", .length = 10};
    struct message_snapshot_part part;
    struct snapshot_proof proof;
    int complete;
    assert_ok(parameter_store_expect(fixture->store, "best"));
    assert_ok(push_all(fixture, "best", &complete));
    assert_ok(snapshot_folder_verify(fixture->directory, "best", &proof));
    assert_true(proof.has_digests);
    assert_int_equal(proof.step, 7);
    assert_int_equal(proof.tensor_count, 2);
    assert_int_equal(proof.bytes, DATA_BYTES);
    static const struct {
        long from_end;
        const char *words;
    } damages[] = {{1, "tensor 'w' is damaged"}, {DATA_BYTES, "tensor 'a' is damaged"}};
    for (size_t i = 0; i < sizeof(damages) / sizeof(damages[0]); i++) {
        flip_bit(fixture, "best", damages[i].from_end);
        assert_fails(snapshot_folder_verify(fixture->directory, "best", &proof), ERR_CORRUPT,
                     damages[i].words);
        assert_fails(parameter_store_read(fixture->store, &read, &part), ERR_CORRUPT,
                     damages[i].words);
        flip_bit(fixture, "best", damages[i].from_end);
        assert_ok(snapshot_folder_verify(fixture->directory, "best", &proof));
    }
    assert_ok(parameter_store_read(fixture->store, &read, &part));
    mem_free(part.name);
    mem_free(part.data);
}

static void a_bit_of_the_header_is_not_flipped_in_silence(void **state)
{
    struct fixture *fixture = *state;
    struct snapshot_proof proof;
    int complete;
    assert_ok(parameter_store_expect(fixture->store, "best"));
    assert_ok(push_all(fixture, "best", &complete));
    for (long at = DATA_BYTES + 1; at <= (long)fixture->image.length; at++) {
        flip_bit(fixture, "best", at);
        enum status status = snapshot_folder_verify(fixture->directory, "best", &proof);
        if (status == OK)
            assert_false(proof.has_digests); /* their own name was hit */
        else
            assert_int_equal(status, ERR_CORRUPT);
        flip_bit(fixture, "best", at);
    }
    assert_ok(snapshot_folder_verify(fixture->directory, "best", &proof));
}

/* Call 1, 2, 3, ... fails: each time the snapshot is absent, and the next try succeeds. */
static void a_failing_disk_costs_this_snapshot_only(void **state)
{
    struct fixture *fixture = *state;
    int *const kinds[] = {&pwrites_left, &fsyncs_left, &fallocates_left};
    int complete;
    for (size_t kind = 0; kind < sizeof(kinds) / sizeof(kinds[0]); kind++) {
        for (int call = 1;; call++) {
            *kinds[kind] = call;
            assert_ok(parameter_store_expect(fixture->store, "step-7"));
            enum status status = push_all(fixture, "step-7", &complete);
            int was_reached = *kinds[kind] == 0;
            *kinds[kind] = 0;
            if (!was_reached) {
                assert_int_equal(status, OK);
                assert_true(complete);
                assert_true(call > 1);
                break;
            }
            assert_int_equal(status, ERR_IO);
            assert_false(complete);
        }
        assert_ok(parameter_store_remove(fixture->store, "step-7"));
    }
}

static void what_was_unfinished_is_removed_at_the_next_start(void **state)
{
    struct fixture *fixture = *state;
    char *path = mem_format("%s/step-1.safetensors.tmp", fixture->directory);
    assert_ok(fs_write_file(path, "half", 4));
    parameter_store_close(fixture->store);
    fixture->store = NULL;
    assert_ok(parameter_store_open(fixture->directory, &fixture->store));
    assert_int_equal(file_count(fixture), 0);
    mem_free(path);
}

static void names_cannot_leave_the_folder(void **state)
{
    struct fixture *fixture = *state;
    static const char *const names[] = {"", "..", "../x", "a/b", ".hidden", "a b"};
    struct message_snapshot_part part;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct message_snapshot_read read = {.name = (char *)(uintptr_t)names[i], .length = 10};
        assert_int_equal(parameter_store_expect(fixture->store, names[i]), ERR_INPUT);
        assert_int_equal(parameter_store_read(fixture->store, &read, &part), ERR_INPUT);
    }
}

static void a_new_name_is_neither_taken_nor_the_servers_own(void **state)
{
    struct fixture *fixture = *state;
    struct parameter_store *store = fixture->store;
    char *path = mem_format("%s/best.safetensors", fixture->directory);
    assert_ok(parameter_store_check_new(store, "best"));
    assert_ok(fs_write_file(path, "x", 1));
    assert_fails(parameter_store_check_new(store, "best"), ERR_INPUT, "'best' already");
    assert_fails(parameter_store_check_new(store, "step-mine"), ERR_INPUT, "the server's own");
    assert_fails(parameter_store_check_new(store, "a b"), ERR_INPUT, "no snapshot name");
    mem_free(path);
}

static void what_is_pinned_is_removed_only_after_it_is_unpinned(void **state)
{
    struct fixture *fixture = *state;
    struct parameter_store *store = fixture->store;
    int complete, exists = 0;
    assert_ok(parameter_store_expect(store, "best"));
    assert_ok(push_all(fixture, "best", &complete));
    for (int twice = 0; twice < 2; twice++)
        assert_ok(parameter_store_pin(store, "best", 1));
    assert_fails(parameter_store_claim(store, "best", &exists), ERR_INPUT, "pinned");
    assert_fails(parameter_store_remove(store, "best"), ERR_INPUT, "pinned");
    for (int twice = 0; twice < 2; twice++)
        assert_ok(parameter_store_pin(store, "best", 0));
    assert_ok(parameter_store_claim(store, "best", &exists));
    assert_true(exists);
    assert_fails(parameter_store_pin(store, "best", 1), ERR_STALE, "about to be removed");
    assert_ok(parameter_store_pin(store, "best", 0));
    parameter_store_keep(store, "best"); /* it is not removed after all */
    assert_ok(parameter_store_pin(store, "best", 1));
    assert_fails(parameter_store_claim(store, "best", &exists), ERR_INPUT, "pinned");
    assert_ok(parameter_store_pin(store, "best", 0));
    assert_ok(parameter_store_claim(store, "best", &exists));
    for (int twice = 0; twice < 2; twice++)
        assert_ok(parameter_store_remove(store, "best"));
    assert_ok(parameter_store_claim(store, "best", &exists));
    assert_false(exists);
    assert_fails(parameter_store_pin(store, "best", 1), ERR_INPUT, "no snapshot");
    assert_int_equal(file_count(fixture), 0);
}

static void a_server_without_descriptors_says_nothing_about_a_snapshot(void **state)
{
    struct fixture *fixture = *state;
    struct message_snapshot_read read = {.name = "step-7", .length = 64};
    struct message_snapshot_part part = {0};
    struct rlimit limit, none;
    int complete;
    assert_ok(parameter_store_expect(fixture->store, "step-7"));
    assert_ok(push_all(fixture, "step-7", &complete));
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    none = (struct rlimit){3, limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    enum status status = parameter_store_read(fixture->store, &read, &part);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(status, ERR_DEVICE);
    assert_ok(parameter_store_read(fixture->store, &read, &part));
    mem_free(part.data);
    mem_free(part.name);
    read.name = "step-8";
    assert_fails(parameter_store_read(fixture->store, &read, &part), ERR_INPUT, "step-8");
}

static void what_was_pushed_is_served_byte_for_byte(void **state)
{
    struct fixture *fixture = *state;
    int complete;
    assert_ok(parameter_store_expect(fixture->store, "step-7"));
    assert_ok(push_all(fixture, "step-7", &complete));
    struct buf served;
    buf_init(&served, 1 << 20);
    for (uint64_t offset = 0; offset < fixture->image.length + PART; offset += PART) {
        struct message_snapshot_read read = {.name = "step-7", .offset = offset, .length = PART};
        struct message_snapshot_part part;
        assert_ok(parameter_store_read(fixture->store, &read, &part));
        assert_int_equal(part.total, fixture->image.length);
        assert_ok(buf_append(&served, part.data, part.length));
        mem_free(part.name);
        mem_free(part.data);
    }
    /* The header has got its digests meanwhile. */
    const size_t head = fixture->image.length - DATA_BYTES;
    assert_int_equal(served.length, fixture->image.length);
    assert_memory_equal(served.bytes + head, fixture->image.bytes + head, DATA_BYTES);
    buf_done(&served);
}

static void remove_surplus(void *context, const char *name)
{
    assert_ok(parameter_store_remove(context, name));
}

static void retention_keeps_the_last_the_milestones_the_pinned_and_the_named(void **state)
{
    struct fixture *fixture = *state;
    int complete, count = 0;
    struct snapshot_info *list = NULL;
    for (uint64_t step = 10; step <= 100; step += 10) {
        char name[32];
        snprintf(name, sizeof(name), "step-%03llu", (unsigned long long)step);
        buf_done(&fixture->image);
        make_image(&fixture->image, step);
        assert_ok(parameter_store_expect(fixture->store, name));
        assert_ok(push_all(fixture, name, &complete));
    }
    assert_ok(parameter_store_pin(fixture->store, "step-020", 1));
    buf_done(&fixture->image);
    make_image(&fixture->image, 15);
    assert_ok(parameter_store_expect(fixture->store, "best"));
    assert_ok(push_all(fixture, "best", &complete));
    snapshot_folder_find_surplus(fixture->directory, 2, 4, 10, remove_surplus, fixture->store);
    assert_ok(snapshot_folder_list(fixture->directory, &list, &count));
    static const uint64_t kept[] = {15, 20, 40, 80, 90, 100};
    assert_int_equal(count, 6);
    for (int i = 0; i < count; i++)
        assert_int_equal(list[i].step, kept[i]);
    assert_true(list[1].is_pinned);
    assert_fails(parameter_store_remove(fixture->store, "step-020"), ERR_INPUT, "pinned");
    mem_free(list);
}

#define WITH_STORE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_STORE(a_snapshot_is_there_once_its_last_part_is),
        WITH_STORE(parts_may_come_twice_and_unexpected_ones_change_nothing),
        WITH_STORE(a_damaged_part_fails_the_snapshot_and_leaves_no_file),
        WITH_STORE(what_is_no_safetensors_file_never_becomes_complete),
        WITH_STORE(a_damaged_tensor_is_named_and_its_file_not_served),
        WITH_STORE(a_bit_of_the_header_is_not_flipped_in_silence),
        WITH_STORE(a_failing_disk_costs_this_snapshot_only),
        WITH_STORE(what_was_unfinished_is_removed_at_the_next_start),
        WITH_STORE(names_cannot_leave_the_folder),
        WITH_STORE(what_is_pinned_is_removed_only_after_it_is_unpinned),
        WITH_STORE(a_server_without_descriptors_says_nothing_about_a_snapshot),
        WITH_STORE(what_was_pushed_is_served_byte_for_byte),
        WITH_STORE(a_new_name_is_neither_taken_nor_the_servers_own),
        WITH_STORE(retention_keeps_the_last_the_milestones_the_pinned_and_the_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
