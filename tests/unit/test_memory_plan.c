/* test_memory_plan.c - what a worker says it will take of its device is what it takes, to the byte;
 * recomputing takes less and gives the same bits; what does not fit is refused before it is tried.
 *
 * On the device NAME. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include "common/mem.h"
#include "worker/memory_plan.h"
#include "worker/step.h"

enum { SLOTS = 3, SLOT_IMAGES = 2, SEED = 7 };

static const char tiny_yaml[] = "crops:\n"
                                "  - {count: 2, size: 12, scale_min: 0.3, scale_max: 1}\n"
                                "  - {count: 1, size: 9, scale_min: 0.1, scale_max: 0.5}\n"
                                "model: {depth: 5, w0: 16, wa: 12, wm: 2, group_width: 8,\n"
                                "  stem_width: 16, stem_stride: 1, head: [24, 16],\n"
                                "  head_batch_norm: true, prototypes: [20, 9]}\n"
                                "train: {batch_images: 6, slot_images: 2}\n"
                                "swav: {freeze_prototypes_steps: 1, queue_images: 6}\n"
                                "collective: {bucket_kib: 4}\n";

static const char *device_name = "cpu";

static struct config config_with(const char *const *assignments)
{
    struct config config;
    config_init(&config);
    assert_ok(config_load_text("tiny", tiny_yaml, strlen(tiny_yaml), &config));
    for (; *assignments != NULL; assignments++)
        assert_ok(config_set(&config, *assignments));
    assert_ok(config_check(&config));
    return config;
}

static struct device *open_device(void)
{
    struct device *device = NULL;
    assert_ok(device_open(device_name, 1, &device));
    return device;
}

/* Trains alone on the first `slots` slots of each step. */
static enum status train(const struct config *config, struct device *device, uint32_t slot_count,
                         uint64_t steps, uint64_t *ret_digest)
{
    enum status status = OK;
    uint32_t slots[SLOTS] = {0, 1, 2};
    struct state *state = NULL;
    struct step *step = NULL;
    struct collective *collective = NULL;
    struct step_result result;
    struct batch batch = {.slot_count = slot_count,
                          .slot_images = SLOT_IMAGES,
                          .slots = slots,
                          .group_count = (int)config->crop_count};
    for (int g = 0; g < batch.group_count; g++) {
        const struct config_crop *crop = &config->crops[g];
        const size_t bytes =
            (size_t)(SLOTS * crop->count * SLOT_IMAGES * crop->size * crop->size * 3);
        batch.crops[g] = mem_alloc(bytes);
        for (size_t i = 0; i < bytes; i++)
            batch.crops[g][i] = (uint8_t)(i * 37 % 251 + i / 97);
    }
    TRY_OUT(state_create(config, device, &state));
    state_reset(state, SEED);
    const struct collective_group group = {.engine = COLLECTIVE_SELF,
                                           .size = 1,
                                           .region = state->block,
                                           .region_bytes = state->bytes,
                                           .region_fd = -1};
    TRY_OUT(collective_form(&group, &collective));
    TRY_OUT(state_keep_slices(state, 0, 1));
    TRY_OUT(step_create(config, state, &step));
    for (uint64_t t = 0; t < steps; t++) {
        TRY_OUT(step_compute(step, collective, t, &batch, &result));
        TRY_OUT(step_apply(step, t, 0.01));
    }
    *ret_digest = state_digest(state);
out:
    step_destroy(step);
    collective_destroy(collective);
    state_destroy(state);
    for (int g = 0; g < batch.group_count; g++)
        mem_free(batch.crops[g]);
    return status;
}

static const struct {
    const char *const assignments[5];
    uint32_t slots;
} cases[] = {
    {{NULL}, 3},
    {{NULL}, 1},
    {{"train.reduction=fast", NULL}, 3},
    {{"train.reduction=fast", "collective.wire=bf16", NULL}, 3},
    {{"train.recompute=block", NULL}, 3},
    {{"optimizer.sharded=true", NULL}, 3},
    {{"train.recompute=block", "train.reduction=fast", NULL}, 2},
    {{"train.recompute=stages", "train.recompute_stages=[1, 3]", NULL}, 3},
    {{"swav.queue_images=0", "model.head_batch_norm=false", NULL}, 3},
    {{"model.family=resnet", "model.stage_blocks=[1, 2]", NULL}, 3},
    {{"model.family=resnet", "model.stage_blocks=[1, 2]", "train.recompute=block",
      "train.reduction=fast", NULL},
     3},
};

static void what_is_planned_is_what_is_taken(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        const struct config config = config_with(cases[i].assignments);
        struct device *device = open_device();
        struct device_memory before, after;
        struct memory_plan plan;
        uint64_t digest;
        device->ops->memory(device, &before);
        assert_ok(memory_plan_make(&config, device, (int)cases[i].slots, 1, &plan));
        device->ops->memory(device, &after);
        assert_true(after.held == before.held && after.peak == before.peak);
        assert_ok(train(&config, device, cases[i].slots, 1, &digest));
        device->ops->memory(device, &after);
        print_message("case %zu: planned %zu, taken at most %zu\n", i, plan.total_bytes,
                      after.peak);
        assert_true(after.peak == plan.total_bytes);
        /* A second plan on the device that is in use already is the same one. */
        const size_t total = plan.total_bytes;
        assert_ok(memory_plan_make(&config, device, (int)cases[i].slots, 1, &plan));
        assert_true(plan.total_bytes == total);
        device_close(device);
    }
}

static void the_rows_of_a_plan_add_up(void **state)
{
    (void)state;
    const struct config config = config_with((const char *[]){"train.recompute=block", NULL});
    struct device *device = open_device();
    struct memory_plan plan;
    size_t sum = 0;
    assert_ok(memory_plan_make(&config, device, 2, 1, &plan));
    for (int i = 0; i < plan.row_count; i++) {
        assert_true(plan.rows[i].bytes > 0);
        sum += plan.rows[i].bytes;
    }
    assert_true(sum == plan.total_bytes && plan.state_bytes < sum && plan.arena_bytes < sum);
    device_close(device);
}

static size_t row_bytes(const struct memory_plan *plan, const char *name)
{
    for (int i = 0; i < plan->row_count; i++)
        if (strcmp(plan->rows[i].name, name) == 0)
            return plan->rows[i].bytes;
    return 0;
}

/* Two slices of n, and what is left over. */
static void a_sharded_momentum_takes_less_the_more_members_there_are(void **state)
{
    (void)state;
    const struct config plain = config_with((const char *[]){NULL});
    const struct config sharded = config_with((const char *[]){"optimizer.sharded=true", NULL});
    struct device *device = open_device();
    struct memory_plan one, many;
    assert_ok(memory_plan_make(&plain, device, 1, 1, &one));
    const size_t whole = row_bytes(&one, "momentum");
    for (int members = 1; members <= SLOTS; members++) {
        const size_t shares = members > 2 ? 2 : (size_t)members;
        assert_ok(memory_plan_make(&plain, device, 1, members, &one));
        assert_ok(memory_plan_make(&sharded, device, 1, members, &many));
        const size_t bytes = row_bytes(&many, "momentum");
        assert_true(bytes >= whole * shares / (size_t)members);
        assert_true(bytes <= whole * shares / (size_t)members + 64 * (size_t)members);
        /* But for the members' words on who keeps what. */
        const size_t words = row_bytes(&many, "exchange") - row_bytes(&one, "exchange");
        assert_true(one.total_bytes - many.total_bytes + words == whole - bytes);
    }
    device_close(device);
}

static uint64_t trained(const char *const *assignments, size_t *ret_peak)
{
    const struct config config = config_with(assignments);
    struct device *device = open_device();
    struct device_memory memory;
    uint64_t digest = 0;
    assert_ok(train(&config, device, SLOTS, 2, &digest));
    device->ops->memory(device, &memory);
    *ret_peak = memory.peak;
    device_close(device);
    return digest;
}

static void recomputing_gives_the_same_bits_in_less_memory(void **state)
{
    (void)state;
    for (int variant = 0; variant < 4; variant++) {
        const char *reduction = variant % 2 ? "train.reduction=fast" : "train.reduction=exact";
        const char *family = variant / 2 ? "model.family=resnet" : "model.family=regnety";
        const char *blocks = "model.stage_blocks=[2, 2]";
        size_t keep = 0, block = 0, stages = 0;
        const uint64_t digest = trained((const char *[]){reduction, blocks, family, NULL}, &keep);
        assert_true(
            trained((const char *[]){reduction, blocks, family, "train.recompute=block", NULL},
                    &block) == digest);
        assert_true(trained((const char *[]){reduction, blocks, family, "train.recompute=stages",
                                             "train.recompute_stages=[2]", NULL},
                            &stages) == digest);
        assert_true(block < stages && stages < keep);
    }
}

/* What the device says is free, for a plan that shall not fit. */
static size_t free_bytes;
static const struct device_ops *real;

static void memory_or_less(struct device *device, struct device_memory *ret_memory)
{
    real->memory(device, ret_memory);
    ret_memory->free = free_bytes;
}

static void what_does_not_fit_is_refused_with_the_largest_share_that_does(void **state)
{
    (void)state;
    const struct config config = config_with((const char *[]){NULL});
    struct device *device = open_device();
    struct memory_plan plans[SLOTS + 1];
    uint64_t digest;
    int most = -1;
    for (int slots = 1; slots <= SLOTS; slots++)
        assert_ok(memory_plan_make(&config, device, slots, 1, &plans[slots]));
    real = device->ops;
    struct device_ops ops = *real;
    ops.memory = memory_or_less;
    device->ops = &ops;

    free_bytes = plans[2].more_bytes;
    assert_ok(memory_plan_most_slots(&config, device, 1, 1, &most));
    assert_int_equal(most, 2);
    assert_ok(memory_plan_check(&plans[2], &config, device, 1));
    assert_fails(memory_plan_check(&plans[3], &config, device, 1), ERR_DEVICE,
                 "at most 2 slots (4 images) fit");
    assert_fails(train(&config, device, 3, 1, &digest), ERR_DEVICE, "at most 2 slots");
    assert_ok(train(&config, device, 2, 1, &digest));

    free_bytes = plans[2].more_bytes; /* but the state is not there yet */
    assert_ok(memory_plan_most_slots(&config, device, 1, 0, &most));
    assert_true(most < 2);
    /* What convolutions share is there by now. */
    assert_ok(memory_plan_make(&config, device, 1, 1, &plans[1]));
    free_bytes = plans[1].more_bytes - 1;
    assert_ok(memory_plan_most_slots(&config, device, 1, 1, &most));
    assert_int_equal(most, 0);
    device->ops = real;
    device_close(device);
}

/* test_memory_plan [NAME] */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_planned_is_what_is_taken),
        cmocka_unit_test(the_rows_of_a_plan_add_up),
        cmocka_unit_test(a_sharded_momentum_takes_less_the_more_members_there_are),
        cmocka_unit_test(recomputing_gives_the_same_bits_in_less_memory),
        cmocka_unit_test(what_does_not_fit_is_refused_with_the_largest_share_that_does),
    };
    struct device *device = NULL;
    if (argc > 1)
        device_name = argv[1];
    const enum status status = device_open(device_name, 1, &device);
    if (status == ERR_DEVICE)
        test_skip(fail_message());
    assert_ok(status);
    device_close(device);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
