/* fixture.h - a device under test, arrays that live as long as a case, and the comparison.
 *
 * An array has two sides: `host`, which references read and write, and `on`, memory of the device,
 * which operations get. Both hold the same numbers when it is made, activations rounded as the
 * device keeps them (fp32, or 2 bytes), so that a reference computes from the operation's very
 * inputs. Outputs start as NaN, so that a value an operation forgets to write is seen, and behind
 * every array stands a guard that must be as it was at the end of the case; on the CPU
 * AddressSanitizer watches it too. Inputs are f(seed, case, array): a failing case repeats alone.
 */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef TESTS_KERNELS_FIXTURE_H
#define TESTS_KERNELS_FIXTURE_H

#include "tests/test.h"

#include "worker/device/device.h"

enum { FIXTURE_ARRAY_MAX = 64 };

enum array_kind { FLOATS, ACTIVATIONS, DOUBLES, BYTES };

struct array {
    void *on; /* device memory */
    union {
        float *host; /* FLOATS, ACTIVATIONS */
        double *doubles;
        uint8_t *bytes;
    };
    size_t count;
    enum array_kind kind;
};

struct fixture {
    struct device *device;
    const struct device_ops *ops;
    const char *isa;
    char label[160]; /* of the case, for messages */
    uint64_t seed, case_number;
    double least;       /* arrays whose largest value is smaller are compared with this instead */
    int is_host_memory; /* device pointers are host pointers */
    struct array arrays[FIXTURE_ARRAY_MAX];
    int array_count;
    double *references[FIXTURE_ARRAY_MAX];
    int reference_count;
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

/* Opens the target; fixture_close closes it. */
void fixture_open(struct fixture *fixture, const struct target *target, uint64_t seed);
void fixture_close(struct fixture *fixture);
/* Checks and forgets the arrays of the case before and names the next. */
void fixture_begin(struct fixture *fixture, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* count values each, the fixture's until the next case. */
const struct array *fixture_uniform(struct fixture *fixture, enum array_kind kind, size_t count,
                                    double low, double high);
const struct array *fixture_normal(struct fixture *fixture, enum array_kind kind, size_t count);
const struct array *fixture_poisoned(struct fixture *fixture, enum array_kind kind, size_t count);
/* A copy of what the caller has; of floats rounded likewise, or bytes and doubles as they are. */
const struct array *fixture_copy(struct fixture *fixture, enum array_kind kind, const void *values,
                                 size_t count);
/* For references: on the host alone, 0. */
double *fixture_doubles(struct fixture *fixture, size_t count);

/* After a test has changed the host's side; floats are rounded as above. */
void array_push(const struct fixture *fixture, const struct array *array);
/* The device's side to the host's; waits for the device. */
void array_pull(const struct fixture *fixture, const struct array *array);

/* Pulls the array; |got - want| <= bound * max(max|want|, least) for every value; NaN never passes.
 * bound is for fp32 arithmetic: activations of 2 bytes get their own rounding on top. */
void expect_near(const struct fixture *fixture, const char *what, const struct array *got,
                 const double *want, double bound);

#endif
