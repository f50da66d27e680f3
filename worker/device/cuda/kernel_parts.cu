/* kernel_parts.cu - the second stage of sums over many blocks. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/cuda/kernels.h"

#include "worker/device/cuda/tile.h"

/* The parts are the pixels of a tile, the sums its channels. */
static __global__ void parts_kernel(struct parts_sum args)
{
    const size_t column = blockIdx.x * TILE_LANES + threadIdx.x;
    double mine[1] = {0};
    if (column < args.count) {
        UNROLL(TILE_UNROLLED)
        for (int part = (int)threadIdx.y; part < args.part_count; part += TILE_ROWS)
            mine[0] += args.parts[(size_t)part * args.count + column];
    }
    double sum = tile_sum(mine);
    const size_t i = (size_t)tile_sum_channel(1);
    if (i >= args.count)
        return;
    if (args.factors != nullptr && i >= args.count / 2)
        sum *= (double)args.factors[i - args.count / 2];
    args.sums[i] = (float)(args.accumulate ? (double)args.sums[i] + sum : sum);
}

void cuda_parts_sum(struct device *device, const struct parts_sum *args)
{
    const unsigned blocks = (unsigned)ceil_div(args->count, TILE_LANES);
    LAUNCH(parts_kernel, dim3(blocks), tile_threads(), cuda_stream(device), *args);
    cuda_launched(device, "parts_sum");
}
