/* kernel_rows.cu - bias, activation and unit length along the rows of fp32 matrices. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/cuda/kernels.h"

#include "worker/device/cuda/row.h"

struct activation_args {
    const float *x, *bias; /* bias may be NULL */
    float *y;
    int rows, columns;
    enum activation activation;
};

/* Columns are the channels of a tile, rows its pixels. */
static __global__ void activation_kernel(struct activation_args args)
{
    const int column = tile_channel(1);
    if (column >= args.columns)
        return;
    const float bias = args.bias == nullptr ? 0 : args.bias[column];
    tile_pixels((size_t)args.rows, args.columns, column, [&](size_t at) {
        float v = args.x[at] + bias;
        if (args.activation == ACTIVATION_RELU)
            v = relu(v);
        else if (args.activation == ACTIVATION_SIGMOID)
            v = 1 / (1 + expf(-v));
        args.y[at] = v;
    });
}

void cuda_bias_activation(struct device *device, const float *x, const float *bias, int rows,
                          int columns, enum activation activation, float *y)
{
    const struct activation_args args = {x, bias, y, rows, columns, activation};
    LAUNCH(activation_kernel, tile_blocks(1, (size_t)rows, columns, 1), tile_threads(),
           cuda_stream(device), args);
    cuda_launched(device, "bias_activation");
}

struct activation_backward_args {
    const float *dy, *y;
    float *dx;
    double *parts; /* NULL: no column sums */
    int rows, columns;
    enum activation activation;
};

static __global__ void activation_backward_kernel(struct activation_backward_args args)
{
    const int column = tile_channel(1);
    double total[1][1] = {};
    if (column < args.columns)
        tile_sums<false>((size_t)args.rows, args.columns, column, total,
                         [&](size_t at, float(&part)[1][1]) {
                             float d = args.dy[at];
                             if (args.activation == ACTIVATION_RELU)
                                 d = args.y[at] > 0 ? d : 0;
                             else if (args.activation == ACTIVATION_SIGMOID)
                                 d *= args.y[at] * (1 - args.y[at]);
                             args.dx[at] = d;
                             part[0][0] += d;
                         });
    if (args.parts != nullptr)
        tile_store_parts(total, args.columns, args.parts);
}

void cuda_bias_activation_backward(struct device *device, const float *dy, const float *y, int rows,
                                   int columns, enum activation activation, float *dx, float *dbias,
                                   int accumulate)
{
    const dim3 blocks = tile_blocks(1, (size_t)rows, columns, 1);
    struct activation_backward_args args = {dy, y, dx, nullptr, rows, columns, activation};
    if (dbias != nullptr) {
        args.parts = (double *)cuda_parts(device, (size_t)tile_parts(blocks) * (size_t)columns *
                                                      sizeof(double));
        if (args.parts == nullptr)
            return;
    }
    LAUNCH(activation_backward_kernel, blocks, tile_threads(), cuda_stream(device), args);
    cuda_launched(device, "bias_activation_backward");
    const struct parts_sum sum = {args.parts, tile_parts(blocks), (size_t)columns,
                                  nullptr,    accumulate,         dbias};
    if (dbias != nullptr)
        cuda_parts_sum(device, &sum);
}

/* torch F.normalize: rows shorter than this are divided by it. */
static constexpr double norm_least = 1e-12;

static __global__ void normalize_kernel(const float *z, int rows, int columns, float *zhat,
                                        float *norms)
{
    for (int row = (int)blockIdx.x; row < rows; row += (int)gridDim.x) {
        const float *from = z + (size_t)row * (size_t)columns;
        float *to = zhat + (size_t)row * (size_t)columns;
        const double norm = sqrt(row_sum(columns, [&](size_t i) { return from[i] * from[i]; }));
        const float scale = (float)(1 / (norm < norm_least ? norm_least : norm));
        if (threadIdx.x == 0)
            norms[row] = (float)norm;
        for (int i = (int)threadIdx.x; i < columns; i += ROW_THREADS)
            to[i] = from[i] * scale;
    }
}

void cuda_normalize_rows(struct device *device, const float *z, int rows, int columns, float *zhat,
                         float *norms)
{
    LAUNCH(normalize_kernel, row_blocks(rows), dim3(ROW_THREADS), cuda_stream(device), z, rows,
           columns, zhat, norms);
    cuda_launched(device, "normalize_rows");
}

struct normalize_backward_args {
    const float *dzhat, *zhat, *norms;
    int rows, columns;
    float *dz;
};

static __global__ void normalize_backward_kernel(struct normalize_backward_args args)
{
    for (int row = (int)blockIdx.x; row < args.rows; row += (int)gridDim.x) {
        const size_t start = (size_t)row * (size_t)args.columns;
        const float *d = args.dzhat + start, *unit = args.zhat + start;
        const double norm = (double)args.norms[row];
        const double dot = row_sum(args.columns, [&](size_t i) { return d[i] * unit[i]; });
        const float along = norm < norm_least ? 0 : (float)dot;
        const float scale = (float)(1 / (norm < norm_least ? norm_least : norm));
        for (int i = (int)threadIdx.x; i < args.columns; i += ROW_THREADS)
            args.dz[start + (size_t)i] = (d[i] - unit[i] * along) * scale;
    }
}

void cuda_normalize_rows_backward(struct device *device, const float *dzhat, const float *zhat,
                                  const float *norms, int rows, int columns, float *dz)
{
    const struct normalize_backward_args args = {dzhat, zhat, norms, rows, columns, dz};
    LAUNCH(normalize_backward_kernel, row_blocks(rows), dim3(ROW_THREADS), cuda_stream(device),
           args);
    cuda_launched(device, "normalize_rows_backward");
}
