/* conv_loops.c - convolutions of the emulated GPU. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/cuda/conv_engine.h"

#include "common/mem.h"
#include "worker/device/cuda/emulated/arrays.h"
#include "worker/device/cuda/emulated/emulator.h"

struct conv_engine {
    struct cuda *cuda;
    struct conv_shape shape;
    int out_height, out_width;
    size_t in_count, out_count, weight_count;
};

enum direction { FORWARD, BACKWARD_DATA, BACKWARD_WEIGHTS };

struct conv_call {
    const struct conv_engine *engine;
    enum direction direction;
    const void *x, *w, *dy; /* one is NULL and asked for */
    void *result;
};

/* Two pixels that a tap connects, and its weights. */
struct link {
    float *in, *out, *w; /* w: [out of a group][taps][in of a group], of the first output */
};

enum status conv_engines_start(struct cuda *cuda)
{
    (void)cuda;
    return OK;
}

void conv_engines_stop(struct cuda *cuda)
{
    (void)cuda;
}

void conv_engines_tune(struct cuda *cuda, const char *folder)
{
    (void)cuda, (void)folder; /* there is one engine */
}

enum status conv_engine_create(struct cuda *cuda, const struct conv_shape *s,
                               struct conv_engine **ret_engine)
{
    struct conv_engine *engine = mem_zero(sizeof(*engine));
    *engine = (struct conv_engine){
        .cuda = cuda,
        .shape = *s,
        .out_height = (s->height + s->stride - 1) / s->stride,
        .out_width = (s->width + s->stride - 1) / s->stride,
    };
    const size_t rows = (size_t)s->rows;
    const size_t out_pixels = (size_t)engine->out_height * (size_t)engine->out_width;
    engine->in_count = rows * (size_t)s->height * (size_t)s->width * (size_t)s->in_channels;
    engine->out_count = rows * out_pixels * (size_t)s->out_channels;
    engine->weight_count = (size_t)s->out_channels * (size_t)(s->kernel * s->kernel) *
                           (size_t)(s->in_channels / s->groups);
    *ret_engine = engine;
    return OK;
}

void conv_engine_destroy(struct conv_engine *engine)
{
    if (engine == NULL)
        return;
    cuda_synchronize(&engine->cuda->device); /* calls that wait in the stream point here */
    mem_free(engine);
}

enum cuda_values conv_engine_grad_values(const struct conv_engine *engine)
{
    (void)engine;
    return CUDA_FP32;
}

/* One tap for all channels: out += w in, in += w out or w += out in. */
static void apply(const struct conv_shape *s, enum direction direction, const struct link *link)
{
    const int in = s->in_channels / s->groups, out = s->out_channels / s->groups;
    const size_t next_output = (size_t)(s->kernel * s->kernel) * (size_t)in;
    for (int o = 0; o < s->out_channels; o++) {
        float *x = link->in + (ptrdiff_t)(o / out) * in;
        float *w = link->w + (size_t)o * next_output;
        float *y = link->out + o;
        if (direction == FORWARD)
            for (int i = 0; i < in; i++)
                *y += w[i] * x[i];
        else if (direction == BACKWARD_DATA)
            for (int i = 0; i < in; i++)
                x[i] += w[i] * *y;
        else
            for (int i = 0; i < in; i++)
                w[i] += x[i] * *y;
    }
}

/* All taps of one output pixel. */
static void apply_taps(const struct conv_engine *e, enum direction direction, const int at[3],
                       const struct link *base)
{
    const struct conv_shape *s = &e->shape;
    const int pad = s->kernel / 2;
    const ptrdiff_t out_pixel = ((ptrdiff_t)at[0] * e->out_height + at[1]) * e->out_width + at[2];
    for (int tap = 0; tap < s->kernel * s->kernel; tap++) {
        const int y = at[1] * s->stride + tap / s->kernel - pad;
        const int x = at[2] * s->stride + tap % s->kernel - pad;
        if (y < 0 || y >= s->height || x < 0 || x >= s->width)
            continue;
        const ptrdiff_t in_pixel = ((ptrdiff_t)at[0] * s->height + y) * s->width + x;
        const struct link link = {
            base->in + in_pixel * s->in_channels,
            base->out + out_pixel * s->out_channels,
            base->w + (ptrdiff_t)tap * (s->in_channels / s->groups),
        };
        apply(s, direction, &link);
    }
}

static float *loaded(enum cuda_values values, const void *from, size_t count)
{
    return from == NULL ? mem_array(count, sizeof(float)) : arrays_load(values, from, count);
}

static void run(void *data)
{
    const struct conv_call *call = data;
    const struct conv_engine *e = call->engine;
    const enum cuda_values values = e->cuda->values;
    const struct link base = {
        loaded(values, call->x, e->in_count),
        loaded(values, call->dy, e->out_count),
        loaded(values, call->w, e->weight_count),
    };
    for (int row = 0; row < e->shape.rows; row++)
        for (int y = 0; y < e->out_height; y++)
            for (int x = 0; x < e->out_width; x++)
                apply_taps(e, call->direction, (const int[3]){row, y, x}, &base);
    if (call->direction == FORWARD)
        arrays_store(values, base.out, e->out_count, call->result);
    else
        mem_free(base.out);
    if (call->direction == BACKWARD_DATA)
        arrays_store(values, base.in, e->in_count, call->result);
    else
        mem_free(base.in);
    if (call->direction == BACKWARD_WEIGHTS)
        arrays_store(CUDA_FP32, base.w, e->weight_count, call->result);
    else
        mem_free(base.w);
}

static void give(const struct conv_call *call)
{
    struct cuda *cuda = call->engine->cuda;
    cuda_note(cuda, "convolution",
              emulator_call(cuda_stream(&cuda->device), run, call, sizeof(*call)));
}

void conv_engine_forward(struct conv_engine *engine, const void *x, const void *w, void *y)
{
    give(&(struct conv_call){.engine = engine, .direction = FORWARD, .x = x, .w = w, .result = y});
}

void conv_engine_backward_data(struct conv_engine *engine, const void *dy, const void *w, void *dx)
{
    give(&(struct conv_call){
        .engine = engine, .direction = BACKWARD_DATA, .w = w, .dy = dy, .result = dx});
}

void conv_engine_backward_weights(struct conv_engine *engine, const void *x, const void *dy,
                                  void *dw)
{
    give(&(struct conv_call){
        .engine = engine, .direction = BACKWARD_WEIGHTS, .x = x, .dy = dy, .result = dw});
}
