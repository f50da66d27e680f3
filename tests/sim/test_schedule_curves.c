/* test_schedule_curves.c - when the plateau schedule halves, and when it must not.
 *
 * Synthetic losses of many steps: a curve, and noise that remembers (AR(1), as a loss on shuffled
 * images has). Every curve is drawn with many seeds. In half of them the loss answers to the rate:
 * it falls exponentially to a floor that is higher with a higher rate, which is what halving is
 * for. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include <math.h>

#include "common/random.h"
#include "server/schedule.h"

enum { WINDOW = 200, PROTOTYPES = 3000, SEEDS = 60, CUTS_MAX = 16 };

static const double NOISE = 0.02; /* standard deviation of a step's loss */
static const double MEMORY = 0.9; /* of it, from step to step */

/* A life under the schedule. */
struct life {
    struct config config;
    struct schedule_state schedule;
    struct random random;
    uint64_t step;
    double noise;              /* of the last step */
    int windows, cuts, alarms; /* so far */
    int cut_at[CUTS_MAX];      /* window of each cut, from 1 */
};

static void life_begin(struct life *life, uint64_t seed)
{
    *life = (struct life){0};
    config_init(&life->config);
    life->config.schedule.kind = SCHEDULE_PLATEAU;
    life->config.schedule.lr_peak = 1;
    life->config.schedule.lr_final = 0.001;
    life->config.schedule.warmup_steps = 0;
    life->config.schedule.plateau_window_steps = WINDOW;
    life->config.model.prototypes[0] = PROTOTYPES;
    life->config.swav.freeze_prototypes_steps = 0;
    schedule_init(&life->schedule);
    random_init(&life->random, seed, RANDOM_STREAM_TEST, 0, 0);
}

static double rate(const struct life *life)
{
    return schedule_lr(&life->config, &life->schedule, life->step);
}

static void take(struct life *life, double loss)
{
    life->noise =
        MEMORY * life->noise + sqrt(1 - MEMORY * MEMORY) * NOISE * random_normal(&life->random);
    const enum schedule_event event =
        schedule_commit(&life->config, &life->schedule, life->step++, loss + life->noise);
    life->windows += event != SCHEDULE_NOTHING;
    life->alarms += event == SCHEDULE_COLLAPSE;
    if (event == SCHEDULE_CUT && life->cuts < CUTS_MAX)
        life->cut_at[life->cuts++] = life->windows;
}

/* So many windows from loss `from`, changing by `slope` a window. Returns where it ends. */
static double ramp(struct life *life, double from, double slope, int windows)
{
    for (int i = 0; i < windows * WINDOW; i++)
        take(life, from + slope * i / WINDOW);
    return from + slope * windows;
}

static void a_loss_that_falls_keeps_the_rate(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct life life;
        life_begin(&life, seed);
        ramp(&life, 7.5, -0.05, 80);
        assert_int_equal(life.cuts, 0);
    }
}

/* The first window that is no improvement is the second flat one at the earliest; four more are
 * room for two that are improvements by chance. */
static void a_flat_loss_halves_after_the_patience_and_again_after_the_cooldown(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct life life;
        life_begin(&life, seed);
        ramp(&life, ramp(&life, 7.5, -0.1, 20), 0, 40);
        assert_in_range(life.cuts, 4, 8);
        assert_in_range(life.cut_at[0], 20 + 3, 20 + 9);
        for (int i = 1; i < life.cuts; i++)
            assert_in_range(life.cut_at[i] - life.cut_at[i - 1], 2 + 3, 2 + 9);
    }
}

/* dl/dt = (floor(rate) - l)/tau. A fixed rate stays at its floor; halving comes down with it, and
 * does not halve while the loss still falls towards a floor. */
static void a_loss_that_answers_to_the_rate_is_brought_down_step_by_step(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct life life;
        double loss = 7.5, at_cut[CUTS_MAX] = {0};
        life_begin(&life, seed);
        for (int i = 0; i < 150 * WINDOW; i++) {
            const double floor = 3 + 2 * rate(&life);
            const int cuts = life.cuts;
            loss += (floor - loss) / (3 * WINDOW);
            take(&life, loss);
            if (life.cuts > cuts && cuts < CUTS_MAX)
                at_cut[cuts] = loss - floor;
        }
        assert_true(life.cuts >= 6);
        assert_true(loss < 3.1); /* with the first rate it would be 5 */
        for (int i = 0; i < 3; i++)
            assert_true(at_cut[i] < 0.05);
        if (seed == 1)
            for (int i = 0; i < life.cuts; i++)
                print_message("cut %d at window %d, %.3f above its floor\n", i + 1, life.cut_at[i],
                              at_cut[i]);
    }
}

static void other_images_in_the_middle_of_a_fall_keep_the_rate(void **state)
{
    (void)state;
    static const double jumps[] = {0.1, 0.5, 2, -0.5};
    for (size_t j = 0; j < sizeof(jumps) / sizeof(*jumps); j++)
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
            struct life life;
            life_begin(&life, seed);
            const double before = ramp(&life, 6, -0.05, 20);
            ramp(&life, before + jumps[j], -0.05, 15);
            assert_int_equal(life.cuts, 0);
        }
}

/* As above, with the change inside a window: a part of it is of either kind. */
static void a_change_in_the_middle_of_a_window_keeps_the_rate(void **state)
{
    (void)state;
    for (int part = 1; part < 10; part++)
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
            struct life life;
            life_begin(&life, seed);
            ramp(&life, 6, -0.05, 20);
            for (int i = 0; i < WINDOW * part / 10; i++)
                take(&life, 5 - 0.05 * i / WINDOW);
            ramp(&life, 5.45, -0.05, 15);
            assert_int_equal(life.cuts, 0);
        }
}

static void other_images_on_a_plateau_do_not_put_the_halving_off_for_long(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct life life;
        life_begin(&life, seed);
        ramp(&life, 6, -0.1, 20);
        ramp(&life, 4, 0, 2);
        ramp(&life, 4.5, 0, 12);
        assert_true(life.cuts >= 1);
        assert_in_range(life.cut_at[0], 22, 34);
    }
}

/* Every window some images are new, and the loss is a little higher for it before it comes down. */
static void a_stream_that_is_refreshed_all_the_time_reaches_its_plateaus(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct life life;
        life_begin(&life, seed);
        ramp(&life, 6, -0.1, 20);
        for (int window = 0; window < 30; window++)
            ramp(&life, 4.01, -0.01, 1);
        assert_in_range(life.cuts, 3, 7);
    }
}

static void a_loss_that_rises_is_cut(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct life life;
        life_begin(&life, seed);
        ramp(&life, ramp(&life, 6, -0.1, 20), 0.1, 10);
        assert_true(life.cuts >= 1);
        assert_in_range(life.cut_at[0], 20 + 3, 20 + 5);
    }
}

static void
a_run_that_never_leaves_ln_k_or_falls_back_to_it_is_an_alarm_and_no_plateau(void **state)
{
    (void)state;
    const double uniform = log((double)PROTOTYPES);
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct life life;
        life_begin(&life, seed);
        ramp(&life, uniform, 0, 30);
        assert_int_equal(life.cuts, 0);
        assert_int_equal(life.alarms, 3);
        life_begin(&life, seed);
        ramp(&life, uniform, -0.1, 20);
        assert_int_equal(life.alarms, 0);
        ramp(&life, uniform, 0, 10);
        assert_int_equal(life.cuts, 0);
        assert_int_equal(life.alarms, 10);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_loss_that_falls_keeps_the_rate),
        cmocka_unit_test(a_flat_loss_halves_after_the_patience_and_again_after_the_cooldown),
        cmocka_unit_test(a_loss_that_answers_to_the_rate_is_brought_down_step_by_step),
        cmocka_unit_test(other_images_in_the_middle_of_a_fall_keep_the_rate),
        cmocka_unit_test(a_change_in_the_middle_of_a_window_keeps_the_rate),
        cmocka_unit_test(other_images_on_a_plateau_do_not_put_the_halving_off_for_long),
        cmocka_unit_test(a_stream_that_is_refreshed_all_the_time_reaches_its_plateaus),
        cmocka_unit_test(a_loss_that_rises_is_cut),
        cmocka_unit_test(
            a_run_that_never_leaves_ln_k_or_falls_back_to_it_is_an_alarm_and_no_plateau),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
