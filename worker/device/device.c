/* device.c - a device by its name. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/device.h"

#include <stdlib.h>
#include <string.h>

/* More GPUs in one host than anyone builds. */
enum { CUDA_INDEX_MAX = 63 };

enum status device_open(const char *name, int thread_count, struct device **ret_device)
{
    if (strcmp(name, "cpu") == 0)
        return device_cpu_create(NULL, thread_count, ret_device);
    if (strncmp(name, "cpu:", 4) == 0)
        return device_cpu_create(name + 4, thread_count, ret_device);
    if (strcmp(name, "cuda") == 0)
        return device_cuda_create(0, NULL, ret_device);
    if (strncmp(name, "cuda:", 5) == 0 && name[5] >= '0' && name[5] <= '9') {
        char *end = NULL;
        long index = strtol(name + 5, &end, 10);
        if ((*end == '\0' || *end == ':') && index <= CUDA_INDEX_MAX)
            return device_cuda_create((int)index, *end == ':' ? end + 1 : NULL, ret_device);
    }
    return fail(ERR_INPUT,
                "device '%s' is not known: use cpu, cpu:bf16 or cuda:N with N from 0 to %d", name,
                CUDA_INDEX_MAX);
}

void device_close(struct device *device)
{
    if (device != NULL)
        device->ops->destroy(device);
}
