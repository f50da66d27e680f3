/* fixture.c - arrays and comparison for the kernel tests. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/kernels/fixture.h"

#include <math.h>

#include "common/mem.h"
#include "common/random.h"
#include "worker/device/cpu/cpu.h"

int target_list(int *argc, char **argv, struct target ret_targets[TARGET_MAX])
{
    int count = 0;
    if (*argc < 3 || strcmp(argv[1], "--device") != 0) {
        for (const struct cpu_isa *isa = cpu_isa_list(); isa->name != NULL; isa++) {
            assert_true(count < TARGET_MAX);
            ret_targets[count++] = (struct target){isa->name, isa};
        }
        return count;
    }
    struct device *device = NULL;
    enum status status = device_open(argv[2], 1, &device);
    if (status == ERR_DEVICE)
        test_skip(fail_message());
    if (status != OK) {
        fprintf(stderr, "%s\n", fail_message());
        exit(2);
    }
    device_close(device);
    ret_targets[0] = (struct target){argv[2], NULL};
    memmove(argv + 1, argv + 3, (size_t)(*argc - 2) * sizeof(*argv)); /* with the NULL behind */
    *argc -= 2;
    return 1;
}

struct device *target_open(const struct target *target)
{
    struct device *device = NULL;
    if (target->isa != NULL)
        assert_ok(cpu_create(target->isa, 1, &device));
    else
        assert_ok(device_open(target->name, 1, &device));
    return device;
}

void fixture_begin(struct fixture *fixture, const char *format, ...)
{
    va_list args;
    fixture_end(fixture);
    fixture->case_number++;
    va_start(args, format);
    vsnprintf(fixture->label, sizeof(fixture->label), format, args);
    va_end(args);
}

void fixture_end(struct fixture *fixture)
{
    while (fixture->array_count > 0)
        mem_free(fixture->arrays[--fixture->array_count]);
}

static void *keep(struct fixture *fixture, void *array)
{
    assert_true(fixture->array_count < FIXTURE_ARRAY_MAX);
    fixture->arrays[fixture->array_count++] = array;
    return array;
}

/* Exactly as long as asked, so that AddressSanitizer sees one float too many. */
static float *floats(struct fixture *fixture, size_t count)
{
    return keep(fixture, mem_alloc(count * sizeof(float)));
}

static struct random source(const struct fixture *fixture)
{
    struct random random;
    random_init(&random, fixture->seed, RANDOM_STREAM_TEST, fixture->case_number,
                (uint32_t)fixture->array_count);
    return random;
}

float *fixture_uniform(struct fixture *fixture, size_t count, double low, double high)
{
    struct random random = source(fixture);
    float *array = floats(fixture, count);
    for (size_t i = 0; i < count; i++)
        array[i] = (float)random_uniform(&random, low, high);
    return array;
}

float *fixture_normal(struct fixture *fixture, size_t count)
{
    struct random random = source(fixture);
    float *array = floats(fixture, count);
    for (size_t i = 0; i < count; i++)
        array[i] = (float)random_normal(&random);
    return array;
}

float *fixture_poisoned(struct fixture *fixture, size_t count)
{
    float *array = floats(fixture, count);
    for (size_t i = 0; i < count; i++)
        array[i] = NAN;
    return array;
}

double *fixture_doubles(struct fixture *fixture, size_t count)
{
    return keep(fixture, mem_array(count, sizeof(double)));
}

void expect_near(struct fixture *fixture, const char *what, const float *got, const double *want,
                 size_t count, double bound)
{
    double scale = fmax(fixture->least, 1e-30);
    for (size_t i = 0; i < count; i++)
        scale = fmax(scale, fabs(want[i]));
    for (size_t i = 0; i < count; i++)
        if (!(fabs((double)got[i] - want[i]) <= bound * scale))
            fail_msg("%s, %s kernels, seed=%llu: %s[%zu] is %.9g, reference %.9g, bound %.3g",
                     fixture->label, fixture->isa, (unsigned long long)fixture->seed, what, i,
                     (double)got[i], want[i], bound * scale);
}
