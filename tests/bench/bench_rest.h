/* bench_rest.h - the operations of a step besides the trunk's. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef TESTS_BENCH_BENCH_REST_H
#define TESTS_BENCH_BENCH_REST_H

#include "worker/device/device.h"

/* Prints a line for each. */
void bench_rest(struct device *device);

#endif
