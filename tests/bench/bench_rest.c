/* bench_rest.c - images, head, codes, loss, optimizer and copies, in the sizes of RegNetY-400MF. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/bench/bench_rest.h"

#include <stdio.h>

#include "common/mem.h"
#include "tests/bench/device_bench.h"

/* A step of 8 images with 2+4 crops and configs/regnety_400mf.yaml's model; codes of 8 images and
 * of SwAV's queue. */
enum {
    PIXELS = 16 * 224 * 224,
    ROWS = 48,
    CHANNELS = 440,
    HIDDEN = 2048, /* of the head */
    EMBEDDING = 256,
    PROTOTYPES = 3000,
    CODE_ROWS = 8 + 3840,
    WEIGHTS = 4 << 20, /* about the trunk's parameters */
    TENSORS = 64,
};

static struct device *device;
static const struct device_ops *ops;
static float *a, *b, *c, *d, *host; /* [WEIGHTS * 4] each */
static double *wide;                /* [WEIGHTS * 2] */
static struct optimizer_tensors tensors;

static void run_images_normalize(void)
{
    static const float mean[3] = {0.485f, 0.456f, 0.406f}, std[3] = {0.229f, 0.224f, 0.225f};
    ops->images_normalize(device, (const uint8_t *)a, PIXELS, mean, std, b);
}

static void run_to_float(void)
{
    ops->to_float(device, a, WEIGHTS, b);
}

static void run_from_float(void)
{
    ops->from_float(device, a, WEIGHTS, b);
}

static void run_bn_finalize(void)
{
    const struct bn_finalize args = {.sums = a,
                                     .shift = b,
                                     .count = 1e6,
                                     .gamma = b,
                                     .beta = b,
                                     .eps = 1e-5f,
                                     .channels = CHANNELS,
                                     .mean = c,
                                     .invstd = c + CHANNELS,
                                     .scale = c + 2 * CHANNELS,
                                     .bias = c + 3 * CHANNELS,
                                     .batch_mean = c + 4 * CHANNELS,
                                     .batch_var = c + 5 * CHANNELS};
    ops->bn_finalize(device, &args);
}

static void run_running_update(void)
{
    ops->running_update(device, c, b, CHANNELS, 0.1f);
}

static void run_gemm_head(void)
{
    ops->gemm(device, 0, 1, ROWS, HIDDEN, HIDDEN, 1, a, b, 0, c);
}

static void run_gemm_scores(void)
{
    ops->gemm(device, 0, 1, ROWS, PROTOTYPES, EMBEDDING, 1, a, b, 0, c);
}

static void run_gemm_scores_backward(void)
{
    ops->gemm(device, 1, 0, PROTOTYPES, EMBEDDING, ROWS, 1, a, b, 0, c);
}

static void run_bias_activation(void)
{
    ops->bias_activation(device, a, b, ROWS, HIDDEN, ACTIVATION_RELU, c);
}

static void run_bias_activation_backward(void)
{
    ops->bias_activation_backward(device, a, b, ROWS, HIDDEN, ACTIVATION_RELU, c, d, 0);
}

static void run_normalize_rows(void)
{
    ops->normalize_rows(device, a, ROWS, EMBEDDING, c, d);
}

static void run_normalize_rows_backward(void)
{
    ops->normalize_rows_backward(device, a, b, d, ROWS, EMBEDDING, c);
}

static void run_scores_max(void)
{
    ops->scores_max(device, a, CODE_ROWS, PROTOTYPES, d);
}

static void run_sinkhorn_exp(void)
{
    ops->sinkhorn_exp(device, a, CODE_ROWS, PROTOTYPES, d, 0.05f, c);
}

static void run_sinkhorn_prototypes(void)
{
    ops->sinkhorn_prototypes(device, c, b, CODE_ROWS, PROTOTYPES, d);
}

static void run_sinkhorn_samples(void)
{
    ops->sinkhorn_samples(device, c, b, CODE_ROWS, PROTOTYPES, CODE_ROWS, d, d + PROTOTYPES);
}

static void run_sinkhorn_codes(void)
{
    ops->sinkhorn_codes(device, c, b, 8, PROTOTYPES, d);
}

static void run_swav_loss(void)
{
    ops->swav_loss(device, a, b, 1, ROWS, PROTOTYPES, 0.1f, 1, wide, c);
}

static void run_wide_add(void)
{
    ops->wide_add(device, a, WEIGHTS, 0, wide);
}

static void run_wide_round(void)
{
    ops->wide_round(device, wide, WEIGHTS, c);
}

static void run_optimizer_norms(void)
{
    ops->optimizer_norms(device, &tensors);
}

static void run_optimizer_update(void)
{
    const struct optimizer_rule rule = {.is_larc = 1,
                                        .lr = 1e-6f,
                                        .momentum = 0.9f,
                                        .weight_decay = 1e-6f,
                                        .trust = 1e-3f,
                                        .eps = 1e-8f};
    ops->optimizer_rule(device, &rule);
    ops->optimizer_update(device, &tensors);
}

static void run_copy(void)
{
    ops->copy(device, b, a, WEIGHTS * sizeof(float));
}

static void run_zero(void)
{
    ops->zero(device, b, WEIGHTS * sizeof(float));
}

static void run_upload(void)
{
    ops->upload(device, b, host, WEIGHTS * sizeof(float));
}

static void run_download(void)
{
    ops->download(device, host, a, WEIGHTS * sizeof(float));
}

/* In the order of a step. bytes: each value read or written once, activations counted as fp32. */
static const struct {
    const char *name;
    void (*run)(void);
    double bytes, flops;
} rows[] = {
    {"images_normalize", run_images_normalize, PIXELS *(3 + 12.0), 0},
    {"from_float", run_from_float, WEIGHTS * 8.0, 0},
    {"to_float", run_to_float, WEIGHTS * 8.0, 0},
    {"bn_finalize", run_bn_finalize, CHANNELS * 44.0, 0},
    {"gemm head", run_gemm_head, 0, (double)ROWS *HIDDEN *HIDDEN * 2},
    {"bias_activation", run_bias_activation, (double)ROWS *HIDDEN * 8, 0},
    {"normalize_rows", run_normalize_rows, (double)ROWS *EMBEDDING * 8, 0},
    {"gemm scores", run_gemm_scores, 0, (double)ROWS *PROTOTYPES *EMBEDDING * 2},
    {"scores_max", run_scores_max, (double)CODE_ROWS *PROTOTYPES * 4, 0},
    {"sinkhorn_exp", run_sinkhorn_exp, (double)CODE_ROWS *PROTOTYPES * 8, 0},
    {"sinkhorn_prototypes", run_sinkhorn_prototypes, (double)CODE_ROWS *PROTOTYPES * 4, 0},
    {"sinkhorn_samples", run_sinkhorn_samples, (double)CODE_ROWS *PROTOTYPES * 4, 0},
    {"sinkhorn_codes", run_sinkhorn_codes, 8 * PROTOTYPES * 8.0, 0},
    {"swav_loss", run_swav_loss, (double)ROWS *PROTOTYPES * 12, 0},
    {"gemm scores backward", run_gemm_scores_backward, 0, (double)ROWS *PROTOTYPES *EMBEDDING * 2},
    {"normalize_rows_backward", run_normalize_rows_backward, (double)ROWS *EMBEDDING * 12, 0},
    {"bias_activation_backward", run_bias_activation_backward, (double)ROWS *HIDDEN * 12, 0},
    {"wide_add", run_wide_add, WEIGHTS * 36.0, 0},
    {"wide_round", run_wide_round, WEIGHTS * 20.0, 0},
    {"optimizer_norms", run_optimizer_norms, WEIGHTS * 8.0, 0},
    {"optimizer_update", run_optimizer_update, WEIGHTS * 20.0, 0},
    {"running_update", run_running_update, CHANNELS * 12.0, 0},
    {"copy", run_copy, WEIGHTS * 8.0, 0},
    {"zero", run_zero, WEIGHTS * 4.0, 0},
    {"upload", run_upload, WEIGHTS * 8.0, 0},
    {"download", run_download, WEIGHTS * 8.0, 0},
};

static void *uploaded(const void *values, size_t bytes)
{
    void *memory = device_bench_memory(device, (bytes + sizeof(float) - 1) / sizeof(float));
    ops->upload(device, memory, values, bytes);
    return memory;
}

/* Equal parts of the weights, none of them frozen. */
static void make_tensors(void)
{
    static size_t offsets[TENSORS], lengths[TENSORS];
    static uint8_t frozen[TENSORS];
    for (size_t i = 0; i < TENSORS; i++) {
        lengths[i] = WEIGHTS / TENSORS;
        offsets[i] = i * lengths[i];
    }
    tensors = (struct optimizer_tensors){.count = TENSORS,
                                         .offset = uploaded(offsets, sizeof(offsets)),
                                         .length = uploaded(lengths, sizeof(lengths)),
                                         .weights = a,
                                         .grads = b,
                                         .momentum = c,
                                         .norms = d,
                                         .is_frozen = uploaded(frozen, sizeof(frozen))};
}

/* A call below the clock's microsecond has no rate. */
static void print_row(const char *name, double ms, double operations, const char *unit)
{
    if (ms > 0)
        printf("    %-28s %8.3f ms %6.1f %s\n", name, ms, operations / ms / 1e6, unit);
    else
        printf("    %-28s   <0.001 ms\n", name);
}

void bench_rest(struct device *on)
{
    device = on;
    ops = on->ops;
    float **const buffers[] = {&a, &b, &c, &d};
    for (size_t i = 0; i < sizeof(buffers) / sizeof(buffers[0]); i++)
        *buffers[i] = device_bench_memory(on, (size_t)WEIGHTS * 4);
    wide = device_bench_memory(on, (size_t)WEIGHTS * 4);
    ops->zero(on, wide, (size_t)WEIGHTS * 2 * sizeof(*wide));
    host = mem_zero(WEIGHTS * sizeof(float));
    make_tensors();
    printf("a step besides its trunk: batch 8, 2+4 crops, %d prototypes, codes of %d rows, %d M "
           "weights\n",
           PROTOTYPES, CODE_ROWS, WEIGHTS >> 20);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const double ms = device_bench_ms(on, rows[i].run);
        if (rows[i].flops > 0)
            print_row(rows[i].name, ms, rows[i].flops, "GF/s");
        else
            print_row(rows[i].name, ms, rows[i].bytes, "GB/s");
    }
    mem_free(host);
}
