/* conv_engine.h - convolutions of well-shaped tensors, by cuDNN or by plain loops.
 *
 * conv_cudnn.c runs them on a GPU, emulated/conv_loops.c on the host; CMake picks one. Activations
 * are NHWC, weights and their gradient [out][taps][in of a group]: cuda_conv.c brings everything
 * into that form. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_DEVICE_CUDA_CONV_ENGINE_H
#define WORKER_DEVICE_CUDA_CONV_ENGINE_H

#include "worker/device/cuda/cuda.h"

struct conv_engine; /* one convolution in its three directions */

/* Sets cuda->conv. ERR_DEVICE. */
enum status conv_engines_start(struct cuda *cuda);
void conv_engines_stop(struct cuda *cuda); /* NULL cuda->conv is fine */
/* Convolutions created from now on are measured, as device_ops tune says. */
void conv_engines_tune(struct cuda *cuda, const char *folder);

/* Channels of a group are multiples of what cuda_conv_alignment says. ERR_DEVICE: there is no
 * implementation, or no memory for it. */
enum status conv_engine_create(struct cuda *cuda, const struct conv_shape *shape,
                               struct conv_engine **ret_engine);
void conv_engine_destroy(struct conv_engine *engine); /* NULL is fine */

/* Into the stream, outputs overwritten; failures are kept by cuda_failed. */
void conv_engine_forward(struct conv_engine *engine, const void *x, const void *w, void *y);
void conv_engine_backward_data(struct conv_engine *engine, const void *dy, const void *w, void *dx);
void conv_engine_backward_weights(struct conv_engine *engine, const void *x, const void *dy,
                                  void *dw);
/* What backward_weights writes: fp32 where it can. */
enum cuda_values conv_engine_grad_values(const struct conv_engine *engine);

#endif
