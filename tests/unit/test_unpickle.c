/* test_unpickle.c - pickles are taken apart, whatever they are, and nothing in them is done. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include "common/buf.h"
#include "worker/export/pickle.h"
#include "worker/export/unpickle.h"
#include "worker/export/weights_pth.h"

/* Of a string constant, without its final 0. */
#define BYTES(text) (text), sizeof(text) - 1

static void what_we_write_is_read_back(void **state)
{
    (void)state;
    const float values[6] = {0};
    const int64_t count = 7;
    const struct safetensors_tensor matrix = {
        .type = SAFETENSORS_F32, .rank = 2, .shape = {2, 3}, .end = 24, .data = values};
    const struct safetensors_tensor scalar = {.type = SAFETENSORS_I64, .end = 8, .data = &count};
    const struct pth_tensor tensors[] = {
        {"", "plain", &scalar},
        {"model/trunk", "stem.weight", &matrix},
        {"model/heads", "0.count", &scalar},
    };
    struct weights weights = {0};
    struct pickle pickle;
    struct buf bytes;
    buf_init(&bytes, 1 << 16);
    assert_ok(pickle_tensors(tensors, 3, &bytes));
    assert_ok(unpickle(bytes.bytes, bytes.length, &pickle));
    assert_int_equal(pickle.taken, bytes.length);
    assert_ok(weights_pth_collect(&pickle, &weights));
    assert_int_equal(weights.tensor_count, 3);
    assert_int_equal(weights.storage_count, 3);
    assert_string_equal(weights.tensors[1].name, "model/trunk/stem.weight");
    assert_int_equal(weights.tensors[1].rank, 2);
    assert_int_equal(weights.tensors[1].shape[1], 3);
    assert_int_equal(weights.tensors[1].stride[0], 3);
    assert_int_equal(weights.tensors[2].type, SAFETENSORS_I64);
    /* However little is missing. */
    for (size_t length = 0; length < bytes.length; length++) {
        struct pickle cut;
        assert_fails(unpickle(bytes.bytes, length, &cut), ERR_CORRUPT, "");
    }
    weights_close(&weights);
    pickle_done(&pickle);
    buf_done(&bytes);
}

/* os.system("id") as pickle.dumps writes it. */
static void a_call_stays_a_call(void **state)
{
    (void)state;
    struct pickle pickle;
    assert_ok(unpickle(BYTES("\x80\x02"
                             "cposix\nsystem\nX\x02\x00\x00\x00id\x85R."),
                       &pickle));
    const struct pickle_value *root = &pickle.values[pickle.root];
    uint32_t argument;
    assert_int_equal(root->kind, PICKLE_CALL);
    assert_true(pickle_is_name(&pickle, root->callable, "posix system"));
    assert_false(pickle_is_name(&pickle, root->callable, "posix syste"));
    assert_true(pickle_item(&pickle, root->argument, 0, &argument));
    assert_true(pickle_is_text(&pickle, argument, "id"));
    pickle_done(&pickle);
}

static void numbers_of_all_sizes_have_their_signs(void **state)
{
    (void)state;
    struct pickle pickle;
    static const int64_t expected[] = {255, 65535, -2, -1, INT64_MIN, 1, 0};
    assert_ok(unpickle(BYTES("\x80\x02(K\xffM\xff\xffJ\xfe\xff\xff\xff\x8a\x01\xff"
                             "\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x80\x88\x8a\x00t."),
                       &pickle));
    for (uint32_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        uint32_t item;
        int64_t number;
        assert_true(pickle_item(&pickle, pickle.root, i, &item));
        assert_true(pickle_number(&pickle, item, &number));
        assert_true(number == expected[i]);
    }
    pickle_done(&pickle);
}

static void what_is_no_pickle_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t length;
        const char *words;
    } cases[] = {
        {BYTES(""), "ends in the middle"},
        {BYTES("."), "not on its stack"},
        {BYTES("\x80\x09."), "of protocol 9"},
        {BYTES("\x80\x02\xf0."), "no opcode known here (0xf0)"},
        {BYTES("\x80\x02X\xff\xff\xff\xff."), "ends in the middle"},
        {BYTES("\x80\x02h\x05."), "comes back to value 5"},
        {BYTES("\x80\x02Nr\xff\xff\xff\xff."), "numbers a value"},
        {BYTES("\x80\x02R."), "not on its stack"},
        {BYTES("\x80\x02(N."), ""},
        {BYTES("\x80\x02(R."), "not on its stack"},
        {BYTES("\x80\x02t."), "not on its stack"},
        {BYTES("\x80\x02}(Nu."), "not on its stack"},
        {BYTES("\x80\x02\x87."), "not on its stack"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct pickle pickle;
        if (cases[i].words[0] == 0) { /* leaves something on the stack, which Python takes too */
            assert_ok(unpickle(cases[i].bytes, cases[i].length, &pickle));
            pickle_done(&pickle);
            continue;
        }
        assert_fails(unpickle(cases[i].bytes, cases[i].length, &pickle), ERR_CORRUPT,
                     cases[i].words);
    }
}

/* {'a': itself}, and ten times ten times ... the same dictionary. */
static void rings_and_bombs_end(void **state)
{
    (void)state;
    struct weights weights = {0};
    struct pickle pickle;
    struct buf bytes;
    assert_ok(unpickle(BYTES("\x80\x02}q\x00U\x01"
                             "ah\x00s."),
                       &pickle));
    assert_ok(weights_pth_collect(&pickle, &weights));
    assert_int_equal(weights.tensor_count, 0);
    pickle_done(&pickle);

    buf_init(&bytes, 1 << 16);
    assert_ok(buf_append(&bytes, BYTES("\x80\x02}q\x00")));
    for (uint8_t level = 1; level <= 9; level++) {
        assert_ok(buf_append(&bytes, "}(", 2));
        for (uint8_t i = 0; i < 10; i++) {
            const uint8_t entry[] = {'K', i, 'h', (uint8_t)(level - 1)};
            assert_ok(buf_append(&bytes, entry, sizeof(entry)));
        }
        const uint8_t end[] = {'u', 'q', level};
        assert_ok(buf_append(&bytes, end, sizeof(end)));
    }
    assert_ok(buf_append(&bytes, ".", 1));
    assert_ok(unpickle(bytes.bytes, bytes.length, &pickle));
    assert_fails(weights_pth_collect(&pickle, &weights), ERR_CORRUPT, "entries");
    pickle_done(&pickle);
    weights_close(&weights);
    buf_done(&bytes);
}

/* A storage of 4 floats, and views of it: (offset, shape, strides). */
#define VIEW(offset, shape, strides)                                                               \
    "\x80\x02}U\x01"                                                                               \
    "wctorch._utils\n_rebuild_tensor_v2\n((U\x07storagectorch\nFloatStorage\nU\x01"                \
    "0U\x03"                                                                                       \
    "cpuK\x04tQ" offset shape strides "\x89)tRs."

static void a_view_must_lie_in_its_storage(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t length;
        int is_good;
    } cases[] = {
        {BYTES(VIEW("K\x00", "K\x04\x85", "K\x01\x85")), 1},
        {BYTES(VIEW("K\x00", "K\x02K\x02\x86", "K\x01K\x02\x86")), 1},
        {BYTES(VIEW("K\x00", "K\xffK\xff\x86", "K\x00K\x00\x86")), 1},
        {BYTES(VIEW("K\x09", "K\x00\x85", "K\x01\x85")), 1}, /* nothing is nowhere */
        {BYTES(VIEW("K\x01", "K\x04\x85", "K\x01\x85")), 0},
        {BYTES(VIEW("K\x00", "K\x04\x85", "K\x02\x85")), 0},
        {BYTES(VIEW("K\x00", "K\x02\x85", "\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f\x85")), 0},
        {BYTES(VIEW("K\x00", "\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f\x85", "K\x00\x85")), 0},
        {BYTES(VIEW("\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f", "K\x01\x85", "K\x01\x85")), 0},
        {BYTES(VIEW("J\xff\xff\xff\xff", "K\x01\x85", "K\x01\x85")), 0},
        {BYTES(VIEW("K\x00", "K\x01\x85", "K\x01K\x01\x86")), 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct weights weights = {0};
        struct pickle pickle;
        assert_ok(unpickle(cases[i].bytes, cases[i].length, &pickle));
        if (cases[i].is_good)
            assert_ok(weights_pth_collect(&pickle, &weights));
        else
            assert_fails(weights_pth_collect(&pickle, &weights), ERR_CORRUPT, "tensor 'w'");
        assert_int_equal(weights.tensor_count, cases[i].is_good);
        weights_close(&weights);
        pickle_done(&pickle);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_we_write_is_read_back),
        cmocka_unit_test(a_call_stays_a_call),
        cmocka_unit_test(numbers_of_all_sizes_have_their_signs),
        cmocka_unit_test(what_is_no_pickle_is_refused),
        cmocka_unit_test(rings_and_bombs_end),
        cmocka_unit_test(a_view_must_lie_in_its_storage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
