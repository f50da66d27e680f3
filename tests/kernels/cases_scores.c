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

static void device_codes(struct fixture *f, const struct array *scores, int rows, int prototypes,
                         float epsilon, int iterations, const struct array *q)
{
    const size_t n = (size_t)prototypes;
    const struct array *max = fixture_poisoned(f, FLOATS, 1), *a = fixture_poisoned(f, FLOATS, n);
    const struct array *b = fixture_uniform(f, FLOATS, (size_t)rows, 1, 1);
    const struct array *y = fixture_poisoned(f, FLOATS, n);
    f->ops->scores_max(f->device, scores->on, rows, prototypes, max->on);
    f->ops->sinkhorn_exp(f->device, scores->on, rows, prototypes, max->on, epsilon, q->on);
    for (int round = 0; round < iterations; round++) {
        f->ops->sinkhorn_prototypes(f->device, q->on, b->on, rows, prototypes, y->on);
        f->ops->sinkhorn_samples(f->device, q->on, y->on, rows, prototypes, rows, a->on, b->on);
    }
    f->ops->sinkhorn_codes(f->device, q->on, a->on, rows, prototypes, q->on);
}

void case_sinkhorn(struct fixture *f, const struct case_shape *c)
{
    const size_t n = (size_t)c->rows * (size_t)c->channels;
    const struct array *scores = fixture_uniform(f, FLOATS, n, -1, 1);
    const struct array *q = fixture_poisoned(f, FLOATS, n), *max = fixture_poisoned(f, FLOATS, 1);
    double *want = fixture_doubles(f, n);
    double want_max = -INFINITY;
    for (size_t i = 0; i < n; i++)
        want_max = fmax(want_max, (double)scores->host[i]);
    f->ops->scores_max(f->device, scores->on, c->rows, c->channels, max->on);
    array_pull(f, max);
    assert_true((double)max->host[0] == want_max);
    reference_codes(scores->host, (size_t)c->rows, (size_t)c->channels, (double)0.05f, 3, want);
    device_codes(f, scores, c->rows, c->channels, 0.05f, 3, q);
    /* The exponent reaches 40 and carries its rounding of 40*6e-8 into each of 3 rounds. */
    expect_near(f, "codes", q, want, sum_bound);
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
        const struct array *scores = fixture_copy(f, FLOATS, golden_scores[0], 12);
        const struct array *q = fixture_poisoned(f, FLOATS, 12);
        device_codes(f, scores, 4, 3, 0.05f, iterations[i], q);
        expect_near(f, "codes", q, codes[i], sum_bound);
    }
}

/* The sum of losses lives on the device, where every slot adds to it. */
static double read_loss(struct fixture *f, const struct array *loss)
{
    array_pull(f, loss);
    assert_ok(f->ops->synchronize(f->device));
    return loss->doubles[0];
}

/* Crops 0 and 1 are assigned; every crop predicts the codes of the assigned crops but its own. */
void case_swav_loss_golden(struct fixture *f, const struct case_shape *c)
{
    const struct array *scores[3], *codes[2];
    const struct array *q = fixture_poisoned(f, FLOATS, 12), *ds = fixture_poisoned(f, FLOATS, 12);
    const struct array *loss = fixture_copy(f, DOUBLES, (double[1]){0}, 1);
    const float scale = 1.0f / (4 * 2 * 2); /* samples, other crops, assigned crops */
    (void)c;
    for (int i = 0; i < 3; i++)
        scores[i] = fixture_copy(f, FLOATS, golden_scores[i], 12);
    for (int i = 0; i < 2; i++) {
        codes[i] = fixture_poisoned(f, FLOATS, 12);
        device_codes(f, scores[i], 4, 3, 0.05f, 3, codes[i]);
        array_pull(f, codes[i]);
    }
    for (int crop = 0; crop < 3; crop++) {
        for (int i = 0; i < 12; i++)
            q->host[i] = (crop != 0 ? codes[0]->host[i] : 0) + (crop != 1 ? codes[1]->host[i] : 0);
        array_push(f, q);
        f->ops->swav_loss(f->device, scores[crop]->on, q->on, crop == 2 ? 2 : 1, 4, 3, 0.1f, scale,
                          loss->on, ds->on);
        expect_near(f, "dL/dS", ds, golden_grads[crop], sum_bound);
    }
    assert_true(fabs(read_loss(f, loss) * (double)scale - golden_loss) < 1e-5 * golden_loss);
}

void case_swav_loss(struct fixture *f, const struct case_shape *c)
{
    const size_t rows = (size_t)c->rows, n = (size_t)c->channels;
    const double temperature = (double)0.1f, weight = 2, scale = 0.25;
    const struct array *s = fixture_uniform(f, FLOATS, rows * n, -1, 1);
    const struct array *q = fixture_uniform(f, FLOATS, rows * n, 0, 1);
    const struct array *ds = fixture_poisoned(f, FLOATS, rows * n);
    const struct array *loss = fixture_copy(f, DOUBLES, (double[1]){3}, 1);
    double *want = fixture_doubles(f, rows * n);
    double want_loss = 0;
    for (size_t row = 0; row < rows; row++) {
        double codes = 0, sum = 0;
        for (size_t i = row * n; i < (row + 1) * n; i++) {
            codes += (double)q->host[i];
            sum += exp((double)s->host[i] / temperature);
        }
        for (size_t i = row * n; i < (row + 1) * n; i++) {
            q->host[i] = (float)((double)q->host[i] * weight / codes);
            const double log_p = (double)s->host[i] / temperature - log(sum);
            want_loss -= (double)q->host[i] * log_p;
            want[i] = (weight * exp(log_p) - (double)q->host[i]) * scale / temperature;
        }
    }
    array_push(f, q);
    f->ops->swav_loss(f->device, s->on, q->on, (float)weight, c->rows, c->channels, 0.1f,
                      (float)scale, loss->on, ds->on);
    expect_near(f, "ds", ds, want, sum_bound);
    const double got = read_loss(f, loss) - 3;
    if (!(fabs(got - want_loss) <= 1e-6 * (want_loss + c->rows)))
        fail_msg("%s, %s kernels: loss %.12g, reference %.12g", f->label, f->isa, got, want_loss);
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
        const double change = scale * ((double)g[i] + decay * w[i]);
        v[i] = (double)rule->momentum * v[i] + change;
        w[i] -=
            (double)rule->lr * (rule->is_nesterov ? change + (double)rule->momentum * v[i] : v[i]);
    }
}

/* The tables that say where tensors lie are device memory, as the arenas are. */
static struct optimizer_tensors tensors_on(struct fixture *f, int count, const size_t *offsets,
                                           const size_t *lengths, const uint8_t *frozen)
{
    const size_t bytes = (size_t)count * sizeof(size_t);
    return (struct optimizer_tensors){
        .count = count,
        .offset = fixture_copy(f, BYTES, offsets, bytes)->on,
        .length = fixture_copy(f, BYTES, lengths, bytes)->on,
        .is_frozen = fixture_copy(f, BYTES, frozen, (size_t)count)->on,
    };
}

static void optimizer_variant(struct fixture *f, size_t n, const struct optimizer_rule *rule)
{
    /* Four tensors: ordinary, zero weights, frozen, zero gradient. */
    const size_t lengths[4] = {n, 3, 5, 2}, offsets[4] = {0, n, n + 3, n + 8}, total = n + 10;
    const uint8_t frozen[4] = {0, 0, 1, 0};
    const struct array *w = fixture_normal(f, FLOATS, total), *g = fixture_normal(f, FLOATS, total);
    const struct array *v = fixture_normal(f, FLOATS, total);
    const struct array *norms = fixture_poisoned(f, FLOATS, 8);
    memset(w->host + n, 0, 3 * sizeof(float));
    memset(g->host + n + 8, 0, 2 * sizeof(float));
    array_push(f, w);
    array_push(f, g);
    double *want_w = fixture_doubles(f, total), *want_v = fixture_doubles(f, total);
    double *want_norms = fixture_doubles(f, 8);
    for (size_t i = 0; i < total; i++) {
        want_w[i] = (double)w->host[i];
        want_v[i] = (double)v->host[i];
    }
    for (size_t t = 0; t < 4; t++)
        for (size_t i = offsets[t]; i < offsets[t] + lengths[t]; i++) {
            want_norms[2 * t] += (double)w->host[i] * (double)w->host[i];
            want_norms[2 * t + 1] += (double)g->host[i] * (double)g->host[i];
        }
    struct optimizer_tensors tensors = tensors_on(f, 4, offsets, lengths, frozen);
    tensors.weights = w->on;
    tensors.grads = g->on;
    tensors.momentum = v->on;
    tensors.norms = norms->on;
    for (int step = 0; step < 3; step++) {
        f->ops->optimizer_norms(f->device, &tensors);
        if (step == 0)
            expect_near(f, "norms", norms, want_norms, sum_bound);
        f->ops->optimizer_rule(f->device, rule);
        f->ops->optimizer_update(f->device, &tensors);
        for (size_t t = 0; t < 4; t++)
            if (!frozen[t])
                reference_update(rule, lengths[t], g->host + offsets[t], want_w + offsets[t],
                                 want_v + offsets[t]);
    }
    expect_near(f, "weights", w, want_w, sum_bound);
    expect_near(f, "momentum", v, want_v, sum_bound);
}

void case_optimizer(struct fixture *f, const struct case_shape *c)
{
    for (int variant = 0; variant < 4; variant++) {
        const struct optimizer_rule rule = {.is_larc = variant == 1 || variant == 2,
                                            .is_clip = variant == 2,
                                            .lr = 0.3f,
                                            .momentum = 0.9f,
                                            .weight_decay = 1e-2f,
                                            .trust = 1e-3f,
                                            .eps = 1e-8f,
                                            .is_nesterov = variant == 3};
        fixture_begin(f, "optimizer length=%d variant=%d", c->channels, variant);
        optimizer_variant(f, (size_t)c->channels, &rule);
    }
}

static void expect_same(struct fixture *f, const char *what, const struct array *got,
                        const struct array *want)
{
    array_pull(f, got);
    array_pull(f, want);
    if (memcmp(got->host, want->host, want->count * sizeof(float)) != 0)
        fail_msg("%s, %s kernels: %s differ", f->label, f->isa, what);
}

/* The new momentum from two slices, cut in the midst of a tensor, then the move: the bits of the
 * update. The third tensor is frozen. */
static void halves_variant(struct fixture *f, size_t n, const struct optimizer_rule *rule)
{
    const size_t lengths[3] = {n, n + 3, 5}, offsets[3] = {0, n, 2 * n + 3}, total = 2 * n + 8;
    const size_t cuts[3] = {0, n + n / 3, total};
    const uint8_t frozen[3] = {0, 0, 1};
    const struct array *w = fixture_normal(f, FLOATS, total), *g = fixture_normal(f, FLOATS, total);
    const struct array *v = fixture_normal(f, FLOATS, total);
    const struct array *moved = fixture_copy(f, FLOATS, w->host, total);
    const struct array *advanced = fixture_copy(f, FLOATS, g->host, total);
    struct optimizer_tensors whole = tensors_on(f, 3, offsets, lengths, frozen);
    whole.weights = w->on;
    whole.grads = g->on;
    whole.momentum = v->on;
    whole.norms = fixture_poisoned(f, FLOATS, 6)->on;
    struct optimizer_tensors halves = whole;
    halves.weights = moved->on;
    halves.grads = advanced->on;
    halves.momentum = NULL;
    f->ops->optimizer_norms(f->device, &whole);
    f->ops->optimizer_rule(f->device, rule);
    for (int i = 0; i < 2; i++) {
        const size_t first = cuts[i], count = cuts[i + 1] - cuts[i];
        const struct array *held = fixture_copy(f, FLOATS, v->host + first, count);
        f->ops->optimizer_momentum(f->device, &halves, held->on, first, count);
    }
    f->ops->optimizer_move(f->device, &halves);
    f->ops->optimizer_update(f->device, &whole);
    expect_same(f, "momentum and its slices", advanced, v);
    expect_same(f, "weights of the update and its halves", moved, w);
}

void case_optimizer_halves(struct fixture *f, const struct case_shape *c)
{
    for (int is_larc = 0; is_larc < 2; is_larc++) {
        const struct optimizer_rule rule = {.is_larc = is_larc,
                                            .lr = 0.3f,
                                            .momentum = 0.9f,
                                            .weight_decay = 1e-2f,
                                            .trust = 1e-3f,
                                            .eps = 1e-8f};
        fixture_begin(f, "optimizer in halves, length=%d larc=%d", c->channels, is_larc);
        halves_variant(f, (size_t)c->channels, &rule);
    }
}

/* w=(3,4) and w=(0,0), g=(.6,-.8), wd=1e-5: the scaled gradient, read off the first momentum; that
 * of zero weights is the gradient itself. */
void case_larc_golden(struct fixture *f, const struct case_shape *c)
{
    static const float weights[2][2] = {{3, 4}, {0, 0}}, grads[2] = {.6f, -.8f};
    static const double want[2][2] = {{2.99999997e-3, -3.99959998e-3}, {.6, -.8}};
    static const size_t offset = 0, length = 2;
    static const uint8_t frozen = 0;
    const struct optimizer_rule rule = {1, 0, 9.6f, 0.9f, 1e-5f, 1e-3f, 1e-8f, 0};
    (void)c;
    for (int i = 0; i < 2; i++) {
        const struct array *momentum = fixture_copy(f, FLOATS, (float[2]){0}, 2);
        struct optimizer_tensors tensors = tensors_on(f, 1, &offset, &length, &frozen);
        tensors.weights = fixture_copy(f, FLOATS, weights[i], 2)->on;
        tensors.grads = fixture_copy(f, FLOATS, grads, 2)->on;
        tensors.momentum = momentum->on;
        tensors.norms = fixture_poisoned(f, FLOATS, 2)->on;
        f->ops->optimizer_norms(f->device, &tensors);
        f->ops->optimizer_rule(f->device, &rule);
        f->ops->optimizer_update(f->device, &tensors);
        expect_near(f, "LARC gradient", momentum, want[i], 2e-7);
    }
}

static void expect_nan(struct fixture *f, const char *what, const struct array *got, size_t at)
{
    array_pull(f, got);
    if (!isnan(got->host[at]))
        fail_msg("%s, %s kernels: %s hides the NaN of value %zu", f->label, f->isa, what, at);
}

/* A step is skipped when its loss or gradient is not finite, so nothing may hide a NaN on the way,
 * wherever it stands in a vector. */
static void nan_at(struct fixture *f, size_t at)
{
    enum { N = 40 };
    const struct array *x = fixture_uniform(f, ACTIVATIONS, N, 0, 0);
    const struct array *scores = fixture_uniform(f, FLOATS, N, 0, 0);
    const struct array *ones = fixture_uniform(f, FLOATS, N, 1, 1);
    const struct array *zeros = fixture_uniform(f, FLOATS, N, 0, 0);
    const struct array *y = fixture_uniform(f, ACTIVATIONS, N, 0, 0);
    const struct array *ds = fixture_uniform(f, FLOATS, N, 0, 0);
    const struct array *max = fixture_uniform(f, FLOATS, 1, 0, 0);
    const struct array *loss = fixture_copy(f, DOUBLES, (double[1]){0}, 1);
    x->host[at] = scores->host[at] = NAN;
    array_push(f, x);
    array_push(f, scores);
    const struct bn_apply apply = {.x = x->on,
                                   .scale = ones->on,
                                   .bias = zeros->on,
                                   .is_relu = 1,
                                   .rows = 1,
                                   .pixels_per_row = 1,
                                   .channels = N,
                                   .y = y->on};
    f->ops->bn_apply(f->device, &apply);
    expect_nan(f, "bn_apply with ReLU", y, at);
    for (int activation = 0; activation < 3; activation++) {
        f->ops->bias_activation(f->device, scores->on, NULL, 1, N, (enum activation)activation,
                                ds->on);
        expect_nan(f, "bias_activation", ds, at);
    }
    const struct max_pool pool = {
        .x = x->on, .rows = 1, .height = 2, .width = 2, .channels = N / 4, .y = y->on};
    f->ops->max_pool(f->device, &pool);
    expect_nan(f, "max_pool", y, at % (N / 4));
    f->ops->scores_max(f->device, scores->on, 1, N, max->on);
    expect_nan(f, "scores_max", max, 0);
    f->ops->swav_loss(f->device, scores->on, ones->on, 1, 1, N, 0.1f, 1, loss->on, ds->on);
    expect_nan(f, "swav_loss", ds, at);
    assert_true(isnan(read_loss(f, loss)));
}

void case_nan(struct fixture *f, const struct case_shape *c)
{
    (void)c;
    for (size_t at = 0; at < 40; at++) {
        fixture_begin(f, "NaN at %zu", at);
        nan_at(f, at);
    }
}
