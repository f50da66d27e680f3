/* test_gradients.c - every differentiable operation against finite differences of its own forward.
 *
 * For a scalar L = <w, f(x)> and a random direction d, (L(x + h d) - L(x - h d)) / 2h must be
 * <dL/dx, d>. Forward runs in fp32, sums are taken in fp64: with h = 1/8192 the rounding of values
 * near 1 costs about 3e-8 / h = 3e-4 of the gradient's size, and as much again the few ReLUs that
 * change sides on the way. TOLERANCE = 4e-3 passes both; a wrong sign or a lost term is far more.
 */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/kernels/fixture.h"

#include <math.h>

#include "common/random.h"
#include "tests/kernels/reference.h"

static const double step = 1.0 / 8192, tolerance = 4e-3;

/* One differentiable function of one input; the rest of its world is in `context`. */
struct function {
    const char *name;
    double (*loss)(struct fixture *fixture, void *context, const float *x);
    void *context;
    size_t count;
    const float *x;
    const float *grad; /* dL/dx at x, as the operations under test say */
};

static double inner(const float *a, const float *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

/* Directions: along the gradient, where a lost term or sign shows most, and three random ones. */
static void check_gradient(struct fixture *f, const struct function *function)
{
    const size_t n = function->count;
    const double size = sqrt(inner(function->grad, function->grad, n));
    assert_true(size > 0);
    for (int trial = 0; trial < 4; trial++) {
        float *d = fixture_normal(f, n), *moved = fixture_poisoned(f, n);
        if (trial == 0)
            memcpy(d, function->grad, n * sizeof(*d));
        const double length = sqrt(inner(d, d, n));
        /* Each value moves by about `step`. */
        const double scale = sqrt((double)n) / length;
        double side[2];
        for (int s = 0; s < 2; s++) {
            for (size_t i = 0; i < n; i++) {
                d[i] = s == 0 ? (float)((double)d[i] * scale) : d[i];
                moved[i] = function->x[i] + (float)((s == 0 ? step : -step) * (double)d[i]);
            }
            side[s] = function->loss(f, function->context, moved);
        }
        const double slope = (side[0] - side[1]) / (2 * step);
        const double claimed = inner(function->grad, d, n);
        /* Against the gradient's size along a direction of this length. */
        if (!(fabs(slope - claimed) <= tolerance * size * sqrt((double)n)))
            fail_msg("%s, %s kernels, seed=%llu: slope %.9g along direction %d, gradient says %.9g",
                     function->name, f->isa, (unsigned long long)f->seed, slope, trial, claimed);
    }
}

/* --- convolution: linear in x and in w */

struct conv_context {
    struct conv_shape shape;
    struct conv *conv;
    const float *x, *w, *dy;
    float *y;
};

static double conv_loss_of_x(struct fixture *f, void *context, const float *x)
{
    struct conv_context *c = context;
    f->ops->conv_weights(c->conv, c->w);
    f->ops->conv_forward(c->conv, x, c->y);
    return inner(c->y, c->dy, reference_output_count(&c->shape));
}

static double conv_loss_of_w(struct fixture *f, void *context, const float *w)
{
    struct conv_context *c = context;
    f->ops->conv_weights(c->conv, w);
    f->ops->conv_forward(c->conv, c->x, c->y);
    return inner(c->y, c->dy, reference_output_count(&c->shape));
}

static void gradient_of_conv(struct fixture *f)
{
    static const struct conv_shape shapes[] = {
        {2, 7, 7, 24, 24, 3, 2, 3, 1},
        {1, 6, 5, 32, 32, 3, 1, 2, 1},
        {2, 4, 4, 7, 9, 1, 1, 1, 1},
    };
    for (size_t i = 0; i < sizeof(shapes) / sizeof(*shapes); i++) {
        fixture_begin(f, "conv %zu", i);
        const size_t x_count = reference_input_count(&shapes[i]);
        const size_t w_count = reference_weight_count(&shapes[i]);
        const size_t y_count = reference_output_count(&shapes[i]);
        struct conv_context c = {.shape = shapes[i]};
        c.x = fixture_normal(f, x_count);
        c.w = fixture_normal(f, w_count);
        c.dy = fixture_normal(f, y_count);
        c.y = fixture_poisoned(f, y_count);
        float *dx = fixture_poisoned(f, x_count), *dw = fixture_poisoned(f, w_count);
        assert_ok(f->ops->conv_create(f->device, &c.shape, &c.conv));
        f->ops->conv_weights(c.conv, c.w);
        f->ops->conv_backward_data(c.conv, c.dy, dx);
        f->ops->conv_backward_weights(c.conv, c.x, c.dy, dw, 0);
        check_gradient(f, &(struct function){"conv dx", conv_loss_of_x, &c, x_count, c.x, dx});
        check_gradient(f, &(struct function){"conv dw", conv_loss_of_w, &c, w_count, c.w, dw});
        f->ops->conv_destroy(c.conv);
    }
}

/* --- SE(ReLU(BN(x))) with pooling, as a RegNetY block uses it: L = <dy, y*s> + <dp, pooled> */

enum {
    BN_ROWS = 3,
    BN_PIXELS = 21,
    BN_CHANNELS = 24,
    BN_TOTAL = BN_ROWS * BN_PIXELS * BN_CHANNELS
};

struct bn_context {
    const float *x, *gamma, *beta, *shift, *s, *dy, *dpooled;
    float *sums, *mean, *invstd, *scale, *bias, *batch_mean, *batch_var, *y, *pooled, *scaled;
};

static double bn_loss(struct fixture *f, const struct bn_context *c, const float *x,
                      const float *gamma, const float *s)
{
    const struct bn_finalize finalize = {
        c->sums,     c->shift, BN_ROWS * BN_PIXELS, gamma,    c->beta, 1e-5f,
        BN_CHANNELS, c->mean,  c->invstd,           c->scale, c->bias, c->batch_mean,
        c->batch_var};
    const struct bn_apply apply = {.x = x,
                                   .scale = c->scale,
                                   .bias = c->bias,
                                   .is_relu = 1,
                                   .rows = BN_ROWS,
                                   .pixels_per_row = BN_PIXELS,
                                   .channels = BN_CHANNELS,
                                   .y = c->y,
                                   .pooled = c->pooled};
    f->ops->bn_sums(f->device, x, (size_t)BN_ROWS * BN_PIXELS, BN_CHANNELS, c->shift, c->sums);
    f->ops->bn_finalize(f->device, &finalize);
    f->ops->bn_apply(f->device, &apply);
    f->ops->row_scale(f->device, c->y, s, BN_ROWS, BN_PIXELS, BN_CHANNELS, c->scaled);
    return inner(c->scaled, c->dy, BN_TOTAL) +
           inner(c->pooled, c->dpooled, (size_t)BN_ROWS * BN_CHANNELS);
}

static double bn_loss_of_x(struct fixture *f, void *context, const float *x)
{
    const struct bn_context *c = context;
    return bn_loss(f, c, x, c->gamma, c->s);
}

static double bn_loss_of_gamma(struct fixture *f, void *context, const float *gamma)
{
    const struct bn_context *c = context;
    return bn_loss(f, c, c->x, gamma, c->s);
}

static double bn_loss_of_s(struct fixture *f, void *context, const float *s)
{
    const struct bn_context *c = context;
    return bn_loss(f, c, c->x, c->gamma, s);
}

static void gradient_of_bn_relu_se_and_pooling(struct fixture *f)
{
    fixture_begin(f, "bn");
    struct bn_context c = {0};
    c.x = fixture_normal(f, BN_TOTAL);
    c.gamma = fixture_uniform(f, BN_CHANNELS, 0.5, 1.5);
    c.beta = fixture_normal(f, BN_CHANNELS);
    c.shift = fixture_normal(f, BN_CHANNELS);
    c.s = fixture_uniform(f, (size_t)BN_ROWS * BN_CHANNELS, 0.5, 1.5);
    c.dy = fixture_normal(f, BN_TOTAL);
    c.dpooled = fixture_normal(f, (size_t)BN_ROWS * BN_CHANNELS);
    c.sums = fixture_poisoned(f, (size_t)2 * BN_CHANNELS);
    float **const outputs[] = {&c.mean, &c.invstd, &c.scale, &c.bias, &c.batch_mean, &c.batch_var};
    for (int i = 0; i < 6; i++)
        *outputs[i] = fixture_poisoned(f, BN_CHANNELS);
    c.y = fixture_poisoned(f, BN_TOTAL);
    c.pooled = fixture_poisoned(f, (size_t)BN_ROWS * BN_CHANNELS);
    c.scaled = fixture_poisoned(f, BN_TOTAL);
    bn_loss(f, &c, c.x, c.gamma, c.s);

    float *ds = fixture_poisoned(f, (size_t)BN_ROWS * BN_CHANNELS);
    float *row_add = fixture_poisoned(f, (size_t)BN_ROWS * BN_CHANNELS);
    float *dz = fixture_poisoned(f, BN_TOTAL), *dx = fixture_poisoned(f, BN_TOTAL);
    float *sums = fixture_poisoned(f, (size_t)2 * BN_CHANNELS);
    for (int i = 0; i < BN_ROWS * BN_CHANNELS; i++)
        row_add[i] = c.dpooled[i] / BN_PIXELS;
    const struct bn_backward backward = {.dy = c.dy,
                                         .row_scale = c.s,
                                         .row_add = row_add,
                                         .y = c.y,
                                         .x = c.x,
                                         .mean = c.mean,
                                         .invstd = c.invstd,
                                         .rows = BN_ROWS,
                                         .pixels_per_row = BN_PIXELS,
                                         .channels = BN_CHANNELS,
                                         .dz = dz,
                                         .sums = sums};
    f->ops->row_scale_backward(f->device, c.dy, c.y, BN_ROWS, BN_PIXELS, BN_CHANNELS, ds);
    f->ops->bn_backward_sums(f->device, &backward);
    f->ops->bn_backward_apply(f->device, dz, c.x, c.mean, c.invstd, c.gamma, sums,
                              BN_ROWS * BN_PIXELS, (size_t)BN_ROWS * BN_PIXELS, BN_CHANNELS, dx);
    check_gradient(f, &(struct function){"bn dx", bn_loss_of_x, &c, BN_TOTAL, c.x, dx});
    check_gradient(f, &(struct function){"bn dgamma", bn_loss_of_gamma, &c, BN_CHANNELS, c.gamma,
                                         sums + BN_CHANNELS});
    check_gradient(
        f, &(struct function){"se ds", bn_loss_of_s, &c, (size_t)BN_ROWS * BN_CHANNELS, c.s, ds});
}

/* --- rows: L = <dy, f(x)> */

enum { ROWS = 9, COLUMNS = 37, ROW_TOTAL = ROWS * COLUMNS };

struct row_context {
    enum activation activation;
    const float *x, *bias, *dy, *codes;
    float *y, *norms, *ds;
};

static double activation_loss_of_x(struct fixture *f, void *context, const float *x)
{
    struct row_context *c = context;
    f->ops->bias_activation(f->device, x, c->bias, ROWS, COLUMNS, c->activation, c->y);
    return inner(c->y, c->dy, ROW_TOTAL);
}

static double activation_loss_of_bias(struct fixture *f, void *context, const float *bias)
{
    struct row_context *c = context;
    f->ops->bias_activation(f->device, c->x, bias, ROWS, COLUMNS, c->activation, c->y);
    return inner(c->y, c->dy, ROW_TOTAL);
}

static struct row_context row_context_make(struct fixture *f)
{
    return (struct row_context){
        .x = fixture_normal(f, ROW_TOTAL),
        .bias = fixture_normal(f, COLUMNS),
        .dy = fixture_normal(f, ROW_TOTAL),
        .y = fixture_poisoned(f, ROW_TOTAL),
        .norms = fixture_poisoned(f, ROWS),
        .ds = fixture_poisoned(f, ROW_TOTAL),
    };
}

static void gradient_of_bias_and_activation(struct fixture *f)
{
    for (int activation = 0; activation < 3; activation++) {
        fixture_begin(f, "activation %d", activation);
        struct row_context c = row_context_make(f);
        c.activation = (enum activation)activation;
        float *dx = fixture_poisoned(f, ROW_TOTAL), *dbias = fixture_poisoned(f, COLUMNS);
        activation_loss_of_x(f, &c, c.x);
        f->ops->bias_activation_backward(f->device, c.dy, c.y, ROWS, COLUMNS, c.activation, dx,
                                         dbias, 0);
        check_gradient(
            f, &(struct function){"activation dx", activation_loss_of_x, &c, ROW_TOTAL, c.x, dx});
        check_gradient(f, &(struct function){"activation dbias", activation_loss_of_bias, &c,
                                             COLUMNS, c.bias, dbias});
    }
}

static double normalize_loss(struct fixture *f, void *context, const float *x)
{
    struct row_context *c = context;
    f->ops->normalize_rows(f->device, x, ROWS, COLUMNS, c->y, c->norms);
    return inner(c->y, c->dy, ROW_TOTAL);
}

static void gradient_of_normalize(struct fixture *f)
{
    fixture_begin(f, "normalize");
    struct row_context c = row_context_make(f);
    float *dx = fixture_poisoned(f, ROW_TOTAL);
    normalize_loss(f, &c, c.x);
    f->ops->normalize_rows_backward(f->device, c.dy, c.y, c.norms, ROWS, COLUMNS, dx);
    check_gradient(f, &(struct function){"normalize dx", normalize_loss, &c, ROW_TOTAL, c.x, dx});
}

static double scores_loss(struct fixture *f, void *context, const float *x)
{
    struct row_context *c = context;
    double loss = 0;
    f->ops->swav_loss(f->device, x, c->codes, 1, ROWS, COLUMNS, 0.5f, 0.125f, &loss, c->ds);
    return loss * 0.125;
}

static void gradient_of_swav_loss(struct fixture *f)
{
    fixture_begin(f, "swav_loss");
    struct row_context c = row_context_make(f);
    float *codes = fixture_uniform(f, ROW_TOTAL, 0, 1), *grad = fixture_poisoned(f, ROW_TOTAL);
    for (int row = 0; row < ROWS; row++) {
        double sum = 0;
        for (int k = 0; k < COLUMNS; k++)
            sum += (double)codes[row * COLUMNS + k];
        for (int k = 0; k < COLUMNS; k++)
            codes[row * COLUMNS + k] /= (float)sum;
    }
    c.codes = codes;
    scores_loss(f, &c, c.x);
    memcpy(grad, c.ds, sizeof(*grad) * ROW_TOTAL);
    check_gradient(f, &(struct function){"swav_loss ds", scores_loss, &c, ROW_TOTAL, c.x, grad});
}

/* --- the runner */

struct entry {
    void (*run)(struct fixture *fixture);
    const char *name;
};

static uint64_t seed = 1;
static struct target targets[TARGET_MAX];
static int target_count;

static void gradient_agrees_with_finite_differences(void **state)
{
    const struct entry *entry = *state;
    for (int i = 0; i < target_count; i++) {
        struct fixture fixture = {.isa = targets[i].name, .seed = seed};
        fixture.device = target_open(&targets[i]);
        fixture.ops = fixture.device->ops;
        entry->run(&fixture);
        fixture_end(&fixture);
        device_close(fixture.device);
    }
}

/* test_gradients [--device NAME] [SEED] */
int main(int argc, char **argv)
{
    static struct entry entries[] = {
        {gradient_of_conv, "convolution gradients are slopes"},
        {gradient_of_bn_relu_se_and_pooling, "BN, ReLU, SE and pooling gradients are slopes"},
        {gradient_of_bias_and_activation, "bias and activation gradients are slopes"},
        {gradient_of_normalize, "the gradient of normalisation is a slope"},
        {gradient_of_swav_loss, "the gradient of the loss is a slope"},
    };
    enum { COUNT = sizeof(entries) / sizeof(*entries) };
    struct CMUnitTest tests[COUNT];
    target_count = target_list(&argc, argv, targets);
    if (argc > 1)
        seed = strtoull(argv[1], NULL, 10);
    printf("seed=%llu\n", (unsigned long long)seed);
    for (int i = 0; i < COUNT; i++)
        tests[i] = (struct CMUnitTest){entries[i].name, gradient_agrees_with_finite_differences,
                                       NULL, NULL, &entries[i]};
    return _cmocka_run_group_tests("gradients", tests, COUNT, NULL, NULL);
}
