/* test_gradients.c - every differentiable operation against finite differences of its own forward.
 *
 * For a scalar L = <w, f(x)> and a random direction d, (L(x + h d) - L(x - h d)) / 2h must be
 * <dL/dx, d>. Forward runs in fp32, sums are taken in fp64: with h = 1/8192 the rounding of values
 * near 1 costs about 3e-8 / h = 3e-4 of the gradient's size, and as much again the few ReLUs that
 * change sides on the way. A tolerance of 4e-3 passes both; a wrong sign or a lost term is far
 * more. Where activations have 2 bytes, values near 1 are rounded by 2e-3: h = 1/32 and 6e-2. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/kernels/fixture.h"

#include <math.h>

#include "tests/kernels/reference.h"

/* One differentiable function of one input; the rest of its world is in `context`. */
struct function {
    const char *name;
    double (*loss)(struct fixture *fixture, void *context, const struct array *x);
    void *context;
    const struct array *x;
    const struct array *grad; /* dL/dx at x, as the operations under test say */
    size_t grad_offset;       /* where in grad it begins */
    int has_activations;      /* on the way */
};

/* <a, b>, a being a result of the device. */
static double inner(struct fixture *f, const struct array *a, const struct array *b)
{
    double sum = 0;
    array_pull(f, a);
    for (size_t i = 0; i < a->count; i++)
        sum += (double)a->host[i] * (double)b->host[i];
    return sum;
}

static double length_of(const float *values, size_t count)
{
    double square = 0;
    for (size_t i = 0; i < count; i++)
        square += (double)values[i] * (double)values[i];
    return sqrt(square);
}

/* x + h d, as the device can hold it. */
static const struct array *move(struct fixture *f, const struct array *x, const float *d, double h)
{
    const struct array *moved = fixture_poisoned(f, x->kind, x->count);
    for (size_t i = 0; i < x->count; i++)
        moved->host[i] = (float)((double)x->host[i] + h * (double)d[i]);
    array_push(f, moved);
    return moved;
}

/* Directions: along the gradient, where a lost term or sign shows most, and three random ones. The
 * slope is claimed between the points as they are after rounding. */
static void check_gradient(struct fixture *f, const struct function *function)
{
    const int is_coarse = function->has_activations && f->ops->activation_bytes < sizeof(float);
    const double step = is_coarse ? 1.0 / 32 : 1.0 / 8192, tolerance = is_coarse ? 6e-2 : 4e-3;
    const size_t n = function->x->count;
    array_pull(f, function->grad);
    const float *grad = function->grad->host + function->grad_offset;
    const double size = length_of(grad, n);
    assert_true(size > 0);
    for (int trial = 0; trial < 4; trial++) {
        const float *d = trial == 0 ? grad : fixture_normal(f, FLOATS, n)->host;
        /* Each value moves by about `step`. */
        const double h = step * sqrt((double)n) / length_of(d, n);
        const struct array *ahead = move(f, function->x, d, h);
        const struct array *behind = move(f, function->x, d, -h);
        double claimed = 0;
        for (size_t i = 0; i < n; i++)
            claimed += (double)grad[i] * ((double)ahead->host[i] - (double)behind->host[i]);
        const double seen = function->loss(f, function->context, ahead) -
                            function->loss(f, function->context, behind);
        /* Against the gradient's size along a way of this length. */
        if (!(fabs(seen - claimed) <= 2 * step * tolerance * size * sqrt((double)n)))
            fail_msg("%s, %s kernels, seed=%llu: moves by %.9g along direction %d, gradient says "
                     "%.9g",
                     function->name, f->isa, (unsigned long long)f->seed, seen, trial, claimed);
    }
}

/* --- convolution: linear in x and in w */

struct conv_context {
    struct conv *conv;
    const struct array *x, *w, *dy, *y;
};

static double conv_loss(struct fixture *f, const struct conv_context *c, const struct array *x,
                        const struct array *w)
{
    f->ops->conv_weights(c->conv, w->on);
    f->ops->conv_forward(c->conv, x->on, c->y->on);
    return inner(f, c->y, c->dy);
}

static double conv_loss_of_x(struct fixture *f, void *context, const struct array *x)
{
    const struct conv_context *c = context;
    return conv_loss(f, c, x, c->w);
}

static double conv_loss_of_w(struct fixture *f, void *context, const struct array *w)
{
    const struct conv_context *c = context;
    return conv_loss(f, c, c->x, w);
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
        struct conv_context c = {
            .x = fixture_normal(f, ACTIVATIONS, x_count),
            .w = fixture_normal(f, FLOATS, w_count),
            .dy = fixture_normal(f, ACTIVATIONS, y_count),
            .y = fixture_poisoned(f, ACTIVATIONS, y_count),
        };
        const struct array *dx = fixture_poisoned(f, ACTIVATIONS, x_count);
        const struct array *dw = fixture_poisoned(f, FLOATS, w_count);
        assert_ok(f->ops->conv_create(f->device, &shapes[i], &c.conv));
        f->ops->conv_weights(c.conv, c.w->on);
        f->ops->conv_backward_data(c.conv, c.dy->on, dx->on);
        f->ops->conv_backward_weights(c.conv, c.x->on, c.dy->on, dw->on, 0);
        check_gradient(f, &(struct function){"conv dx", conv_loss_of_x, &c, c.x, dx, 0, 1});
        check_gradient(f, &(struct function){"conv dw", conv_loss_of_w, &c, c.w, dw, 0, 1});
        f->ops->conv_destroy(c.conv);
    }
}

/* --- SE(ReLU(BN(x))) with pooling, as a RegNetY block uses it: L = <dy, y*s> + <dp, pooled> */

enum {
    BN_ROWS = 3,
    BN_PIXELS = 21,
    BN_CHANNELS = 24,
    BN_TOTAL = BN_ROWS * BN_PIXELS * BN_CHANNELS,
    BN_ROW_VALUES = BN_ROWS * BN_CHANNELS
};

struct bn_context {
    const struct array *x, *gamma, *beta, *shift, *s, *dy, *dpooled;
    const struct array *sums, *mean, *invstd, *scale, *bias, *batch_mean, *batch_var;
    const struct array *pooled, *scaled;
};

static double bn_loss(struct fixture *f, const struct bn_context *c, const struct array *x,
                      const struct array *gamma, const struct array *s)
{
    const struct bn_finalize finalize = {.sums = c->sums->on,
                                         .shift = c->shift->on,
                                         .count = BN_ROWS * BN_PIXELS,
                                         .gamma = gamma->on,
                                         .beta = c->beta->on,
                                         .eps = 1e-5f,
                                         .channels = BN_CHANNELS,
                                         .mean = c->mean->on,
                                         .invstd = c->invstd->on,
                                         .scale = c->scale->on,
                                         .bias = c->bias->on,
                                         .batch_mean = c->batch_mean->on,
                                         .batch_var = c->batch_var->on};
    const struct bn_apply apply = {.x = x->on,
                                   .scale = c->scale->on,
                                   .bias = c->bias->on,
                                   .is_relu = 1,
                                   .rows = BN_ROWS,
                                   .pixels_per_row = BN_PIXELS,
                                   .channels = BN_CHANNELS,
                                   .row_scale = s->on,
                                   .y = c->scaled->on,
                                   .pooled = c->pooled->on};
    const struct bn_sums sums = {x->on, BN_ROWS, BN_PIXELS, BN_CHANNELS, c->shift->on, c->sums->on};
    f->ops->bn_sums(f->device, &sums);
    f->ops->bn_finalize(f->device, &finalize);
    f->ops->bn_apply(f->device, &apply);
    return inner(f, c->scaled, c->dy) + inner(f, c->pooled, c->dpooled);
}

static double bn_loss_of_x(struct fixture *f, void *context, const struct array *x)
{
    const struct bn_context *c = context;
    return bn_loss(f, c, x, c->gamma, c->s);
}

static double bn_loss_of_gamma(struct fixture *f, void *context, const struct array *gamma)
{
    const struct bn_context *c = context;
    return bn_loss(f, c, c->x, gamma, c->s);
}

static double bn_loss_of_s(struct fixture *f, void *context, const struct array *s)
{
    const struct bn_context *c = context;
    return bn_loss(f, c, c->x, c->gamma, s);
}

static struct bn_context bn_context_make(struct fixture *f)
{
    return (struct bn_context){
        .x = fixture_normal(f, ACTIVATIONS, BN_TOTAL),
        .gamma = fixture_uniform(f, FLOATS, BN_CHANNELS, 0.5, 1.5),
        .beta = fixture_normal(f, FLOATS, BN_CHANNELS),
        .shift = fixture_normal(f, FLOATS, BN_CHANNELS),
        .s = fixture_uniform(f, FLOATS, BN_ROW_VALUES, 0.5, 1.5),
        .dy = fixture_normal(f, ACTIVATIONS, BN_TOTAL),
        .dpooled = fixture_normal(f, FLOATS, BN_ROW_VALUES),
        .sums = fixture_poisoned(f, FLOATS, (size_t)2 * BN_CHANNELS),
        .mean = fixture_poisoned(f, FLOATS, BN_CHANNELS),
        .invstd = fixture_poisoned(f, FLOATS, BN_CHANNELS),
        .scale = fixture_poisoned(f, FLOATS, BN_CHANNELS),
        .bias = fixture_poisoned(f, FLOATS, BN_CHANNELS),
        .batch_mean = fixture_poisoned(f, FLOATS, BN_CHANNELS),
        .batch_var = fixture_poisoned(f, FLOATS, BN_CHANNELS),
        .pooled = fixture_poisoned(f, FLOATS, BN_ROW_VALUES),
        .scaled = fixture_poisoned(f, ACTIVATIONS, BN_TOTAL),
    };
}

static void gradient_of_bn_relu_se_and_pooling(struct fixture *f)
{
    fixture_begin(f, "bn");
    struct bn_context c = bn_context_make(f);
    bn_loss(f, &c, c.x, c.gamma, c.s);

    const struct array *ds = fixture_poisoned(f, FLOATS, BN_ROW_VALUES);
    const struct array *row_add = fixture_poisoned(f, FLOATS, BN_ROW_VALUES);
    const struct array *dx = fixture_poisoned(f, ACTIVATIONS, BN_TOTAL);
    const struct array *sums = fixture_poisoned(f, FLOATS, (size_t)2 * BN_CHANNELS);
    for (int i = 0; i < BN_ROW_VALUES; i++)
        row_add->host[i] = c.dpooled->host[i] / BN_PIXELS;
    array_push(f, row_add);
    const struct bn_backward backward = {.dy = c.dy->on,
                                         .row_scale = c.s->on,
                                         .row_add = row_add->on,
                                         .is_relu = 1,
                                         .x = c.x->on,
                                         .scale = c.scale->on,
                                         .bias = c.bias->on,
                                         .mean = c.mean->on,
                                         .invstd = c.invstd->on,
                                         .rows = BN_ROWS,
                                         .pixels_per_row = BN_PIXELS,
                                         .channels = BN_CHANNELS,
                                         .sums = sums->on};
    f->ops->row_scale_backward(f->device, &backward, ds->on);
    f->ops->bn_backward_sums(f->device, &backward);
    f->ops->bn_backward_apply(f->device, &backward, c.gamma->on, sums->on, BN_ROWS * BN_PIXELS,
                              dx->on);
    check_gradient(f, &(struct function){"bn dx", bn_loss_of_x, &c, c.x, dx, 0, 1});
    check_gradient(
        f, &(struct function){"bn dgamma", bn_loss_of_gamma, &c, c.gamma, sums, BN_CHANNELS, 1});
    check_gradient(f, &(struct function){"se ds", bn_loss_of_s, &c, c.s, ds, 0, 1});
}

/* --- rows: L = <dy, f(x)> */

enum { ROWS = 9, COLUMNS = 37, ROW_TOTAL = ROWS * COLUMNS };

struct row_context {
    enum activation activation;
    const struct array *x, *bias, *dy, *codes, *y, *norms, *ds;
};

static double activation_loss(struct fixture *f, const struct row_context *c, const struct array *x,
                              const struct array *bias)
{
    f->ops->bias_activation(f->device, x->on, bias->on, ROWS, COLUMNS, c->activation, c->y->on);
    return inner(f, c->y, c->dy);
}

static double activation_loss_of_x(struct fixture *f, void *context, const struct array *x)
{
    const struct row_context *c = context;
    return activation_loss(f, c, x, c->bias);
}

static double activation_loss_of_bias(struct fixture *f, void *context, const struct array *bias)
{
    const struct row_context *c = context;
    return activation_loss(f, c, c->x, bias);
}

static struct row_context row_context_make(struct fixture *f)
{
    return (struct row_context){
        .x = fixture_normal(f, FLOATS, ROW_TOTAL),
        .bias = fixture_normal(f, FLOATS, COLUMNS),
        .dy = fixture_normal(f, FLOATS, ROW_TOTAL),
        .codes = fixture_uniform(f, FLOATS, ROW_TOTAL, 0, 1),
        .y = fixture_poisoned(f, FLOATS, ROW_TOTAL),
        .norms = fixture_poisoned(f, FLOATS, ROWS),
        .ds = fixture_poisoned(f, FLOATS, ROW_TOTAL),
    };
}

static void gradient_of_bias_and_activation(struct fixture *f)
{
    for (int activation = 0; activation < 3; activation++) {
        fixture_begin(f, "activation %d", activation);
        struct row_context c = row_context_make(f);
        c.activation = (enum activation)activation;
        const struct array *dx = fixture_poisoned(f, FLOATS, ROW_TOTAL);
        const struct array *dbias = fixture_poisoned(f, FLOATS, COLUMNS);
        activation_loss(f, &c, c.x, c.bias);
        f->ops->bias_activation_backward(f->device, c.dy->on, c.y->on, ROWS, COLUMNS, c.activation,
                                         dx->on, dbias->on, 0);
        check_gradient(
            f, &(struct function){"activation dx", activation_loss_of_x, &c, c.x, dx, 0, 0});
        check_gradient(f, &(struct function){"activation dbias", activation_loss_of_bias, &c,
                                             c.bias, dbias, 0, 0});
    }
}

static double normalize_loss(struct fixture *f, void *context, const struct array *x)
{
    const struct row_context *c = context;
    f->ops->normalize_rows(f->device, x->on, ROWS, COLUMNS, c->y->on, c->norms->on);
    return inner(f, c->y, c->dy);
}

static void gradient_of_normalize(struct fixture *f)
{
    fixture_begin(f, "normalize");
    struct row_context c = row_context_make(f);
    const struct array *dx = fixture_poisoned(f, FLOATS, ROW_TOTAL);
    normalize_loss(f, &c, c.x);
    f->ops->normalize_rows_backward(f->device, c.dy->on, c.y->on, c.norms->on, ROWS, COLUMNS,
                                    dx->on);
    check_gradient(f, &(struct function){"normalize dx", normalize_loss, &c, c.x, dx, 0, 0});
}

static double scores_loss(struct fixture *f, void *context, const struct array *x)
{
    const struct row_context *c = context;
    const struct array *loss = fixture_copy(f, DOUBLES, (double[1]){0}, 1);
    f->ops->swav_loss(f->device, x->on, c->codes->on, 1, ROWS, COLUMNS, 0.5f, 0.125f, loss->on,
                      c->ds->on);
    array_pull(f, loss);
    return loss->doubles[0] * 0.125;
}

static void gradient_of_swav_loss(struct fixture *f)
{
    fixture_begin(f, "swav_loss");
    struct row_context c = row_context_make(f);
    for (int row = 0; row < ROWS; row++) {
        double sum = 0;
        for (int k = 0; k < COLUMNS; k++)
            sum += (double)c.codes->host[row * COLUMNS + k];
        for (int k = 0; k < COLUMNS; k++)
            c.codes->host[row * COLUMNS + k] /= (float)sum;
    }
    array_push(f, c.codes);
    scores_loss(f, &c, c.x);
    array_pull(f, c.ds);
    const struct array *grad = fixture_copy(f, FLOATS, c.ds->host, ROW_TOTAL);
    check_gradient(f, &(struct function){"swav_loss ds", scores_loss, &c, c.x, grad, 0, 0});
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
        struct fixture fixture;
        fixture_open(&fixture, &targets[i], seed);
        entry->run(&fixture);
        fixture_close(&fixture);
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
