/* device_name.h - what a device is called outside of its process. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_DEVICE_DEVICE_NAME_H
#define WORKER_DEVICE_DEVICE_NAME_H

#include <stddef.h>

/* How others tell GPUs of one host apart: "cuda:N" by the host's numbering, as far as
 * CUDA_VISIBLE_DEVICES gives it away; any other name as it is. */
void device_public_name(const char *name, char *ret_name, size_t bytes);

#endif
