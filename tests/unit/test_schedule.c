/* test_schedule.c - learning rates against swav's own, the plateau rule on made-up losses. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include <math.h>

#include "common/random.h"
#include "server/schedule.h"

static struct config seer_config(enum schedule_kind kind)
{
    struct config config;
    config_init(&config);
    config.schedule.kind = kind;
    config.schedule.lr_start = 0.15;
    config.schedule.lr_peak = 9.6;
    config.schedule.lr_final = 0.0096;
    config.schedule.warmup_steps = 8000;
    config.schedule.length_steps = 122070;
    return config;
}

static void cosine_gives_the_rates_of_swav(void **state)
{
    (void)state;
    static const struct {
        uint64_t step;
        double lr;
    } golden[] = {
        {0, 0.15},          {1, 0.151181},    {4000, 4.875591},  {7999, 9.6},
        {8000, 9.6},        {8001, 9.6},      {20000, 9.340499}, {61035, 5.331989},
        {100000, 0.868467}, {122069, 0.0096}, {122070, 0.0096},  {999999, 0.0096},
    };
    struct config config = seer_config(SCHEDULE_COSINE);
    struct schedule_state schedule;
    schedule_init(&schedule);
    for (size_t i = 0; i < sizeof(golden) / sizeof(golden[0]); i++)
        assert_true(fabs(schedule_lr(&config, &schedule, golden[i].step) - golden[i].lr) < 1e-6);
}

static void cosine_gives_the_rates_of_vissl(void **state)
{
    (void)state;
    static const struct {
        uint64_t step;
        double lr;
    } golden[] = {
        {0, 0.15},         {1, 0.151181},    {4000, 4.875},     {7999, 9.598819},
        {8000, 9.498725},  {8001, 9.498699}, {20000, 8.978689}, {61035, 4.8048},
        {100000, .762532}, {122069, 0.0096}, {122070, 0.0096},  {999999, 0.0096},
    };
    struct config config = seer_config(SCHEDULE_COSINE);
    config.schedule.cosine_form = COSINE_VISSL;
    struct schedule_state schedule;
    schedule_init(&schedule);
    for (size_t i = 0; i < sizeof(golden) / sizeof(golden[0]); i++)
        assert_true(fabs(schedule_lr(&config, &schedule, golden[i].step) - golden[i].lr) < 1e-6);
}

static void multistep_falls_at_each_milestone(void **state)
{
    (void)state;
    struct config config = seer_config(SCHEDULE_MULTISTEP);
    config.schedule.milestone_count = 2;
    config.schedule.milestones[0] = 8000;
    config.schedule.milestones[1] = 20000;
    config.schedule.milestone_factor = 0.5;
    struct schedule_state schedule;
    schedule_init(&schedule);
    assert_ok(config_check(&config));
    assert_true(schedule_lr(&config, &schedule, 7999) == 9.6);
    assert_true(schedule_lr(&config, &schedule, 8000) == 4.8);
    assert_true(schedule_lr(&config, &schedule, 19999) == 4.8);
    assert_true(schedule_lr(&config, &schedule, 20000) == 2.4);
    config.schedule.milestones[0] = 7999;
    assert_fails(config_check(&config), ERR_INPUT, "not lie in the warm-up");
    config.schedule.milestones[0] = 20000;
    assert_fails(config_check(&config), ERR_INPUT, "must rise");
    config.schedule.milestone_count = 0;
    assert_fails(config_check(&config), ERR_INPUT, "milestones is empty");
}

static void constant_stays_at_the_peak_after_the_warmup(void **state)
{
    (void)state;
    struct config config = seer_config(SCHEDULE_CONSTANT);
    struct schedule_state schedule;
    schedule_init(&schedule);
    assert_true(schedule_lr(&config, &schedule, 0) == 0.15);
    assert_true(schedule_lr(&config, &schedule, 8000) == 9.6);
    assert_true(schedule_lr(&config, &schedule, 1000000000) == 9.6);
}

static struct config plateau_config(void)
{
    struct config config;
    config_init(&config);
    config.schedule.kind = SCHEDULE_PLATEAU;
    config.schedule.lr_start = 0.1;
    config.schedule.lr_peak = 1.0;
    config.schedule.lr_final = 0.2;
    config.schedule.warmup_steps = 10;
    config.schedule.plateau_window_steps = 20;
    config.schedule.plateau_patience = 3;
    config.schedule.plateau_cooldown = 2;
    config.schedule.plateau_threshold = 1e-3;
    config.schedule.plateau_noise = 2.0;
    config.schedule.plateau_factor = 0.5;
    config.model.prototypes[0] = 300;
    config.swav.freeze_prototypes_steps = 0;
    config.swav.queue_images = 0;
    return config;
}

/* Windows of 20 steps with this loss plus noise; returns how many windows until the rate is cut, 0
 * if that does not happen in `windows`. */
static int windows_until_cut(const struct config *config, struct schedule_state *schedule,
                             uint64_t *step, double loss, double slope, double noise, int windows)
{
    struct random random;
    random_init(&random, 3, RANDOM_STREAM_TEST, *step, 0);
    for (int window = 1; window <= windows; window++)
        for (int i = 0; i < 20; i++, loss += slope)
            if (schedule_commit(config, schedule, (*step)++,
                                loss + noise * random_normal(&random)) == SCHEDULE_CUT)
                return window;
    return 0;
}

static void a_falling_loss_never_cuts_the_rate(void **state)
{
    (void)state;
    struct config config = plateau_config();
    struct schedule_state schedule;
    schedule_init(&schedule);
    uint64_t step = 10;
    assert_int_equal(windows_until_cut(&config, &schedule, &step, 5.0, -0.002, 0.01, 80), 0);
    assert_true(schedule.is_armed);
    assert_true(schedule_lr(&config, &schedule, step) == 1.0);
}

static void a_flat_loss_halves_the_rate_then_waits_then_halves_again(void **state)
{
    (void)state;
    struct config config = plateau_config();
    struct schedule_state schedule;
    schedule_init(&schedule);
    uint64_t step = 10;
    /* the first window sets the best, three bad ones follow */
    assert_int_equal(windows_until_cut(&config, &schedule, &step, 4.0, 0, 0.0, 20), 4);
    assert_true(schedule_lr(&config, &schedule, step) == 0.5);
    /* two windows of cooldown set the best anew, then three bad ones */
    assert_int_equal(windows_until_cut(&config, &schedule, &step, 4.0, 0, 0.0, 20), 5);
    assert_true(schedule_lr(&config, &schedule, step) == 0.25);
    assert_int_equal(windows_until_cut(&config, &schedule, &step, 4.0, 0, 0.0, 20), 5);
    assert_true(schedule_lr(&config, &schedule, step) == 0.2); /* never below lr_final */
    assert_int_equal(windows_until_cut(&config, &schedule, &step, 4.0, 0, 0.0, 40), 0);
    assert_int_equal(schedule.cuts, 3); /* and what changes nothing is no cut */
}

static void the_start_at_ln_k_is_no_plateau_but_in_time_an_alarm(void **state)
{
    (void)state;
    struct config config = plateau_config();
    struct schedule_state schedule;
    schedule_init(&schedule);
    int alarms = 0;
    for (uint64_t step = 10; step < 10 + 20 * 25; step++) {
        enum schedule_event event = schedule_commit(&config, &schedule, step, log(300.0) - 0.05);
        assert_int_not_equal(event, SCHEDULE_CUT);
        alarms += event == SCHEDULE_COLLAPSE;
    }
    assert_int_equal(alarms, 2);
    assert_true(schedule_lr(&config, &schedule, 600) == 1.0);
}

static void an_improvement_smaller_than_the_noise_is_none(void **state)
{
    (void)state;
    struct config config = plateau_config();
    struct schedule_state schedule;
    schedule_init(&schedule);
    uint64_t step = 10;
    int cut = windows_until_cut(&config, &schedule, &step, 4.0, -0.0001, 0.5, 200);
    assert_true(cut > 0 && cut < 40);
}

static void the_warmup_and_the_end_of_the_freeze_do_not_count(void **state)
{
    (void)state;
    struct config config = plateau_config();
    config.swav.freeze_prototypes_steps = 50;
    struct schedule_state schedule;
    schedule_init(&schedule);
    for (uint64_t step = 0; step < 10; step++)
        schedule_commit(&config, &schedule, step, 0.001);
    assert_int_equal(schedule.commits, 0);
    for (uint64_t step = 10; step < 50; step++)
        schedule_commit(&config, &schedule, step, 1.0);
    assert_true(schedule.best == 1.0);
    schedule_commit(&config, &schedule, 50, 3.0);
    assert_true(isinf(schedule.best));
    for (uint64_t step = 51; step < 70; step++) /* a window of the new kind alone */
        schedule_commit(&config, &schedule, step, 3.0);
    assert_true(schedule.best == 3.0);
}

static void a_window_that_a_restart_makes_shorter_begins_anew(void **state)
{
    (void)state;
    struct config config = plateau_config();
    struct schedule_state schedule;
    schedule_init(&schedule);
    config.schedule.plateau_window_steps = 5000;
    for (uint64_t step = 10; step < 4010; step++)
        schedule_commit(&config, &schedule, step, 2.0);
    config.schedule.plateau_window_steps = 20;
    for (uint64_t step = 4010; step < 4029; step++)
        assert_int_equal(schedule_commit(&config, &schedule, step, 1.0), SCHEDULE_NOTHING);
    assert_int_equal(schedule_commit(&config, &schedule, 4029, 1.0), SCHEDULE_WINDOW);
    assert_int_equal(schedule.cuts, 0);
    assert_true(schedule.window_mean == 1.0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cosine_gives_the_rates_of_swav),
        cmocka_unit_test(cosine_gives_the_rates_of_vissl),
        cmocka_unit_test(multistep_falls_at_each_milestone),
        cmocka_unit_test(constant_stays_at_the_peak_after_the_warmup),
        cmocka_unit_test(a_falling_loss_never_cuts_the_rate),
        cmocka_unit_test(a_flat_loss_halves_the_rate_then_waits_then_halves_again),
        cmocka_unit_test(the_start_at_ln_k_is_no_plateau_but_in_time_an_alarm),
        cmocka_unit_test(an_improvement_smaller_than_the_noise_is_none),
        cmocka_unit_test(the_warmup_and_the_end_of_the_freeze_do_not_count),
        cmocka_unit_test(a_window_that_a_restart_makes_shorter_begins_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
