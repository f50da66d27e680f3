/* make_corpus.c - writes the binary part of tests/fuzz/corpus: make_corpus DIR.
 *
 * The samples of the unit tests as files; run by hand when a format changes (make_images.py makes
 * the pictures, the configs are written by hand). */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include "common/fs.h"
#include "common/mem.h"
#include "common/safetensors.h"
#include "loader/record.h"
#include "server/journal_codec.h"
#include "tests/unit/journal_samples.h"
#include "tests/unit/loader_message_samples.h"
#include "tests/unit/message_samples.h"
#include "tests/unit/witness_samples.h"

enum { CHECKSUM_BYTES = 8 };

static const char *corpus;

/* The last cut bytes are left out. */
static void save(const char *target, const char *name, struct buf *bytes, size_t cut)
{
    char *folder = mem_format("%s/%s", corpus, target);
    char *path = mem_format("%s/%s", folder, name);
    assert_ok(fs_make_directory(folder));
    assert_ok(fs_write_file(path, bytes->bytes, bytes->length - cut));
    mem_free(path);
    mem_free(folder);
    buf_done(bytes);
}

static void make_messages(void **state)
{
    (void)state;
    for (const enum message_kind *kind = message_sample_kinds; *kind != 0; kind++) {
        struct message message;
        struct buf bytes;
        buf_init(&bytes, MESSAGE_BYTES_MAX);
        message_sample(*kind, &message);
        assert_ok(message_encode(&message, &bytes));
        message_done(&message);
        save("message", message_kind_name(*kind), &bytes, 0);
    }
}

static void make_loader_messages(void **state)
{
    (void)state;
    for (int i = 0; i < LOADER_SAMPLE_COUNT; i++) {
        struct loader_message message = loader_message_sample(i);
        struct buf bytes;
        buf_init(&bytes, LOADER_MESSAGE_BYTES_MAX);
        assert_ok(loader_message_encode(&message, &bytes));
        save("loader_message", loader_message_name(message.kind), &bytes, 0);
    }
}

static void make_journal_records(void **state)
{
    (void)state;
    for (int kind = JOURNAL_START; kind <= JOURNAL_PAUSE; kind++) {
        struct journal_record record = journal_sample((enum journal_kind)kind);
        struct buf bytes;
        buf_init(&bytes, JOURNAL_RECORD_BYTES_MAX);
        assert_ok(journal_encode(&record, &bytes));
        save("journal", journal_kind_name((enum journal_kind)kind), &bytes, CHECKSUM_BYTES);
    }
}

/* A file: one record of each kind, and a step that a hearing can follow. */
static void make_witnesses(void **state)
{
    (void)state;
    struct witness_slot slot = {0, 0};
    struct witness_image images[] = {{0, 1}, {0, 2}};
    struct witness step = {.kind = WITNESS_STEP,
                           .step = {.generation = 1,
                                    .is_applied = 1,
                                    .slot_count = 1,
                                    .slot_images = 2,
                                    .slots = &slot,
                                    .images = images}};
    struct buf bytes;
    buf_init(&bytes, 1 << 20);
    for (enum witness_kind kind = WITNESS_BEGIN; kind <= WITNESS_STEP; kind++) {
        struct witness witness;
        witness_sample(kind, &witness);
        assert_ok(witness_encode(&witness, &bytes));
        witness_done(&witness);
    }
    assert_ok(witness_encode(&step, &bytes));
    step.step.step = slot.slot = 1;
    slot.position = 8;
    assert_ok(witness_encode(&step, &bytes));
    save("witness", "file", &bytes, 0);
}

static void make_record(const char *name, int32_t label, int32_t side)
{
    struct record record = {(const uint8_t *)"picture", 7, label, side, side};
    struct buf bytes;
    buf_init(&bytes, RECORD_BYTES_MAX);
    assert_ok(record_encode(&record, &bytes));
    save("record", name, &bytes, 0);
}

static void make_records(void **state)
{
    (void)state;
    struct buf bytes;
    make_record("labelled", 7, 300);
    make_record("bare", LABEL_NONE, 0);
    buf_init(&bytes, 100);
    /* data, a fixed32, a fixed64 and a field nobody knows, encoded */
    assert_ok(buf_append(&bytes,
                         "\x22\x01x\x4d"
                         "1234\x51"
                         "12345678\x5a\x02yy\x38\x01",
                         24));
    save("record", "foreign", &bytes, 0);
    buf_init(&bytes, 100); /* 3 channels, 2 rows, 3 columns, data, label 4 */
    assert_ok(buf_append(&bytes,
                         "\x08\x03\x10\x02\x18\x03\x22\x12\0\1\2\3\4\5\6\7\x8\x9\xa\xb\xc"
                         "\xd\xe\xf\x10\x11\x28\x04",
                         28));
    save("record", "raw", &bytes, 0);
    buf_init(&bytes, 100);
    assert_ok(buf_append(&bytes, "\x08\x01\x10\x02\x18\x03\x22\x06\0\1\2\3\4\5", 14));
    save("record", "raw-grey", &bytes, 0);
}

static void make_safetensors(void **state)
{
    (void)state;
    for (int count = 0; count < 4; count++) {
        static const int64_t shape[] = {2, 1, 3};
        static const uint8_t zeros[256];
        struct safetensors_header header;
        struct buf bytes;
        char *name = mem_format("tensors-%d", count);
        safetensors_init(&header);
        buf_init(&bytes, 1 << 20);
        for (int i = 0; i < count; i++) {
            char *tensor = mem_format("trunk.layer%d.weight", i);
            assert_ok(
                safetensors_add(&header, tensor, (enum safetensors_type)(2 * i), i, shape, NULL));
            mem_free(tensor);
        }
        if (count > 1)
            safetensors_add_metadata(&header, "everseer.step", "7 \"\\\n");
        assert_ok(safetensors_encode(&header, &bytes));
        assert_ok(buf_append(&bytes, zeros, header.data_bytes));
        safetensors_done(&header);
        save("safetensors", name, &bytes, 0);
        mem_free(name);
    }
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    corpus = argv[1];
    const struct CMUnitTest parts[] = {
        cmocka_unit_test(make_messages),    cmocka_unit_test(make_journal_records),
        cmocka_unit_test(make_witnesses),   cmocka_unit_test(make_records),
        cmocka_unit_test(make_safetensors), cmocka_unit_test(make_loader_messages),
    };
    return cmocka_run_group_tests(parts, NULL, NULL);
}
