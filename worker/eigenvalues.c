/* eigenvalues.c - eigenvalues of a small symmetric matrix. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/eigenvalues.h"

#include <float.h>
#include <math.h>

#include "common/mem.h"

enum { HALVINGS = 60 };

/* The vector v of the reflection 1 - v v^T that turns x into (ret, 0, ...); in place of x. */
static double reflect(double *x, int m)
{
    double square = 0;
    for (int i = 0; i < m; i++)
        square += x[i] * x[i];
    const double first = x[0], norm = sqrt(square);
    const double to = first > 0 ? -norm : norm;
    x[0] = first - to;
    const double length = sqrt((square - first * first) + x[0] * x[0]);
    for (int i = 0; i < m; i++)
        x[i] = length > 0 ? x[i] * M_SQRT2 / length : 0;
    return length > 0 ? to : first;
}

/* a = (1 - v v^T) a (1 - v v^T) for the lower half of an m x m corner, with
 * w = a v - (v^T a v)/2 v: a - v w^T - w v^T. */
static void apply(double *a, int stride, int m, const double *v, double *w)
{
    double inner = 0;
    for (int i = 0; i < m; i++)
        w[i] = 0;
    for (int i = 0; i < m; i++) {
        const double *row = a + (long)i * stride;
        double sum = row[i] * v[i];
        for (int j = 0; j < i; j++) {
            sum += row[j] * v[j];
            w[j] += row[j] * v[i];
        }
        w[i] += sum;
    }
    for (int i = 0; i < m; i++)
        inner += w[i] * v[i];
    for (int i = 0; i < m; i++)
        w[i] -= inner / 2 * v[i];
    for (int i = 0; i < m; i++) {
        double *row = a + (long)i * stride;
        for (int j = 0; j <= i; j++)
            row[j] -= v[i] * w[j] + w[i] * v[j];
    }
}

/* -> diagonal [n] and what stands beside it [n - 1]. */
static void tridiagonalize(double *matrix, int n, double *diagonal, double *beside)
{
    double *v = mem_array(2 * (size_t)n, sizeof(*v)), *w = v + n;
    for (int k = 0; k < n; k++) {
        const int m = n - k - 1;
        double *corner = matrix + (long)(k + 1) * n + k + 1;
        diagonal[k] = matrix[(long)k * n + k];
        for (int i = 0; i < m; i++)
            v[i] = matrix[(long)(k + 1 + i) * n + k];
        if (m > 0)
            beside[k] = reflect(v, m);
        if (m > 0)
            apply(corner, n, m, v, w);
    }
    mem_free(v);
}

/* Eigenvalues below x: signs of the leading minors of the tridiagonal matrix minus x. */
static int count_below(const double *diagonal, const double *beside, int n, double x)
{
    int count = 0;
    double ratio = 1;
    for (int i = 0; i < n; i++) {
        const double square = i > 0 ? beside[i - 1] * beside[i - 1] : 0;
        ratio = diagonal[i] - x - (square > 0 ? square / ratio : 0);
        if (fabs(ratio) < DBL_MIN)
            ratio = -DBL_MIN;
        count += ratio < 0;
    }
    return count;
}

void eigenvalues_symmetric(double *matrix, int n, double *ret_values)
{
    double *diagonal = mem_array(2 * (size_t)n, sizeof(*diagonal)), *beside = diagonal + n;
    double reach = 0; /* no eigenvalue is farther from 0: Gershgorin */
    tridiagonalize(matrix, n, diagonal, beside);
    for (int i = 0; i < n; i++) {
        const double before = i > 0 ? fabs(beside[i - 1]) : 0;
        const double after = i + 1 < n ? fabs(beside[i]) : 0;
        reach = fmax(reach, fabs(diagonal[i]) + before + after);
    }
    for (int k = 0; k < n; k++) {
        double low = k > 0 ? ret_values[k - 1] : -reach, high = reach;
        for (int i = 0; i < HALVINGS && high - low > 1e-13 * reach; i++) {
            const double middle = low + (high - low) / 2;
            if (count_below(diagonal, beside, n, middle) > k)
                high = middle;
            else
                low = middle;
        }
        ret_values[k] = low + (high - low) / 2;
    }
    mem_free(diagonal);
}
