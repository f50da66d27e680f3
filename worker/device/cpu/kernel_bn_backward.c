/* kernel_bn_backward.c - the backward half of batch normalisation, fused with what surrounds it. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/cpu/kernels.h"

#include "worker/device/cpu/sums.h"

/* What dz is made of, which is known before the pixels are: one loop for each combination that
 * networks have. */
enum { DY = 1, DY2 = 2, ROWS = 4, RELU_BY_Y = 8, RELU_BY_X = 16, DZ = 32 };

static int parts_of(const struct bn_backward *args)
{
    return (args->dy != NULL ? DY : 0) | (args->dy2 != NULL ? DY2 : 0) |
           (args->row_scale != NULL || args->row_add != NULL ? ROWS : 0) |
           (!args->is_relu    ? 0
            : args->y != NULL ? RELU_BY_Y
                              : RELU_BY_X);
}

/* `pixels` pixels of one row, from value `at` of the tensors on; channels [span, span + SPAN). */
struct backward_job {
    const struct bn_backward *args;
    size_t at, row_at;
    int pixels, span;
    struct sums *sums;
};

/* A strip of the inputs, and what each of its vectors of channels is multiplied with. */
struct inputs {
    const stored *x, *y, *dy, *dy2;
    vec row_scale[4], row_add[4], scale[4], bias[4];
};

ALWAYS_INLINE const stored *values_at(const void *x, size_t at)
{
    return x == NULL ? NULL : (const stored *)x + at;
}

ALWAYS_INLINE struct inputs inputs_load(const struct backward_job *job, int parts, int c, int width,
                                        int lanes)
{
    const struct bn_backward *args = job->args;
    const size_t at = job->at + (size_t)c, row_at = job->row_at + (size_t)c;
    struct inputs in = {
        .x = values_at(args->x, at),
        .y = values_at(args->y, at),
        .dy = values_at(args->dy, at),
        .dy2 = values_at(args->dy2, at),
    };
    for (int i = 0; i < width; i++) {
        in.row_scale[i] = vec_all(1);
        in.row_add[i] = in.scale[i] = in.bias[i] = vec_all(0);
        if (parts & ROWS && args->row_scale != NULL)
            in.row_scale[i] = strip_load(args->row_scale + row_at, i, width, lanes);
        if (parts & ROWS && args->row_add != NULL)
            in.row_add[i] = strip_load(args->row_add + row_at, i, width, lanes);
        if (parts & RELU_BY_X) {
            in.scale[i] = strip_load(args->scale + c, i, width, lanes);
            in.bias[i] = strip_load(args->bias + c, i, width, lanes);
        }
    }
    return in;
}

/* dz of vector i at value p of the strip; x is the input's there. */
ALWAYS_INLINE vec inputs_dz(const struct inputs *in, int parts, vec x, ptrdiff_t p, int i,
                            int width, int lanes)
{
    vec d = in->row_add[i];
    if (parts & DY && parts & ROWS)
        d += strip_read(in->dy + p, i, width, lanes) * in->row_scale[i];
    else if (parts & DY)
        d = strip_read(in->dy + p, i, width, lanes);
    if (parts & DY2)
        d += strip_read(in->dy2 + p, i, width, lanes);
    if (parts & RELU_BY_Y)
        d = vec_keep(d, (vec_bits)(strip_read(in->y + p, i, width, lanes) > 0.0f));
    if (parts & RELU_BY_X)
        d = vec_keep(d, (vec_bits)(x * in->scale[i] + in->bias[i] > 0.0f));
    return d;
}

ALWAYS_INLINE void sums_strip(const struct backward_job *job, int parts, int c, int width,
                              int lanes)
{
    const struct bn_backward *args = job->args;
    const struct inputs in = inputs_load(job, parts, c, width, lanes);
    stored *dz = parts & DZ ? (stored *)args->dz + job->at + c : NULL;
    float *part = job->sums->part[0] + (c - job->span);
    float *part_x = job->sums->part[1] + (c - job->span);
    vec mean[4], sum[4], sum_x[4];
    for (int i = 0; i < width; i++) {
        mean[i] = strip_load(args->mean + c, i, width, lanes);
        sum[i] = vec_load(part + (ptrdiff_t)i * LANES);
        sum_x[i] = vec_load(part_x + (ptrdiff_t)i * LANES);
    }
    for (ptrdiff_t p = 0; p < (ptrdiff_t)job->pixels * args->channels; p += args->channels)
        for (int i = 0; i < width; i++) {
            const vec x = strip_read(in.x + p, i, width, lanes);
            const vec d = inputs_dz(&in, parts, x, p, i, width, lanes);
            if (parts & DZ)
                strip_write(dz + p, d, i, width, lanes);
            sum[i] += d;
            sum_x[i] += d * (x - mean[i]);
        }
    for (int i = 0; i < width; i++) {
        vec_store(part + (ptrdiff_t)i * LANES, sum[i]);
        vec_store(part_x + (ptrdiff_t)i * LANES, sum_x[i]);
    }
}

/* One loop for each combination that networks have: a, b, a block's output, the shortcut's, and any
 * others. */
static void backward_sums(const struct backward_job *job, int parts, int first, int end)
{
    switch (parts) {
        STRIPS_CASE(sums_strip, job, DY | RELU_BY_X, first, end)
        STRIPS_CASE(sums_strip, job, DY | ROWS | RELU_BY_X, first, end)
        STRIPS_CASE(sums_strip, job, DY | DY2 | RELU_BY_Y | DZ, first, end)
        STRIPS_CASE(sums_strip, job, DY, first, end)
    default:
        STRIPS_OF(sums_strip, job, parts, first, end)
    }
}

static struct backward_job job_make(const struct bn_backward *args, int row, int first, int step)
{
    const size_t channels = (size_t)args->channels;
    const int left = args->pixels_per_row - first;
    const size_t pixel = (size_t)row * (size_t)args->pixels_per_row + (size_t)first;
    return (struct backward_job){
        .args = args,
        .at = pixel * channels,
        .row_at = (size_t)row * channels,
        .pixels = left < step ? left : step,
    };
}

static void backward_span(const struct bn_backward *args, int span, int end)
{
    const int parts = parts_of(args) | (args->dz != NULL ? DZ : 0);
    struct sums acc;
    sums_init(&acc, end - span);
    for (int row = 0; row < args->rows; row++)
        for (int first = 0; first < args->pixels_per_row; first += PIXELS_FAR) {
            struct backward_job job = job_make(args, row, first, PIXELS_FAR);
            job.span = span;
            job.sums = &acc;
            backward_sums(&job, parts, span, end);
            sums_added(&acc, job.pixels, end - span);
        }
    sums_flush(&acc, end - span);
    for (int c = span; c < end; c++) {
        args->sums[c] = (float)acc.total[0][c - span];
        args->sums[args->channels + c] = (float)(acc.total[1][c - span] * (double)args->invstd[c]);
    }
}

void KERNEL(bn_backward_sums)(struct device *device, const struct bn_backward *args)
{
    (void)device;
    for (int span = 0; span < args->channels; span += SPAN)
        backward_span(args, span, args->channels - span < SPAN ? args->channels : span + SPAN);
}

/* dx = A dz + B x + D per channel:
 * A = gamma*invstd, B = -A*invstd*sums[C+c]/count, D = -A*sums[c]/count - B*mean. */
struct dx_job {
    struct backward_job from;
    float a[SPAN], b[SPAN], d[SPAN]; /* of channels [span, span + SPAN) */
    stored *dx;
};

static void coefficients(struct dx_job *job, const struct bn_backward *args, const float *gamma,
                         const float *sums, double count, int span, int end)
{
    const double share = 1 / count;
    for (int c = span; c < end; c++) {
        const double a = (double)gamma[c] * (double)args->invstd[c];
        const double b = -a * (double)args->invstd[c] * (double)sums[args->channels + c] * share;
        job->a[c - span] = (float)a;
        job->b[c - span] = (float)b;
        job->d[c - span] = (float)(-a * (double)sums[c] * share - b * (double)args->mean[c]);
    }
}

ALWAYS_INLINE void dx_vec(const struct dx_job *job, int parts, int c, int lanes)
{
    const struct inputs in = inputs_load(&job->from, parts, c, 1, lanes);
    const int at = c - job->from.span;
    const vec x = lanes_read(in.x, lanes);
    const vec dz = inputs_dz(&in, parts, x, 0, 0, 1, lanes);
    const vec dx = dz * vec_load(job->a + at) + (x * vec_load(job->b + at) + vec_load(job->d + at));
    lanes_write(job->dx + job->from.at + c, dx, lanes);
}

/* Channels [span, end) of the row's pixels, in order, as the processor fetches them ahead. */
ALWAYS_INLINE void dx_pixels(struct dx_job *job, int parts, int end)
{
    const struct bn_backward *args = job->from.args;
    for (int p = 0; p < args->pixels_per_row; p++, job->from.at += (size_t)args->channels) {
        int c = job->from.span;
        for (; c + LANES <= end; c += LANES)
            dx_vec(job, parts, c, LANES);
        if (c < end)
            dx_vec(job, parts, c, end - c);
    }
}

static void dx_parts(struct dx_job *job, int parts, int end)
{
    if (parts == (DY | RELU_BY_X))
        dx_pixels(job, DY | RELU_BY_X, end);
    else if (parts == (DY | ROWS | RELU_BY_X))
        dx_pixels(job, DY | ROWS | RELU_BY_X, end);
    else if (parts == DY)
        dx_pixels(job, DY, end);
    else
        dx_pixels(job, parts, end);
}

/* With dz written down it is what dy was. */
void KERNEL(bn_backward_apply)(struct device *device, const struct bn_backward *args,
                               const float *gamma, const float *sums, double count, void *dx)
{
    (void)device;
    struct bn_backward of = *args;
    if (args->dz != NULL)
        of = (struct bn_backward){
            .dy = args->dz,
            .x = args->x,
            .mean = args->mean,
            .invstd = args->invstd,
            .rows = args->rows,
            .pixels_per_row = args->pixels_per_row,
            .channels = args->channels,
        };
    for (int span = 0; span < of.channels; span += SPAN) {
        const int end = of.channels - span < SPAN ? of.channels : span + SPAN;
        struct dx_job job;
        job.dx = dx;
        coefficients(&job, &of, gamma, sums, count, span, end);
        for (int row = 0; row < of.rows; row++) {
            job.from = job_make(&of, row, 0, of.pixels_per_row);
            job.from.span = span;
            dx_parts(&job, parts_of(&of), end);
        }
    }
}

ALWAYS_INLINE void scale_strip(const struct backward_job *job, float *ds, int c, int width,
                               int lanes)
{
    const struct inputs in = inputs_load(job, RELU_BY_X, c, width, lanes);
    const ptrdiff_t channels = job->args->channels;
    vec sum[4];
    for (int i = 0; i < width; i++)
        sum[i] = vec_all(0);
    for (ptrdiff_t p = 0; p < job->pixels * channels; p += channels)
        for (int i = 0; i < width; i++) {
            const vec x = strip_read(in.x + p, i, width, lanes) * in.scale[i] + in.bias[i];
            sum[i] += strip_read(in.dy + p, i, width, lanes) * vec_relu(x);
        }
    for (int i = 0; i < width; i++)
        strip_store(ds + c, strip_load(ds + c, i, width, lanes) + sum[i], i, width, lanes);
}

void KERNEL(row_scale_backward)(struct device *device, const struct bn_backward *args, float *ds)
{
    (void)device;
    memset(ds, 0, (size_t)args->rows * (size_t)args->channels * sizeof(*ds));
    for (int row = 0; row < args->rows; row++)
        for (int first = 0; first < args->pixels_per_row; first += PIXELS_FAR) {
            const struct backward_job job = job_make(args, row, first, PIXELS_FAR);
            STRIPS_OF(scale_strip, &job, ds + job.row_at, 0, args->channels)
        }
}
