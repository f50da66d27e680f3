/* test_learner_memory.c - the device refuses memory, or a convolution, at call 1, 2, 3 ... and the
 * learner says so each time, leaks nothing, and works once there is enough. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include "worker/model/inference.h"
#include "worker/step.h"

static const char tiny_yaml[] = "crops:\n"
                                "  - {count: 2, size: 16, scale_min: 0.3, scale_max: 1}\n"
                                "  - {count: 1, size: 9, scale_min: 0.1, scale_max: 0.5}\n"
                                "model: {depth: 3, w0: 8, wa: 8, wm: 2, group_width: 8,\n"
                                "  stem_width: 8, head: [8, 8], head_batch_norm: true,\n"
                                "  prototypes: 5}\n"
                                "swav: {queue_images: 4}\n"
                                "train: {batch_images: 4, slot_images: 2}\n";

static const struct device_ops *real;
static int calls_left;

static enum status allocate_or_not(struct device *device, size_t bytes, int *ret_fd,
                                   void **ret_memory)
{
    if (calls_left-- == 0)
        return fail(ERR_DEVICE, "no memory, by order of the test");
    return real->allocate(device, bytes, ret_fd, ret_memory);
}

static enum status create_or_not(struct device *device, const struct conv_shape *shape,
                                 struct conv **ret_conv)
{
    if (calls_left-- == 0)
        return fail(ERR_DEVICE, "no convolution, by order of the test");
    return real->conv_create(device, shape, ret_conv);
}

static uint8_t images[2][4 * 2 * 16 * 16 * 3];

static enum status train_and_infer(const struct config *config, struct state *state,
                                   struct step *step, struct collective *collective)
{
    uint32_t slots[] = {0, 1};
    float features[256];
    struct step_result result;
    struct inference *inference = NULL;
    const struct batch batch = {
        .slot_count = 2,
        .slot_images = 2,
        .slots = slots,
        .group_count = (int)config->crop_count,
        .crops = {images[0], images[1]},
    };
    TRY(step_compute(step, collective, state->step, &batch, &result));
    TRY(step_apply(step, state->step, 0.001));
    TRY(inference_create(config, state, 16, &inference));
    assert_in_range(inference_width(inference), 1, 256);
    const enum status status = inference_run(inference, images[0], 1, features);
    inference_destroy(inference);
    return status;
}

static enum status live(const struct config *config, struct device *device)
{
    enum status status = OK;
    struct state *state = NULL;
    struct step *step = NULL;
    struct collective *collective = NULL;
    TRY_OUT(state_create(config, device, &state));
    state_reset(state, 1);
    const struct collective_group group = {
        .engine = COLLECTIVE_SELF,
        .size = 1,
        .region = state->block,
        .region_bytes = state->bytes,
        .region_fd = -1,
        .listen_fd = -1,
    };
    TRY_OUT(collective_form(&group, &collective));
    TRY_OUT(step_create(config, state, &step));
    status = train_and_infer(config, state, step, collective);
    if (status == OK)
        goto out;
    calls_left = 1 << 30; /* whoever failed may try again */
    assert_ok(train_and_infer(config, state, step, collective));
out:
    step_destroy(step);
    collective_destroy(collective);
    state_destroy(state);
    return status;
}

static void a_device_that_refuses_is_survived_at_every_call(void **state)
{
    (void)state;
    struct config config;
    struct device *device = NULL;
    config_init(&config);
    assert_ok(config_load_text("tiny", tiny_yaml, strlen(tiny_yaml), &config));
    assert_ok(device_open("cpu", 1, &device));
    real = device->ops;
    struct device_ops ops = *real;
    ops.allocate = allocate_or_not;
    ops.conv_create = create_or_not;
    device->ops = &ops;
    for (uint8_t *pixel = images[0]; pixel < images[0] + sizeof(images[0]); pixel++)
        *pixel = images[1][pixel - images[0]] = (uint8_t)(37 * (pixel - images[0]));

    int failures = 0;
    for (;; failures++) {
        calls_left = failures;
        enum status status = live(&config, device);
        if (status == OK)
            break;
        assert_int_equal(status, ERR_DEVICE);
        assert_non_null(strstr(fail_message(), "by order of the test"));
    }
    print_message("survived %d refusals\n", failures);
    assert_true(failures > 30);
    device->ops = real;
    device_close(device);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_device_that_refuses_is_survived_at_every_call),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
