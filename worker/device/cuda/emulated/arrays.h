/* arrays.h - tensors of the emulated GPU as plain floats, for the loops that stand in for
 * libraries.
 *
 * Used by functions that run in stream order (cudaLaunchHostFunc), when device memory may be
 * touched. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_DEVICE_CUDA_EMULATED_ARRAYS_H
#define WORKER_DEVICE_CUDA_EMULATED_ARRAYS_H

#include "worker/device/cuda/cuda.h"

/* A copy; the caller's, to be given back with mem_free. */
float *arrays_load(enum cuda_values values, const void *from, size_t count);
/* Rounds count floats into `to` and frees x. */
void arrays_store(enum cuda_values values, float *x, size_t count, void *to);

#endif
