/* paper_gpu.h - a GPU on paper: what the CUDA back end would take of one that is not here.
 *
 * For plans alone (planner.h): it knows sizes, and none of its operations compute. The plan is the
 * real device's, to the byte, but for what the driver keeps for itself, which is taken off what is
 * free. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_DEVICE_PAPER_GPU_H
#define WORKER_DEVICE_PAPER_GPU_H

#include "worker/device/device.h"

/* Does the name begin with "paper:"? */
int paper_gpu_is_named(const char *name);
/* "paper:bf16:141GB": type of activations (bf16, fp16, fp32) and memory, in GiB, which makers call
 * GB. device_close ends it. ERR_INPUT. */
enum status paper_gpu_open(const char *name, struct device **ret_device);

#endif
