/* test_learner.c - one step is the same step whoever computes it, and is forgotten until applied.
 *
 * Members are threads with a device, a state and a step each; the collective is virtual_team.c. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include <math.h>

#include "common/mem.h"
#include "common/random.h"
#include "common/thread.h"
#include "tests/unit/virtual_team.h"
#include "worker/step.h"

enum { SLOTS = 6, SLOT_IMAGES = 4, STEPS = 20, SEED = 11 };

static const char tiny_yaml[] = "crops:\n"
                                "  - {count: 2, size: 24, scale_min: 0.3, scale_max: 1}\n"
                                "  - {count: 2, size: 17, scale_min: 0.1, scale_max: 0.5}\n"
                                "model: {depth: 4, w0: 16, wa: 8, wm: 2, group_width: 8,\n"
                                "  stem_width: 16, stem_stride: 1, head: [24, 16],\n"
                                "  head_batch_norm: true, prototypes: 20}\n"
                                "train: {batch_images: 24, slot_images: 4}\n"
                                "optimizer: {kind: larc, trust: 0.02}\n"
                                "swav: {freeze_prototypes_steps: 2}\n"
                                "collective: {bucket_kib: 4}\n";

static struct config tiny_config(void)
{
    struct config config;
    config_init(&config);
    assert_ok(config_load_text("tiny", tiny_yaml, strlen(tiny_yaml), &config));
    return config;
}

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

/* An image is a colour with noise: crops of one image look alike. */
static void paint_slot(const struct config *config, int group, uint64_t number, uint32_t slot,
                       uint8_t *pixels)
{
    const struct config_crop *crop = &config->crops[group];
    const size_t count = (size_t)(crop->size * crop->size);
    for (int64_t c = 0; c < crop->count; c++)
        for (uint32_t image = 0; image < SLOT_IMAGES; image++) {
            struct random colour, noise;
            const uint64_t index = (number * SLOTS + slot) * SLOT_IMAGES + image;
            random_init(&colour, SEED, RANDOM_STREAM_TEST, index, 0);
            random_init(&noise, SEED, RANDOM_STREAM_TEST, index, (uint32_t)(1 + group * 8 + c));
            const uint32_t base[3] = {random_below(&colour, 190), random_below(&colour, 190),
                                      random_below(&colour, 190)};
            for (size_t i = 0; i < 3 * count; i++)
                *pixels++ = (uint8_t)(base[i % 3] + random_below(&noise, 64));
        }
}

struct member {
    const struct config *config;
    struct collective *collective;
    int steps;
    uint32_t slots[SLOTS];
    uint32_t slot_count;
    double lr;
    uint64_t number;   /* of member_try */
    enum status tried; /* by it */
    /* out */
    struct step_result results[STEPS];
    uint64_t digests[STEPS];
    struct state *state;
    struct device *device;
    struct thread thread;
    struct batch batch;
};

static void batch_init(struct member *member)
{
    member->batch = (struct batch){
        .slot_count = member->slot_count,
        .slot_images = SLOT_IMAGES,
        .slots = member->slots,
        .group_count = (int)member->config->crop_count,
    };
    for (int g = 0; g < member->batch.group_count; g++) {
        const struct config_crop *crop = &member->config->crops[g];
        const int64_t slot_bytes = crop->count * SLOT_IMAGES * crop->size * crop->size * 3;
        member->batch.crops[g] = mem_alloc((size_t)slot_bytes * member->slot_count);
    }
}

static void batch_paint(struct member *member, uint64_t number)
{
    member->batch.step = number;
    for (int g = 0; g < member->batch.group_count; g++) {
        const struct config_crop *crop = &member->config->crops[g];
        const int64_t slot_bytes = crop->count * SLOT_IMAGES * crop->size * crop->size * 3;
        for (uint32_t i = 0; i < member->slot_count; i++)
            paint_slot(member->config, g, number, member->slots[i],
                       member->batch.crops[g] + (int64_t)i * slot_bytes);
    }
}

static void batch_done(struct member *member)
{
    for (int g = 0; g < member->batch.group_count; g++)
        mem_free(member->batch.crops[g]);
}

static void member_open(struct member *member)
{
    assert_ok(device_open("cpu", 1, &member->device));
    assert_ok(state_create(member->config, member->device, &member->state));
    state_reset(member->state, SEED);
    batch_init(member);
}

static void member_close(struct member *member)
{
    batch_done(member);
    state_destroy(member->state);
    device_close(member->device);
}

static void member_run(void *argument)
{
    struct member *member = argument;
    struct step *step = NULL;
    assert_ok(step_create(member->config, member->state, &step));
    for (int t = 0; t < member->steps; t++) {
        const uint64_t number = (uint64_t)t;
        batch_paint(member, number % 3);
        assert_ok(
            step_compute(step, member->collective, number, &member->batch, &member->results[t]));
        assert_ok(step_apply(step, number, member->lr));
        member->digests[t] = state_digest(member->state);
    }
    step_destroy(step);
}

static void member_try(void *argument)
{
    struct member *member = argument;
    struct step *step = NULL;
    assert_ok(step_create(member->config, member->state, &step));
    batch_paint(member, 0);
    member->tried =
        step_compute(step, member->collective, member->number, &member->batch, &member->results[0]);
    step_destroy(step);
}

/* Runs members that hold shares[m] slots each, dealt in order or in turn. Returns how many sums
 * were within BN groups. */
static int run_team(const struct config *config, const int *shares, int size, int is_dealt,
                    struct member *members)
{
    struct virtual_team *team = virtual_team_create(size);
    uint32_t next = 0;
    for (int m = 0; m < size; m++) {
        members[m] = (struct member){
            .config = config,
            .collective = virtual_team_member(team, m),
            .steps = STEPS,
            .lr = 0.003,
        };
        for (int i = 0; i < shares[m]; i++)
            members[m].slots[members[m].slot_count++] =
                is_dealt ? (uint32_t)(i * size + m) : next++;
        member_open(&members[m]);
        assert_ok(state_keep_slices(members[m].state, m, size));
    }
    for (int m = 0; m < size; m++)
        assert_ok(thread_start(&members[m].thread, "member", member_run, &members[m]));
    for (int m = 0; m < size; m++) {
        thread_stop(&members[m].thread);
        member_close(&members[m]);
    }
    const int within_calls = virtual_team_within_calls(team);
    virtual_team_destroy(team);
    return within_calls;
}

/* As run_team, against what one member made of the same steps: with exact reduction bit by bit,
 * with fast reduction up to the order of sums and the ReLUs that flip by it. */
static void assert_reduced_same_as_one(const struct config *config, const int *shares, int size,
                                       int is_dealt)
{
    const int is_exact = config->train.reduction == REDUCTION_EXACT;
    static struct member alone[1], members[VIRTUAL_TEAM_MAX];
    double worst = 0;
    run_team(config, &(int){SLOTS}, 1, 0, alone);
    const int within_calls = run_team(config, shares, size, is_dealt, members);
    assert_int_equal(within_calls > 0, config->train.bn_group_slots != 0 && !is_dealt);
    for (int t = 0; t < STEPS; t++) {
        const struct step_result *one = &alone[0].results[t], *team = &members[0].results[t];
        const double error = fabs(team->loss / one->loss - 1);
        worst = error > worst ? error : worst;
        assert_true(one->is_finite && team->is_finite);
        assert_true(error <= (is_exact ? 0 : t == 0 ? 1e-5 : 1e-3));
        if (is_exact) {
            assert_true(team->digest == one->digest);
            assert_true(members[0].digests[t] == alone[0].digests[t]);
        }
        if (t == 0)
            assert_true(fabs(team->grad_norm / one->grad_norm - 1) <= 1e-3);
        for (int m = 1; m < size; m++) {
            assert_true(members[m].results[t].loss == team->loss);
            assert_true(members[m].results[t].grad_norm == team->grad_norm);
            assert_true(members[m].results[t].digest == team->digest);
            assert_true(members[m].digests[t] == members[0].digests[t]);
        }
    }
    for (int m = 0; m < size; m++)
        assert_int_equal(members[m].results[0].images, shares[m] * SLOT_IMAGES);
    print_message("%d members, loss %.4f to %.4f, worst difference to one %.1e\n", size,
                  alone[0].results[0].loss, alone[0].results[STEPS - 1].loss, worst);
}

static void assert_same_as_one(const struct config *config, const int *shares, int size,
                               int is_dealt)
{
    struct config copy = *config;
    copy.train.reduction = REDUCTION_EXACT;
    assert_reduced_same_as_one(&copy, shares, size, is_dealt);
    copy.train.reduction = REDUCTION_FAST;
    assert_reduced_same_as_one(&copy, shares, size, is_dealt);
}

static void members_with_uneven_shares_make_the_step_of_one(void **state)
{
    (void)state;
    const struct config config = tiny_config();
    assert_same_as_one(&config, (int[]){4, 2}, 2, 0);
    assert_same_as_one(&config, (int[]){3, 1, 2}, 3, 0);
    assert_same_as_one(&config, (int[]){1, 1, 1, 1, 2}, 5, 0);
}

static void slots_may_be_dealt_out_in_turn(void **state)
{
    (void)state;
    const struct config config = tiny_config();
    assert_same_as_one(&config, (int[]){3, 3}, 2, 1);
}

/* One member may hold all of a group and parts of others; none may share any. Slots in turn: no
 * cut. */
static void bn_groups_may_be_cut_by_members(void **state)
{
    (void)state;
    struct config config = tiny_config();
    config.train.bn_group_slots = 3;
    assert_same_as_one(&config, (int[]){4, 2}, 2, 0);
    assert_same_as_one(&config, (int[]){2, 2, 2}, 3, 0);
    config.train.bn_group_slots = 2;
    assert_same_as_one(&config, (int[]){1, 1, 1, 1, 2}, 5, 0);
    assert_same_as_one(&config, (int[]){1, 4, 1}, 3, 0);
    assert_same_as_one(&config, (int[]){4, 2}, 2, 0);
    assert_same_as_one(&config, (int[]){3, 3}, 2, 1);
}

/* To the bits of one member that has its momentum to itself. */
static void members_that_shard_their_momentum_make_the_step_of_one(void **state)
{
    (void)state;
    static struct member alone[1], members[VIRTUAL_TEAM_MAX];
    static const int shares[][VIRTUAL_TEAM_MAX] = {{SLOTS}, {4, 2}, {3, 1, 2}, {1, 1, 1, 1, 2}};
    static const int sizes[] = {1, 2, 3, 5};
    struct config config = tiny_config(), sharded;
    config.train.reduction = REDUCTION_EXACT;
    sharded = config;
    sharded.optimizer.sharded = 1;
    run_team(&config, &(int){SLOTS}, 1, 0, alone);
    for (int i = 0; i < 4; i++) {
        run_team(&sharded, shares[i], sizes[i], 0, members);
        for (int t = 0; t < STEPS; t++)
            for (int m = 0; m < sizes[i]; m++) {
                assert_true(members[m].results[t].digest == alone[0].results[t].digest);
                assert_true(members[m].digests[t] == alone[0].digests[t]);
            }
    }
}

static void the_feature_queue_counts_each_image_once(void **state)
{
    (void)state;
    struct config config = tiny_config();
    config.swav.queue_images = 2 * SLOTS * SLOT_IMAGES;
    config.swav.queue_start_step = 4;
    assert_same_as_one(&config, (int[]){1, 2, 3}, 3, 0);
}

enum twist { TWIST_NONE, TWIST_STEP, TWIST_GENERATION, TWIST_MEMBER, TWIST_NUMBER };

/* One step of two members, of whom the second is not what the first one thinks. */
static void try_together(const struct config *config, enum twist twist, struct member members[2])
{
    struct virtual_team *team = virtual_team_create(2);
    for (int m = 0; m < 2; m++) {
        members[m] = (struct member){
            .config = config, .collective = virtual_team_member(team, m), .number = 5};
        while (members[m].slot_count < SLOTS / 2) {
            const uint32_t i = members[m].slot_count++;
            members[m].slots[i] = (uint32_t)m * (SLOTS / 2) + i;
        }
        member_open(&members[m]);
    }
    if (twist == TWIST_STEP)
        members[1].number++;
    if (twist == TWIST_GENERATION)
        virtual_team_set_generation(team, 1, 2);
    if (twist == TWIST_MEMBER)
        virtual_team_leave_out(team, 1);
    if (twist == TWIST_NUMBER)
        members[1].state->params[0] = NAN;
    for (int m = 0; m < 2; m++)
        assert_ok(thread_start(&members[m].thread, "member", member_try, &members[m]));
    for (int m = 0; m < 2; m++) {
        thread_stop(&members[m].thread);
        member_close(&members[m]);
    }
    virtual_team_destroy(team);
}

static void a_sum_of_another_step_generation_or_number_of_members_counts_for_nothing(void **state)
{
    (void)state;
    static struct member members[2];
    struct config config = tiny_config();
    for (int reduction = 0; reduction < 2; reduction++) {
        config.train.reduction = reduction == 0 ? REDUCTION_EXACT : REDUCTION_FAST;
        for (enum twist twist = TWIST_NONE; twist <= TWIST_MEMBER; twist++) {
            try_together(&config, twist, members);
            for (int m = 0; m < 2; m++)
                assert_int_equal(members[m].tried, twist == TWIST_NONE ? OK : ERR_PROTOCOL);
        }
    }
}

/* One member's NaN is everybody's verdict, without a word about it but the sums themselves. */
static void what_is_not_finite_for_one_is_so_for_all(void **state)
{
    (void)state;
    static struct member members[2];
    struct config config = tiny_config();
    for (int reduction = 0; reduction < 2; reduction++) {
        config.train.reduction = reduction == 0 ? REDUCTION_EXACT : REDUCTION_FAST;
        for (enum twist twist = TWIST_NONE; twist <= TWIST_NUMBER; twist += TWIST_NUMBER) {
            try_together(&config, twist, members);
            for (int m = 0; m < 2; m++) {
                assert_ok(members[m].tried);
                assert_int_equal(members[m].results[0].is_finite, twist == TWIST_NONE);
            }
        }
    }
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
    const int rows = 40, width = step_feature_width(solo.step);
    float *all = mem_array((size_t)(rows * width), sizeof(*all));
    float *one = mem_array((size_t)width, sizeof(*one));
    const uint8_t *images = solo.member.batch.crops[0];
    assert_ok(step_features(solo.step, images, rows, 24, all));
    for (int row = 0; row < rows; row += 13) {
        assert_ok(step_features(solo.step, images + (size_t)row * 24 * 24 * 3, 1, 24, one));
        assert_memory_equal(one, all + (size_t)row * (size_t)width, (size_t)width * sizeof(*one));
    }
    assert_fails(step_features(solo.step, images, 1, 17, one), ERR_INPUT, "24");
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
        cmocka_unit_test(members_with_uneven_shares_make_the_step_of_one),
        cmocka_unit_test(slots_may_be_dealt_out_in_turn),
        cmocka_unit_test(bn_groups_may_be_cut_by_members),
        cmocka_unit_test(members_that_shard_their_momentum_make_the_step_of_one),
        cmocka_unit_test(a_sum_of_another_step_generation_or_number_of_members_counts_for_nothing),
        cmocka_unit_test(what_is_not_finite_for_one_is_so_for_all),
        cmocka_unit_test(the_feature_queue_counts_each_image_once),
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
