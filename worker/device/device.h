/* device.h - all that the model knows of hardware: memory and some forty operations.
 *
 * One table, no optional members, two back ends (cpu/, cuda/). Activations are NHWC and live in a
 * layout of the device's own choosing behind `void *`; everything else (weights, gradients,
 * statistics, scores) is fp32 in PyTorch's order ("master layout": convolution
 * [out][in/groups][k][k], linear [out][in]). On cpu pointers are host pointers, and activations
 * fp32 or bf16.
 *
 * Rows. One resolution group is one tensor of `rows` images. Rows are ordered
 * [slot][crop][image of the slot], so a slot, and a run of slots (a BN group), is a contiguous run
 * of rows. A "pixel" is one (row, y, x); a tensor has rows*height*width pixels of `channels`
 * values.
 *
 * Order and asynchrony: operations run in the order called; results are on the host after
 * synchronize or download. Nothing allocates except create and allocate. One thread per device. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_DEVICE_DEVICE_H
#define WORKER_DEVICE_DEVICE_H

#include <stddef.h>
#include <stdint.h>

#include "common/status.h"

#ifdef __cplusplus
extern "C" {
#endif

struct device;
struct conv; /* one convolution of fixed shape, with its prepared weights */
struct recording;

struct conv_shape {
    int rows, height, width; /* of the input */
    int in_channels, out_channels;
    int kernel; /* 1, 3 or 7; padding is kernel/2 */
    int stride; /* 1 or 2; output is ceil(input/stride) */
    int groups;
    int needs_input_gradient; /* 0 for the stem */
};

enum { CONV_SHARED_MAX = 4, ROWS_PASSING_MAX = 2 };

/* What a convolution takes of the device's memory. */
struct conv_memory {
    size_t own;                     /* for itself, until conv_destroy */
    size_t shared[CONV_SHARED_MAX]; /* areas that all use in turn, as large as the largest asks
                                       for; they do not shrink before the device is closed */
};

/* Bytes, by the device's own count. */
struct device_memory {
    size_t held;                    /* allocated and not released, all that follows included */
    size_t peak;                    /* the most that was held at once */
    size_t fixed;                   /* the device's own, from open to close */
    size_t shared[CONV_SHARED_MAX]; /* present sizes of what convolutions share */
    size_t free;                    /* what could be had beyond held, as far as can be told */
};

enum activation { ACTIVATION_NONE, ACTIVATION_RELU, ACTIVATION_SIGMOID };

/* sums[0..C) = sum (x - shift[c]), sums[C..2C) = sum (x - shift[c])^2 over all pixels. */
struct bn_sums {
    const void *x;
    int rows, pixels_per_row, channels;
    const float *shift; /* [channels] */
    float *sums;        /* [2*channels], overwritten */
};

/* Forward application of batch normalisation and what is fused with it, per pixel and channel c:
 *   y = act(x*scale[c] + bias[c] + s) * row_scale[row][c],
 *   s = 0, the value of skip there, or that value * skip_scale[c] + skip_bias[c]. */
struct bn_apply {
    const void *x;
    const float *scale, *bias;           /* [channels] */
    const void *skip;                    /* NULL: none */
    const float *skip_scale, *skip_bias; /* NULL: skip is added as it is */
    int is_relu;
    int rows, pixels_per_row, channels;
    const float *row_scale; /* [rows][channels]; NULL: 1 */
    void *y;                /* may be x; NULL: only pooled is wanted */
    float *pooled; /* [rows][channels] mean over a row's pixels of y before row_scale; NULL:
                      not wanted */
};

/* First half of the backward pass of BN (+ReLU, +SE scale, +pooling), per pixel and channel:
 *   dz = dy*row_scale[row][c] + dy2 + row_add[row][c],
 *   with is_relu 0 instead where y is not positive, or with y NULL where x*scale[c] + bias[c] is
 * not; each missing (NULL) input counts as absent (dy NULL: 0; row_scale NULL: 1). dz is written,
 * and sums[0..C) = sum dz,  sums[C..2C) = sum dz * (x - mean[c]) * invstd[c] over all pixels
 * (overwritten, not accumulated). */
struct bn_backward {
    const void *dy, *dy2;
    const float *row_scale, *row_add; /* [rows][channels] */
    int is_relu;
    const void *y;              /* forward output, needed where something was added before ReLU */
    const void *x;              /* forward input of the BN */
    const float *scale, *bias;  /* [channels] of bn_apply; is_relu without y only */
    const float *mean, *invstd; /* [channels] */
    int rows, pixels_per_row, channels;
    void *dz;    /* may be dy; NULL: not written, bn_backward_apply computes it once more */
    float *sums; /* [2*channels] */
};

/* Maximum over windows of 3x3 pixels at every second pixel, channel by channel, as torch's
 * max_pool2d(3, stride 2, padding 1): output pixel (i, j) sees input rows 2i-1 to 2i+1 and columns
 * 2j-1 to 2j+1 as far as they exist. NaN is larger than any number. */
struct max_pool {
    const void *x;
    int rows, height, width, channels; /* of x */
    void *y;                           /* [rows][ceil(height/2)][ceil(width/2)][channels] */
};

/* From the reduced sums of bn_sums to what bn_apply and bn_backward need, and to the statistics of
 * this step as torch's running ones take them in (variance unbiased, count/(count-1)). */
struct bn_finalize {
    const float *sums;         /* [2*channels]: sum (x-shift), sum (x-shift)^2, reduced */
    const float *shift;        /* [channels] as given to bn_sums */
    double count;              /* pixels behind sums, over all members */
    const float *gamma, *beta; /* [channels] */
    float eps;
    int channels;
    float *mean, *invstd;          /* [channels] out */
    float *scale, *bias;           /* [channels] out: gamma*invstd, beta - mean*gamma*invstd */
    float *batch_mean, *batch_var; /* [channels] out: mean, unbiased variance, for the running
                                      statistics, which move only when the step is committed */
};

/* Multi-tensor optimizer step over one flat arena of parameters cut into tensors. All that is
 * pointed to is device memory. */
struct optimizer_tensors {
    int count;
    const size_t *offset;              /* [count] first element */
    const size_t *length;              /* [count] elements */
    float *weights, *grads, *momentum; /* the arenas */
    float *norms;             /* [2*count] out of optimizer_norms: sum w^2, sum g^2 per tensor */
    const uint8_t *is_frozen; /* [count] 1: this tensor is left alone, momentum too */
};

struct optimizer_rule {
    int is_larc; /* 1: LARC, 0: plain SGD (weight decay added to the gradient) */
    int is_clip; /* LARC clip mode: trust = min(trust/lr, 1) */
    float lr, momentum, weight_decay, trust, eps;
    int is_nesterov; /* w moves by g' + momentum*v instead of v (torch.optim.SGD) */
};

struct device_ops {
    const char *name; /* "cpu", "cuda" */
    /* One line for people: processor and vector extensions, or GPU. Borrowed. */
    const char *(*describe)(struct device *device);
    /* PCI address of the GPU, as "0000:65:00.0"; "" where there is none. Borrowed. */
    const char *(*address)(struct device *device);

    /* Memory. Zeroed, 64-byte aligned (256 on cuda). ret_fd, if not NULL, asks for memory that
     * another process can map (a memfd; -1 where the device cannot). ERR_DEVICE: not enough of it.
     */
    enum status (*allocate)(struct device *device, size_t bytes, int *ret_fd, void **ret_memory);
    void (*release)(struct device *device, void *memory, size_t bytes, int fd);
    void (*upload)(struct device *device, void *to, const void *host, size_t bytes);
    void (*download)(struct device *device, void *host, const void *from, size_t bytes); /* waits */
    void (*copy)(struct device *device, void *to, const void *from, size_t bytes);
    void (*zero)(struct device *device, void *memory, size_t bytes);
    void (*memory)(struct device *device, struct device_memory *ret_memory);
    enum status (*synchronize)(struct device *device); /* ERR_DEVICE with what went wrong before */
    void (*destroy)(struct device *device);
    /* From now on a convolution's first run may try several implementations and keep the fastest,
     * remembered in a file in `folder` (worker/device/cuda/conv_tuning.h): bits then depend on what
     * was fastest. cpu: does nothing. */
    void (*tune)(struct device *device, const char *folder);

    /* Bytes of one activation value (4 with fp32, else 2). */
    size_t activation_bytes;
    /* 1: small gradients vanish in activations (fp16) unless the loss is scaled. */
    int wants_loss_scale;

    /* Begins to copy images that a later images_normalize will read, beside what the device
     * computes now; what was there is for those before, which have read it first. host may change
     * when it returns. 0: it cannot, upload them. has_images_ahead: 0 where it never can. */
    int has_images_ahead;
    int (*images_ahead)(struct device *device, void *to, const void *host, size_t bytes);
    /* Recordings: what the device has to do, given to it once and then again and again at the cost
     * of one call. has_recordings: 0 never can; then record_begin says ERR_DEVICE.
     * From record_begin to record_end operations are noted, none is done. They may neither wait for
     * the device nor allocate or release, nor upload, load images or set the optimizer's rule: what
     * breaks this, or what a library cannot record, is told by record_end (ERR_DEVICE; nothing was
     * done, the device is fine, and the operations can be called as ever). NULL: there were none.
     * replay does them, with the numbers they were given and what memory holds by then. It must not
     * be called once recordings_epoch is another one than at record_begin: memory that operations
     * share has moved. recording_destroy waits for the device. */
    int has_recordings;
    enum status (*record_begin)(struct device *device);
    enum status (*record_end)(struct device *device, struct recording **ret_recording);
    void (*replay)(struct device *device, struct recording *recording);
    void (*recording_destroy)(struct device *device,
                              struct recording *recording); /* NULL is fine */
    uint64_t (*recordings_epoch)(struct device *device);
    /* u8 RGB [pixels][3] -> activation (v/255 - mean)/std, channels kept at 3. mean and std are
     * host memory, read before it returns. */
    void (*images_normalize)(struct device *device, const uint8_t *images, size_t pixels,
                             const float mean[3], const float std[3], void *y);
    /* Activation <-> fp32, value by value (entry and exit of the trunk, tests). */
    void (*to_float)(struct device *device, const void *x, size_t count, float *y);
    void (*from_float)(struct device *device, const float *x, size_t count, void *y);

    /* Between rows_begin and rows_end the device may put operations off, to do all of them for some
     * rows before it goes on to others, so that they find in its cache what they share; afterwards
     * all are done (with the device's asynchrony). In there only operations are called that compute
     * each row from the same row of other tensors, or sum over rows: conv_forward, conv_backward_*,
     * bn_sums, bn_apply, bn_backward_sums, bn_backward_apply and row_scale_backward; most of them
     * on `rows` rows. Memory that one of them writes is another's either as a tensor of the same
     * pixels and channels or not at all, and sums are for afterwards. Tensors of `passing`
     * (NULL: none) are written before they are read, and what is in them afterwards is undefined:
     * they need never leave the cache. */
    void (*rows_begin)(struct device *device, int rows,
                       const void *const passing[ROWS_PASSING_MAX]);
    void (*rows_end)(struct device *device);

    /* Convolutions (no bias). conv_weights prepares master weights once a step, before forward.
     * backward_data overwrites dx. backward_weights overwrites dw (master layout) or, with
     * accumulate, adds to it. ERR_DEVICE when the library has no implementation. */
    enum status (*conv_create)(struct device *device, const struct conv_shape *shape,
                               struct conv **ret_conv);
    /* What conv_create would take; it takes nothing. ERR_DEVICE as there. */
    enum status (*conv_memory)(struct device *device, const struct conv_shape *shape,
                               struct conv_memory *ret_memory);
    void (*conv_destroy)(struct conv *conv); /* NULL is fine */
    void (*conv_weights)(struct conv *conv, const float *weights);
    void (*conv_forward)(struct conv *conv, const void *x, void *y);
    void (*conv_backward_data)(struct conv *conv, const void *dy, void *dx);
    void (*conv_backward_weights)(struct conv *conv, const void *x, const void *dy, float *dw,
                                  int accumulate);

    /* Batch normalisation in the pieces between which members exchange sums. */
    void (*bn_sums)(struct device *device, const struct bn_sums *args);
    void (*bn_finalize)(struct device *device, const struct bn_finalize *args);
    void (*bn_apply)(struct device *device, const struct bn_apply *args);
    void (*bn_backward_sums)(struct device *device, const struct bn_backward *args);
    /* dx = gamma*invstd * (dz - sums[c]/count - xhat*sums[C+c]/count), sums reduced over members;
     * args as bn_backward_sums had them. dx may be dz, dy or dy2. */
    void (*bn_backward_apply)(struct device *device, const struct bn_backward *args,
                              const float *gamma, const float *sums, double count, void *dx);
    /* running = (1-momentum)*running + momentum*batch, over n values. */
    void (*running_update)(struct device *device, float *running, const float *batch, size_t n,
                           float momentum);

    void (*max_pool)(struct device *device, const struct max_pool *args);
    /* dx, as x: to the first of a window's largest pixels, row by row, goes its dy + dy2 (NULL: 0).
     * What args->y points to is not looked at. */
    void (*max_pool_backward)(struct device *device, const struct max_pool *args, const void *dy,
                              const void *dy2, void *dx);

    /* Gradient of bn_apply's row_scale: ds[row][c] = sum over pixels of dy * max(x*scale + bias,
     * 0), of args nothing else counts (the gradient of x is bn_backward's row_scale). */
    void (*row_scale_backward)(struct device *device, const struct bn_backward *args, float *ds);

    /* fp32 C[m][n] = alpha * op(A) op(B) + beta * C, row-major, leading dimensions = row lengths.
     */
    void (*gemm)(struct device *device, int trans_a, int trans_b, int m, int n, int k, float alpha,
                 const float *a, const float *b, float beta, float *c);
    /* y = act(x + bias), [rows][columns]; bias may be NULL; y may be x. */
    void (*bias_activation)(struct device *device, const float *x, const float *bias, int rows,
                            int columns, enum activation activation, float *y);
    /* dx = dy * act'(through y); dbias[columns] (+)= column sums of dx, if not NULL. dx may be dy.
     */
    void (*bias_activation_backward)(struct device *device, const float *dy, const float *y,
                                     int rows, int columns, enum activation activation, float *dx,
                                     float *dbias, int accumulate);

    /* zhat = z / max(||z||, 1e-12) by rows; norms[rows] out (torch F.normalize). z may be zhat. */
    void (*normalize_rows)(struct device *device, const float *z, int rows, int columns,
                           float *zhat, float *norms);
    /* dz = (dzhat - zhat <dzhat, zhat>) / norm. */
    void (*normalize_rows_backward)(struct device *device, const float *dzhat, const float *zhat,
                                    const float *norms, int rows, int columns, float *dz);

    /* Sinkhorn in two vectors (P = exp(S/eps - M) is constant, a over prototypes, b over
     * samples: worker/swav/codes.h). max over [rows][K] -> ret[0]. */
    void (*scores_max)(struct device *device, const float *scores, int rows, int prototypes,
                       float *ret);
    /* p = exp((s - max[0]) / epsilon). */
    void (*sinkhorn_exp)(struct device *device, const float *scores, int rows, int prototypes,
                         const float *max, float epsilon, float *p);
    /* y[k] = sum over rows of p[row][k] * b[row]. */
    void (*sinkhorn_prototypes)(struct device *device, const float *p, const float *b, int rows,
                                int prototypes, float *y);
    /* a[k] = (1/K)/y[k];  b[row] = (1/total) / sum_k p[row][k] a[k];  total = samples of all
     * members. y[k] == 0 (an unreachable prototype) gives a[k] = 0, a
     * sample that no prototype reaches b[row] = 0. */
    void (*sinkhorn_samples)(struct device *device, const float *p, const float *y, int rows,
                             int prototypes, double total, float *a, float *b);
    /* q[row][k] = a[k] p[row][k] / sum_k a[k] p[row][k]. q may be p. A
     * sample that no prototype reaches gets 1/K everywhere. */
    void (*sinkhorn_codes)(struct device *device, const float *p, const float *a, int rows,
                           int prototypes, float *q);
    /* For each of `rows` rows: with s its scores and q the summed codes of the crops it must
     * predict (row code_weight times: sum_k q = code_weight), adds -sum_k q log
     * softmax(s/temperature) to *loss_sum (device memory) and writes ds =
     * (code_weight * softmax(s/temperature) - q) * grad_scale / temperature. */
    void (*swav_loss)(struct device *device, const float *scores, const float *q, float code_weight,
                      int rows, int prototypes, float temperature, float grad_scale,
                      double *loss_sum, float *ds);

    /* x *= factor. */
    void (*multiply)(struct device *device, float *x, size_t count, float factor);

    /* Sums that come out the same in any order. wide[2*i] and wide[2*i+1] hold value i as two
     * doubles on fixed grids, of 2^-20 and 2^-62: adding up to 4096 floats below 2^20 each is
     * exact, whatever the order and whoever adds. wide_add: wide += x (is_first: wide = x),
     * what lies below 2^-62 rounded off. wide_round: back to floats. */
    void (*wide_add)(struct device *device, const float *x, size_t count, int is_first,
                     double *wide);
    void (*wide_round)(struct device *device, const double *wide, size_t count, float *x);

    /* Per-tensor sums of squares, in a fixed order: the same numbers give the same bits. */
    void (*optimizer_norms)(struct device *device, const struct optimizer_tensors *tensors);
    /* The rule of the updates that follow. */
    void (*optimizer_rule)(struct device *device, const struct optimizer_rule *rule);
    /* One update by it, with norms as optimizer_norms left them. */
    void (*optimizer_update)(struct device *device, const struct optimizer_tensors *tensors);
    /* The same update in two halves, to the bit, where a member keeps only slices of the momentum
     * and the rule has neither clip nor Nesterov's momentum. First: `held`, the momentum of the
     * arena's elements [first, first + count), as the update would leave it, goes over their
     * gradients; that of frozen tensors goes there as it is. Gaps between tensors are left alone.
     */
    void (*optimizer_momentum)(struct device *device, const struct optimizer_tensors *tensors,
                               const float *held, size_t first, size_t count);
    /* Second: with the whole of it in place of the gradients, w = w - lr v, but for frozen ones. */
    void (*optimizer_move)(struct device *device, const struct optimizer_tensors *tensors);
};

struct device {
    const struct device_ops *ops;
    int is_asynchronous; /* operations are still to run when their calls return */
    int has_bands;       /* rows_begin does something: what it is told to be passing is for free */
};

/* thread_count: cpu threads for the operations (1 in tests). ERR_DEVICE (bf16 on a cpu without it
 * too), ERR_INPUT (unknown name). Names: "cpu", "cuda:N", and "cpu:fp32", ":bf16", "cuda:N:bf16",
 * ":fp16", ":fp32" for activations of that type. */
enum status device_open(const char *name, int thread_count, struct device **ret_device);
void device_close(struct device *device);

/* Constructors of the back ends; the build links cuda/ or cuda_absent.c. activations: NULL for what
 * suits training, fp32 on cpu and bf16 on cuda. */
enum status device_cpu_create(const char *activations, int thread_count,
                              struct device **ret_device);
enum status device_cuda_create(int index, const char *activations, struct device **ret_device);

#ifdef __cplusplus
}
#endif
#endif
