/* test_device.c - devices by name, their memory, determinism. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include <sys/mman.h>
#include <unistd.h>

#include "common/mem.h"
#include "tests/kernels/fixture.h"

static const char *device_name = "cpu";

static struct device *open_device(void)
{
    struct device *device = NULL;
    assert_ok(device_open(device_name, 1, &device));
    return device;
}

static void a_device_is_opened_by_name_and_a_wrong_name_is_refused(void **state)
{
    (void)state;
    struct device *device = open_device();
    assert_string_equal(device->ops->name, "cpu");
    assert_non_null(strstr(device->ops->describe(device), "1 thread"));
    device_close(device);
    device_close(NULL);
    assert_fails(device_open("gpu", 1, &device), ERR_INPUT, "use cpu, cpu:bf16 or cuda:N");
    assert_fails(device_open("cpu:int8", 1, &device), ERR_INPUT, "fp32 or bf16");
    assert_fails(device_open("cuda:x", 1, &device), ERR_INPUT, "cuda:x");
    assert_fails(device_open("cuda:99", 1, &device), ERR_INPUT, "cuda:99");
    assert_fails(device_open("cpu", 0, &device), ERR_INPUT, "thread count");
}

static void memory_is_zeroed_aligned_and_refused_when_there_is_not_enough(void **state)
{
    (void)state;
    struct device *device = open_device();
    static const size_t sizes[] = {0, 1, 5000, 5 << 20};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        uint8_t *memory = NULL, *host = mem_alloc(sizes[i]);
        assert_ok(device->ops->allocate(device, sizes[i], NULL, (void **)&memory));
        assert_int_equal((uintptr_t)memory % 64, 0);
        memset(host, 1, sizes[i]);
        device->ops->download(device, host, memory, sizes[i]);
        for (size_t j = 0; j < sizes[i]; j++)
            assert_int_equal(host[j], 0);
        memset(host, 1, sizes[i]);
        device->ops->upload(device, memory, host, sizes[i]);
        mem_free(host);
        device->ops->release(device, memory, sizes[i], -1);
    }
    void *memory = NULL;
    int fd = -1;
    assert_fails(device->ops->allocate(device, (size_t)1 << 60, NULL, &memory), ERR_DEVICE, "MiB");
    assert_fails(device->ops->allocate(device, SIZE_MAX, &fd, &memory), ERR_DEVICE, "MiB");
    assert_int_equal(fd, -1);
    device_close(device);
}

static void memory_with_a_descriptor_can_be_mapped_by_another_process(void **state)
{
    (void)state;
    struct device *device = open_device();
    void *memory = NULL;
    int fd = -1;
    assert_ok(device->ops->allocate(device, 8192, &fd, &memory));
    device->ops->upload(device, memory, "seen by both", 13);
    char *other = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_ptr_not_equal(other, MAP_FAILED);
    assert_string_equal(other, "seen by both");
    memcpy(other, "and written", 12);
    char back[12];
    device->ops->download(device, back, memory, 12);
    assert_string_equal(back, "and written");
    device->ops->zero(device, memory, 8192);
    assert_int_equal(other[0], 0);
    munmap(other, 8192);
    device->ops->release(device, memory, 8192, fd);
    device_close(device);
}

static void a_convolution_of_an_impossible_shape_is_refused(void **state)
{
    (void)state;
    struct device *device = open_device();
    struct conv *conv = NULL;
    const struct conv_shape odd = {1, 4, 4, 10, 10, 3, 1, 4, 1};
    const struct conv_shape wide = {1, 4, 4, 8, 8, 5, 1, 1, 1};
    assert_fails(device->ops->conv_create(device, &odd, &conv), ERR_DEVICE, "groups=4");
    assert_fails(device->ops->conv_create(device, &wide, &conv), ERR_DEVICE, "kernel=5");
    device->ops->conv_destroy(NULL);
    device_close(device);
}

/* Memory of the device that holds (i * factor % 1000) / 999 - minus. */
static float *make_values(struct device *device, size_t count, unsigned factor, float minus)
{
    float *host = mem_array(count, sizeof(*host)), *memory = NULL;
    for (size_t i = 0; i < count; i++)
        host[i] = (float)((unsigned)i * factor % 1000) / 999 - minus;
    assert_ok(device->ops->allocate(device, count * sizeof(*host), NULL, (void **)&memory));
    device->ops->upload(device, memory, host, count * sizeof(*host));
    mem_free(host);
    return memory;
}

static void *make_activations(struct device *device, size_t count)
{
    float *values = make_values(device, count, 2654435761u, 0);
    void *memory = NULL;
    assert_ok(device->ops->allocate(device, count * device->ops->activation_bytes, NULL, &memory));
    device->ops->from_float(device, values, count, memory);
    device->ops->release(device, values, count * sizeof(*values), -1);
    return memory;
}

/* A 3x3 convolution in both directions, then BN sums: the parts that could sum in another order. */
static void compute(struct device *device, float *ret_results, size_t count)
{
    enum { ROWS = 3, SIZE = 14, CHANNELS = 48, VALUES = ROWS * SIZE * SIZE * CHANNELS };
    enum { WEIGHTS = CHANNELS * 8 * 9 };
    const struct conv_shape shape = {ROWS, SIZE, SIZE, CHANNELS, CHANNELS, 3, 1, 6, 1};
    const struct device_ops *ops = device->ops;
    struct conv *conv = NULL;
    assert_true(count == WEIGHTS + 2 * CHANNELS);
    void *x = make_activations(device, VALUES), *y = make_activations(device, VALUES);
    float *w = make_values(device, WEIGHTS, 40503u, 0.5f);
    float *results = make_values(device, count, 0, 0);
    assert_ok(ops->conv_create(device, &shape, &conv));
    ops->conv_weights(conv, w);
    ops->conv_forward(conv, x, y);
    ops->conv_backward_weights(conv, x, y, results, 0);
    const struct bn_sums sums = {y, ROWS, SIZE * SIZE, CHANNELS, w, results + WEIGHTS};
    ops->bn_sums(device, &sums);
    ops->download(device, ret_results, results, count * sizeof(*results));
    ops->conv_destroy(conv);
    ops->release(device, x, VALUES * ops->activation_bytes, -1);
    ops->release(device, y, VALUES * ops->activation_bytes, -1);
    ops->release(device, w, WEIGHTS * sizeof(*w), -1);
    ops->release(device, results, count * sizeof(*results), -1);
}

static void the_same_numbers_give_the_same_bits(void **state)
{
    (void)state;
    enum { COUNT = 48 * 72 + 96 };
    static float first[COUNT], second[COUNT];
    for (int round = 0; round < 2; round++) {
        struct device *device = open_device();
        compute(device, round == 0 ? first : second, COUNT);
        device_close(device);
    }
    assert_memory_equal(first, second, sizeof(first));
}

static void a_step_allocates_nothing(void **state)
{
    (void)state;
    enum { CHANNELS = 24, VALUES = 2 * 25 * CHANNELS };
    static const int groups[] = {1, 3};
    struct device *device = open_device();
    for (int i = 0; i < 2; i++) {
        const struct conv_shape shape = {2, 5, 5, CHANNELS, CHANNELS, 3, 1, groups[i], 1};
        static float x[VALUES], y[VALUES], w[CHANNELS * CHANNELS * 9];
        struct conv *conv = NULL;
        assert_ok(device->ops->conv_create(device, &shape, &conv));
        const uint64_t before = mem_call_count();
        device->ops->conv_weights(conv, w);
        device->ops->conv_forward(conv, x, y);
        device->ops->conv_backward_data(conv, y, x);
        device->ops->conv_backward_weights(conv, x, y, w, 1);
        assert_int_equal(mem_call_count(), before);
        device->ops->conv_destroy(conv);
    }
    device_close(device);
}

/* test_device [--device NAME]: of another device than the cpu what every device promises. */
int main(int argc, char **argv)
{
    struct target targets[TARGET_MAX];
    const struct CMUnitTest cpu_tests[] = {
        cmocka_unit_test(a_device_is_opened_by_name_and_a_wrong_name_is_refused),
        cmocka_unit_test(memory_with_a_descriptor_can_be_mapped_by_another_process),
        cmocka_unit_test(a_step_allocates_nothing),
    };
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_zeroed_aligned_and_refused_when_there_is_not_enough),
        cmocka_unit_test(a_convolution_of_an_impossible_shape_is_refused),
        cmocka_unit_test(the_same_numbers_give_the_same_bits),
    };
    target_list(&argc, argv, targets);
    if (targets[0].isa == NULL)
        device_name = targets[0].name;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (strcmp(device_name, "cpu") == 0)
        failed += cmocka_run_group_tests(cpu_tests, NULL, NULL);
    return failed;
}
