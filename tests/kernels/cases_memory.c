/* cases_memory.c - copies, and sums that come out the same in any order. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/kernels/cases.h"

#include <math.h>

static size_t total_of(const struct case_shape *c)
{
    return (size_t)c->rows * (size_t)c->channels;
}

/* Of a run in the middle: what stands before and behind stays. */
void case_copy(struct fixture *f, const struct case_shape *c)
{
    const size_t n = total_of(c), from = n / 3, count = n - from - n / 5;
    const struct array *x = fixture_normal(f, FLOATS, n), *y = fixture_normal(f, FLOATS, n);
    double *want = fixture_doubles(f, n);
    for (size_t i = 0; i < n; i++)
        want[i] = (double)(i >= from && i < from + count ? x : y)->host[i];
    f->ops->copy(f->device, (float *)y->on + from, (const float *)x->on + from,
                 count * sizeof(float));
    array_pull(f, y);
    for (size_t i = 0; i < n; i++)
        assert_true((double)y->host[i] == want[i]);
}

/* What is not finite stays so: an overflow must be seen after the loss's scale is taken out. */
void case_multiply(struct fixture *f, const struct case_shape *c)
{
    const size_t n = total_of(c);
    const struct array *x = fixture_normal(f, FLOATS, n);
    double *want = fixture_doubles(f, n);
    for (size_t i = 0; i < n; i++)
        want[i] = (double)(x->host[i] * 0x1p-16f);
    f->ops->multiply(f->device, x->on, n, 0x1p-16f);
    array_pull(f, x);
    for (size_t i = 0; i < n; i++)
        assert_true((double)x->host[i] == want[i]);
    x->host[n - 1] = INFINITY;
    array_push(f, x);
    f->ops->multiply(f->device, x->on, n, 0x1p-16f);
    array_pull(f, x);
    assert_false(isfinite(x->host[n - 1]));
}

enum { ADDENDS = 64 };

/* Sizes from 2^-60 to 2^19 beside each other: what a sum of floats forgets, and what lies below the
 * finer grid. */
static const struct array *make_addend(struct fixture *f, size_t n, int number)
{
    const struct array *x = fixture_uniform(f, FLOATS, n, -1, 1);
    for (size_t i = 0; i < n; i++)
        x->host[i] = ldexpf(x->host[i], (int)((i * 7 + (size_t)number * 13) % 80) - 60);
    array_push(f, x);
    return x;
}

static void add_in_order(struct fixture *f, const struct array *const *x, const struct array *wide,
                         int is_backwards)
{
    for (int a = 0; a < ADDENDS; a++)
        f->ops->wide_add(f->device, x[is_backwards ? ADDENDS - 1 - a : a]->on, wide->count / 2,
                         a == 0, wide->on);
    array_pull(f, wide);
}

/* Any order and any grouping give the same bits; the sum is right to half a unit of a float, for
 * what is rounded off below 2^-62 can at most tip it. */
void case_wide(struct fixture *f, const struct case_shape *c)
{
    const size_t n = total_of(c);
    const struct array *x[ADDENDS / 2], *all[ADDENDS];
    const struct array *forwards = fixture_poisoned(f, DOUBLES, 2 * n),
                       *backwards = fixture_poisoned(f, DOUBLES, 2 * n);
    const struct array *halves = fixture_poisoned(f, DOUBLES, 2 * n),
                       *got = fixture_poisoned(f, FLOATS, n);
    double *want = fixture_doubles(f, n);
    for (int a = 0; a < ADDENDS / 2; a++)
        x[a] = make_addend(f, n, a);
    for (int a = 0; a < ADDENDS; a++) /* each twice: what a second member would add */
        all[a] = x[a % (ADDENDS / 2)];
    add_in_order(f, all, forwards, 0);
    add_in_order(f, all, backwards, 1);
    assert_memory_equal(forwards->doubles, backwards->doubles, 2 * n * sizeof(double));

    /* As two members do it: each its own sum, then plain addition of doubles. */
    f->ops->zero(f->device, halves->on, 2 * n * sizeof(double));
    for (int a = 0; a < ADDENDS / 2; a++)
        f->ops->wide_add(f->device, x[a]->on, n, 0, halves->on);
    array_pull(f, halves);
    for (size_t i = 0; i < 2 * n; i++)
        assert_true(halves->doubles[i] + halves->doubles[i] == forwards->doubles[i]);

    f->ops->wide_round(f->device, forwards->on, n, got->on);
    array_pull(f, got);
    for (size_t i = 0; i < n; i++) {
        long double sum = 0;
        for (int a = 0; a < ADDENDS; a++)
            sum += (long double)all[a]->host[i];
        want[i] = (double)sum;
        const double unit = fabs((double)nextafterf((float)want[i], INFINITY) - want[i]);
        if (!(fabs((double)got->host[i] - want[i]) <= unit + ADDENDS * 0x1p-62))
            fail_msg("%s, %s kernels, seed=%llu: sum[%zu] is %.9g, reference %.9g", f->label,
                     f->isa, (unsigned long long)f->seed, i, (double)got->host[i], want[i]);
    }
}

/* Nothing that is not finite may hide in a sum: the step would be taken. */
void case_wide_not_finite(struct fixture *f, const struct case_shape *c)
{
    static const float values[3] = {NAN, INFINITY, -INFINITY};
    const struct array *x = fixture_copy(f, FLOATS, values, 3),
                       *wide = fixture_poisoned(f, DOUBLES, 6);
    const struct array *got = fixture_copy(f, FLOATS, (float[3]){0}, 3);
    (void)c;
    f->ops->zero(f->device, wide->on, 6 * sizeof(double));
    f->ops->wide_add(f->device, x->on, 3, 0, wide->on);
    f->ops->wide_round(f->device, wide->on, 3, got->on);
    array_pull(f, got);
    for (int i = 0; i < 3; i++)
        assert_false(isfinite(got->host[i]));
}
