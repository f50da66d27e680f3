/* test_cuda.c - the CUDA device when memory ends, kernels break or the card is old; and its
 * padding.
 *
 * On the emulated GPU, which fails when it is told to. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include <math.h>

#include "common/mem.h"
#include "worker/device/cuda/cuda.h"
#include "worker/device/cuda/emulated/emulator.h"
#include "worker/device/cuda/kernels.h"

static const struct conv_shape padded_shape = {2, 5, 5, 15, 9, 3, 1, 3, 1};

static int no_device(void **state)
{
    (void)state;
    emulator_reset();
    emulator_capability(90);
    assert_true(emulator_allocated() == 0);
    return 0;
}

static void a_name_says_which_activations(void **state)
{
    (void)state;
    static const struct {
        const char *name, *words;
        size_t bytes;
    } cases[] = {
        {"cuda", "bf16", 2},
        {"cuda:0", "bf16", 2},
        {"cuda:0:fp16", "fp16", 2},
        {"cuda:0:fp32", "fp32", 4},
    };
    struct device *device = NULL;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        assert_ok(device_open(cases[i].name, 1, &device));
        assert_true(device->ops->activation_bytes == cases[i].bytes);
        assert_non_null(strstr(device->ops->describe(device), cases[i].words));
        device_close(device);
    }
    assert_fails(device_open("cuda:0:int8", 1, &device), ERR_INPUT, "bf16, fp16 or fp32");
    assert_fails(device_open("cuda:1", 1, &device), ERR_DEVICE, "there is 1 GPU");
}

static void a_card_without_bf16_is_told_what_to_do(void **state)
{
    (void)state;
    struct device *device = NULL;
    emulator_capability(75);
    assert_fails(device_open("cuda:0", 1, &device), ERR_DEVICE, "cuda:0:fp32");
    assert_fails(device_open("cuda:0", 1, &device), ERR_DEVICE, "train.loss_scale: 65536");
    assert_ok(device_open("cuda:0:fp16", 1, &device));
    assert_int_equal(device->ops->wants_loss_scale, 1);
    device_close(device);
    assert_ok(device_open("cuda:0:fp32", 1, &device));
    device_close(device);
}

enum { BATCHES = 8, BATCH_PIXELS = 40 };

/* Several ahead of time, through one place on the device: each normalised before the next arrives.
 */
static void images_that_travel_ahead_come_in_their_order(void **state)
{
    (void)state;
    static const float zeros[3] = {0}, ones[3] = {1, 1, 1};
    struct device *device = NULL;
    uint8_t *place = NULL, host[3 * BATCH_PIXELS];
    float *y = NULL, got[BATCHES][3 * BATCH_PIXELS] = {{0}};
    assert_ok(device_open("cuda:0:fp32", 1, &device));
    assert_ok(device->ops->allocate(device, sizeof(host), NULL, (void **)&place));
    assert_ok(device->ops->allocate(device, sizeof(got), NULL, (void **)&y));
    assert_int_equal(device->ops->has_images_ahead, 1);
    for (int b = 0; b < BATCHES; b++) {
        memset(host, 10 + b, sizeof(host));
        if (b % 3 == 2) /* behind what is on its way and will not be used */
            assert_int_equal(device->ops->images_ahead(device, place, got, sizeof(host)), 1);
        if (b % 3 == 2)
            device->ops->upload(device, place, host, sizeof(host));
        else
            assert_int_equal(device->ops->images_ahead(device, place, host, sizeof(host)), 1);
        memset(host, 0xee, sizeof(host)); /* it is the caller's again */
        device->ops->images_normalize(device, place, BATCH_PIXELS, zeros, ones,
                                      y + (size_t)b * 3 * BATCH_PIXELS);
    }
    device->ops->download(device, got, y, sizeof(got));
    assert_ok(device->ops->synchronize(device));
    for (int b = 0; b < BATCHES; b++)
        for (int i = 0; i < 3 * BATCH_PIXELS; i++)
            assert_true(fabsf(got[b][i] * 255 - (float)(10 + b)) < 1e-3f);
    device->ops->release(device, y, sizeof(got), -1);
    device->ops->release(device, place, sizeof(host), -1);
    device_close(device);
    assert_true(emulator_allocated() == 0);
}

/* Opens a device and a convolution that needs all its scratch memory. */
static enum status open_all(void)
{
    struct device *device = NULL;
    struct conv *conv = NULL;
    TRY(device_open("cuda:0", 1, &device));
    const enum status status = device->ops->conv_create(device, &padded_shape, &conv);
    device->ops->conv_destroy(conv);
    device_close(device);
    return status;
}

static void running_out_of_memory_anywhere_is_a_status(void **state)
{
    (void)state;
    int failures = 0;
    for (;; failures++) {
        emulator_fail_allocation(failures + 1);
        const enum status status = open_all();
        assert_true(emulator_allocated() == 0); /* given back, whatever failed */
        if (status == OK)
            break;
        assert_int_equal(status, ERR_DEVICE);
        assert_non_null(strstr(fail_message(), "MiB"));
    }
    assert_true(failures >= 6); /* rule, parts, weights, two of padding, gradient */
}

static void a_broken_kernel_is_told_by_synchronize_and_no_number_survives(void **state)
{
    (void)state;
    struct device *device = NULL;
    float *x = NULL, host[2] = {1, 2};
    assert_ok(device_open("cuda:0", 1, &device));
    assert_ok(device->ops->allocate(device, sizeof(host), NULL, (void **)&x));
    device->ops->upload(device, x, host, sizeof(host));
    assert_ok(device->ops->synchronize(device));
    emulator_fail_kernel(1);
    device->ops->running_update(device, x, x, 2, 0.5f);
    assert_fails(device->ops->synchronize(device), ERR_DEVICE, "launch failure");
    device->ops->download(device, host, x, sizeof(host));
    assert_true(isnan(host[0]) && isnan(host[1]));
    assert_fails(device->ops->synchronize(device), ERR_DEVICE, "launch failure");
    struct device *second = NULL;
    assert_fails(device_open("cuda:0", 1, &second), ERR_DEVICE, "cuda:0");
    emulator_reset(); /* the emulated GPU frees nothing while it is broken */
    device->ops->release(device, x, sizeof(host), -1);
    device_close(device);
}

/* Bits of `count` bf16 values on the device. */
static uint16_t *fetched(struct device *device, const void *from, size_t count)
{
    uint16_t *bits = mem_array(count, sizeof(*bits));
    device->ops->download(device, bits, from, count * sizeof(*bits));
    return bits;
}

static void *filled(struct device *device, size_t bytes, int value)
{
    void *memory = NULL, *host = mem_alloc(bytes);
    memset(host, value, bytes);
    assert_ok(device->ops->allocate(device, bytes, NULL, &memory));
    device->ops->upload(device, memory, host, bytes);
    mem_free(host);
    return memory;
}

static void what_is_padded_is_exactly_zero_and_cut_again(void **state)
{
    (void)state;
    static const struct {
        int groups, width;
    } cases[] = {{1, 3}, {3, 5}, {2, 373}, {4, 13}, {5, 1}};
    enum { PIXELS = 7 };
    struct device *device = NULL;
    assert_ok(device_open("cuda:0", 1, &device));
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        const int groups = cases[i].groups, width = cases[i].width, padded = (width + 7) / 8 * 8;
        const struct pack_channels by = {PIXELS, groups, width, padded};
        const size_t narrow = (size_t)(PIXELS * groups * width);
        const size_t wide = (size_t)(PIXELS * groups * padded);
        void *x = filled(device, 2 * narrow, 0x3f), *y = filled(device, 2 * wide, 0xff);
        void *back = filled(device, 2 * narrow, 0xff);
        cuda_packing_bf16.channels_pad(device, &by, x, y);
        cuda_packing_bf16.channels_unpad(device, &by, y, back);
        uint16_t *got = fetched(device, y, wide), *again = fetched(device, back, narrow);
        for (size_t j = 0; j < wide; j++)
            assert_int_equal(got[j], (int)j % padded < width ? 0x3f3f : 0);
        for (size_t j = 0; j < narrow; j++)
            assert_int_equal(again[j], 0x3f3f);
        mem_free(got);
        mem_free(again);
        device->ops->release(device, x, 2 * narrow, -1);
        device->ops->release(device, y, 2 * wide, -1);
        device->ops->release(device, back, 2 * narrow, -1);
    }
    device_close(device);
}

static void padded_weights_are_exactly_zero(void **state)
{
    (void)state;
    enum { GROUPS = 2, TAPS = 9, IN = 5, OUT = 3, WIDE = 8 };
    enum { NARROW = GROUPS * OUT * IN * TAPS, PACKED = GROUPS * WIDE * TAPS * WIDE };
    const struct pack_weights by = {GROUPS, TAPS, IN, WIDE, OUT, WIDE};
    struct device *device = NULL;
    assert_ok(device_open("cuda:0", 1, &device));
    void *w = filled(device, NARROW * sizeof(float), 0x3f);
    void *packed = filled(device, PACKED * sizeof(uint16_t), 0xff);
    cuda_packing_bf16.weights_pack(device, &by, w, packed);
    uint16_t *got = fetched(device, packed, PACKED);
    for (int i = 0; i < PACKED; i++) {
        const int is_real = i % WIDE < IN && i / (WIDE * TAPS) % WIDE < OUT;
        assert_true((got[i] != 0) == is_real);
    }
    mem_free(got);
    device->ops->release(device, w, NARROW * sizeof(float), -1);
    device->ops->release(device, packed, PACKED * sizeof(uint16_t), -1);
    device_close(device);
}

/* The device says which operation was not for a recording, does none of it, and goes on. */
static void a_recording_is_refused_for_what_it_may_not_hold(void **state)
{
    (void)state;
    enum { UPLOAD, DOWNLOAD, RULE, ALLOCATE, CASES };
    static const char *const words[CASES] = {"upload", "download", "optimizer_rule", "capture"};
    const struct optimizer_rule rule = {.lr = 1};
    struct device *device = NULL;
    struct recording *recording = NULL;
    float *x = NULL, one = 1, got = 0;
    void *more = NULL;
    assert_ok(device_open("cuda:0:fp32", 1, &device));
    assert_ok(device->ops->allocate(device, sizeof(*x), NULL, (void **)&x));
    for (int i = 0; i < CASES; i++) {
        assert_ok(device->ops->record_begin(device));
        if (i == UPLOAD)
            device->ops->upload(device, x, &one, sizeof(one));
        else if (i == DOWNLOAD)
            device->ops->download(device, &got, x, sizeof(got));
        else if (i == RULE)
            device->ops->optimizer_rule(device, &rule);
        else
            assert_int_equal(device->ops->allocate(device, 8, NULL, &more), ERR_DEVICE);
        device->ops->multiply(device, x, 1, 7);
        assert_fails(device->ops->record_end(device, &recording), ERR_DEVICE, words[i]);
        device->ops->upload(device, x, &one, sizeof(one));
        device->ops->download(device, &got, x, sizeof(got));
        assert_true(got == 1);
        assert_ok(device->ops->synchronize(device));
    }
    device->ops->release(device, x, sizeof(*x), -1);
    device_close(device);
}

static void a_recording_is_replayed_as_often_as_wanted(void **state)
{
    (void)state;
    struct device *device = NULL;
    struct recording *recording = NULL;
    float *x = NULL, got = 3;
    assert_ok(device_open("cuda:0:fp32", 1, &device));
    assert_ok(device->ops->allocate(device, sizeof(*x), NULL, (void **)&x));
    assert_ok(device->ops->record_begin(device));
    assert_ok(device->ops->record_end(device, &recording));
    assert_null(recording); /* of nothing */
    device->ops->upload(device, x, &got, sizeof(got));
    assert_ok(device->ops->record_begin(device));
    device->ops->multiply(device, x, 1, 2);
    assert_ok(device->ops->record_end(device, &recording));
    for (int i = 0; i < 4; i++)
        device->ops->replay(device, recording);
    device->ops->download(device, &got, x, sizeof(got));
    assert_true(got == 48);
    device->ops->recording_destroy(device, recording);
    const uint64_t epoch = device->ops->recordings_epoch(device);
    struct conv *conv = NULL, *larger = NULL;
    struct conv_shape shape = padded_shape;
    assert_ok(device->ops->conv_create(device, &shape, &conv));
    assert_true(device->ops->recordings_epoch(device) == epoch); /* nothing was there to move */
    shape.rows *= 2;
    assert_ok(device->ops->conv_create(device, &shape, &larger));
    assert_true(device->ops->recordings_epoch(device) != epoch);
    device->ops->conv_destroy(larger);
    device->ops->conv_destroy(conv);
    device->ops->release(device, x, sizeof(*x), -1);
    device_close(device);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_recording_is_refused_for_what_it_may_not_hold, no_device,
                                        no_device),
        cmocka_unit_test_setup_teardown(a_recording_is_replayed_as_often_as_wanted, no_device,
                                        no_device),
        cmocka_unit_test_setup_teardown(a_name_says_which_activations, no_device, no_device),
        cmocka_unit_test_setup_teardown(a_card_without_bf16_is_told_what_to_do, no_device,
                                        no_device),
        cmocka_unit_test_setup_teardown(images_that_travel_ahead_come_in_their_order, no_device,
                                        no_device),
        cmocka_unit_test_setup_teardown(running_out_of_memory_anywhere_is_a_status, no_device,
                                        no_device),
        cmocka_unit_test_setup_teardown(
            a_broken_kernel_is_told_by_synchronize_and_no_number_survives, no_device, no_device),
        cmocka_unit_test_setup_teardown(what_is_padded_is_exactly_zero_and_cut_again, no_device,
                                        no_device),
        cmocka_unit_test_setup_teardown(padded_weights_are_exactly_zero, no_device, no_device),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
