/* test_deal.c - slots follow speed, but not its noise. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include <math.h>

#include "common/mem.h"
#include "common/random.h"
#include "server/deal.h"

enum { MEMBERS = 4, SLOTS = 16 };

struct fixture {
    struct config config;
    struct coordinator c;
    struct actions actions;
    struct message votes[MEMBERS];
    struct random random;
};

/* A generation in training; its members were never measured. */
static void make(struct fixture *f)
{
    *f = (struct fixture){0};
    config_init(&f->config);
    f->config.train.batch_images = (int64_t)SLOTS * 2;
    f->config.train.slot_images = 2;
    random_init(&f->random, 1, RANDOM_STREAM_TEST, 0, 0);
    actions_init(&f->actions);
    f->c.config = &f->config;
    f->c.out = &f->actions;
    f->c.state = RUN_TRAINING;
    f->c.world_size = MEMBERS;
    f->c.votes = f->votes;
    roster_init(&f->c.roster);
    for (uint64_t i = 0; i < MEMBERS; i++)
        roster_add(&f->c.roster, i + 1, &(struct message_hello){.name = "w"})->rank = (int)i;
    deal_evenly(&f->c, MEMBERS);
}

static void unmake(struct fixture *f)
{
    mem_free(f->c.deal.starts);
    mem_free(f->c.deal.starts_before);
    roster_done(&f->c.roster);
    actions_done(&f->actions);
}

static uint32_t slots_of(const struct fixture *f, uint32_t member, uint64_t step)
{
    const uint32_t *starts = deal_of(&f->c, step);
    return starts[member + 1] - starts[member];
}

/* Steps in which a slot takes slot_us, give or take `noise` of it; planned three steps ahead. */
static void live(struct fixture *f, uint64_t steps, const double *slot_us, double noise)
{
    for (; steps > 0; steps--) {
        for (uint32_t i = 0; i < MEMBERS; i++) {
            double factor = random_uniform(&f->random, 1.0 - noise, 1.0 + noise);
            f->votes[i].ready.compute_us =
                (int64_t)(slots_of(f, i, f->c.step) * slot_us[i] * factor);
        }
        f->c.planned = f->c.horizon = f->c.step + 3;
        deal_learn(&f->c);
        f->c.step++;
        deal_try(&f->c);
    }
}

static uint32_t count_deals(const struct fixture *f)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < f->actions.count; i++)
        count += f->actions.items[i].kind == ACTION_JOURNAL &&
                 f->actions.items[i].record.kind == JOURNAL_DEAL;
    return count;
}

static void slots_are_dealt_whole_and_even_if_all_are_equal(void **state)
{
    (void)state;
    uint32_t starts[9];
    for (uint32_t slots = 1; slots <= 64; slots++)
        for (uint32_t count = 1; count <= 8; count++) {
            deal_slots(slots, count, NULL, starts);
            assert_int_equal(starts[count], slots);
            for (uint32_t i = 0; i < count; i++) {
                uint32_t got = starts[i + 1] - starts[i];
                assert_true(got == slots / count || got == slots / count + 1);
            }
        }
}

static double slowest(uint32_t count, const double *slot_us, const uint32_t *starts)
{
    double time = 0.0;
    for (uint32_t i = 0; i < count; i++)
        time = fmax(time, (starts[i + 1] - starts[i]) * slot_us[i]);
    return time;
}

static void no_other_deal_ends_earlier(void **state)
{
    (void)state;
    struct random random;
    random_init(&random, 2, RANDOM_STREAM_TEST, 0, 0);
    for (int round = 0; round < 300; round++) {
        double slot_us[3];
        uint32_t slots = 3 + random_below(&random, 30), starts[4];
        for (int i = 0; i < 3; i++)
            slot_us[i] = random_uniform(&random, 1.0, 40.0);
        deal_slots(slots, 3, slot_us, starts);
        for (uint32_t a = 1; a <= slots - 2; a++)
            for (uint32_t b = a + 1; b <= slots - 1; b++) {
                const uint32_t other[] = {0, a, b, slots};
                assert_true(slowest(3, slot_us, starts) <= slowest(3, slot_us, other));
            }
        for (int i = 0; i < 3; i++)
            assert_true(starts[i + 1] > starts[i]);
    }
}

static void a_slow_member_keeps_fewer_slots_but_never_none(void **state)
{
    (void)state;
    struct fixture f;
    make(&f);
    live(&f, 60, (const double[]){1000, 1000, 4000, 1000}, 0.05);
    assert_int_equal(slots_of(&f, 2, f.c.step), 1);
    live(&f, 60, (const double[]){1000, 1000, 400000, 1000}, 0.05);
    assert_int_equal(slots_of(&f, 2, f.c.step), 1);
    live(&f, 200, (const double[]){1000, 1000, 1000, 1000}, 0.05);
    assert_in_range(slots_of(&f, 2, f.c.step), 3, 4);
    unmake(&f);
}

static void noise_and_single_hiccups_change_nothing(void **state)
{
    (void)state;
    struct fixture f;
    make(&f);
    for (int i = 0; i < 40; i++) {
        live(&f, 50, (const double[]){1000, 1000, 1000, 1000}, 0.1);
        live(&f, 1, (const double[]){1000, 90000, 1000, 1000}, 0.1);
    }
    assert_int_equal(count_deals(&f), 0);
    unmake(&f);
}

static void a_deal_changes_rarely_and_only_what_is_not_planned(void **state)
{
    (void)state;
    struct fixture f;
    make(&f);
    const double slot_us[] = {1000, 2500, 1700, 900};
    while (count_deals(&f) == 0)
        live(&f, 1, slot_us, 0.05);
    assert_true(f.c.deal.step >= f.c.planned);
    for (uint32_t i = 0; i < MEMBERS; i++)
        assert_int_equal(slots_of(&f, i, f.c.planned - 1), SLOTS / MEMBERS);
    live(&f, 2000, slot_us, 0.05);
    assert_in_range(count_deals(&f), 1, 2);
    unmake(&f);
}

static void nobody_is_dealt_less_by_a_run_that_shall_not(void **state)
{
    (void)state;
    struct fixture f;
    make(&f);
    f.config.server.deal_by_speed = 0;
    live(&f, 100, (const double[]){1000, 1000, 4000, 1000}, 0.0);
    assert_int_equal(count_deals(&f), 0);
    unmake(&f);
}

static void a_deal_is_read_back_from_the_journal(void **state)
{
    (void)state;
    struct fixture f;
    make(&f);
    uint32_t slots[] = {1, 5, 5, 5};
    const struct journal_deal deal = {.step = 7, .count = MEMBERS, .slots = slots};
    assert_ok(deal_restore(&f.c, &deal));
    assert_int_equal(slots_of(&f, 0, 6), 4);
    assert_int_equal(slots_of(&f, 0, 7), 1);
    slots[0] = 2;
    assert_fails(deal_restore(&f.c, &deal), ERR_CORRUPT, "more than 16 slots");
    slots[0] = 0;
    assert_fails(deal_restore(&f.c, &deal), ERR_CORRUPT, "15 slots of 16");
    const struct journal_deal other = {.step = 7, .count = 3, .slots = slots};
    assert_fails(deal_restore(&f.c, &other), ERR_CORRUPT, "the generation has 4");
    unmake(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slots_are_dealt_whole_and_even_if_all_are_equal),
        cmocka_unit_test(no_other_deal_ends_earlier),
        cmocka_unit_test(a_slow_member_keeps_fewer_slots_but_never_none),
        cmocka_unit_test(noise_and_single_hiccups_change_nothing),
        cmocka_unit_test(a_deal_changes_rarely_and_only_what_is_not_planned),
        cmocka_unit_test(nobody_is_dealt_less_by_a_run_that_shall_not),
        cmocka_unit_test(a_deal_is_read_back_from_the_journal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
