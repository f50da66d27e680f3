/* kernel_pointwise.c - products of pixels with weights; pointwise.h explains the method. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/cpu/pointwise.h"

#include "worker/device/cpu/kernels.h"
#include "worker/device/cpu/span.h"

extern const struct own_conv_ops KERNEL(pointwise_ops);

_Static_assert((int)POINTWISE_PIXELS == (int)PRODUCT_ROWS, "pixels of a product");

/* y [pixels][out] = x [pixels][in] * weights, of at least PRODUCT_ROWS pixels. The last product
 * takes in pixels of the one before it, so as to be a whole one. */
static void product(const float *x, ptrdiff_t pixels, int in, const float *weights, int out,
                    float *y)
{
    for (ptrdiff_t pixel = 0; pixel < pixels; pixel += PRODUCT_ROWS) {
        const ptrdiff_t left = pixels - pixel;
        const ptrdiff_t at = left < PRODUCT_ROWS ? pixels - PRODUCT_ROWS : pixel;
        const float *panel = weights;
        for (int c = 0, halves; c < out; c += halves * HALF) {
            halves = span_halves(out, c);
            SPAN_CASES(product_span, halves, x + at * in, in, panel, halves * HALF,
                       y + at * out + c, out, c == 0)
            panel += (ptrdiff_t)in * halves * HALF;
        }
    }
}

/* Goes through the pixels of y, block by block. */
struct walk {
    const struct own_conv *conv;
    ptrdiff_t all;   /* pixels of y, of all rows */
    ptrdiff_t first; /* of the present block */
    int pixels;
};

static struct walk walk_begin(const struct own_conv *conv)
{
    const ptrdiff_t all = (ptrdiff_t)conv->rows * conv->out_height * conv->out_width;
    return (struct walk){.conv = conv, .all = all};
}

/* The next block, of at least PRODUCT_ROWS pixels as long as there were so many; 0: that was all.
 */
static int walk_next(struct walk *walk)
{
    const ptrdiff_t first = walk->first + walk->pixels, left = walk->all - first;
    ptrdiff_t pixels = left < POINTWISE_BLOCK ? left : POINTWISE_BLOCK;
    if (left > POINTWISE_BLOCK && left < POINTWISE_BLOCK + PRODUCT_ROWS)
        pixels -= PRODUCT_ROWS;
    walk->first = first;
    walk->pixels = (int)pixels;
    return pixels > 0;
}

/* Lays out one line of a patch: `kernel` pixels from x on of line y of an image, 0 outside of it.
 */
ALWAYS_INLINE void lay_line(const struct own_conv *conv, int kernel, int channels,
                            const float *image, int y, int x, float *patch)
{
    const float *from = image + ((ptrdiff_t)y * conv->width + x) * channels;
    const int is_inside = y >= 0 && y < conv->height && x >= 0 && x + kernel <= conv->width;
    if (is_inside) {
        memcpy(patch, from, (size_t)(kernel * channels) * sizeof(float));
        return;
    }
    for (int i = 0; i < kernel; i++)
        for (int c = 0; c < channels; c++) {
            const int is_there = y >= 0 && y < conv->height && x + i >= 0 && x + i < conv->width;
            patch[i * channels + c] = is_there ? from[i * channels + c] : 0;
        }
}

/* Lays out what the block's pixels of y see, one pixel behind the other. */
ALWAYS_INLINE void lay_block(const struct walk *walk, int kernel, int channels, const float *x,
                             float *patch)
{
    const struct own_conv *conv = walk->conv;
    const int inputs = pointwise_inputs(conv), line = kernel * channels, edge = kernel / 2;
    const ptrdiff_t image = (ptrdiff_t)conv->height * conv->width * channels;
    ptrdiff_t row = walk->first / conv->out_width / conv->out_height;
    int top = (int)(walk->first / conv->out_width % conv->out_height);
    int left = (int)(walk->first % conv->out_width);
    for (int i = 0; i < walk->pixels; i++, patch += inputs) {
        for (int y = 0; y < kernel; y++)
            lay_line(conv, kernel, channels, x + row * image, top * conv->stride + y - edge,
                     left * conv->stride - edge, patch + (ptrdiff_t)y * line);
        left = left + 1 == conv->out_width ? 0 : left + 1;
        top += left == 0;
        row += top == conv->out_height;
        top = top == conv->out_height ? 0 : top;
    }
}

/* What the block's pixels of y see; the zeros behind a patch stay from block to block. */
static const float *walk_inputs(const struct walk *walk, const float *x, float *scratch)
{
    const struct own_conv *conv = walk->conv;
    if (pointwise_is_plain(conv))
        return x + walk->first * conv->channels;
    if (walk->first == 0)
        memset(scratch, 0, (size_t)(POINTWISE_BLOCK * pointwise_inputs(conv)) * sizeof(*scratch));
    if (conv->kernel == 3 && conv->channels == 3)
        lay_block(walk, 3, 3, x, scratch);
    else
        lay_block(walk, conv->kernel, conv->channels, x, scratch);
    return scratch;
}

/* Where pixel `pixel` of y is in x, of a 1x1 convolution, in pixels. */
static ptrdiff_t walk_source(const struct walk *walk, ptrdiff_t pixel)
{
    const struct own_conv *conv = walk->conv;
    const ptrdiff_t line = pixel / conv->out_width, row = line / conv->out_height;
    return (row * conv->height + line % conv->out_height * conv->stride) * conv->width +
           pixel % conv->out_width * conv->stride;
}

static void pointwise_forward(const struct own_conv *conv, float *scratch, const void *x, void *y)
{
    for (struct walk walk = walk_begin(conv); walk_next(&walk);)
        product(walk_inputs(&walk, x, scratch), walk.pixels, pointwise_inputs(conv), conv->forward,
                conv->out_channels, (float *)y + walk.first * conv->out_channels);
}

static void scatter(const struct walk *walk, const float *scratch, float *dx)
{
    const size_t channels = (size_t)walk->conv->channels;
    for (int i = 0; i < walk->pixels; i++)
        memcpy(dx + (size_t)walk_source(walk, walk->first + i) * channels,
               scratch + (size_t)i * channels, channels * sizeof(float));
}

static void pointwise_backward_data(const struct own_conv *conv, float *scratch, const void *dy,
                                    void *dx)
{
    const int is_near = conv->stride == 1, channels = conv->channels;
    const size_t values =
        (size_t)conv->rows * (size_t)conv->height * (size_t)conv->width * (size_t)channels;
    if (!is_near)
        memset(dx, 0, values * sizeof(float));
    for (struct walk walk = walk_begin(conv); walk_next(&walk);) {
        product((const float *)dy + walk.first * conv->out_channels, walk.pixels,
                conv->out_channels, conv->transposed, channels,
                is_near ? (float *)dx + walk.first * channels : scratch);
        if (!is_near)
            scatter(&walk, scratch, dx);
    }
}

/* Where input i of a patch is among the weights of an output in the master layout, [channels]
 * [kernel][kernel]; -1: it is one of the zeros. */
static ptrdiff_t master_place(const struct own_conv *conv, int i)
{
    const int taps = conv->kernel * conv->kernel;
    return i < taps * conv->channels ? i % conv->channels * taps + i / conv->channels : -1;
}

/* The sums of patches to the master layout. */
static void sums_write(const struct own_conv *conv, const struct own_gradient *gradient)
{
    const int inputs = pointwise_inputs(conv), taps = conv->kernel * conv->kernel;
    const float *sums = conv->sums;
    float *dw = gradient->dw;
    for (int out = 0; out < conv->out_channels; out++, dw += taps * conv->channels, sums += inputs)
        for (int i = 0; i < taps * conv->channels; i++) {
            float *to = &dw[master_place(conv, i)];
            *to = sums[i] + (gradient->accumulate ? *to : 0);
        }
}

static void pointwise_backward_weights(const struct own_conv *conv, float *scratch, const void *x,
                                       const void *dy, const struct own_gradient *gradient)
{
    const int inputs = pointwise_inputs(conv), is_master = conv->kernel == 1;
    const size_t weights = (size_t)inputs * (size_t)conv->out_channels;
    float *sums = is_master ? gradient->dw : conv->sums;
    if (gradient->is_first && !(is_master && gradient->accumulate))
        memset(sums, 0, weights * sizeof(float));
    for (struct walk walk = walk_begin(conv); walk_next(&walk);)
        span_sums((const float *)dy + walk.first * conv->out_channels, conv->out_channels,
                  walk_inputs(&walk, x, scratch), inputs, walk.pixels, sums);
    if (gradient->is_last && !is_master)
        sums_write(conv, gradient);
}

/* Panels, one for each span of the columns: [in][span]. From weights
 * [out][channels][kernel][kernel] with outputs as columns, and with inputs, those of a 1x1
 * convolution. */
static void forward_panels(const struct own_conv *conv, const float *weights, float *panel)
{
    const int inputs = pointwise_inputs(conv), taps = conv->kernel * conv->kernel;
    for (int c = 0, halves; c < conv->out_channels; c += halves * HALF) {
        halves = span_halves(conv->out_channels, c);
        const ptrdiff_t width = halves * HALF;
        for (int i = 0; i < inputs; i++) {
            const ptrdiff_t place = master_place(conv, i), all = (ptrdiff_t)taps * conv->channels;
            for (ptrdiff_t column = c; column < c + width; column++)
                *panel++ = place < 0 ? 0 : weights[column * all + place];
        }
    }
}

static void transposed_panels(const struct own_conv *conv, const float *weights, float *panel)
{
    const int columns = conv->channels;
    for (int c = 0, halves; c < columns; c += halves * HALF) {
        halves = span_halves(columns, c);
        const size_t width = (size_t)halves * HALF;
        for (ptrdiff_t out = 0; out < conv->out_channels; out++, panel += width)
            memcpy(panel, weights + out * columns + c, width * sizeof(float));
    }
}

static void pointwise_weights(struct own_conv *conv, const float *weights)
{
    forward_panels(conv, weights, conv->forward);
    if (conv->needs_input_gradient)
        transposed_panels(conv, weights, conv->transposed);
}

const struct own_conv_ops KERNEL(pointwise_ops) = {
    .weights = pointwise_weights,
    .forward = pointwise_forward,
    .backward_data = pointwise_backward_data,
    .backward_weights = pointwise_backward_weights,
};
