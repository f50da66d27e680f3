/* cases_scores.c - Sinkhorn, loss and optimizer against fp64 loops and golden values. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/kernels/cases.h"

#include <math.h>

static const double sum_bound = 1e-5;

/* As SwAV's code does it: Q = exp(S/eps), normalise prototypes and samples in turn. */
static void reference_codes(const float *scores, size_t rows, size_t n, double epsilon,
                            int iterations, double *q)
{
    double max = -INFINITY;
    for (size_t i = 0; i < rows * n; i++)
        max = fmax(max, (double)scores[i]);
    for (size_t i = 0; i < rows * n; i++)
        q[i] = exp(((double)scores[i] - max) / epsilon);
    for (int round = 0; round < iterations; round++) {
        for (size_t k = 0; k < n; k++) {
            double sum = 0;
            for (size_t row = 0; row < rows; row++)
                sum += q[row * n + k];
            for (size_t row = 0; row < rows; row++)
                q[row * n + k] /= sum;
        }
        for (size_t row = 0; row < rows; row++) {
            double sum = 0;
            for (size_t k = 0; k < n; k++)
                sum += q[row * n + k];
            for (size_t k = 0; k < n; k++)
                q[row * n + k] /= sum;
        }
    }
}

static void device_codes(struct fixture *f, const float *scores, int rows, int prototypes,
                         float epsilon, int iterations, float *q)
{
    float *max = fixture_poisoned(f, 1), *a = fixture_poisoned(f, (size_t)prototypes);
    float *b = fixture_uniform(f, (size_t)rows, 1, 1), *y = fixture_poisoned(f, (size_t)prototypes);
    f->ops->scores_max(f->device, scores, rows, prototypes, max);
    f->ops->sinkhorn_exp(f->device, scores, rows, prototypes, max, epsilon, q);
    for (int round = 0; round < iterations; round++) {
        f->ops->sinkhorn_prototypes(f->device, q, b, rows, prototypes, y);
        f->ops->sinkhorn_samples(f->device, q, y, rows, prototypes, rows, a, b);
    }
    f->ops->sinkhorn_codes(f->device, q, a, rows, prototypes, q);
}

void case_sinkhorn(struct fixture *f, const struct case_shape *c)
{
    const size_t n = (size_t)c->rows * (size_t)c->channels;
    float *scores = fixture_uniform(f, n, -1, 1), *q = fixture_poisoned(f, n);
    double *want = fixture_doubles(f, n);
    float max = NAN;
    double want_max = -INFINITY;
    for (size_t i = 0; i < n; i++)
        want_max = fmax(want_max, (double)scores[i]);
    f->ops->scores_max(f->device, scores, c->rows, c->channels, &max);
    assert_true((double)max == want_max);
    reference_codes(scores, (size_t)c->rows, (size_t)c->channels, (double)0.05f, 3, want);
    device_codes(f, scores, c->rows, c->channels, 0.05f, 3, q);
    /* The exponent reaches 40 and carries its rounding of 40*6e-8 into each of 3 rounds. */
    expect_near(f, "codes", q, want, n, sum_bound);
}

/* Scores and results of facts worked out in fp64 for SwAV's equations: 4 samples, 3 prototypes. */
static const float golden_scores[3][12] = {
    {.9f, .1f, -.3f, .8f, .2f, 0, .7f, -.1f, .4f, -.2f, .5f, .3f},
    {.6f, .3f, -.2f, .9f, 0, .1f, .2f, -.3f, .8f, .1f, .4f, .2f},
    {.5f, .2f, 0, .4f, .4f, .1f, .3f, .1f, .2f, 0, .6f, -.1f},
};
static const double golden_loss = 1.225707672898;
static const double golden_grads[3][12] = {
    {+0.58060692, -0.58061072, +0.00000380, -0.00170292, +0.00149439, +0.00020852, +0.59516815,
     +0.00019954, -0.59536769, +0.00050129, -0.07492639, +0.07442510},
    {-0.02874964, +0.02855172, +0.00019792, +0.05798291, -0.05348308, -0.00449983, -0.00185070,
     +0.00000453, +0.00184617, +0.02625629, -0.04711529, +0.02085900},
    {+0.51502597, -0.52299602, +0.00797005, -0.58185996, +0.55620878, +0.02565118, +0.82815464,
     +0.11253222, -0.94068686, +0.00308768, +0.04630625, -0.04939393},
};

void case_sinkhorn_golden(struct fixture *f, const struct case_shape *c)
{
    static const int iterations[] = {1, 3, 10};
    static const double codes[3][12] = {
        {0.9996133865, 0.0003857691, 0.0000008444, 0.9769551692, 0.0205848631, 0.0024599677,
         0.0177107431, 0.0000068349, 0.9822824220, 0.0000000002, 0.8932529500, 0.1067470497},
        {0.9982692510, 0.0017279662, 0.0000027828, 0.9067686853, 0.0856962857, 0.0075350290,
         0.0054337092, 0.0000094055, 0.9945568852, 0.0000000000, 0.9191792048, 0.0808207951},
        {0.9824903640, 0.0174624742, 0.0000471618, 0.4731480925, 0.4591477902, 0.0677041174,
         0.0003171736, 0.0000056373, 0.9996771891, 0.0000000000, 0.8714930772, 0.1285069227},
    };
    (void)c;
    for (int i = 0; i < 3; i++) {
        float *q = fixture_poisoned(f, 12);
        device_codes(f, golden_scores[0], 4, 3, 0.05f, iterations[i], q);
        expect_near(f, "codes", q, codes[i], 12, sum_bound);
    }
}

/* Crops 0 and 1 are assigned; every crop predicts the codes of the assigned crops but its own. */
void case_swav_loss_golden(struct fixture *f, const struct case_shape *c)
{
    float *codes[2], *q = fixture_poisoned(f, 12), *ds = fixture_poisoned(f, 12);
    double loss = 0;
    const float scale = 1.0f / (4 * 2 * 2); /* samples, other crops, assigned crops */
    (void)c;
    for (int i = 0; i < 2; i++) {
        codes[i] = fixture_poisoned(f, 12);
        device_codes(f, golden_scores[i], 4, 3, 0.05f, 3, codes[i]);
    }
    for (int crop = 0; crop < 3; crop++) {
        for (int i = 0; i < 12; i++)
            q[i] = (crop != 0 ? codes[0][i] : 0) + (crop != 1 ? codes[1][i] : 0);
        f->ops->swav_loss(f->device, golden_scores[crop], q, crop == 2 ? 2 : 1, 4, 3, 0.1f, scale,
                          &loss, ds);
        assert_ok(f->ops->synchronize(f->device));
        expect_near(f, "dL/dS", ds, golden_grads[crop], 12, sum_bound);
    }
    assert_true(fabs(loss * (double)scale - golden_loss) < 1e-5 * golden_loss);
}

void case_swav_loss(struct fixture *f, const struct case_shape *c)
{
    const size_t rows = (size_t)c->rows, n = (size_t)c->channels;
    const double temperature = (double)0.1f, weight = 2, scale = 0.25;
    float *s = fixture_uniform(f, rows * n, -1, 1), *q = fixture_uniform(f, rows * n, 0, 1);
    float *ds = fixture_poisoned(f, rows * n);
    double *want = fixture_doubles(f, rows * n);
    double want_loss = 0, loss = 3;
    for (size_t row = 0; row < rows; row++) {
        double codes = 0, sum = 0;
        for (size_t i = row * n; i < (row + 1) * n; i++) {
            codes += (double)q[i];
            sum += exp((double)s[i] / temperature);
        }
        for (size_t i = row * n; i < (row + 1) * n; i++) {
            q[i] = (float)((double)q[i] * weight / codes);
            const double log_p = (double)s[i] / temperature - log(sum);
            want_loss -= (double)q[i] * log_p;
            want[i] = (weight * exp(log_p) - (double)q[i]) * scale / temperature;
        }
    }
    f->ops->swav_loss(f->device, s, q, (float)weight, c->rows, c->channels, 0.1f, (float)scale,
                      &loss, ds);
    assert_ok(f->ops->synchronize(f->device));
    expect_near(f, "ds", ds, want, rows * n, sum_bound);
    if (!(fabs(loss - 3 - want_loss) <= 1e-6 * (want_loss + c->rows)))
        fail_msg("%s, %s kernels: loss %.12g, reference %.12g", f->label, f->isa, loss - 3,
                 want_loss);
}

/* apex LARC around torch SGD, tensor by tensor. */
static void reference_update(const struct optimizer_rule *rule, size_t n, const float *g, double *w,
                             double *v)
{
    double weight = 0, grad = 0, scale = 1, decay = (double)rule->weight_decay;
    for (size_t i = 0; i < n; i++) {
        weight += w[i] * w[i];
        grad += (double)g[i] * (double)g[i];
    }
    if (rule->is_larc && weight > 0 && grad > 0) {
        scale = (double)rule->trust * sqrt(weight) /
                (sqrt(grad) + decay * sqrt(weight) + (double)rule->eps);
        if (rule->is_clip)
            scale = fmin(scale / (double)rule->lr, 1);
    } else if (rule->is_larc) {
        decay = 0;
    }
    for (size_t i = 0; i < n; i++) {
        v[i] = (double)rule->momentum * v[i] + scale * ((double)g[i] + decay * w[i]);
        w[i] -= (double)rule->lr * v[i];
    }
}

static void optimizer_variant(struct fixture *f, size_t n, const struct optimizer_rule *rule)
{
    /* Four tensors: ordinary, zero weights, frozen, zero gradient. */
    const size_t lengths[4] = {n, 3, 5, 2}, offsets[4] = {0, n, n + 3, n + 8}, total = n + 10;
    const uint8_t frozen[4] = {0, 0, 1, 0};
    float *w = fixture_normal(f, total), *g = fixture_normal(f, total);
    float *v = fixture_normal(f, total), *norms = fixture_poisoned(f, 8);
    memset(w + n, 0, 3 * sizeof(*w));
    memset(g + n + 8, 0, 2 * sizeof(*g));
    double *want_w = fixture_doubles(f, total), *want_v = fixture_doubles(f, total);
    double *want_norms = fixture_doubles(f, 8);
    for (size_t i = 0; i < total; i++) {
        want_w[i] = (double)w[i];
        want_v[i] = (double)v[i];
    }
    for (size_t t = 0; t < 4; t++)
        for (size_t i = offsets[t]; i < offsets[t] + lengths[t]; i++) {
            want_norms[2 * t] += (double)w[i] * (double)w[i];
            want_norms[2 * t + 1] += (double)g[i] * (double)g[i];
        }
    const struct optimizer_tensors tensors = {4, offsets, lengths, w, g, v, norms, frozen};
    for (int step = 0; step < 3; step++) {
        f->ops->optimizer_norms(f->device, &tensors);
        if (step == 0)
            expect_near(f, "norms", norms, want_norms, 8, sum_bound);
        f->ops->optimizer_update(f->device, &tensors, rule);
        for (size_t t = 0; t < 4; t++)
            if (!frozen[t])
                reference_update(rule, lengths[t], g + offsets[t], want_w + offsets[t],
                                 want_v + offsets[t]);
    }
    expect_near(f, "weights", w, want_w, total, sum_bound);
    expect_near(f, "momentum", v, want_v, total, sum_bound);
}

void case_optimizer(struct fixture *f, const struct case_shape *c)
{
    for (int variant = 0; variant < 3; variant++) {
        const struct optimizer_rule rule = {.is_larc = variant > 0,
                                            .is_clip = variant > 1,
                                            .lr = 0.3f,
                                            .momentum = 0.9f,
                                            .weight_decay = 1e-2f,
                                            .trust = 1e-3f,
                                            .eps = 1e-8f};
        fixture_begin(f, "optimizer length=%d variant=%d", c->channels, variant);
        optimizer_variant(f, (size_t)c->channels, &rule);
    }
}

/* w=(3,4) g=(.6,-.8) wd=1e-5: the scaled gradient, read off the first momentum. */
void case_larc_golden(struct fixture *f, const struct case_shape *c)
{
    float w[4] = {3, 4, 0, 0}, g[4] = {.6f, -.8f, .6f, -.8f}, v[4] = {0}, norms[4];
    const size_t offsets[2] = {0, 2}, lengths[2] = {2, 2};
    const uint8_t frozen[2] = {0, 0};
    const double want[2] = {2.99999997e-3, -3.99959998e-3}, raw[2] = {.6, -.8};
    const struct optimizer_tensors tensors = {2, offsets, lengths, w, g, v, norms, frozen};
    const struct optimizer_rule rule = {1, 0, 9.6f, 0.9f, 1e-5f, 1e-3f, 1e-8f};
    (void)c;
    f->ops->optimizer_norms(f->device, &tensors);
    f->ops->optimizer_update(f->device, &tensors, &rule);
    expect_near(f, "LARC gradient", v, want, 2, 2e-7);
    expect_near(f, "gradient of zero weights", v + 2, raw, 2, 2e-7);
}
