/* kernel_sinkhorn.c - codes (Sinkhorn-Knopp) and the swapped-prediction loss.
 *
 * SwAV, Caron et al. 2020, eq. 2-5. P = exp(S/epsilon - max) never changes; the iteration moves two
 * vectors, a over prototypes and b over samples, so a step costs one pass over P. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/cpu/kernels.h"

#include <math.h>

#include "worker/device/cpu/dot.h"
#include "worker/device/cpu/sums.h"

/* NaN if any value is NaN. */
static float largest(const float *x, size_t n)
{
    vec max = vec_all(-INFINITY);
    vec_bits is_nan = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        vec v = vec_load(x + i);
        vec_bits is_more = (vec_bits)(v > max);
        is_nan |= (vec_bits)(v != v);
        max = (vec)(((vec_bits)v & is_more) | ((vec_bits)max & ~is_more));
    }
    float result = -INFINITY;
    for (int j = 0; j < LANES; j++) {
        if (is_nan[j])
            return NAN;
        result = max[j] > result ? max[j] : result;
    }
    for (; i < n; i++) {
        if (isnan(x[i]))
            return NAN;
        result = x[i] > result ? x[i] : result;
    }
    return result;
}

void KERNEL(scores_max)(struct device *device, const float *scores, int rows, int prototypes,
                        float *ret)
{
    (void)device;
    ret[0] = largest(scores, (size_t)rows * (size_t)prototypes);
}

void KERNEL(sinkhorn_exp)(struct device *device, const float *scores, int rows, int prototypes,
                          const float *max, float epsilon, float *p)
{
    (void)device;
    const size_t n = (size_t)rows * (size_t)prototypes;
    for (size_t i = 0; i < n; i += LANES) {
        const int lanes = dot_lanes(i, n);
        vec v = (vec_load_part(scores + i, lanes) - max[0]) / epsilon;
        vec_store_part(p + i, vec_exp(v), lanes);
    }
}

/* `rows` samples join the sums over prototypes [span, span + SPAN). */
struct prototype_job {
    const float *p, *b;
    int rows, prototypes, span;
    struct sums *sums;
};

ALWAYS_INLINE void prototype_strip(const struct prototype_job *job, int k, int width, int lanes)
{
    float *part = job->sums->part[0] + (k - job->span);
    vec sum[4];
    for (int i = 0; i < width; i++)
        sum[i] = vec_load(part + (ptrdiff_t)i * LANES);
    for (ptrdiff_t row = 0; row < job->rows; row++)
        for (int i = 0; i < width; i++)
            sum[i] += strip_load(job->p + row * job->prototypes + k, i, width, lanes) * job->b[row];
    for (int i = 0; i < width; i++)
        vec_store(part + (ptrdiff_t)i * LANES, sum[i]);
}

void KERNEL(sinkhorn_prototypes)(struct device *device, const float *p, const float *b, int rows,
                                 int prototypes, float *y)
{
    (void)device;
    for (int span = 0; span < prototypes; span += SPAN) {
        const int end = prototypes - span < SPAN ? prototypes : span + SPAN;
        struct sums acc;
        sums_init(&acc, end - span);
        for (int first = 0; first < rows; first += BLOCK) {
            const struct prototype_job job = {
                .p = p + (size_t)first * (size_t)prototypes,
                .b = b + first,
                .rows = rows - first < BLOCK ? rows - first : BLOCK,
                .prototypes = prototypes,
                .span = span,
                .sums = &acc,
            };
            STRIPS(prototype_strip, &job, span, end)
            sums_added(&acc, job.rows, end - span);
        }
        sums_flush(&acc, end - span);
        for (int k = span; k < end; k++)
            y[k] = (float)acc.total[0][k - span];
    }
}

void KERNEL(sinkhorn_samples)(struct device *device, const float *p, const float *y, int rows,
                              int prototypes, double total, float *a, float *b)
{
    (void)device;
    const float share = 1.0f / (float)prototypes;
    for (int k = 0; k < prototypes; k++)
        a[k] = y[k] == 0 ? 0 : share / y[k];
    for (int row = 0; row < rows; row++) {
        double mass = dot(p + (size_t)row * (size_t)prototypes, a, (size_t)prototypes);
        b[row] = mass == 0 ? 0 : (float)(1 / total / mass);
    }
}

void KERNEL(sinkhorn_codes)(struct device *device, const float *p, const float *a, int rows,
                            int prototypes, float *q)
{
    (void)device;
    const size_t n = (size_t)prototypes;
    for (int row = 0; row < rows; row++) {
        const float *from = p + (size_t)row * n;
        float *to = q + (size_t)row * n;
        const double mass = dot(from, a, n);
        const float scale = mass == 0 ? 0 : (float)(1 / mass);
        const float uniform = mass == 0 ? 1.0f / (float)prototypes : 0;
        for (size_t k = 0; k < n; k++)
            to[k] = from[k] * a[k] * scale + uniform;
    }
}

/* ds = exp((s - max)/temperature); returns its sum. */
static double softmax_exp(const float *s, size_t n, float max, float inverse_temperature, float *ds)
{
    double total = 0;
    for (size_t first = 0; first < n; first += DOT_BLOCK) {
        const size_t end = n - first < DOT_BLOCK ? n : first + DOT_BLOCK;
        vec sum = {0};
        for (size_t k = first; k < end; k += LANES) {
            const int lanes = dot_lanes(k, end);
            vec e = vec_exp((vec_load_part(s + k, lanes) - max) * inverse_temperature);
            vec_store_part(ds + k, e, lanes);
            sum += lanes == LANES ? e : vec_load_part(ds + k, lanes);
        }
        total += vec_sum(sum);
    }
    return total;
}

/* sum_k q (lse - s/temperature), with lse = max/temperature + log sum exp((s - max)/temperature):
 * each term is >= 0, so nothing cancels. */
void KERNEL(swav_loss)(struct device *device, const float *scores, const float *q,
                       float code_weight, int rows, int prototypes, float temperature,
                       float grad_scale, double *loss_sum, float *ds)
{
    (void)device;
    const size_t n = (size_t)prototypes;
    const float inverse_temperature = 1 / temperature, outer = grad_scale / temperature;
    double loss = 0;
    for (int row = 0; row < rows; row++) {
        const float *s = scores + (size_t)row * n, *codes = q + (size_t)row * n;
        float *to = ds + (size_t)row * n;
        const float max = largest(s, n);
        const double sum = softmax_exp(s, n, max, inverse_temperature, to);
        const double lse = (double)max * (double)inverse_temperature + log(sum);
        const float scale = (float)((double)code_weight / sum);
        double codes_sum = 0;
        for (size_t first = 0; first < n; first += DOT_BLOCK) {
            const size_t end = n - first < DOT_BLOCK ? n : first + DOT_BLOCK;
            vec part = {0};
            for (size_t k = first; k < end; k += LANES) {
                const int lanes = dot_lanes(k, end);
                vec code = vec_load_part(codes + k, lanes);
                part += code * ((float)lse - vec_load_part(s + k, lanes) * inverse_temperature);
                vec grad = (vec_load_part(to + k, lanes) * scale - code) * outer;
                vec_store_part(to + k, grad, lanes);
            }
            codes_sum += vec_sum(part);
        }
        loss += codes_sum;
    }
    *loss_sum += loss;
}
