/* device_bench.h - a device to be measured, memory on it, and the best time of several.
 *
 * For programs of one thread that print for people; whatever fails ends them with its reason. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef TESTS_BENCH_DEVICE_BENCH_H
#define TESTS_BENCH_DEVICE_BENCH_H

#include <stddef.h>

#include "worker/device/device.h"

/* threads: of the cpu. */
struct device *device_bench_open(const char *name, int threads);
/* That many floats, small and positive: no denormals, which would be slow. The device's, until the
 * process ends. */
void *device_bench_memory(struct device *device, size_t floats);
/* Milliseconds that run takes until the device is done with it. */
double device_bench_ms(struct device *device, void (*run)(void));

#endif
