/* device_bench.c - see device_bench.h. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/bench/device_bench.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/mem.h"

enum { REPEAT = 5 }; /* enough to see the machine undisturbed once */

static void check(enum status status)
{
    if (status == OK)
        return;
    fprintf(stderr, "bench_kernels: %s\n", fail_message());
    exit(1);
}

struct device *device_bench_open(const char *name, int threads)
{
    struct device *device = NULL;
    check(device_open(name, threads, &device));
    return device;
}

void *device_bench_memory(struct device *device, size_t floats)
{
    void *memory = NULL;
    float *values = mem_array(floats, sizeof(*values));
    for (size_t i = 0; i < floats; i++)
        values[i] = 0.25f + (float)(i % 7) * 0.125f;
    check(device->ops->allocate(device, floats * sizeof(*values), NULL, &memory));
    device->ops->upload(device, memory, values, floats * sizeof(*values));
    check(device->ops->synchronize(device));
    mem_free(values);
    return memory;
}

double device_bench_ms(struct device *device, void (*run)(void))
{
    double best = 1e30;
    for (int i = 0; i < REPEAT; i++) {
        const int64_t start = clock_us();
        run();
        check(device->ops->synchronize(device));
        const double ms = (double)(clock_us() - start) / 1e3;
        best = ms < best ? ms : best;
    }
    return best;
}
