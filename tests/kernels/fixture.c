/* fixture.c - arrays and comparison for the kernel tests. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/kernels/fixture.h"

#include <math.h>
#include <sanitizer/asan_interface.h>

#include "common/mem.h"
#include "common/random.h"
#include "worker/device/cpu/cpu.h"

/* Every byte 0xff: NaN as a float, as a double and in 2 bytes. */
enum { GUARD_BYTES = 64, GUARD_VALUE = 0xA5, POISON_VALUE = 0xFF };

/* bf16 rounds by at most 2^-9 of a value; an activation is rounded where it is kept, and weights
 * where the device takes them in: four times that leaves room for both. */
static const double ROUNDING_2_BYTES = 1.0 / 128;

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

void fixture_open(struct fixture *fixture, const struct target *target, uint64_t seed)
{
    *fixture = (struct fixture){.isa = target->name, .seed = seed};
    fixture->device = target_open(target);
    fixture->ops = fixture->device->ops;
    fixture->is_host_memory = strcmp(fixture->ops->name, "cpu") == 0;
}

static size_t value_bytes(const struct fixture *fixture, enum array_kind kind)
{
    return kind == FLOATS        ? sizeof(float)
           : kind == ACTIVATIONS ? fixture->ops->activation_bytes
           : kind == DOUBLES     ? sizeof(double)
                                 : 1;
}

/* Activations are fp32 on the host. */
static size_t host_bytes(const struct fixture *fixture, enum array_kind kind)
{
    return kind == ACTIVATIONS ? sizeof(float) : value_bytes(fixture, kind);
}

static size_t array_bytes(const struct fixture *fixture, const struct array *array)
{
    return array->count * value_bytes(fixture, array->kind);
}

static void *guard_of(const struct fixture *fixture, const struct array *array)
{
    return (uint8_t *)array->on + array_bytes(fixture, array);
}

static void check_guard(const struct fixture *fixture, const struct array *array, int number)
{
    uint8_t guard[GUARD_BYTES];
    if (fixture->is_host_memory)
        ASAN_UNPOISON_MEMORY_REGION(guard_of(fixture, array), GUARD_BYTES);
    fixture->ops->download(fixture->device, guard, guard_of(fixture, array), GUARD_BYTES);
    for (int i = 0; i < GUARD_BYTES; i++)
        if (guard[i] != GUARD_VALUE)
            fail_msg("%s, %s kernels, seed=%llu: byte %d behind array %d was written",
                     fixture->label, fixture->isa, (unsigned long long)fixture->seed, i, number);
}

static void forget_arrays(struct fixture *fixture)
{
    while (fixture->array_count > 0) {
        struct array *array = &fixture->arrays[--fixture->array_count];
        check_guard(fixture, array, fixture->array_count);
        fixture->ops->release(fixture->device, array->on, array_bytes(fixture, array) + GUARD_BYTES,
                              -1);
        mem_free(array->bytes);
    }
    while (fixture->reference_count > 0)
        mem_free(fixture->references[--fixture->reference_count]);
}

void fixture_begin(struct fixture *fixture, const char *format, ...)
{
    va_list args;
    forget_arrays(fixture);
    fixture->case_number++;
    va_start(args, format);
    vsnprintf(fixture->label, sizeof(fixture->label), format, args);
    va_end(args);
}

void fixture_close(struct fixture *fixture)
{
    forget_arrays(fixture);
    device_close(fixture->device);
}

static struct array *array_make(struct fixture *fixture, enum array_kind kind, size_t count)
{
    uint8_t guard[GUARD_BYTES];
    memset(guard, GUARD_VALUE, sizeof(guard));
    assert_true(fixture->array_count < FIXTURE_ARRAY_MAX);
    struct array *array = &fixture->arrays[fixture->array_count++];
    *array = (struct array){.count = count, .kind = kind};
    array->bytes = mem_alloc(count * host_bytes(fixture, kind));
    assert_ok(fixture->ops->allocate(fixture->device, array_bytes(fixture, array) + GUARD_BYTES,
                                     NULL, &array->on));
    fixture->ops->upload(fixture->device, guard_of(fixture, array), guard, GUARD_BYTES);
    if (fixture->is_host_memory)
        ASAN_POISON_MEMORY_REGION(guard_of(fixture, array), GUARD_BYTES);
    return array;
}

/* Activations pass through fp32 memory of the device, where its own operations convert them. */
static void convert(const struct fixture *fixture, const struct array *array, int is_push)
{
    const struct device_ops *ops = fixture->ops;
    const size_t bytes = array->count * sizeof(float);
    void *floats = NULL;
    assert_ok(ops->allocate(fixture->device, bytes, NULL, &floats));
    if (is_push) {
        ops->upload(fixture->device, floats, array->host, bytes);
        ops->from_float(fixture->device, floats, array->count, array->on);
    } else {
        ops->to_float(fixture->device, array->on, array->count, floats);
        ops->download(fixture->device, array->host, floats, bytes);
    }
    assert_ok(ops->synchronize(fixture->device));
    ops->release(fixture->device, floats, bytes, -1);
}

void array_push(const struct fixture *fixture, const struct array *array)
{
    if (array->kind == ACTIVATIONS) {
        convert(fixture, array, 1);
        convert(fixture, array, 0);
    } else {
        fixture->ops->upload(fixture->device, array->on, array->bytes, array_bytes(fixture, array));
    }
}

void array_pull(const struct fixture *fixture, const struct array *array)
{
    if (array->kind == ACTIVATIONS)
        convert(fixture, array, 0);
    else
        fixture->ops->download(fixture->device, array->bytes, array->on,
                               array_bytes(fixture, array));
}

static struct random source(const struct fixture *fixture)
{
    struct random random;
    random_init(&random, fixture->seed, RANDOM_STREAM_TEST, fixture->case_number,
                (uint32_t)fixture->array_count);
    return random;
}

const struct array *fixture_uniform(struct fixture *fixture, enum array_kind kind, size_t count,
                                    double low, double high)
{
    struct random random = source(fixture);
    struct array *array = array_make(fixture, kind, count);
    for (size_t i = 0; i < count; i++)
        array->host[i] = (float)random_uniform(&random, low, high);
    array_push(fixture, array);
    return array;
}

const struct array *fixture_normal(struct fixture *fixture, enum array_kind kind, size_t count)
{
    struct random random = source(fixture);
    struct array *array = array_make(fixture, kind, count);
    for (size_t i = 0; i < count; i++)
        array->host[i] = (float)random_normal(&random);
    array_push(fixture, array);
    return array;
}

const struct array *fixture_poisoned(struct fixture *fixture, enum array_kind kind, size_t count)
{
    struct array *array = array_make(fixture, kind, count);
    memset(array->bytes, POISON_VALUE, count * host_bytes(fixture, kind));
    array_push(fixture, array);
    return array;
}

const struct array *fixture_copy(struct fixture *fixture, enum array_kind kind, const void *values,
                                 size_t count)
{
    struct array *array = array_make(fixture, kind, count);
    memcpy(array->bytes, values, count * host_bytes(fixture, kind));
    array_push(fixture, array);
    return array;
}

double *fixture_doubles(struct fixture *fixture, size_t count)
{
    assert_true(fixture->reference_count < FIXTURE_ARRAY_MAX);
    double *reference = mem_array(count, sizeof(double));
    fixture->references[fixture->reference_count++] = reference;
    return reference;
}

void expect_near(const struct fixture *fixture, const char *what, const struct array *got,
                 const double *want, double bound)
{
    assert_true(got->kind == FLOATS || got->kind == ACTIVATIONS);
    array_pull(fixture, got);
    if (got->kind == ACTIVATIONS && fixture->ops->activation_bytes < sizeof(float))
        bound += ROUNDING_2_BYTES;
    double scale = fmax(fixture->least, 1e-30);
    for (size_t i = 0; i < got->count; i++)
        scale = fmax(scale, fabs(want[i]));
    for (size_t i = 0; i < got->count; i++)
        if (!(fabs((double)got->host[i] - want[i]) <= bound * scale))
            fail_msg("%s, %s kernels, seed=%llu: %s[%zu] is %.9g, reference %.9g, bound %.3g",
                     fixture->label, fixture->isa, (unsigned long long)fixture->seed, what, i,
                     (double)got->host[i], want[i], bound * scale);
}
