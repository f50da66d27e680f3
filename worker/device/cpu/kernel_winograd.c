/* kernel_winograd.c - 3x3 convolutions by minimal filtering; winograd.h explains the method. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/cpu/winograd.h"

#include "worker/device/cpu/kernels.h"
#include "worker/device/cpu/span.h"
#include "worker/device/cpu/winograd_ways.h"

extern const struct own_conv_ops KERNEL(winograd_ops);

/* A tensor of images cut into tiles. */
struct tiling {
    int height, width; /* of an image */
    int step, origin;  /* tile (ty, tx) begins at pixel (ty*step + origin, tx*step + origin) */
    int side;          /* pixels of a tile, down and across */
    int *pixels;       /* [block][side][side] of the present block, counted from the tensor's
                        * first; OUTSIDE of the image */
};

enum { OUTSIDE = -1 };

/* What runs through a call. */
struct work {
    const struct own_conv *conv;
    int group, groups, count; /* channels of a group; positions */
    ptrdiff_t pixel;          /* channels of all groups */
    int all, block;           /* tiles of all images, and tiles at a time */
    int first, tiles;         /* the present ones */
    float *before, *after;    /* [count][block][group]; after holds dy with the weight gradient */
    float *sums;              /* [groups][count][group][group] */
    float *zeros, *unread;    /* a pixel outside of the image, to read and to write */
    struct tiling from, to;   /* of x and y, or as the data gradient has it */
};

static struct work work_make(const struct own_conv *conv, float *scratch)
{
    struct work work = {
        .conv = conv,
        .group = conv->group,
        .groups = conv->channels / conv->group,
        .count = winograd_side(conv) * winograd_side(conv),
        .pixel = conv->channels,
        .all = conv->rows * winograd_tiles_down(conv) * winograd_tiles_across(conv),
        .block = winograd_block(conv),
    };
    const ptrdiff_t tiles = (ptrdiff_t)work.count * work.block * work.group;
    work.before = scratch;
    work.after = work.before + tiles;
    work.sums = work.after + tiles;
    work.zeros = work.sums + work.count * work.pixel * work.group;
    work.unread = work.zeros + work.group;
    int *from = (int *)(work.unread + work.group);
    int *to = from + (ptrdiff_t)work.count * work.block;
    memset(work.zeros, 0, (size_t)work.group * sizeof(float));
    work.from =
        (struct tiling){conv->height, conv->width, 2 * conv->stride, -1, conv->stride + 3, from};
    work.to = (struct tiling){conv->out_height, conv->out_width, 2, 0, 2, to};
    return work;
}

static void tiling_block(const struct work *work, const struct tiling *tiling)
{
    const int across = winograd_tiles_across(work->conv);
    const int down = winograd_tiles_down(work->conv);
    int *pixel = tiling->pixels;
    for (int tile = work->first; tile < work->first + work->tiles; tile++) {
        const int row = tile / (across * down), left = tile % (across * down);
        const int top_pixel = left / across * tiling->step + tiling->origin;
        const int left_pixel = left % across * tiling->step + tiling->origin;
        for (int y = top_pixel; y < top_pixel + tiling->side; y++)
            for (int x = left_pixel; x < left_pixel + tiling->side; x++)
                *pixel++ = y >= 0 && y < tiling->height && x >= 0 && x < tiling->width
                               ? (row * tiling->height + y) * tiling->width + x
                               : OUTSIDE;
    }
}

/* Makes the tiles from `first` on the present ones. */
static void work_block(struct work *work)
{
    const int left = work->all - work->first;
    work->tiles = left < work->block ? left : work->block;
    tiling_block(work, &work->from);
    tiling_block(work, &work->to);
}

/* Pixels whose cache lines are asked for while a tile is worked on: those of this many tiles later
 * that no tile before it has. They lie a pixel's channels apart, too far for the processor's own
 * prefetching. */
enum { AHEAD = 4 };

ALWAYS_INLINE void ask_ahead(const struct work *work, const struct tiling *tiling, int tile,
                             const float *images)
{
    enum { CACHE_LINE = 16 };
    const int side = tiling->side, old = side - tiling->step;
    const int *pixels = tiling->pixels + (ptrdiff_t)(tile + AHEAD) * side * side;
    if (tile + AHEAD >= work->tiles)
        return;
    for (int y = old; y < side; y++)
        for (int x = old; x < side; x++)
            for (int c = 0; c < work->group && pixels[y * side + x] != OUTSIDE; c += CACHE_LINE)
                __builtin_prefetch(images + pixels[y * side + x] * work->pixel + c);
}

/* Sixteen or fewer channels of one tile. */
ALWAYS_INLINE void read_lanes(enum way way, const float *const *pixels, int c, int lanes, float *to,
                              ptrdiff_t position)
{
    const int in_count = way_ends(way).in * way_ends(way).in;
    const int out_count = way_ends(way).out * way_ends(way).out;
    vec in[WINOGRAD_POSITIONS_MAX], out[WINOGRAD_POSITIONS_MAX];
#pragma GCC unroll 25
    for (int i = 0; i < in_count; i++)
        in[i] = lanes_load(pixels[i] + c, lanes);
    way_plane(way, in, out);
#pragma GCC unroll 25
    for (int i = 0; i < out_count; i++)
        lanes_store(to + i * position, out[i], lanes);
}

ALWAYS_INLINE void write_lanes(enum way way, const float *from, ptrdiff_t position, int c,
                               int lanes, float *const *pixels)
{
    const int in_count = way_ends(way).in * way_ends(way).in;
    const int out_count = way_ends(way).out * way_ends(way).out;
    vec in[WINOGRAD_POSITIONS_MAX], out[WINOGRAD_POSITIONS_MAX];
#pragma GCC unroll 25
    for (int i = 0; i < in_count; i++)
        in[i] = lanes_load(from + i * position, lanes);
    way_plane(way, in, out);
#pragma GCC unroll 25
    for (int i = 0; i < out_count; i++)
        lanes_store(pixels[i] + c, out[i], lanes);
}

/* The block's tiles to positions, one group's channels, which images begins with. */
ALWAYS_INLINE void read_way(enum way way, const struct work *work, const struct tiling *tiling,
                            const float *images, float *to)
{
    const ptrdiff_t position = (ptrdiff_t)work->block * work->group;
    const int count = way_ends(way).in * way_ends(way).in, *pixel = tiling->pixels;
    for (int tile = 0; tile < work->tiles; tile++, to += work->group) {
        const float *pixels[WINOGRAD_POSITIONS_MAX];
        for (int i = 0; i < count; i++, pixel++)
            pixels[i] = *pixel == OUTSIDE ? work->zeros : images + *pixel * work->pixel;
        ask_ahead(work, tiling, tile, images);
        int c = 0;
        for (; c + LANES <= work->group; c += LANES)
            read_lanes(way, pixels, c, LANES, to + c, position);
        if (c < work->group)
            read_lanes(way, pixels, c, HALF, to + c, position);
    }
}

ALWAYS_INLINE void write_way(enum way way, const struct work *work, const float *from,
                             float *images)
{
    const ptrdiff_t position = (ptrdiff_t)work->block * work->group;
    const int count = way_ends(way).out * way_ends(way).out, *pixel = work->to.pixels;
    for (int tile = 0; tile < work->tiles; tile++, from += work->group) {
        float *pixels[WINOGRAD_POSITIONS_MAX];
        for (int i = 0; i < count; i++, pixel++)
            pixels[i] = *pixel == OUTSIDE ? work->unread : images + *pixel * work->pixel;
        int c = 0;
        for (; c + LANES <= work->group; c += LANES)
            write_lanes(way, from + c, position, c, LANES, pixels);
        if (c < work->group)
            write_lanes(way, from + c, position, c, HALF, pixels);
    }
}

/* to[tile] = before[tile] * weights [group][group]; rows up to a multiple of PRODUCT_ROWS are read
 * and written. */
static void tile_product(const float *before, const float *weights, int tiles, int group, float *to)
{
    for (int c = 0, halves; c < group; c += halves * HALF) {
        halves = span_halves(group, c);
        for (ptrdiff_t row = 0; row < tiles; row += PRODUCT_ROWS)
            SPAN_CASES(product_span, halves, before + row * group, group, weights + c, group,
                       to + row * group + c, group, c == 0)
    }
}

/* after[p] = before[p] * weights[p] for every position, of one group. */
static void multiply(const struct work *work, const float *weights)
{
    const ptrdiff_t group = work->group, plane = (ptrdiff_t)work->block * group;
    for (int p = 0; p < work->count; p++)
        tile_product(work->before + p * plane, weights + p * group * group, work->tiles,
                     work->group, work->after + p * plane);
}

/* Tiles of `from` to tiles of `to`, as the ways say and as work cuts them. */
ALWAYS_INLINE void convolve(struct work *work, enum way way_in, enum way way_out,
                            const float *weights, const float *from, float *to)
{
    const ptrdiff_t per_group = (ptrdiff_t)work->count * work->group * work->group;
    for (work->first = 0; work->first < work->all; work->first += work->tiles) {
        work_block(work);
        for (int g = 0; g < work->groups; g++) {
            read_way(way_in, work, &work->from, from + (ptrdiff_t)g * work->group, work->before);
            multiply(work, weights + g * per_group);
            write_way(way_out, work, work->after, to + (ptrdiff_t)g * work->group);
        }
    }
}

static void winograd_forward(const struct own_conv *conv, float *scratch, const void *x, void *y)
{
    struct work work = work_make(conv, scratch);
    if (conv->stride == 1)
        convolve(&work, FROM_X1, TO_Y1, conv->forward, x, y);
    else
        convolve(&work, FROM_X2, TO_Y2, conv->forward, x, y);
}

/* With stride 2 a tile of dx is 4x4 pixels, and 3x3 of dy. */
static void winograd_backward_data(const struct own_conv *conv, float *scratch, const void *dy,
                                   void *dx)
{
    struct work work = work_make(conv, scratch);
    if (conv->stride == 1) {
        convolve(&work, FROM_X1, TO_Y1, conv->transposed, dy, dx);
        return;
    }
    int *from = work.from.pixels, *to = work.to.pixels;
    work.from = (struct tiling){conv->out_height, conv->out_width, 2, 0, 3, from};
    work.to = (struct tiling){conv->height, conv->width, 4, 0, 4, to};
    convolve(&work, FROM_OUTER, TO_OUTER, conv->transposed, dy, dx);
}

/* The position where reversed taps have what is at position p otherwise. */
static int reversed(int stride, int p, int side)
{
    const int last = stride == 1 ? 3 : 2, y = p / side, x = p % side;
    const int back_y = y == 0 ? last : y == last ? 0 : y;
    const int back_x = x == 0 ? last : x == last ? 0 : x;
    return back_y * side + back_x;
}

/* transposed [positions][out][in] of reversed taps, of one group, from weights [out][in][3][3]. */
ALWAYS_INLINE void weights_group(enum way way, const struct own_conv *conv, const float *weights,
                                 float *transposed)
{
    const int group = conv->group, side = way_ends(way).out;
    const ptrdiff_t plane = (ptrdiff_t)group * group;
    for (ptrdiff_t i = 0; i < plane; i += HALF) {
        float lines[9 * LANES] = {0};
        vec taps[9], at[WINOGRAD_POSITIONS_MAX];
        for (int lane = 0; lane < HALF; lane++)
            for (int tap = 0; tap < 9; tap++)
                lines[tap * LANES + lane] = weights[(i + lane) * 9 + tap];
#pragma GCC unroll 9
        for (int tap = 0; tap < 9; tap++)
            taps[tap] = vec_load(lines + (ptrdiff_t)tap * LANES);
        way_plane(way, taps, at);
        for (int p = 0; p < side * side; p++)
            vec_store_part(transposed + reversed(conv->stride, p, side) * plane + i, at[p], HALF);
    }
}

/* forward [groups][positions][in][out] */
static void winograd_weights(struct own_conv *conv, const float *weights)
{
    const int group = conv->group, side = winograd_side(conv);
    const ptrdiff_t plane = (ptrdiff_t)group * group;
    float *forward = conv->forward, *transposed = conv->transposed;
    for (int c0 = 0; c0 < conv->channels; c0 += group) {
        if (conv->stride == 1)
            weights_group(FROM_TAPS1, conv, weights, transposed);
        else
            weights_group(FROM_TAPS2, conv, weights, transposed);
        for (int p = 0; p < side * side; p++) {
            const float *from = transposed + reversed(conv->stride, p, side) * plane;
            for (int out = 0; out < group; out++)
                for (int in = 0; in < group; in++)
                    forward[p * plane + (ptrdiff_t)in * group + out] = *from++;
        }
        weights += 9 * plane;
        forward += side * side * plane;
        transposed += side * side * plane;
    }
}

/* sums [positions][in][out] of a group to dw [out][in][3][3]. */
ALWAYS_INLINE void sums_group(enum way way, int group, const float *sums, float *dw, int accumulate)
{
    const int side = way_ends(way).in;
    const ptrdiff_t plane = (ptrdiff_t)group * group;
    for (int in = 0; in < group; in++)
        for (int out = 0; out < group; out += HALF) {
            float lines[9 * LANES];
            vec taps[9], at[WINOGRAD_POSITIONS_MAX];
            for (int p = 0; p < side * side; p++)
                at[p] = vec_load_part(sums + p * plane + (ptrdiff_t)in * group + out, HALF);
            way_plane(way, at, taps);
#pragma GCC unroll 9
            for (int tap = 0; tap < 9; tap++)
                vec_store(lines + (ptrdiff_t)tap * LANES, taps[tap]);
            for (int lane = 0; lane < HALF; lane++) {
                float *to = dw + ((ptrdiff_t)(out + lane) * group + in) * 9;
                for (int tap = 0; tap < 9; tap++)
                    to[tap] = lines[tap * LANES + lane] + (accumulate ? to[tap] : 0);
            }
        }
}

/* sums += what one block says about dw. */
ALWAYS_INLINE void gradient_block(const struct work *work, enum way way_x, enum way way_dy,
                                  const float *x, const float *dy)
{
    const ptrdiff_t square = (ptrdiff_t)work->group * work->group;
    const ptrdiff_t plane = (ptrdiff_t)work->block * work->group;
    float *sums = work->sums;
    for (int g = 0; g < work->groups; g++, x += work->group, dy += work->group) {
        read_way(way_x, work, &work->from, x, work->before);
        read_way(way_dy, work, &work->to, dy, work->after);
        for (int p = 0; p < work->count; p++, sums += square)
            span_sums(work->before + p * plane, work->group, work->after + p * plane, work->group,
                      work->tiles, sums);
    }
}

static void winograd_backward_weights(const struct own_conv *conv, float *scratch, const void *x,
                                      const void *dy, const struct own_gradient *gradient)
{
    struct work work = work_make(conv, scratch);
    float *dw = gradient->dw;
    const ptrdiff_t square = (ptrdiff_t)work.group * work.group;
    const float *sums = work.sums;
    memset(work.sums, 0, (size_t)(work.groups * work.count * square) * sizeof(float));
    for (work.first = 0; work.first < work.all; work.first += work.tiles) {
        work_block(&work);
        if (conv->stride == 1)
            gradient_block(&work, FROM_X1, FROM_DY1, x, dy);
        else
            gradient_block(&work, FROM_X2, FROM_DY2, x, dy);
    }
    for (int g = 0; g < work.groups; g++, sums += work.count * square, dw += 9 * square)
        if (conv->stride == 1)
            sums_group(TO_TAPS1, work.group, sums, dw, gradient->accumulate);
        else
            sums_group(TO_TAPS2, work.group, sums, dw, gradient->accumulate);
}

const struct own_conv_ops KERNEL(winograd_ops) = {
    .weights = winograd_weights,
    .forward = winograd_forward,
    .backward_data = winograd_backward_data,
    .backward_weights = winograd_backward_weights,
};
