/* test_trajectory.c - training on another device follows the trajectory of the cpu.
 *
 * The same network, images and steps on the cpu and on the device NAME. With fp32 activations the
 * two differ by the order of sums; with bf16 every activation is off by up to 2^-9 of itself, with
 * fp16 by 2^-12, and small gradients would vanish if the loss had no scale. Seen
 * on the emulated GPU: loss 4e-7 and parameters 4e-6 in fp32, 5e-3 and 2e-4 in bf16; the bands
 * leave room for another library's sums. A wrong term is far outside. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include <math.h>

#include "common/mem.h"
#include "common/random.h"
#include "worker/step.h"

enum { SLOTS = 3, SLOT_IMAGES = 4, STEPS = 4, SEED = 5 };

static const char tiny_yaml[] = "crops:\n"
                                "  - {count: 2, size: 20, scale_min: 0.3, scale_max: 1}\n"
                                "  - {count: 2, size: 15, scale_min: 0.1, scale_max: 0.5}\n"
                                "model: {depth: 4, w0: 16, wa: 8, wm: 2, group_width: 8,\n"
                                "  stem_width: 16, stem_stride: 1, head: [24, 16],\n"
                                "  head_batch_norm: true, prototypes: [20, 9]}\n"
                                "train: {batch_images: 12, slot_images: 4, reduction: %s,\n"
                                "  loss_scale: %d}\n"
                                "optimizer: {kind: larc, trust: 0.02}\n"
                                "swav: {freeze_prototypes_steps: 2, queue_images: 12}\n"
                                "collective: {bucket_kib: 4}\n";

static const char *const resnet[] = {"model.family=resnet", "model.stage_blocks=[1, 2]",
                                     "model.groups=2", "model.group_width=32",
                                     "model.prototypes=20"};

static const char *device_name = "cpu";
static double loss_band, parameter_band;
static int is_resnet;      /* instead of the RegNetY */
static int loss_scale = 1; /* of the device under test */

/* What came of it. */
struct trajectory {
    double losses[STEPS];
    float *params; /* owned */
    size_t count;
    uint64_t digest;
};

static void paint(const struct config *config, uint64_t number, struct batch *batch)
{
    for (int g = 0; g < batch->group_count; g++) {
        const struct config_crop *crop = &config->crops[g];
        const size_t values = (size_t)(crop->size * crop->size * 3);
        uint8_t *to = batch->crops[g];
        for (int64_t i = 0; i < SLOTS * crop->count * SLOT_IMAGES; i++) {
            struct random random; /* crops of an image have its colour */
            random_init(&random, SEED, RANDOM_STREAM_TEST,
                        number * SLOT_IMAGES + (uint64_t)i % SLOT_IMAGES,
                        (uint32_t)(i / (crop->count * SLOT_IMAGES)));
            const uint32_t base[3] = {random_below(&random, 190), random_below(&random, 190),
                                      random_below(&random, 190)};
            for (size_t v = 0; v < values; v++)
                *to++ = (uint8_t)(base[v % 3] + random_below(&random, 64));
        }
    }
}

static void batch_init(struct batch *batch, const struct config *config)
{
    static uint32_t slots[SLOTS] = {0, 1, 2};
    *batch = (struct batch){.slot_count = SLOTS,
                            .slot_images = SLOT_IMAGES,
                            .slots = slots,
                            .group_count = (int)config->crop_count};
    for (int g = 0; g < batch->group_count; g++) {
        const struct config_crop *crop = &config->crops[g];
        batch->crops[g] =
            mem_alloc((size_t)(SLOTS * crop->count * SLOT_IMAGES * crop->size * crop->size * 3));
    }
}

static void batch_done(struct batch *batch)
{
    for (int g = 0; g < batch->group_count; g++)
        mem_free(batch->crops[g]);
}

/* A batch that is painted while the step before it is computed, if there is a device for that. */
struct easel {
    const struct config *config;
    struct batch batch;
    uint64_t number; /* to be painted next */
    int is_ahead;    /* painted and sent ahead; then what the host has is gone */
};

static const struct batch *paint_next(void *errand)
{
    struct easel *easel = errand;
    paint(easel->config, easel->number, &easel->batch);
    easel->batch.serial = 1 + easel->number++;
    easel->is_ahead = 1;
    return &easel->batch;
}

static void wipe(struct easel *easel)
{
    for (int g = 0; g < easel->batch.group_count; g++)
        memset(easel->batch.crops[g], 0, (size_t)(SLOTS * SLOT_IMAGES));
}

static void run_steps(const struct config *config, struct state *state,
                      struct collective *collective, int is_ahead, struct trajectory *ret)
{
    struct easel easel = {.config = config};
    struct step *step = NULL;
    batch_init(&easel.batch, config);
    assert_ok(step_create(config, state, &step));
    if (is_ahead)
        step_expect(step, paint_next, &easel);
    for (uint64_t t = 0; t < STEPS; t++) {
        struct step_result result;
        if (easel.is_ahead)
            wipe(&easel);
        else
            paint_next(&easel);
        assert_int_equal(easel.batch.serial, t + 1);
        easel.is_ahead = 0;
        assert_ok(step_compute(step, collective, t, &easel.batch, &result));
        assert_true(result.is_finite);
        assert_ok(step_apply(step, t, 0.003));
        ret->losses[t] = result.loss;
    }
    step_destroy(step);
    batch_done(&easel.batch);
}

/* A network at its first step on a device, alone. */
struct bench {
    struct config config;
    struct device *device;
    struct state *state;
    struct collective *collective;
};

static void bench_open(struct bench *bench, const char *name, const char *reduction, int scale)
{
    char yaml[sizeof(tiny_yaml) + 16];
    snprintf(yaml, sizeof(yaml), tiny_yaml, reduction, scale);
    config_init(&bench->config);
    assert_ok(config_load_text("tiny", yaml, strlen(yaml), &bench->config));
    for (size_t i = 0; is_resnet && i < sizeof(resnet) / sizeof(*resnet); i++)
        assert_ok(config_set(&bench->config, resnet[i]));
    assert_ok(device_open(name, 1, &bench->device));
    assert_ok(state_create(&bench->config, bench->device, &bench->state));
    state_reset(bench->state, SEED);
    const struct collective_group group = {.engine = COLLECTIVE_SELF,
                                           .size = 1,
                                           .region = bench->state->block,
                                           .region_bytes = bench->state->bytes,
                                           .region_fd = -1};
    assert_ok(collective_form(&group, &bench->collective));
}

static void bench_close(struct bench *bench)
{
    collective_destroy(bench->collective);
    state_destroy(bench->state);
    device_close(bench->device);
}

static struct trajectory train(const char *name, const char *reduction, int scale, int is_ahead)
{
    struct trajectory trajectory = {0};
    struct bench bench;
    bench_open(&bench, name, reduction, scale);
    run_steps(&bench.config, bench.state, bench.collective, is_ahead, &trajectory);
    trajectory.count = bench.state->layout.parameter_floats;
    trajectory.params = mem_array(trajectory.count, sizeof(float));
    bench.device->ops->download(bench.device, trajectory.params, bench.state->params,
                                trajectory.count * sizeof(float));
    trajectory.digest = state_digest(bench.state);
    bench_close(&bench);
    return trajectory;
}

/* |a - b| / |b| over all parameters. */
static double distance(const struct trajectory *a, const struct trajectory *b)
{
    double difference = 0, size = 0;
    for (size_t i = 0; i < b->count; i++) {
        const double d = (double)a->params[i] - (double)b->params[i];
        difference += d * d;
        size += (double)b->params[i] * (double)b->params[i];
    }
    return sqrt(difference / size);
}

static void compare(const char *reduction)
{
    struct trajectory want = train("cpu", reduction, 1, 0),
                      got = train(device_name, reduction, loss_scale, 0);
    double loss_off = 0;
    for (int t = 0; t < STEPS; t++)
        loss_off = fmax(loss_off, fabs(got.losses[t] - want.losses[t]) / want.losses[t]);
    const double off = distance(&got, &want);
    printf("%s, %s: loss off by %.2g, parameters by %.2g\n", device_name, reduction, loss_off, off);
    assert_true(want.losses[STEPS - 1] < want.losses[0]);
    assert_true(loss_off <= loss_band);
    assert_true(off <= parameter_band);
    mem_free(want.params);
    mem_free(got.params);
}

static void fast_training_follows_the_cpu(void **state)
{
    (void)state;
    compare("fast");
}

static void exact_training_follows_the_cpu(void **state)
{
    (void)state;
    compare("exact");
}

static void a_resnet_follows_the_cpu(void **state)
{
    (void)state;
    is_resnet = 1;
    compare("fast");
    is_resnet = 0;
}

/* Wherever its images come from. */
static void a_run_repeats_bit_by_bit(void **state)
{
    (void)state;
    struct trajectory first = train(device_name, "fast", loss_scale, 0),
                      second = train(device_name, "fast", loss_scale, 1);
    assert_true(first.digest == second.digest);
    mem_free(first.params);
    mem_free(second.params);
}

/* Until the scale fits; meanwhile nothing is learned, and then the gradient is that of the cpu. */
static void what_overflows_is_skipped_at_half_the_scale(void **state)
{
    (void)state;
    struct bench bench, reference;
    struct batch batch;
    struct step *step = NULL;
    struct step_result result = {0}, want;
    uint64_t number = 0;
    if (loss_scale == 1)
        skip();
    bench_open(&bench, device_name, "exact", 1);
    bench_open(&reference, "cpu", "exact", 1);
    bench.config.train.loss_scale = (int64_t)1 << 30; /* more than a config may ask for */
    batch_init(&batch, &bench.config);
    paint(&bench.config, 0, &batch);
    assert_ok(step_create(&reference.config, reference.state, &step));
    assert_ok(step_compute(step, reference.collective, 0, &batch, &want));
    step_destroy(step);

    const uint64_t digest = state_digest(bench.state);
    assert_ok(step_create(&bench.config, bench.state, &step));
    for (; !result.is_finite && number < 30; number++) {
        assert_int_equal(bench.state->loss_scale.halvings, number);
        assert_ok(step_compute(step, bench.collective, number, &batch, &result));
        if (!result.is_finite)
            step_skip(step, number);
    }
    assert_in_range(number, 2, 29);
    assert_true(state_digest(bench.state) == digest);
    printf("%s: fits at 2^%d, norm %g, on the cpu %g\n", device_name, 31 - (int)number,
           result.grad_norm, want.grad_norm);
    assert_true(fabs(result.grad_norm / want.grad_norm - 1) < 0.02);
    step_destroy(step);
    batch_done(&batch);
    bench_close(&reference);
    bench_close(&bench);
}

/* test_trajectory NAME: cuda:N, or cuda:N:fp32 */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fast_training_follows_the_cpu),
        cmocka_unit_test(exact_training_follows_the_cpu),
        cmocka_unit_test(a_resnet_follows_the_cpu),
        cmocka_unit_test(a_run_repeats_bit_by_bit),
        cmocka_unit_test(what_overflows_is_skipped_at_half_the_scale),
    };
    struct device *device = NULL;
    if (argc > 1)
        device_name = argv[1];
    const enum status status = device_open(device_name, 1, &device);
    if (status == ERR_DEVICE)
        test_skip(fail_message());
    assert_ok(status);
    const int is_fp32 = device->ops->activation_bytes == sizeof(float);
    loss_scale = device->ops->wants_loss_scale ? 65536 : 1;
    device_close(device);
    loss_band = is_fp32 ? 1e-4 : 0.02;
    parameter_band = is_fp32 ? 1e-4 : 2e-3;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
