/* test_tape.c - a step that is replayed has the bits of one that is launched, whatever changes
 * between two of them.
 *
 * On the emulated GPU, where nothing is done while a stream is captured and what a capture forbids
 * spoils it. Members are threads with a device each; the collective is virtual_team.c. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include "common/mem.h"
#include "common/random.h"
#include "common/thread.h"
#include "tests/unit/virtual_team.h"
#include "worker/device/cuda/emulated/emulator.h"
#include "worker/model/inference.h"
#include "worker/step.h"

enum { SLOTS = 4, SLOT_IMAGES = 2, STEPS = 4, STEPS_MAX = 12, MEMBERS_MAX = 2, SEED = 3 };

static const char tiny_yaml[] = "crops:\n"
                                "  - {count: 2, size: 9, scale_min: 0.3, scale_max: 1}\n"
                                "  - {count: 1, size: 8, scale_min: 0.1, scale_max: 0.5}\n"
                                "model: {depth: 3, w0: 8, wa: 8, wm: 2, group_width: 8,\n"
                                "  stem_width: 8, stem_stride: 1, head: [12, 8],\n"
                                "  head_batch_norm: true, prototypes: 12}\n"
                                "train: {batch_images: 8, slot_images: 2}\n"
                                "optimizer: {kind: larc, trust: 0.02}\n"
                                "swav: {freeze_prototypes_steps: 3}\n"
                                "collective: {bucket_kib: 4}\n";

static const char *device_name = "cuda:0";

struct member {
    const struct config *config;
    struct virtual_team *team;
    int rank, size, steps;
    /* What is done before a step; NULL: nothing. */
    void (*between)(struct member *member, struct step *step, uint64_t number);
    uint64_t is_skipped; /* bit t: the verdict of step t */
    uint32_t slots[SLOTS];
    struct batch batch;
    struct device *device;
    struct state *state;
    struct thread thread;
    /* out */
    uint64_t gradients[STEPS_MAX], states[STEPS_MAX];
    uint64_t given[STEPS_MAX], graphs[STEPS_MAX]; /* by that step, if there is one member */
};

static struct config tiny_config(const char *const *settings)
{
    struct config config;
    config_init(&config);
    assert_ok(config_load_text("tiny", tiny_yaml, strlen(tiny_yaml), &config));
    for (; settings != NULL && *settings != NULL; settings++)
        assert_ok(config_set(&config, *settings));
    assert_ok(config_check(&config));
    return config;
}

static size_t slot_bytes(const struct config_crop *crop)
{
    return (size_t)(crop->count * SLOT_IMAGES * crop->size * crop->size * 3);
}

static void batch_paint(struct member *member, uint64_t number)
{
    for (int g = 0; g < member->batch.group_count; g++) {
        const size_t bytes = slot_bytes(&member->config->crops[g]);
        for (uint32_t i = 0; i < member->batch.slot_count; i++) {
            struct random random;
            const uint64_t index = number * SLOTS + member->slots[i];
            random_init(&random, SEED, RANDOM_STREAM_TEST, index, (uint32_t)g);
            for (size_t b = 0; b < bytes; b++)
                member->batch.crops[g][i * bytes + b] = (uint8_t)random_below(&random, 256);
        }
    }
}

static void batch_init(struct member *member, uint32_t first, uint32_t count)
{
    member->batch = (struct batch){.slot_count = count,
                                   .slot_images = SLOT_IMAGES,
                                   .slots = member->slots,
                                   .group_count = (int)member->config->crop_count};
    for (uint32_t i = 0; i < count; i++)
        member->slots[i] = first + i;
    for (int g = 0; g < member->batch.group_count; g++)
        member->batch.crops[g] = mem_alloc(slot_bytes(&member->config->crops[g]) * count);
}

static void member_step(struct member *member, struct step *step, uint64_t t)
{
    struct step_result result;
    const uint64_t given = emulator_given(), graphs = emulator_graphs();
    batch_paint(member, t % 2);
    assert_ok(step_compute(step, virtual_team_member(member->team, member->rank), t, &member->batch,
                           &result));
    assert_true(result.is_finite);
    member->gradients[t] = result.digest;
    if ((member->is_skipped >> t & 1) != 0)
        step_skip(step, t);
    else
        assert_ok(step_apply(step, t, 0.003 / (double)(t + 1)));
    member->given[t] = emulator_given() - given;
    member->graphs[t] = emulator_graphs() - graphs;
    member->states[t] = state_digest(member->state);
}

static void member_run(void *argument)
{
    struct member *member = argument;
    struct step *step = NULL;
    assert_ok(step_create(member->config, member->state, &step));
    for (uint64_t t = 0; t < (uint64_t)member->steps; t++) {
        if (member->between != NULL)
            member->between(member, step, t);
        member_step(member, step, t);
    }
    step_destroy(step);
}

/* Every member is as the first, with its own slots. */
static void run_team(const struct config *config, const struct member *as, int size,
                     struct member *members)
{
    struct virtual_team *team = virtual_team_create(size);
    for (int m = 0; m < size; m++) {
        members[m] = *as;
        members[m].config = config;
        members[m].team = team;
        members[m].rank = m;
        members[m].size = size;
        assert_ok(device_open(device_name, 1, &members[m].device));
        assert_ok(state_create(config, members[m].device, &members[m].state));
        state_reset(members[m].state, SEED);
        assert_ok(state_keep_slices(members[m].state, m, size));
        virtual_team_on_device(team, m, members[m].device);
        batch_init(&members[m], (uint32_t)(m * SLOTS / size), (uint32_t)(SLOTS / size));
    }
    for (int m = 0; m < size; m++)
        assert_ok(thread_start(&members[m].thread, "member", member_run, &members[m]));
    for (int m = 0; m < size; m++) {
        thread_stop(&members[m].thread);
        for (int g = 0; g < members[m].batch.group_count; g++)
            mem_free(members[m].batch.crops[g]);
        state_destroy(members[m].state);
        device_close(members[m].device);
    }
    virtual_team_destroy(team);
}

static int graphs_of(const struct member *member)
{
    uint64_t count = 0;
    for (int t = 0; t < member->steps; t++)
        count += member->graphs[t];
    return (int)count;
}

static void compare(const struct member *by_graph, const struct member *launched, int size)
{
    const int steps = launched[0].steps;
    assert_int_equal(graphs_of(&launched[0]), 0);
    for (int m = 0; m < size; m++)
        for (int t = 0; t < steps; t++) {
            assert_true(by_graph[m].gradients[t] == launched[m].gradients[t]);
            assert_true(by_graph[m].states[t] == launched[m].states[t]);
        }
    assert_true(by_graph[0].states[steps - 1] != by_graph[0].states[0]);
}

/* The same steps by graph and by operation; by_graph is what came of the first. */
static void assert_same_bits(const char *const *settings, const struct member *as, int size,
                             struct member *by_graph)
{
    static struct member launched[MEMBERS_MAX];
    struct config config = tiny_config(settings);
    run_team(&config, as, size, by_graph);
    config.train.cuda_graph = CUDA_GRAPH_OFF;
    run_team(&config, as, size, launched);
    compare(by_graph, launched, size);
}

static void replayed_steps_have_the_bits_of_launched_ones(void **state)
{
    static const struct {
        int size;
        const char *settings[4];
    } cases[] = {
        {1, {"train.reduction=exact"}},
        {2, {"train.reduction=exact"}},
        {1, {"train.reduction=fast", "train.recompute=block"}},
        {2, {"train.reduction=fast", "swav.queue_images=16", "swav.queue_start_step=2"}},
        {2, {"train.reduction=fast", "train.bn_group_slots=2", "optimizer.kind=sgd"}},
    };
    static struct member members[MEMBERS_MAX];
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        assert_same_bits(cases[i].settings, &(struct member){.steps = STEPS}, cases[i].size,
                         members);
        assert_true(graphs_of(&members[0]) > 0);
    }
}

/* The third step of a shape is four graphs if nobody has to be asked in between, and little else:
 * images, losses, the seal, norms. */
static void a_replayed_step_is_few_launches(void **state)
{
    static struct member launched[1], replayed[1];
    const struct member as = {.steps = 3};
    struct config config = tiny_config(NULL);
    (void)state;
    run_team(&config, &as, 1, replayed);
    config.train.cuda_graph = CUDA_GRAPH_OFF;
    run_team(&config, &as, 1, launched);
    print_message("%d launches, or %d and %d graphs\n", (int)launched[0].given[2],
                  (int)replayed[0].given[2], (int)replayed[0].graphs[2]);
    assert_int_equal(replayed[0].graphs[0], 0);
    assert_true(replayed[0].given[0] == launched[0].given[0]);
    assert_true(replayed[0].graphs[1] == replayed[0].graphs[2]);
    assert_true(replayed[0].given[2] * 8 < launched[0].given[2]);
}

/* What a skip changes, and then a commit: power of two by power of two. */
static void a_replay_follows_the_loss_scale(void **state)
{
    static struct member members[1];
    static const char *const settings[] = {"train.loss_scale=1024", "train.reduction=fast", NULL};
    (void)state;
    assert_same_bits(settings, &(struct member){.steps = 7, .is_skipped = 0xc}, 1, members);
    assert_int_equal(members[0].graphs[3], 2); /* no apply, and a scale that is new to the loss */
    assert_int_equal(members[0].graphs[6], 4);
}

/* More places for two of four slots than there are keys, so that the oldest recordings go. */
static void move(struct member *member, struct step *step, uint64_t number)
{
    static const uint32_t places[6][2] = {{0, 1}, {0, 2}, {0, 3}, {1, 2}, {1, 3}, {2, 3}};
    (void)step;
    memcpy(member->slots, places[number < 6 ? number : number / 8], sizeof(places[0]));
    member->batch.slot_count = 2;
}

static void a_share_may_move_between_steps(void **state)
{
    static struct member members[1];
    static const char *const settings[] = {"train.bn_group_slots=1", "train.reduction=fast", NULL};
    (void)state;
    assert_same_bits(settings, &(struct member){.steps = STEPS_MAX, .between = move}, 1, members);
    assert_true(members[0].graphs[STEPS_MAX - 1] > 0);
}

/* Convolutions of 256 rows, more than training has: memory that all share moves. */
static void look(struct member *member, struct step *step, uint64_t number)
{
    enum { SIDE = 8 };
    struct inference *inference = NULL;
    float *features;
    uint8_t *image;
    (void)step;
    if (number != 3)
        return;
    assert_ok(inference_create(member->config, member->state, SIDE, &inference));
    features = mem_array((size_t)inference_width(inference), sizeof(*features));
    image = mem_zero((size_t)SIDE * SIDE * 3);
    assert_ok(inference_run(inference, image, 1, features));
    inference_destroy(inference);
    mem_free(image);
    mem_free(features);
}

static void memory_that_moves_makes_recordings_void(void **state)
{
    static struct member members[1];
    static const char *const settings[] = {"train.reduction=fast", NULL};
    (void)state;
    assert_same_bits(settings, &(struct member){.steps = 6, .between = look}, 1, members);
    assert_true(members[0].graphs[2] > 0 && members[0].graphs[5] > 0);
    assert_int_equal(members[0].graphs[3], 0); /* the first of another epoch */
}

static int failing_capture;

static void spoil(struct member *member, struct step *step, uint64_t number)
{
    (void)member, (void)step;
    if (number == 0 && member->config->train.cuda_graph == CUDA_GRAPH_AUTO)
        emulator_fail_capture(failing_capture);
}

/* Whichever part it is, and between whichever exchanges. */
static void what_cannot_be_recorded_is_launched(void **state)
{
    static struct member launched[MEMBERS_MAX], members[MEMBERS_MAX];
    static const char *const settings[] = {"train.reduction=fast", NULL};
    const struct member as = {.steps = 3, .between = spoil};
    struct config config = tiny_config(settings), off = config;
    (void)state;
    off.train.cuda_graph = CUDA_GRAPH_OFF;
    run_team(&off, &as, 1, launched);
    for (failing_capture = 1; failing_capture <= 4; failing_capture++) {
        run_team(&config, &as, 1, members);
        compare(members, launched, 1);
        assert_int_equal(members[0].graphs[2], 3); /* the other parts */
    }
    run_team(&off, &as, 2, launched);
    run_team(&config, &as, 2, members);
    compare(members, launched, 2);
    emulator_fail_capture(0);
}

/* As a new generation of as many members does: memory of the slices moves. */
static void keep_again(struct member *member, struct step *step, uint64_t number)
{
    (void)step;
    if (number == 3)
        assert_ok(state_keep_slices(member->state, member->rank, member->size));
}

/* To the bits of one that is not, by graph and by operation. */
static void a_sharded_momentum_goes_with_graphs_all_but_apply(void **state)
{
    static struct member whole[MEMBERS_MAX], members[MEMBERS_MAX];
    static const char *const settings[] = {"train.reduction=exact", "optimizer.sharded=true", NULL};
    const struct config unsharded = tiny_config((const char *const[]){settings[0], NULL});
    (void)state;
    for (int size = 1; size <= MEMBERS_MAX; size++) {
        const struct member as = {.steps = 6, .between = keep_again};
        run_team(&unsharded, &as, size, whole);
        assert_same_bits(settings, &as, size, members);
        for (int m = 0; m < size; m++)
            for (int t = 0; t < as.steps; t++) {
                assert_true(members[m].gradients[t] == whole[m].gradients[t]);
                assert_true(members[m].states[t] == whole[m].states[t]);
            }
        if (size == 1)
            assert_int_equal(members[0].graphs[5], 3);
        assert_true(graphs_of(&members[0]) > 0);
    }
}

static void the_cpu_runs_its_steps_as_ever(void **state)
{
    static struct member members[1];
    (void)state;
    device_name = "cpu";
    assert_same_bits(NULL, &(struct member){.steps = 3}, 1, members);
    assert_int_equal(graphs_of(&members[0]), 0);
    device_name = "cuda:0";
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replayed_steps_have_the_bits_of_launched_ones),
        cmocka_unit_test(a_replayed_step_is_few_launches),
        cmocka_unit_test(a_replay_follows_the_loss_scale),
        cmocka_unit_test(a_share_may_move_between_steps),
        cmocka_unit_test(memory_that_moves_makes_recordings_void),
        cmocka_unit_test(what_cannot_be_recorded_is_launched),
        cmocka_unit_test(a_sharded_momentum_goes_with_graphs_all_but_apply),
        cmocka_unit_test(the_cpu_runs_its_steps_as_ever),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
