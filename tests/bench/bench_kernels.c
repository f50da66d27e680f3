/* bench_kernels.c - how fast the device runs each operation of a RegNetY, and what they sum to.
 *
 * bench_kernels [DEVICE] [THREADS] [400mf|8gf]. For every distinct layer of a step of 16 images of
 * 224 and 32 of 96 pixels (batch 8 with 2+4 crops): times in ms of one call (the best of several),
 * GF/s of convolutions, GB/s of the rest counting each tensor read or written once. bench_rest.c
 * has the other operations. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/status.h"
#include "tests/bench/bench_rest.h"
#include "tests/bench/device_bench.h"

enum { CHANNELS_MAX = 2016, ROWS_MAX = 32, STAGES = 4 };

struct network {
    const char *name;
    int group, widths[STAGES + 1], depths[STAGES]; /* widths: of the stem first */
};

static const struct network networks[] = {
    {"400mf", 8, {32, 48, 104, 208, 440}, {1, 3, 6, 6}},
    {"8gf", 56, {32, 168, 448, 896, 2016}, {2, 4, 10, 1}},
};

struct bench {
    struct device *device;
    const struct device_ops *ops;
    float *a, *b, *c, *d; /* activations */
    char kind;            /* of the layer: bench_stage */
    float *weights, *grads;
    float *channels[12]; /* per-channel vectors; the last two are double as long */
    float *rows[3];      /* [rows][channels] */
    double conv_ms, other_ms;
};

static struct bench bench;

/* A layer's shape, what runs on it, how often in a step. */
struct layer {
    struct conv_shape conv;
    int count;
};

static const struct layer *layer;
static struct conv *conv;

static void run_forward(void)
{
    bench.ops->conv_forward(conv, bench.a, bench.b);
}

static void run_backward_data(void)
{
    bench.ops->conv_backward_data(conv, bench.b, bench.a);
}

static void run_backward_weights(void)
{
    bench.ops->conv_backward_weights(conv, bench.a, bench.b, bench.grads, 0);
}

static void run_weights(void)
{
    bench.ops->conv_weights(conv, bench.weights);
}

static int out_pixels(void)
{
    const int stride = layer->conv.stride;
    return (layer->conv.height + stride - 1) / stride * ((layer->conv.width + stride - 1) / stride);
}

static void run_bn_sums(void)
{
    const struct bn_sums args = {
        .x = bench.a,
        .rows = layer->conv.rows,
        .pixels_per_row = out_pixels(),
        .channels = layer->conv.out_channels,
        .shift = bench.channels[0],
        .sums = bench.channels[10],
    };
    bench.ops->bn_sums(bench.device, &args);
}

static void run_bn_apply(void)
{
    const struct bn_apply args = {.x = bench.a,
                                  .scale = bench.channels[0],
                                  .bias = bench.channels[1],
                                  .is_relu = 1,
                                  .rows = layer->conv.rows,
                                  .pixels_per_row = out_pixels(),
                                  .channels = layer->conv.out_channels,
                                  .y = bench.b};
    bench.ops->bn_apply(bench.device, &args);
}

static void run_bn_apply_pooled(void)
{
    const struct bn_apply args = {.x = bench.a,
                                  .scale = bench.channels[0],
                                  .bias = bench.channels[1],
                                  .is_relu = 1,
                                  .rows = layer->conv.rows,
                                  .pixels_per_row = out_pixels(),
                                  .channels = layer->conv.out_channels,
                                  .pooled = bench.rows[0]};
    bench.ops->bn_apply(bench.device, &args);
}

static void run_bn_apply_scaled(void)
{
    const struct bn_apply args = {.x = bench.a,
                                  .scale = bench.channels[0],
                                  .bias = bench.channels[1],
                                  .is_relu = 1,
                                  .rows = layer->conv.rows,
                                  .pixels_per_row = out_pixels(),
                                  .channels = layer->conv.out_channels,
                                  .row_scale = bench.rows[0],
                                  .y = bench.b};
    bench.ops->bn_apply(bench.device, &args);
}

static void run_bn_apply_skip(void)
{
    const struct bn_apply args = {.x = bench.a,
                                  .scale = bench.channels[0],
                                  .bias = bench.channels[1],
                                  .skip = bench.c,
                                  .is_relu = 1,
                                  .rows = layer->conv.rows,
                                  .pixels_per_row = out_pixels(),
                                  .channels = layer->conv.out_channels,
                                  .y = bench.b};
    bench.ops->bn_apply(bench.device, &args);
}

/* Of a, b or c of a block, or its shortcut; b has the squeeze's inputs, c stores dz. */
static struct bn_backward backward_of(char kind)
{
    const int is_b = kind == 'b', is_c = kind == 'c';
    return (struct bn_backward){.dy = bench.a,
                                .dy2 = is_c ? bench.d : NULL,
                                .row_scale = is_b ? bench.rows[0] : NULL,
                                .row_add = is_b ? bench.rows[1] : NULL,
                                .is_relu = kind != 's',
                                .y = is_c ? bench.b : NULL,
                                .x = bench.c,
                                .scale = bench.channels[2],
                                .bias = bench.channels[3],
                                .mean = bench.channels[0],
                                .invstd = bench.channels[1],
                                .rows = layer->conv.rows,
                                .pixels_per_row = out_pixels(),
                                .channels = layer->conv.out_channels,
                                .dz = is_c ? bench.a : NULL,
                                .sums = bench.channels[10]};
}

static void run_bn_backward_sums(void)
{
    const struct bn_backward args = backward_of(bench.kind);
    bench.ops->bn_backward_sums(bench.device, &args);
}

static void run_bn_backward_apply(void)
{
    const struct bn_backward args = backward_of(bench.kind);
    bench.ops->bn_backward_apply(bench.device, &args, bench.channels[2], bench.channels[10],
                                 layer->conv.rows * out_pixels(), bench.a);
}

static void run_row_scale_backward(void)
{
    const struct bn_backward args = backward_of(bench.kind);
    bench.ops->row_scale_backward(bench.device, &args, bench.rows[0]);
}

static void report_conv(const char *name, void (*run)(void), double flops)
{
    const double ms = device_bench_ms(bench.device, run);
    printf(" %s %6.2f ms %5.0f GF/s", name, ms, flops / ms / 1e6);
    bench.conv_ms += ms * layer->count;
}

static void report_bytes(const char *name, void (*run)(void), int tensors)
{
    const double ms = device_bench_ms(bench.device, run);
    const double values =
        (double)layer->conv.rows * out_pixels() * (double)layer->conv.out_channels;
    printf("    %-28s %6.2f ms %5.1f GB/s\n", name, ms,
           values * tensors * (double)bench.ops->activation_bytes / ms / 1e6);
    bench.other_ms += ms * layer->count;
}

static void bench_layer(void)
{
    const struct conv_shape *shape = &layer->conv;
    if (bench.ops->conv_create(bench.device, shape, &conv) != OK) {
        fprintf(stderr, "bench_kernels: %s\n", fail_message());
        exit(1);
    }
    const double flops = 2.0 * shape->rows * out_pixels() * shape->out_channels *
                         shape->in_channels / shape->groups * shape->kernel * shape->kernel;
    printf("%dx conv %dx%d s%d g%d %d->%d %d rows of %d^2:", layer->count, shape->kernel,
           shape->kernel, shape->stride, shape->groups, shape->in_channels, shape->out_channels,
           shape->rows, shape->height);
    run_weights();
    report_conv("fwd", run_forward, flops);
    if (shape->needs_input_gradient)
        report_conv("bwd-data", run_backward_data, flops);
    report_conv("bwd-weights", run_backward_weights, flops);
    bench.conv_ms += device_bench_ms(bench.device, run_weights) * layer->count;
    printf("\n");
    bench.ops->conv_destroy(conv);
}

/* Every convolution has a BN: sums, apply, two backward passes. kind 'b' also has SE. */
static void bench_bn(char kind)
{
    const int is_c = kind == 'c';
    bench.kind = kind;
    report_bytes("bn_sums", run_bn_sums, 1);
    if (kind == 'b') {
        report_bytes("bn_apply relu pooled", run_bn_apply_pooled, 1);
        report_bytes("bn_apply relu se", run_bn_apply_scaled, 2);
        report_bytes("row_scale_backward", run_row_scale_backward, 2);
    } else if (is_c) {
        report_bytes("bn_apply relu skip", run_bn_apply_skip, 3);
    } else if (kind == 'a') {
        report_bytes("bn_apply relu", run_bn_apply, 2);
    }
    report_bytes("bn_backward_sums", run_bn_backward_sums, is_c ? 5 : 2);
    report_bytes("bn_backward_apply", run_bn_backward_apply, 3);
}

static void bench_one(struct conv_shape shape, int count, char kind)
{
    const struct layer one = {shape, count};
    if (count == 0)
        return;
    layer = &one;
    bench_layer();
    bench_bn(kind);
}

/* kinds: a 1x1, b grouped 3x3, c 1x1, s the projecting shortcut. */
static void bench_stage(int rows, int size, int width_in, int width, int group, int depth)
{
    const int half = (size + 1) / 2, groups = width / group;
    bench_one((struct conv_shape){rows, size, size, width_in, width, 1, 1, 1, 1}, 1, 'a');
    bench_one((struct conv_shape){rows, size, size, width, width, 3, 2, groups, 1}, 1, 'b');
    bench_one((struct conv_shape){rows, size, size, width_in, width, 1, 2, 1, 1}, 1, 's');
    bench_one((struct conv_shape){rows, half, half, width, width, 1, 1, 1, 1}, depth - 1, 'a');
    bench_one((struct conv_shape){rows, half, half, width, width, 3, 1, groups, 1}, depth - 1, 'b');
    bench_one((struct conv_shape){rows, half, half, width, width, 1, 1, 1, 1}, depth, 'c');
}

static void bench_network(const struct network *network, int rows, int size)
{
    bench_one((struct conv_shape){rows, size, size, 3, 32, 3, 2, 1, 0}, 1, 'a');
    for (int stage = 0; stage < STAGES; stage++) {
        size = (size + 1) / 2;
        bench_stage(rows, size, network->widths[stage], network->widths[stage + 1], network->group,
                    network->depths[stage]);
    }
}

static const struct network *network_named(const char *name)
{
    for (size_t i = 0; i < sizeof(networks) / sizeof(*networks); i++)
        if (strcmp(networks[i].name, name) == 0)
            return &networks[i];
    fprintf(stderr, "bench_kernels: there is no network '%s': 400mf or 8gf\n", name);
    exit(2);
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "cpu";
    const struct network *network = network_named(argc > 3 ? argv[3] : "400mf");
    /* the largest tensor is the first of the first stage, of images of 224 pixels */
    const size_t values = (size_t)16 * 112 * 112 * (size_t)network->widths[1];
    bench.device = device_bench_open(name, argc > 2 ? (int)strtol(argv[2], NULL, 10) : 1);
    bench.ops = bench.device->ops;
    printf("%s\n", bench.ops->describe(bench.device));
    float **const activations[] = {&bench.a, &bench.b, &bench.c, &bench.d};
    for (int i = 0; i < 4; i++)
        *activations[i] = device_bench_memory(bench.device, values);
    bench.weights = device_bench_memory(bench.device, (size_t)CHANNELS_MAX * CHANNELS_MAX);
    bench.grads = device_bench_memory(bench.device, (size_t)CHANNELS_MAX * CHANNELS_MAX);
    for (int i = 0; i < 12; i++)
        bench.channels[i] = device_bench_memory(bench.device, (size_t)2 * CHANNELS_MAX);
    for (int i = 0; i < 3; i++)
        bench.rows[i] = device_bench_memory(bench.device, (size_t)ROWS_MAX * CHANNELS_MAX);
    bench_network(network, 16, 224);
    bench_network(network, 32, 96);
    printf("a step of the trunk: convolutions %.0f ms, the rest %.0f ms\n", bench.conv_ms,
           bench.other_ms);
    bench_rest(bench.device);
    device_close(bench.device);
    return 0;
}
