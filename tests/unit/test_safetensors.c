/* test_safetensors.c - files of tensors: exact bytes out, no trust in. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include <unistd.h>

#include "common/buf.h"
#include "common/fs.h"
#include "common/mem.h"
#include "common/safetensors.h"

static void a_header_has_the_bytes_of_the_reference_writer(void **state)
{
    (void)state;
    struct safetensors_header header;
    struct buf out;
    const int64_t shape[] = {2, 3};
    safetensors_init(&header);
    buf_init(&out, 4096);
    safetensors_add_metadata(&header, "format", "pt");
    assert_ok(safetensors_add(&header, "b", SAFETENSORS_F32, 2, shape, NULL));
    assert_ok(safetensors_add(&header, "a", SAFETENSORS_F32, 1, shape, NULL));
    assert_ok(safetensors_add(&header, "z", SAFETENSORS_I64, 0, NULL, NULL));
    assert_ok(safetensors_encode(&header, &out));
    const char *json = "{\"__metadata__\":{\"format\":\"pt\"},"
                       "\"z\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[0,8]},"
                       "\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,16]},"
                       "\"b\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[16,40]}}";
    assert_int_equal(out.bytes[0], (strlen(json) + 7) / 8 * 8);
    assert_memory_equal(out.bytes + 8, json, strlen(json));
    assert_int_equal(out.length % 8, 0);
    assert_int_equal(header.data_start, out.length);
    assert_int_equal(header.data_bytes, 40);
    safetensors_done(&header);
    buf_done(&out);
}

static void a_saved_file_opens_to_the_same_tensors_and_metadata(void **state)
{
    (void)state;
    char directory[] = "/tmp/everseer-test-XXXXXX";
    assert_non_null(mkdtemp(directory));
    char *path = mem_format("%s/x.safetensors", directory);
    const float weights[] = {1, -2, 3.5f};
    const int64_t counter = -7, three = 3, zero = 0;
    struct safetensors_header header;
    struct safetensors_file file;
    safetensors_init(&header);
    safetensors_add_metadata(&header, "a \"key\"", "line\nline \\ ümlaut");
    assert_ok(safetensors_add(&header, "weights", SAFETENSORS_F32, 1, &three, weights));
    assert_ok(safetensors_add(&header, "counter", SAFETENSORS_I64, 0, NULL, &counter));
    assert_ok(safetensors_add(&header, "none", SAFETENSORS_F32, 1, &zero, weights));
    assert_ok(safetensors_save(path, &header));
    assert_ok(safetensors_open(path, &file));
    assert_int_equal(file.header.tensor_count, 3);
    const struct safetensors_tensor *found = safetensors_find(&file.header, "weights");
    assert_memory_equal(found->data, weights, sizeof(weights));
    assert_int_equal(safetensors_elements(found), 3);
    assert_memory_equal(safetensors_find(&file.header, "counter")->data, &counter, 8);
    assert_null(safetensors_find(&file.header, "weight"));
    assert_string_equal(safetensors_find_metadata(&file.header, "a \"key\""),
                        "line\nline \\ ümlaut");
    assert_null(safetensors_find_metadata(&file.header, "key"));
    safetensors_close(&file);
    assert_fails(safetensors_open("/none/x", &file), ERR_INPUT, "/none/x");
    assert_fails(safetensors_open(directory, &file), ERR_INPUT, "is not a file");
    assert_fails(safetensors_save("/none/x", &header), ERR_IO, "/none/x");
    safetensors_done(&header);
    assert_ok(fs_remove_tree(directory));
    mem_free(path);
}

static void names_given_twice_and_absurd_shapes_are_refused(void **state)
{
    (void)state;
    struct safetensors_header header;
    struct buf out;
    const int64_t negative = -1, huge[] = {INT64_C(1) << 40, INT64_C(1) << 40}, one = 1;
    char long_name[SAFETENSORS_NAME_BYTES + 1];
    memset(long_name, 'x', sizeof(long_name) - 1);
    long_name[sizeof(long_name) - 1] = '\0';
    safetensors_init(&header);
    buf_init(&out, 4096);
    assert_fails(safetensors_add(&header, "a", SAFETENSORS_F32, 1, &negative, NULL), ERR_INPUT,
                 "negative");
    assert_fails(safetensors_add(&header, "a", SAFETENSORS_F32, 2, huge, NULL), ERR_INPUT,
                 "too large");
    assert_fails(safetensors_add(&header, long_name, SAFETENSORS_F32, 1, &one, NULL), ERR_INPUT,
                 "too long");
    assert_fails(safetensors_add(&header, "a", SAFETENSORS_F32, 9, huge, NULL), ERR_INPUT,
                 "9 dimensions");
    assert_ok(safetensors_add(&header, "a", SAFETENSORS_F32, 1, &one, NULL));
    assert_ok(safetensors_add(&header, "b", SAFETENSORS_F32, 1, &one, NULL));
    assert_ok(safetensors_add(&header, "a", SAFETENSORS_I8, 1, &one, NULL));
    assert_fails(safetensors_encode(&header, &out), ERR_INPUT, "'a' is given twice");
    safetensors_done(&header);
    buf_done(&out);
}

/* A file whose header is json and whose data has data_bytes bytes. */
static enum status decode(const char *json, size_t data_bytes)
{
    struct safetensors_header header;
    size_t length = strlen(json);
    uint8_t *bytes = mem_zero(8 + length);
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)((uint64_t)length >> (8 * i));
    memcpy(bytes + 8, json, length);
    safetensors_init(&header);
    enum status status =
        safetensors_decode("evil", bytes, 8 + length, 8 + length + data_bytes, &header);
    safetensors_done(&header);
    mem_free(bytes);
    return status;
}

#define TENSOR(name, type, shape, offsets)                                                         \
    "\"" name "\":{\"dtype\":\"" type "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

static void a_hostile_header_is_refused_with_the_reason(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        size_t data_bytes;
        const char *words;
    } cases[] = {
        {"[]", 0, "not an object"},
        {"{", 0, "not JSON"},
        {"{\"a\":3}", 0, "unknown dtype"},
        {"{" TENSOR("a", "F12", "[1]", "[0,4]") "}", 4, "unknown dtype 'F12'"},
        {"{" TENSOR("a", "F32", "3", "[0,4]") "}", 4, "shape is not a list"},
        {"{" TENSOR("a", "F32", "[\"1\"]", "[0,4]") "}", 4, "not a number"},
        {"{" TENSOR("a", "F32", "[1.0]", "[0,4]") "}", 4, "not a number"},
        {"{" TENSOR("a", "F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]") "}", 4, "at most 8"},
        {"{" TENSOR("a", "F32", "[-1]", "[0,4]") "}", 4, "negative"},
        {"{" TENSOR("a", "F32", "[4611686018427387904,4]", "[0,0]") "}", 0, "too large"},
        {"{" TENSOR("a", "F32", "[99999999999999999999]", "[0,4]") "}", 4, "not JSON"},
        {"{" TENSOR("a", "F32", "[1]", "[0]") "}", 4, "not [begin, end]"},
        {"{" TENSOR("a", "F32", "[1]", "[4,0]") "}", 4, "not [begin, end]"},
        {"{" TENSOR("a", "F32", "[1]", "[-4,0]") "}", 4, "not [begin, end]"},
        {"{" TENSOR("a", "F32", "[2]", "[0,4]") "}", 4, "its shape needs 8"},
        {"{" TENSOR("a", "F32", "[1]", "[4,8]") "}", 8, "begins at byte 4"},
        {"{" TENSOR("a", "F32", "[1]", "[0,4]") "}", 8, "8 bytes of data, but the tensors take 4"},
        {"{" TENSOR("a", "F32", "[1]", "[0,4]") "}", 0, "was the file cut?"},
        {"{" TENSOR("a", "F32", "[1]", "[0,4]") "," TENSOR("b", "F32", "[1]", "[0,4]") "}", 4,
         "begins at byte 0"},
        {"{" TENSOR("a", "F32", "[1]", "[0,4]") "," TENSOR("a", "F32", "[1]", "[4,8]") "}", 8,
         "duplicate"},
        {"{\"__metadata__\":[]}", 0, "__metadata__ is not an object"},
        {"{\"__metadata__\":{\"a\":1}}", 0, "'a' is not a string"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_fails(decode(cases[i].json, cases[i].data_bytes), ERR_CORRUPT, cases[i].words);
    assert_ok(decode("{}   ", 0));
    uint8_t lies[8] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f};
    struct safetensors_header header;
    safetensors_init(&header);
    assert_fails(safetensors_decode("evil", lies, 8, 8, &header), ERR_CORRUPT, "a header of");
    assert_fails(safetensors_decode("evil", lies, 3, 3, &header), ERR_CORRUPT, "only 3 bytes");
    lies[7] = lies[6] = lies[5] = lies[4] = lies[3] = 0;
    assert_fails(safetensors_decode("evil", lies, 8, 8, &header), ERR_CORRUPT, "a header of");
}

static void damaged_headers_never_crash_the_reader(void **state)
{
    (void)state;
    struct safetensors_header header;
    struct buf good;
    const int64_t shape[] = {3, 2, 1, 4};
    uint64_t seed = 88172645463325252u;
    safetensors_init(&header);
    buf_init(&good, 1 << 16);
    safetensors_add_metadata(&header, "format", "pt");
    for (int i = 0; i < 12; i++) {
        char name[24];
        snprintf(name, sizeof(name), "tensor%d", i);
        assert_ok(
            safetensors_add(&header, name, (enum safetensors_type)(i % 10), i % 5, shape, NULL));
    }
    assert_ok(safetensors_encode(&header, &good));
    uint64_t file_bytes = header.data_start + header.data_bytes;
    safetensors_done(&header);
    int refused = 0;
    for (int round = 0; round < 2000; round++) {
        size_t length = round % 10 == 0 ? seed % good.length : good.length;
        uint8_t *copy = mem_alloc(length);
        memcpy(copy, good.bytes, length);
        for (int hits = 0; hits < 3 && length > 0; hits++) {
            seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
            copy[seed % length] = (uint8_t)(seed >> 40);
        }
        struct safetensors_header read;
        safetensors_init(&read);
        refused += safetensors_decode("damaged", copy, length, file_bytes, &read) != OK;
        safetensors_done(&read);
        mem_free(copy);
    }
    assert_true(refused > 1000);
    buf_done(&good);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_header_has_the_bytes_of_the_reference_writer),
        cmocka_unit_test(a_saved_file_opens_to_the_same_tensors_and_metadata),
        cmocka_unit_test(names_given_twice_and_absurd_shapes_are_refused),
        cmocka_unit_test(a_hostile_header_is_refused_with_the_reason),
        cmocka_unit_test(damaged_headers_never_crash_the_reader),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
