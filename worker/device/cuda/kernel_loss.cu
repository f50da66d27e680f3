/* kernel_loss.cu - the swapped-prediction loss and its gradient. SwAV, Caron et al. 2020, eq. 2. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/cuda/kernels.h"

#include "worker/device/cuda/row.h"

struct loss_args {
    const float *scores, *q;
    float *ds;
    double *losses; /* [rows] */
    int rows, prototypes;
    float code_weight, inverse_temperature, outer; /* outer: grad_scale / temperature */
};

/* Loss of a row: sum_k q (lse - s/temperature), with
 * lse = max/temperature + log sum exp((s - max)/temperature): each term is >= 0, so nothing
 * cancels. The exponentials are made twice: cheaper than writing and reading them. */
static __global__ void loss_kernel(struct loss_args args)
{
    const int n = args.prototypes;
    const float inverse = args.inverse_temperature;
    for (int row = (int)blockIdx.x; row < args.rows; row += (int)gridDim.x) {
        const float *s = args.scores + (size_t)row * (size_t)n;
        const float *q = args.q + (size_t)row * (size_t)n;
        float *ds = args.ds + (size_t)row * (size_t)n;
        float mine = -INFINITY;
        for (int k = (int)threadIdx.x; k < n; k += ROW_THREADS)
            mine = larger(mine, s[k]);
        const float max = row_larger(mine);
        const double sum = row_sum(n, [&](size_t k) { return expf((s[k] - max) * inverse); });
        const float lse = (float)((double)max * (double)inverse + log(sum));
        const float scale = (float)((double)args.code_weight / sum);
        const double loss = row_sum(n, [&](size_t k) {
            ds[k] = (expf((s[k] - max) * inverse) * scale - q[k]) * args.outer;
            return q[k] * (lse - s[k] * inverse);
        });
        if (threadIdx.x == 0)
            args.losses[row] = loss;
    }
}

static __global__ void add_kernel(const double *losses, int rows, double *loss_sum)
{
    double mine = 0;
    for (int row = (int)threadIdx.x; row < rows; row += ROW_THREADS)
        mine += losses[row];
    const double loss = row_add(mine);
    if (threadIdx.x == 0)
        loss_sum[0] += loss;
}

void cuda_swav_loss(struct device *device, const float *scores, const float *q, float code_weight,
                    int rows, int prototypes, float temperature, float grad_scale, double *loss_sum,
                    float *ds)
{
    double *losses = (double *)cuda_parts(device, (size_t)rows * sizeof(double));
    if (losses == nullptr)
        return;
    const struct loss_args args = {scores,
                                   q,
                                   ds,
                                   losses,
                                   rows,
                                   prototypes,
                                   code_weight,
                                   1 / temperature,
                                   grad_scale / temperature};
    LAUNCH(loss_kernel, row_blocks(rows), dim3(ROW_THREADS), cuda_stream(device), args);
    LAUNCH(add_kernel, dim3(1), dim3(ROW_THREADS), cuda_stream(device), losses, rows, loss_sum);
    cuda_launched(device, "swav_loss");
}
