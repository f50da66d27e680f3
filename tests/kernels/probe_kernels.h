/* probe_kernels.h - small kernels, right and wrong, that show what the emulated GPU sees. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef TESTS_KERNELS_PROBE_KERNELS_H
#define TESTS_KERNELS_PROBE_KERNELS_H

#include <cuda_runtime_api.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { PROBE_THREADS = 128 };

/* One block turns x [PROBE_THREADS] around in shared memory; has_barrier 0: and forgets to wait. */
void probe_reverse(cudaStream_t stream, const float *x, int has_barrier, float *y);
/* y[i] = sum of x over the warp of i. */
void probe_warp_sum(cudaStream_t stream, const float *x, float *y);
/* y[0] = value, as it is at the launch. */
void probe_set(cudaStream_t stream, float value, float *y);

/* What a kernel can do wrong. */
enum probe_fault {
    PROBE_BARRIER_OF_SOME,     /* a warp does not come */
    PROBE_BARRIER_AFTER_LEAVE, /* half of the threads have returned */
    PROBE_TWO_BARRIERS,        /* halves wait at different ones */
    PROBE_EXCHANGE_OF_SOME,    /* every second lane */
    PROBE_TWO_EXCHANGES,       /* lanes at different ones */
    PROBE_SHORT_WARP,          /* 16 threads */
    PROBE_SHARED_MEMORY,       /* more than a block has */
    PROBE_FAULTS
};
void probe_wrong(cudaStream_t stream, enum probe_fault fault, float *y);
/* More threads in a block than there can be. */
void probe_wide_block(cudaStream_t stream, float *y);

#ifdef __cplusplus
}
#endif
#endif
