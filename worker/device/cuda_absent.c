/* cuda_absent.c - linked in place of cuda/ by a build without CUDA. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/device.h"

enum status device_cuda_create(int index, const char *activations, struct device **ret_device)
{
    (void)activations;
    (void)ret_device;
    return fail(ERR_DEVICE,
                "cuda:%d: this program was built without CUDA; use --device cpu, or build with "
                "cmake --preset cuda on a machine with the CUDA toolkit",
                index);
}
