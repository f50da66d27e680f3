/* kernel_optimizer.cu - norms per tensor, then LARC or SGD over the arena.
 *
 * Every tensor has SHARES blocks, however long it is: a step has a few hundred to a thousand
 * tensors, so there is work for all processors, the longest tensors included; the shares of short
 * ones leave at once. Lengths stay on the device, where the host need not wait for them. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/cuda/kernels.h"

#include "worker/device/cuda/row.h"

enum { SHARES = 64 };

/* Where a thread of a share begins in its tensor, and the distance to its next value. */
static __device__ inline size_t share_first(void)
{
    return (size_t)blockIdx.x * ROW_THREADS + threadIdx.x;
}

static constexpr size_t share_step = (size_t)SHARES * ROW_THREADS;

/* A grid has at most 65535 blocks in y: tensors beyond are taken in turn. */
static dim3 share_blocks(int tensors)
{
    enum { MOST = 65535 };
    return dim3(SHARES, (unsigned)(tensors < MOST ? tensors : MOST));
}

/* parts[share][tensor][2]: sum w^2, sum g^2 */
static __global__ void norms_kernel(struct optimizer_tensors tensors, double *parts)
{
    for (int t = (int)blockIdx.y; t < tensors.count; t += (int)gridDim.y) {
        const float *w = tensors.weights + tensors.offset[t],
                    *g = tensors.grads + tensors.offset[t];
        const size_t length = tensors.length[t];
        double *part = parts + 2 * ((size_t)blockIdx.x * (size_t)tensors.count + (size_t)t);
        if ((size_t)blockIdx.x * ROW_THREADS >= length) { /* nothing for the whole block */
            if (threadIdx.x < 2)
                part[threadIdx.x] = 0;
            continue;
        }
        const double weight =
            thread_sum(share_first(), length, share_step, [&](size_t i) { return w[i] * w[i]; });
        const double grad =
            thread_sum(share_first(), length, share_step, [&](size_t i) { return g[i] * g[i]; });
        const double weights = row_add(weight), grads = row_add(grad);
        if (threadIdx.x == 0) {
            part[0] = weights;
            part[1] = grads;
        }
    }
}

void cuda_optimizer_norms(struct device *device, const struct optimizer_tensors *tensors)
{
    const size_t count = 2 * (size_t)tensors->count;
    double *parts = (double *)cuda_parts(device, SHARES * count * sizeof(double));
    if (parts == nullptr)
        return;
    LAUNCH(norms_kernel, share_blocks(tensors->count), dim3(ROW_THREADS), cuda_stream(device),
           *tensors, parts);
    cuda_launched(device, "optimizer_norms");
    const struct parts_sum sum = {parts, SHARES, count, nullptr, 0, tensors->norms};
    cuda_parts_sum(device, &sum);
}

static __global__ void rule_kernel(struct optimizer_rule rule, struct optimizer_rule *to)
{
    *to = rule;
}

/* What gradient and decay are multiplied with. apex LARC: a tensor whose weights or gradient are
 * all zero (a BN beta at step 0) takes the gradient as it is, without decay. */
static __device__ void larc_scales(const struct optimizer_rule &rule, const float *norms,
                                   float *ret_grad, float *ret_decay)
{
    const double weight = sqrt((double)norms[0]), grad = sqrt((double)norms[1]);
    const double decay = (double)rule.weight_decay;
    *ret_grad = 1;
    *ret_decay = rule.is_larc ? 0 : rule.weight_decay;
    if (!rule.is_larc || weight == 0 || grad == 0)
        return;
    double local = (double)rule.trust * weight / (grad + decay * weight + (double)rule.eps);
    if (rule.is_clip)
        local = fmin(local / (double)rule.lr, 1.0);
    *ret_grad = (float)local;
    *ret_decay = (float)(local * decay);
}

/* One tensor, and what its gradient and decay are multiplied with. */
struct update {
    const float *g;
    float *w, *v;
    size_t length;
    float grad, decay, lr, momentum;
    int is_nesterov;
};

/* v = momentum v + g', with g' as scaled and decayed: the same bits wherever it is called. */
static __device__ inline float next_momentum(const struct update &u, float v, float change)
{
    return u.momentum * v + change;
}

/* v = momentum v + g';  w = w - lr v, or with Nesterov's momentum w - lr (g' + momentum v). */
static __device__ inline void update_value(const struct update &u, float g, float *w, float *v)
{
    const float change = u.grad * g + u.decay * *w;
    *v = next_momentum(u, *v, change);
    *w -= u.lr * (u.is_nesterov ? change + u.momentum * *v : *v);
}

/* The thread's share, N values at a time, and those that are left one by one. */
template <int N> static __device__ inline void update_share(const struct update &u)
{
    const size_t whole = u.length / N;
    for (size_t i = share_first(); i < whole; i += share_step) {
        float g[N], w[N], v[N];
        load(u.g + i * N, g);
        load(u.w + i * N, w);
        load(u.v + i * N, v);
        for (int j = 0; j < N; j++)
            update_value(u, g[j], &w[j], &v[j]);
        store(u.v + i * N, v);
        store(u.w + i * N, w);
    }
    for (size_t i = whole * N + share_first(); i < u.length; i += share_step)
        update_value(u, u.g[i], &u.w[i], &u.v[i]);
}

static __global__ void update_kernel(struct optimizer_tensors tensors,
                                     const struct optimizer_rule *rule)
{
    SHARED(float, scales, 2);
    for (int t = (int)blockIdx.y; t < tensors.count; t += (int)gridDim.y) {
        const size_t length = tensors.length[t], offset = tensors.offset[t];
        if (tensors.is_frozen[t] || (size_t)blockIdx.x * ROW_THREADS >= length)
            continue; /* the whole block */
        if (threadIdx.x == 0)
            larc_scales(*rule, tensors.norms + 2 * (size_t)t, &scales[0], &scales[1]);
        __syncthreads();
        const struct update u = {tensors.grads + offset,
                                 tensors.weights + offset,
                                 tensors.momentum + offset,
                                 length,
                                 scales[0],
                                 scales[1],
                                 rule->lr,
                                 rule->momentum,
                                 rule->is_nesterov};
        if (is_vector<float>(0, u.g, u.w, u.v))
            update_share<vector_of<float>()>(u);
        else
            update_share<1>(u);
        __syncthreads(); /* before the next tensor's scales */
    }
}

/* In device memory, so that a replayed update follows it from step to step. */
static struct optimizer_rule *rule_of(struct device *device)
{
    return (struct optimizer_rule *)((struct cuda *)device)->rule.memory;
}

void cuda_optimizer_rule(struct device *device, const struct optimizer_rule *rule)
{
    struct cuda *cuda = (struct cuda *)device;
    if (cuda->is_recording) {
        cuda_failed(cuda, "optimizer_rule", "a recording would bring back the present one");
        return;
    }
    LAUNCH(rule_kernel, dim3(1), dim3(1), cuda_stream(device), *rule, rule_of(device));
    cuda_launched(device, "optimizer_rule");
}

void cuda_optimizer_update(struct device *device, const struct optimizer_tensors *tensors)
{
    LAUNCH(update_kernel, share_blocks(tensors->count), dim3(ROW_THREADS), cuda_stream(device),
           *tensors, (const struct optimizer_rule *)rule_of(device));
    cuda_launched(device, "optimizer_update");
}

/* The elements [first, first + count) of the arena, and their momentum. */
struct slice {
    const float *held;
    size_t first, count;
};

/* Of a tensor the part that lies in the slice: from, and how many. */
static __device__ inline size_t overlap(const struct optimizer_tensors &tensors, int t,
                                        const struct slice &slice, size_t *ret_from)
{
    const size_t begin = tensors.offset[t], until = begin + tensors.length[t];
    const size_t end = slice.first + slice.count;
    const size_t from = begin > slice.first ? begin : slice.first, to = until < end ? until : end;
    *ret_from = from;
    return to > from ? to - from : 0;
}

static __global__ void momentum_kernel(struct optimizer_tensors tensors,
                                       const struct optimizer_rule *rule, struct slice slice)
{
    SHARED(float, scales, 2);
    for (int t = (int)blockIdx.y; t < tensors.count; t += (int)gridDim.y) {
        size_t from = 0;
        const size_t length = overlap(tensors, t, slice, &from);
        if ((size_t)blockIdx.x * ROW_THREADS >= length)
            continue; /* the whole block */
        const float *v = slice.held + (from - slice.first);
        float *g = tensors.grads + from;
        const float *w = tensors.weights + from;
        if (threadIdx.x == 0)
            larc_scales(*rule, tensors.norms + 2 * (size_t)t, &scales[0], &scales[1]);
        __syncthreads();
        const struct update u = {nullptr,   nullptr,  nullptr,        length, scales[0],
                                 scales[1], rule->lr, rule->momentum, 0};
        for (size_t i = share_first(); i < length; i += share_step)
            g[i] = tensors.is_frozen[t] ? v[i]
                                        : next_momentum(u, v[i], u.grad * g[i] + u.decay * w[i]);
        __syncthreads(); /* before the next tensor's scales */
    }
}

void cuda_optimizer_momentum(struct device *device, const struct optimizer_tensors *tensors,
                             const float *held, size_t first, size_t count)
{
    const struct slice slice = {held, first, count};
    LAUNCH(momentum_kernel, share_blocks(tensors->count), dim3(ROW_THREADS), cuda_stream(device),
           *tensors, (const struct optimizer_rule *)rule_of(device), slice);
    cuda_launched(device, "optimizer_momentum");
}

static __global__ void move_kernel(struct optimizer_tensors tensors,
                                   const struct optimizer_rule *rule)
{
    for (int t = (int)blockIdx.y; t < tensors.count; t += (int)gridDim.y) {
        if (tensors.is_frozen[t])
            continue;
        float *w = tensors.weights + tensors.offset[t];
        const float *v = tensors.grads + tensors.offset[t];
        for (size_t i = share_first(); i < tensors.length[t]; i += share_step)
            w[i] -= rule->lr * v[i];
    }
}

void cuda_optimizer_move(struct device *device, const struct optimizer_tensors *tensors)
{
    LAUNCH(move_kernel, share_blocks(tensors->count), dim3(ROW_THREADS), cuda_stream(device),
           *tensors, (const struct optimizer_rule *)rule_of(device));
    cuda_launched(device, "optimizer_move");
}
