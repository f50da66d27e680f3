/* test_tensorboard.c - event files against bytes that TensorBoard's own code made. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include <dirent.h>
#include <unistd.h>

#include "common/fs.h"
#include "common/mem.h"
#include "common/tensorboard.h"

static void assert_hex(const struct buf *buf, const char *expected)
{
    char hex[512] = "";
    assert_true(buf->length * 2 < sizeof(hex));
    for (size_t i = 0; i < buf->length; i++)
        snprintf(hex + 2 * i, 3, "%02x", buf->bytes[i]);
    assert_string_equal(hex, expected);
}

static void crc32c_gives_the_published_check_value(void **state)
{
    (void)state;
    assert_int_equal(tensorboard_crc32c("123456789", 9), 0xe3069283u);
    assert_int_equal(tensorboard_crc32c("", 0), 0);
}

static void records_have_the_bytes_of_the_reference_writer(void **state)
{
    (void)state;
    struct buf out;
    const struct tensorboard_scalar loss = {"train/loss", 2.5f};
    buf_init(&out, 4096);
    assert_ok(tensorboard_encode_version(0, 0, &out));
    assert_hex(&out, "0f000000000000006d532b091a0d627261696e2e4576656e743a32fc985129");
    buf_clear(&out);
    assert_ok(tensorboard_encode_scalars(1500, 7, &loss, 1, &out));
    assert_hex(&out,
               "200000000000000029eda95009000000000000f83f10072a130a110a0a747261696e2f6c6f7373"
               "15000020402508fb34");
    buf_done(&out);
}

/* Length, checksums and last step of every record; returns the number of records. */
static int walk_records(const struct buf *file)
{
    int count = 0;
    for (size_t at = 0; at < file->length; count++) {
        uint64_t length = 0;
        assert_true(at + 16 <= file->length);
        memcpy(&length, file->bytes + at, 8);
        assert_true(length <= file->length - at - 16);
        at += 12 + length + 4;
    }
    return count;
}

static void a_file_holds_a_whole_record_per_step(void **state)
{
    (void)state;
    char directory[] = "/tmp/everseer-test-XXXXXX";
    struct tensorboard *tensorboard;
    struct buf content;
    assert_non_null(mkdtemp(directory));
    assert_ok(tensorboard_open(directory, 1700000000123, &tensorboard));
    for (int step = 0; step < 300; step += 100) {
        const struct tensorboard_scalar scalars[] = {{"train/loss", 1}, {"train/lr", 2}};
        assert_ok(tensorboard_write(tensorboard, 1700000000123, step, scalars, 2));
    }
    DIR *listing = opendir(directory);
    int found = 0;
    for (struct dirent *entry; (entry = readdir(listing)) != NULL;) {
        if (strncmp(entry->d_name, "events.out.tfevents.1700000000.", 31) != 0)
            continue;
        char *path = mem_format("%s/%s", directory, entry->d_name);
        buf_init(&content, 1 << 16);
        assert_ok(fs_read_file(path, &content)); /* while it is open: nothing is held back */
        assert_int_equal(walk_records(&content), 4);
        buf_done(&content);
        mem_free(path);
        found++;
    }
    closedir(listing);
    assert_int_equal(found, 1);
    tensorboard_close(tensorboard);
    assert_ok(fs_remove_tree(directory));
    assert_fails(tensorboard_open("/none/such", 0, &tensorboard), ERR_IO, "/none/such");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crc32c_gives_the_published_check_value),
        cmocka_unit_test(records_have_the_bytes_of_the_reference_writer),
        cmocka_unit_test(a_file_holds_a_whole_record_per_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
