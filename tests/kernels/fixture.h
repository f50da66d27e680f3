/* fixture.h - a device under test, arrays that live as long as a case, and the comparison.
 *
 * Outputs start as NaN, so that a value an operation forgets to write is seen. Inputs are f(seed,
 * case, array): a failing case repeats alone. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef TESTS_KERNELS_FIXTURE_H
#define TESTS_KERNELS_FIXTURE_H

#include "tests/test.h"

#include "worker/device/device.h"

enum { FIXTURE_ARRAY_MAX = 64 };

struct fixture {
    struct device *device;
    const struct device_ops *ops;
    const char *isa;
    char label[160]; /* of the case, for messages */
    uint64_t seed, case_number;
    double least; /* arrays whose largest value is smaller are compared with this instead */
    void *arrays[FIXTURE_ARRAY_MAX];
    int array_count;
};

/* What a test runs on. */
struct target {
    const char *name;          /* for messages */
    const struct cpu_isa *isa; /* of the cpu; NULL: the device of that name */
};

enum { TARGET_MAX = 8 };

/* Without arguments every instruction set of this cpu, with --device NAME that device; takes the
 * two words out of argv. Ends the test as skipped (77) where the device is not to be had. */
int target_list(int *argc, char **argv, struct target ret_targets[TARGET_MAX]);
struct device *target_open(const struct target *target);

/* Forgets the arrays of the case before and names the next. */
void fixture_begin(struct fixture *fixture, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void fixture_end(struct fixture *fixture);

/* count floats each, owned by the fixture until the next case. */
float *fixture_uniform(struct fixture *fixture, size_t count, double low, double high);
float *fixture_normal(struct fixture *fixture, size_t count);
float *fixture_poisoned(struct fixture *fixture, size_t count);
double *fixture_doubles(struct fixture *fixture, size_t count);

/* |got - want| <= bound * max(max|want|, least) for every value; NaN never passes. */
void expect_near(struct fixture *fixture, const char *what, const float *got, const double *want,
                 size_t count, double bound);

#endif
