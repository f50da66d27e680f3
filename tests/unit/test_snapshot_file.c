/* test_snapshot_file.c - shares of a snapshot put together are one file that reads back. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include "common/config.h"
#include "common/mem.h"
#include "common/random.h"
#include "worker/snapshot_file.h"

/* Small, and with tensors whose lengths are no multiple of the block's padding. */
static const char *const settings[] = {
    "model.depth=2",        "model.w0=8",           "model.wa=8",          "model.wm=2",
    "model.group_width=8",  "model.stem_width=8",   "model.head=[12,7]",   "model.prototypes=11",
    "swav.queue_images=32", "train.batch_images=8", "train.slot_images=4",
};

static const struct snapshot_identity identity = {
    .run = 77, .step = 1234, .lineage = 2, .config_text = "run:\n  name: \"test\"\n"};

struct fixture {
    struct config config;
    struct device *device;
    struct state *state;
};

static void fixture_init(struct fixture *f, const char *setting)
{
    config_init(&f->config);
    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
        assert_ok(config_set(&f->config, settings[i]));
    if (setting != NULL)
        assert_ok(config_set(&f->config, setting));
    assert_ok(device_open("cpu", 1, &f->device));
    assert_ok(state_create(&f->config, f->device, &f->state));
    struct random random;
    random_init(&random, 5, RANDOM_STREAM_TEST, 0, 0);
    for (int i = 0; i < f->state->layout.tensor_count; i++) {
        const struct state_tensor *tensor = &f->state->layout.tensors[i];
        for (size_t k = 0; k < tensor->length; k++)
            f->state->block[tensor->offset + k] = (float)random_normal(&random);
    }
    f->state->step = identity.step;
    f->state->queue_filled = 20;
    f->state->loss_scale = (struct loss_scale){.halvings = 3, .committed = 1999};
}

static void fixture_done(struct fixture *f)
{
    state_destroy(f->state);
    device_close(f->device);
}

/* The whole file from `count` shares; checks that they neither overlap nor leave a hole. */
static uint8_t *assemble(struct state *state, uint32_t count, uint64_t *ret_total)
{
    uint8_t *file = NULL;
    uint64_t next = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct message_snapshot_begin begin = {.name = "s", .share = i, .share_count = count};
        struct snapshot_share *share = NULL;
        assert_ok(snapshot_share_create(&begin, &identity, state, &share));
        if (file == NULL)
            file = mem_zero(share->total);
        assert_int_equal(share->step, identity.step);
        for (uint32_t j = 0; j < share->part_count; j++) {
            const struct snapshot_part *part = &share->parts[j];
            assert_int_equal(part->offset, next);
            memcpy(file + part->offset, share->bytes + part->at, part->length);
            next += part->length;
        }
        *ret_total = share->total;
        snapshot_share_destroy(share);
    }
    assert_int_equal(next, *ret_total);
    return file;
}

static void shares_of_any_number_of_members_make_the_same_file(void **unused)
{
    (void)unused;
    struct fixture f;
    fixture_init(&f, NULL);
    uint64_t total, other_total;
    uint8_t *one = assemble(f.state, 1, &total);
    static const uint32_t counts[] = {2, 3, 7, 100};
    for (int i = 0; i < 4; i++) {
        uint8_t *many = assemble(f.state, counts[i], &other_total);
        assert_int_equal(total, other_total);
        assert_memory_equal(one, many, total);
        mem_free(many);
    }
    mem_free(one);
    fixture_done(&f);
}

/* Members of whom one is gone push a file in the midst of a step, when gradients lie where the
 * momentum is whole at other times. */
static uint8_t *assemble_slices(const struct fixture *f, uint32_t count, uint32_t gone)
{
    uint8_t *file = NULL;
    uint64_t bytes = 0, total = 0;
    uint32_t next = 0;
    struct state *state = f->state;
    struct random random;
    random_init(&random, 6, RANDOM_STREAM_TEST, 0, 0);
    float *momentum = mem_array(state->layout.momentum_floats, sizeof(float));
    memcpy(momentum, state->momentum, state->layout.momentum_floats * sizeof(float));
    for (uint32_t rank = 0; rank < count; rank++) {
        if (rank == gone)
            continue;
        struct snapshot_share *share = NULL;
        const struct message_snapshot_begin begin = {
            .name = "s",
            .share = next++,
            .share_count = gone < count ? count - 1 : count,
            .slice = rank,
            .slice_count = count,
            .has_slice_before = (rank + count - 1) % count == gone};
        memcpy(state->momentum, momentum, state->layout.momentum_floats * sizeof(float));
        state->is_whole = 1;
        assert_ok(state_keep_slices(state, (int)rank, (int)count));
        for (size_t i = 0; i < state->layout.momentum_floats; i++)
            state->momentum[i] = (float)random_normal(&random);
        state->is_whole = 0;
        assert_ok(snapshot_share_create(&begin, &identity, state, &share));
        if (file == NULL)
            file = mem_zero(share->total);
        for (uint32_t i = 0; i < share->part_count; i++)
            memcpy(file + share->parts[i].offset, share->bytes + share->parts[i].at,
                   share->parts[i].length);
        bytes += share->length;
        total = share->total;
        snapshot_share_destroy(share);
    }
    assert_int_equal(bytes, total);
    memcpy(state->momentum, momentum, state->layout.momentum_floats * sizeof(float));
    state->is_whole = 1;
    mem_free(momentum);
    return file;
}

static void slices_of_a_sharded_momentum_make_the_same_file(void **unused)
{
    (void)unused;
    struct fixture f;
    uint64_t total;
    fixture_init(&f, "optimizer.sharded=true");
    uint8_t *one = assemble(f.state, 1, &total);
    static const uint32_t counts[] = {1, 2, 3, 7, 40}, gone[] = {9, 1, 0, 6, 99};
    for (int i = 0; i < 5; i++) {
        uint8_t *many = assemble_slices(&f, counts[i], gone[i]);
        assert_memory_equal(one, many, total);
        mem_free(many);
    }
    const struct message_snapshot_begin other = {
        .name = "s", .share_count = 40, .slice = 5, .slice_count = 40};
    struct snapshot_share *share = NULL;
    f.state->is_whole = 0; /* it keeps slices 39 and 38 */
    assert_fails(snapshot_share_create(&other, &identity, f.state, &share), ERR_STALE, "slice 5");
    mem_free(one);
    fixture_done(&f);
}

static void a_file_read_in_pieces_of_any_size_restores_the_state(void **unused)
{
    (void)unused;
    struct fixture f;
    fixture_init(&f, NULL);
    uint64_t total;
    uint8_t *file = assemble(f.state, 3, &total);
    uint64_t digest = state_digest(f.state);
    static const size_t pieces[] = {5, 4096, 100003, 1 << 30};
    for (int i = 0; i < 4; i++) {
        state_reset(f.state, 1);
        assert_true(state_digest(f.state) != digest);
        struct snapshot_reader reader;
        snapshot_reader_init(&reader, f.state, "s", identity.step);
        for (uint64_t at = 0; at < total; at += pieces[i])
            assert_ok(snapshot_reader_take(&reader, file + at,
                                           total - at < pieces[i] ? total - at : pieces[i], total));
        assert_int_equal(reader.offset, total);
        snapshot_reader_done(&reader);
        assert_true(state_digest(f.state) == digest);
        assert_int_equal(f.state->queue_filled, 20);
        assert_int_equal(f.state->loss_scale.halvings, 3);
        assert_int_equal(f.state->loss_scale.committed, 1999);
    }
    mem_free(file);
    fixture_done(&f);
}

static void another_step_another_model_and_damage_are_refused(void **unused)
{
    (void)unused;
    struct fixture f;
    fixture_init(&f, NULL);
    uint64_t total;
    uint8_t *file = assemble(f.state, 1, &total);
    struct snapshot_reader reader;

    snapshot_reader_init(&reader, f.state, "s", identity.step + 1);
    assert_fails(snapshot_reader_take(&reader, file, total, total), ERR_CORRUPT, "of step 1234");
    snapshot_reader_done(&reader);

    snapshot_reader_init(&reader, f.state, "s", identity.step);
    assert_fails(snapshot_reader_take(&reader, file, total, total + 1), ERR_CORRUPT, "s");
    snapshot_reader_done(&reader);

    struct state *other = NULL;
    assert_ok(config_set(&f.config, "model.prototypes=13"));
    assert_ok(state_create(&f.config, f.device, &other));
    snapshot_reader_init(&reader, other, "s", identity.step);
    assert_fails(snapshot_reader_take(&reader, file, total, total), ERR_INPUT, "prototypes.weight");
    snapshot_reader_done(&reader);
    state_destroy(other);

    uint64_t full_total;
    f.state->queue_filled = 1 << 30;
    uint8_t *overfull = assemble(f.state, 1, &full_total);
    snapshot_reader_init(&reader, f.state, "s", identity.step);
    assert_fails(snapshot_reader_take(&reader, overfull, full_total, full_total), ERR_CORRUPT,
                 "1073741824 images in a queue");
    snapshot_reader_done(&reader);
    mem_free(overfull);

    f.state->queue_filled = 0;
    f.state->loss_scale.halvings = 1000;
    uint8_t *tiny = assemble(f.state, 1, &full_total);
    snapshot_reader_init(&reader, f.state, "s", identity.step);
    assert_fails(snapshot_reader_take(&reader, tiny, full_total, full_total), ERR_CORRUPT,
                 "halved 1000 times");
    snapshot_reader_done(&reader);
    mem_free(tiny);

    memset(file, 0xff, 8);
    snapshot_reader_init(&reader, f.state, "s", identity.step);
    assert_fails(snapshot_reader_take(&reader, file, total, total), ERR_CORRUPT, "header");
    snapshot_reader_done(&reader);
    mem_free(file);
    fixture_done(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shares_of_any_number_of_members_make_the_same_file),
        cmocka_unit_test(slices_of_a_sharded_momentum_make_the_same_file),
        cmocka_unit_test(a_file_read_in_pieces_of_any_size_restores_the_state),
        cmocka_unit_test(another_step_another_model_and_damage_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
