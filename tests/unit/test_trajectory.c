/* test_trajectory.c - training on another device follows the trajectory of the cpu.
 *
 * The same network, images and steps on the cpu and on the device NAME. With fp32 activations the
 * two differ by the order of sums; with bf16 every activation is off by up to 2^-9 of itself. Seen
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
                                "  head_batch_norm: true, prototypes: 20}\n"
                                "train: {batch_images: 12, slot_images: 4, reduction: %s}\n"
                                "optimizer: {kind: larc, trust: 0.02}\n"
                                "swav: {freeze_prototypes_steps: 2, queue_images: 12}\n"
                                "collective: {bucket_kib: 4}\n";

static const char *device_name = "cpu";
static double loss_band, parameter_band;

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

static void run_steps(const struct config *config, struct state *state,
                      struct collective *collective, struct trajectory *ret)
{
    uint32_t slots[SLOTS] = {0, 1, 2};
    struct batch batch = {.slot_count = SLOTS,
                          .slot_images = SLOT_IMAGES,
                          .slots = slots,
                          .group_count = (int)config->crop_count};
    struct step *step = NULL;
    for (int g = 0; g < batch.group_count; g++) {
        const struct config_crop *crop = &config->crops[g];
        batch.crops[g] =
            mem_alloc((size_t)(SLOTS * crop->count * SLOT_IMAGES * crop->size * crop->size * 3));
    }
    assert_ok(step_create(config, state, &step));
    for (uint64_t t = 0; t < STEPS; t++) {
        struct step_result result;
        paint(config, t % 4, &batch);
        assert_ok(step_compute(step, collective, t, &batch, &result));
        assert_true(result.is_finite);
        assert_ok(step_apply(step, t, 0.003));
        ret->losses[t] = result.loss;
    }
    step_destroy(step);
    for (int g = 0; g < batch.group_count; g++)
        mem_free(batch.crops[g]);
}

static struct trajectory train(const char *name, const char *reduction)
{
    struct trajectory trajectory = {0};
    struct config config;
    struct device *device = NULL;
    struct state *state = NULL;
    struct collective *collective = NULL;
    char yaml[sizeof(tiny_yaml) + 16];
    snprintf(yaml, sizeof(yaml), tiny_yaml, reduction);
    config_init(&config);
    assert_ok(config_load_text("tiny", yaml, strlen(yaml), &config));
    assert_ok(device_open(name, 1, &device));
    assert_ok(state_create(&config, device, &state));
    state_reset(state, SEED);
    const struct collective_group group = {.engine = COLLECTIVE_SELF,
                                           .size = 1,
                                           .region = state->block,
                                           .region_bytes = state->bytes,
                                           .region_fd = -1};
    assert_ok(collective_form(&group, &collective));
    run_steps(&config, state, collective, &trajectory);
    trajectory.count = state->layout.parameter_floats;
    trajectory.params = mem_array(trajectory.count, sizeof(float));
    device->ops->download(device, trajectory.params, state->params,
                          trajectory.count * sizeof(float));
    trajectory.digest = state_digest(state);
    collective_destroy(collective);
    state_destroy(state);
    device_close(device);
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
    struct trajectory want = train("cpu", reduction), got = train(device_name, reduction);
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

static void a_run_repeats_bit_by_bit(void **state)
{
    (void)state;
    struct trajectory first = train(device_name, "fast"), second = train(device_name, "fast");
    assert_true(first.digest == second.digest);
    mem_free(first.params);
    mem_free(second.params);
}

/* test_trajectory NAME: cuda:N, or cuda:N:fp32 */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fast_training_follows_the_cpu),
        cmocka_unit_test(exact_training_follows_the_cpu),
        cmocka_unit_test(a_run_repeats_bit_by_bit),
    };
    struct device *device = NULL;
    if (argc > 1)
        device_name = argv[1];
    const enum status status = device_open(device_name, 1, &device);
    if (status == ERR_DEVICE)
        test_skip(fail_message());
    assert_ok(status);
    const int is_fp32 = device->ops->activation_bytes == sizeof(float);
    device_close(device);
    loss_band = is_fp32 ? 1e-4 : 0.02;
    parameter_band = is_fp32 ? 1e-4 : 2e-3;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
