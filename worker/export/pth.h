/* pth.h - files that torch.load reads, written without torch.
 *
 * A stored (uncompressed) zip: archive/data.pkl, a pickle of dictionaries of tensors that names
 * storages, archive/data/I, one per tensor, and archive/version. It holds nothing that
 * torch.load(weights_only=True) refuses. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_EXPORT_PTH_H
#define WORKER_EXPORT_PTH_H

#include "common/safetensors.h"
#include "common/status.h"

struct pth_tensor {
    const char *group; /* "" or names of nested dictionaries, slashes between; equal and nested
                          groups stand together */
    const char *name;
    const struct safetensors_tensor *tensor; /* type F32 or I64, shape and data; borrowed */
};

/* Complete or absent. ERR_INPUT: a type other than F32 and I64, or more than 4 GiB (the zip format
 * without extensions ends there; safetensors does not). ERR_IO. */
enum status pth_save(const char *path, const struct pth_tensor *tensors, int count);

#endif
