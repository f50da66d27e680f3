/* test_learner_alone.c - a step of one member: forgotten until applied, nothing allocated, what it
 * refuses. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/unit/learner_fixture.h"

#include <math.h>

#include "common/mem.h"
#include "worker/model/inference.h"

/* Allocations of everything that is linked in, mem.c or not. */
static _Atomic int64_t allocation_count;

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *memory, size_t bytes);
int __real_posix_memalign(void **memory, size_t alignment, size_t bytes);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *memory, size_t bytes);
int __wrap_posix_memalign(void **memory, size_t alignment, size_t bytes);

void *__wrap_malloc(size_t bytes)
{
    allocation_count++;
    return __real_malloc(bytes);
}

void *__wrap_calloc(size_t count, size_t bytes)
{
    allocation_count++;
    return __real_calloc(count, bytes);
}

void *__wrap_realloc(void *memory, size_t bytes)
{
    allocation_count++;
    return __real_realloc(memory, bytes);
}

int __wrap_posix_memalign(void **memory, size_t alignment, size_t bytes)
{
    allocation_count++;
    return __real_posix_memalign(memory, alignment, bytes);
}

/* Everything of one member by itself. */
struct solo {
    struct config config;
    struct virtual_team *team;
    struct member member;
    struct step *step;
};

static void solo_open(struct solo *solo)
{
    solo->config = tiny_config();
    solo->config.swav.queue_images = SLOTS * SLOT_IMAGES;
    solo->team = virtual_team_create(1);
    solo->member = (struct member){
        .config = &solo->config,
        .collective = virtual_team_member(solo->team, 0),
        .slot_count = SLOTS,
    };
    for (uint32_t i = 0; i < SLOTS; i++)
        solo->member.slots[i] = i;
    member_open(&solo->member);
    assert_ok(step_create(&solo->config, solo->member.state, &solo->step));
}

static void solo_close(struct solo *solo)
{
    step_destroy(solo->step);
    member_close(&solo->member);
    virtual_team_destroy(solo->team);
}

static struct step_result solo_compute(struct solo *solo, uint64_t number)
{
    struct step_result result;
    batch_paint(&solo->member, number);
    assert_ok(
        step_compute(solo->step, solo->member.collective, number, &solo->member.batch, &result));
    return result;
}

static void a_step_without_verdict_leaves_no_trace(void **state)
{
    (void)state;
    struct solo solo;
    solo_open(&solo);
    solo_compute(&solo, 0);
    assert_ok(step_apply(solo.step, 0, 0.003));
    const uint64_t digest = state_digest(solo.member.state);
    const struct step_result first = solo_compute(&solo, 1);
    assert_true(state_digest(solo.member.state) == digest);
    assert_int_equal(solo.member.state->queue_filled, SLOTS * SLOT_IMAGES);
    solo_compute(&solo, 2);
    const struct step_result again = solo_compute(&solo, 1);
    assert_true(again.loss == first.loss);
    assert_true(again.digest == first.digest);
    step_skip(solo.step, 1);
    assert_true(state_digest(solo.member.state) == digest);
    assert_int_equal(solo.member.state->step, 2);
    solo_close(&solo);
}

/* Powers of two change exponents alone. */
static void a_loss_scale_changes_no_gradient_in_fp32(void **state)
{
    (void)state;
    struct solo solo;
    solo_open(&solo);
    solo.config.train.reduction = REDUCTION_FAST;
    const struct step_result plain = solo_compute(&solo, 0);
    solo.config.train.loss_scale = 1024;
    const struct step_result scaled = solo_compute(&solo, 0);
    assert_true(scaled.loss == plain.loss);
    assert_true(scaled.grad_norm == plain.grad_norm);
    assert_true(scaled.digest == plain.digest);
    step_skip(solo.step, 0);
    assert_true(loss_scale_value(&solo.member.state->loss_scale, 1024) == 512);
    const struct step_result halved = solo_compute(&solo, 1);
    assert_true(halved.is_finite);
    assert_ok(step_apply(solo.step, 1, 0.003));
    assert_int_equal(solo.member.state->loss_scale.committed, 1);
    solo_close(&solo);
}

static void from_the_second_step_on_nothing_is_allocated(void **state)
{
    (void)state;
    struct solo solo;
    uint64_t mem_calls = 0;
    int64_t allocations = 0;
    solo_open(&solo);
    for (uint64_t number = 0; number < 5; number++) {
        if (number == 2) {
            mem_calls = mem_call_count();
            allocations = allocation_count;
        }
        solo_compute(&solo, number);
        assert_ok(step_apply(solo.step, number, 0.003));
    }
    assert_int_equal(mem_call_count(), mem_calls);
    assert_int_equal(allocation_count, allocations);
    assert_true(allocations > 0);
    solo_close(&solo);
}

static void a_share_that_changes_is_planned_anew(void **state)
{
    (void)state;
    struct solo solo;
    solo_open(&solo);
    const struct step_result first = solo_compute(&solo, 0);
    solo.member.batch.slot_count = SLOTS - 1;
    solo_compute(&solo, 0);
    solo.member.batch.slot_count = SLOTS;
    const struct step_result again = solo_compute(&solo, 0);
    assert_true(again.loss == first.loss);
    assert_true(again.digest == first.digest);
    solo_close(&solo);
}

static void a_parameter_that_is_not_a_number_is_reported(void **state)
{
    (void)state;
    struct solo solo;
    solo_open(&solo);
    const float bad = NAN;
    const struct state_tensor *tensor = state_find(&solo.member.state->layout, "head.0.weight");
    solo.member.device->ops->upload(solo.member.device, solo.member.state->block + tensor->offset,
                                    &bad, sizeof(bad));
    assert_int_equal(solo_compute(&solo, 0).is_finite, 0);
    solo_close(&solo);
}

static void slots_out_of_order_are_refused(void **state)
{
    (void)state;
    struct solo solo;
    struct step_result result;
    solo_open(&solo);
    batch_paint(&solo.member, 0);
    solo.member.slots[1] = 0;
    assert_fails(step_compute(solo.step, solo.member.collective, 0, &solo.member.batch, &result),
                 ERR_INPUT, "ascend");
    solo.member.slots[1] = 1;
    solo.member.slots[5] = SLOTS;
    assert_fails(step_compute(solo.step, solo.member.collective, 0, &solo.member.batch, &result),
                 ERR_INPUT, "below 6");
    solo.member.batch.slot_count = 0;
    assert_fails(step_compute(solo.step, solo.member.collective, 0, &solo.member.batch, &result),
                 ERR_INPUT, "without slots");
    solo_close(&solo);
}

/* One BN message for each layer that has to be waited for, whatever the number of resolutions. */
static void resolutions_share_their_messages(void **state)
{
    (void)state;
    struct solo solo;
    solo_open(&solo);
    solo_compute(&solo, 0);
    const int before = virtual_team_calls(solo.team);
    solo_compute(&solo, 1);
    const int norms = 1 + 4 * 3 + 1; /* stem, a b c of four blocks (proj goes with c), head */
    const int sinkhorn = 1 + (int)solo.config.swav.sinkhorn_iterations;
    const int64_t kib = (int64_t)(solo.member.state->layout.parameter_floats * 4 / 1024);
    const int buckets = virtual_team_calls(solo.team) - before - 2 * norms - sinkhorn - 1;
    print_message("%d buckets for %d KiB of gradients\n", buckets, (int)kib);
    assert_in_range(buckets, 2, kib / solo.config.collective.bucket_kib + 1);
    solo_close(&solo);
}

static void features_are_the_same_in_any_portion(void **state)
{
    (void)state;
    struct solo solo;
    solo_open(&solo);
    solo_compute(&solo, 0);
    assert_ok(step_apply(solo.step, 0, 0.003));
    struct inference *inference = NULL;
    assert_ok(inference_create(&solo.config, solo.member.state, 24, &inference));
    const int rows = 40, width = inference_width(inference);
    float *all = mem_array((size_t)(rows * width), sizeof(*all));
    float *one = mem_array((size_t)width, sizeof(*one));
    const uint8_t *images = solo.member.batch.crops[0];
    assert_ok(inference_run(inference, images, rows, all));
    for (int row = 0; row < rows; row += 13) {
        assert_ok(inference_run(inference, images + (size_t)row * 24 * 24 * 3, 1, one));
        assert_memory_equal(one, all + (size_t)row * (size_t)width, (size_t)width * sizeof(*one));
    }
    inference_destroy(inference);
    mem_free(all);
    mem_free(one);
    solo_close(&solo);
}

static void initial_weights_depend_on_seed_and_name_alone(void **state)
{
    (void)state;
    struct solo solo;
    solo_open(&solo);
    struct state *learner = solo.member.state;
    const uint64_t digest = state_digest(learner);
    state_reset(learner, SEED + 1);
    assert_true(state_digest(learner) != digest);
    state_reset(learner, SEED);
    assert_true(state_digest(learner) == digest);

    struct config deeper = solo.config;
    struct state *other = NULL;
    deeper.model.depth = 5;
    assert_ok(state_create(&deeper, solo.member.device, &other));
    state_reset(other, SEED);
    const struct state_tensor *a = state_find(&learner->layout, "trunk.stem.0.weight");
    const struct state_tensor *b = state_find(&other->layout, "trunk.stem.0.weight");
    assert_memory_equal(learner->block + a->offset, other->block + b->offset,
                        a->length * sizeof(float));
    state_destroy(other);
    solo_close(&solo);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_step_without_verdict_leaves_no_trace),
        cmocka_unit_test(a_loss_scale_changes_no_gradient_in_fp32),
        cmocka_unit_test(from_the_second_step_on_nothing_is_allocated),
        cmocka_unit_test(a_share_that_changes_is_planned_anew),
        cmocka_unit_test(a_parameter_that_is_not_a_number_is_reported),
        cmocka_unit_test(slots_out_of_order_are_refused),
        cmocka_unit_test(resolutions_share_their_messages),
        cmocka_unit_test(features_are_the_same_in_any_portion),
        cmocka_unit_test(initial_weights_depend_on_seed_and_name_alone),
    };
    print_message("seed %d\n", SEED);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
