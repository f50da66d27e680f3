/* test_learner.c - one step is the same step whoever computes it.
 *
 * Members are threads with a device, a state and a step each; the collective is virtual_team.c. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/unit/learner_fixture.h"

#include <math.h>

#include "common/mem.h"

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

static int is_coarse; /* activations are bf16: another order of sums is no small difference */

static void assert_same_as_one(const struct config *config, const int *shares, int size,
                               int is_dealt)
{
    struct config copy = *config;
    copy.train.reduction = REDUCTION_EXACT;
    assert_reduced_same_as_one(&copy, shares, size, is_dealt);
    copy.train.reduction = REDUCTION_FAST;
    if (!is_coarse)
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

static void several_heads_of_prototypes_make_the_step_of_one(void **state)
{
    (void)state;
    struct config config = tiny_config();
    assert_ok(config_set(&config, "model.prototypes=[20, 20, 7]"));
    config.swav.queue_images = SLOTS * SLOT_IMAGES;
    assert_same_as_one(&config, (int[]){1, 3, 2}, 3, 0);
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

/* test_learner [DEVICE] */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_with_uneven_shares_make_the_step_of_one),
        cmocka_unit_test(slots_may_be_dealt_out_in_turn),
        cmocka_unit_test(bn_groups_may_be_cut_by_members),
        cmocka_unit_test(members_that_shard_their_momentum_make_the_step_of_one),
        cmocka_unit_test(a_sum_of_another_step_generation_or_number_of_members_counts_for_nothing),
        cmocka_unit_test(what_is_not_finite_for_one_is_so_for_all),
        cmocka_unit_test(the_feature_queue_counts_each_image_once),
        cmocka_unit_test(several_heads_of_prototypes_make_the_step_of_one),
    };
    struct device *device = NULL;
    if (argc > 1)
        member_device = argv[1];
    const enum status status = device_open(member_device, 1, &device);
    if (status == ERR_DEVICE)
        test_skip(fail_message());
    assert_ok(status);
    is_coarse = device->ops->activation_bytes < sizeof(float);
    device_close(device);
    print_message("seed %d on %s\n", SEED, member_device);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
