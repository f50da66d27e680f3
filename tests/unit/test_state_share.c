/* test_state_share.c - members of a new generation make one state out of what each of them has.
 *
 * Members are threads with a device and a state each; the collective is virtual_team.c. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include "common/mem.h"
#include "common/random.h"
#include "common/thread.h"
#include "tests/unit/virtual_team.h"
#include "worker/state_share.h"

enum { STEP = 7, SEED = 3 };

static const char *const settings[] = {
    "model.depth=2",       "model.w0=8",
    "model.wa=8",          "model.wm=2",
    "model.group_width=8", "model.stem_width=8",
    "model.head=[12,7]",   "model.prototypes=[11, 5]",
    "swav.queue_images=8", "train.batch_images=20",
    "train.slot_images=4", "optimizer.sharded=true",
};

struct member {
    struct device *device;
    struct state *state;
    struct collective *collective;
    int rank, size, root; /* root -1: nobody gives the rest */
    enum status status;   /* of sharing */
    struct thread thread;
};

static struct config config;

static void open_member(struct member *member)
{
    *member = (struct member){0};
    assert_ok(device_open("cpu", 1, &member->device));
    assert_ok(state_create(&config, member->device, &member->state));
}

static void close_member(struct member *member)
{
    state_destroy(member->state);
    device_close(member->device);
}

static void fill(struct member *member, uint64_t seed)
{
    struct state *state = member->state;
    struct random random;
    random_init(&random, seed, RANDOM_STREAM_TEST, 0, 0);
    for (size_t i = 0; i < state->layout.total_floats; i++)
        state->block[i] = (float)random_normal(&random);
    state->step = STEP;
    state->is_whole = 1;
}

/* As a step leaves it that was begun and never decided. */
static void begin_step(struct member *member)
{
    struct state *state = member->state;
    for (size_t i = 0; i < state->layout.momentum_floats; i++)
        state->grads[i] = (float)member->rank;
    state->is_whole = 0;
}

static void share(void *argument)
{
    struct member *member = argument;
    member->status = member->root >= 0
                         ? state_share(member->state, member->collective, member->root)
                         : state_share_momentum(member->state, member->collective);
    if (member->status == OK)
        member->status = state_keep_slices(member->state, member->rank, member->size);
}

static void form(struct member *const members[], int size, int root)
{
    struct virtual_team *team = virtual_team_create(size);
    for (int rank = 0; rank < size; rank++) {
        struct member *member = members[rank];
        member->rank = rank;
        member->size = size;
        member->root = root;
        member->collective = virtual_team_member(team, rank);
        assert_ok(thread_start(&member->thread, "member", share, member));
    }
    for (int rank = 0; rank < size; rank++)
        thread_stop(&members[rank]->thread);
    virtual_team_destroy(team);
}

/* Four members keep the state that is made of SEED, and a step of theirs is begun. */
static void begin(struct member members[5], uint64_t *ret_digest)
{
    struct member *const four[] = {&members[0], &members[1], &members[2], &members[3]};
    for (int i = 0; i < 5; i++) {
        open_member(&members[i]);
        state_forget_momentum(members[i].state);
    }
    fill(&members[0], SEED);
    *ret_digest = state_digest(members[0].state);
    form(four, 4, 0);
    for (int i = 0; i < 4; i++) {
        assert_ok(members[i].status);
        assert_true(state_digest(members[i].state) == *ret_digest);
        begin_step(&members[i]);
    }
}

static void end(struct member members[5])
{
    for (int i = 0; i < 5; i++)
        close_member(&members[i]);
}

static void expect(struct member *const members[], int size, uint64_t digest)
{
    for (int i = 0; i < size; i++) {
        assert_ok(members[i]->status);
        assert_int_equal(members[i]->state->step, STEP);
        assert_true(members[i]->state->is_whole);
        assert_true(state_digest(members[i]->state) == digest);
    }
}

static void one_death_in_the_midst_of_a_step_loses_nothing(void **unused)
{
    (void)unused;
    for (int dead = 0; dead < 4; dead++) {
        struct member members[5], *left[4];
        uint64_t digest;
        int count = 0;
        begin(members, &digest);
        for (int i = 0; i < 4; i++)
            if (i != dead)
                left[count++] = &members[i];
        form(left, count, -1);
        expect(left, count, digest);
        end(members);
    }
}

static void who_comes_gets_the_rest_from_one_and_the_momentum_from_all(void **unused)
{
    (void)unused;
    struct member members[5];
    uint64_t digest;
    begin(members, &digest);
    struct member *const group[] = {&members[4], &members[3], &members[2], &members[0]};
    form(group, 4, 2);
    expect(group, 4, digest);
    end(members);
}

static void neighbours_that_die_at_once_lose_the_step(void **unused)
{
    (void)unused;
    struct member members[5];
    uint64_t digest;
    begin(members, &digest);
    struct member *const group[] = {&members[0], &members[3]};
    form(group, 2, -1);
    for (int i = 0; i < 2; i++)
        assert_int_equal(group[i]->status, ERR_STALE);
    end(members);
}

/* It stays whole for those who gave and those who took until a step is begun. */
static void one_who_has_the_whole_momentum_is_enough(void **unused)
{
    (void)unused;
    struct member members[5];
    uint64_t digest;
    begin(members, &digest);
    struct member *const three[] = {&members[0], &members[1], &members[2]};
    struct member *const others[] = {&members[3], &members[1]};
    form(three, 3, -1);
    form(others, 2, -1);
    expect(others, 2, digest);
    end(members);
}

/* Its own word is that it has everything, and the server's that what it has is wrong. */
static void who_is_held_to_be_wrong_takes_the_momentum_too(void **unused)
{
    (void)unused;
    struct member members[5];
    uint64_t digest;
    begin(members, &digest);
    struct member *const four[] = {&members[0], &members[1], &members[2], &members[3]};
    form(four, 4, -1);
    members[0].state->momentum[7] += 1.0F;
    assert_true(state_digest(members[0].state) != digest);
    form(four, 4, 1);
    expect(four, 4, digest);
    end(members);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_death_in_the_midst_of_a_step_loses_nothing),
        cmocka_unit_test(who_comes_gets_the_rest_from_one_and_the_momentum_from_all),
        cmocka_unit_test(neighbours_that_die_at_once_lose_the_step),
        cmocka_unit_test(one_who_has_the_whole_momentum_is_enough),
        cmocka_unit_test(who_is_held_to_be_wrong_takes_the_momentum_too),
    };
    config_init(&config);
    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
        assert_ok(config_set(&config, settings[i]));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
