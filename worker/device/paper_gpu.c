/* paper_gpu.c - a GPU on paper: what the CUDA back end would take of one that is not here. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/paper_gpu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "worker/device/cuda/conv_layout.h"

/* Context, modules and libraries of the driver, and NCCL's buffers. Not measured: a round number
 * that is rather too large. */
static const size_t DRIVER_BYTES = (size_t)1 << 30;
static const double GB_MAX = 10000;

static const char prefix[] = "paper:";

struct paper_gpu {
    struct device device; /* first: a struct device * of it is a struct paper_gpu * */
    struct device_ops ops;
    size_t bytes;
    char description[96];
};

static const char *describe(struct device *device)
{
    return ((struct paper_gpu *)device)->description;
}

static void memory(struct device *device, struct device_memory *ret_memory)
{
    const struct paper_gpu *gpu = (const struct paper_gpu *)device;
    const size_t fixed =
        (size_t)CUDA_CONV_WORKSPACE + (size_t)CUDA_GEMM_WORKSPACE + (size_t)CUDA_PARTS_BYTES;
    const size_t taken = fixed + DRIVER_BYTES;
    *ret_memory = (struct device_memory){
        .held = fixed,
        .peak = fixed,
        .fixed = fixed,
        .free = gpu->bytes > taken ? gpu->bytes - taken : 0,
    };
}

static enum status conv_memory(struct device *device, const struct conv_shape *shape,
                               struct conv_memory *ret_memory)
{
    struct conv_layout layout;
    TRY(conv_layout_make(shape, &layout));
    *ret_memory = conv_layout_memory(&layout, device->ops->activation_bytes);
    return OK;
}

static void destroy(struct device *device)
{
    mem_free(device);
}

int paper_gpu_is_named(const char *name)
{
    return strncmp(name, prefix, strlen(prefix)) == 0;
}

static size_t value_bytes(const char *type)
{
    return strcmp(type, "fp32") == 0                                ? sizeof(float)
           : strcmp(type, "bf16") == 0 || strcmp(type, "fp16") == 0 ? sizeof(uint16_t)
                                                                    : 0;
}

/* "141GB", "32GiB"; 0: neither. Makers of GPUs mean 2^30 bytes by GB: a V100 of 32 GB has 32.5e3
 * MiB, an H200 of 141 GB 143.8e3. */
static size_t memory_bytes(const char *words)
{
    char *unit = NULL;
    const double number = strtod(words, &unit);
    const int is_known = strcmp(unit, "GB") == 0 || strcmp(unit, "GiB") == 0;
    const double gib = (double)((size_t)1 << 30);
    return is_known && number > 0 && number <= GB_MAX ? (size_t)(number * gib) : 0;
}

enum status paper_gpu_open(const char *name, struct device **ret_device)
{
    char type[8] = "";
    const char *rest = name + strlen(prefix), *colon = strchr(rest, ':');
    if (colon != NULL && (size_t)(colon - rest) < sizeof(type))
        memcpy(type, rest, (size_t)(colon - rest));
    const size_t bytes = colon == NULL ? 0 : memory_bytes(colon + 1), value = value_bytes(type);
    if (bytes == 0 || value == 0)
        return fail(ERR_INPUT,
                    "device '%s' is not known: a GPU on paper is paper:TYPE:MEMORY, as "
                    "paper:bf16:141GB; types are bf16, fp16 and fp32, units GB and GiB",
                    name);
    struct paper_gpu *gpu = mem_zero(sizeof(*gpu));
    gpu->ops = (struct device_ops){
        .name = "cuda", /* what depends on it is to be planned as well */
        .describe = describe,
        .memory = memory,
        .destroy = destroy,
        .activation_bytes = value,
        .conv_memory = conv_memory,
    };
    gpu->device.ops = &gpu->ops;
    gpu->bytes = bytes;
    snprintf(gpu->description, sizeof(gpu->description),
             "a GPU of %s with %s activations, on paper", colon + 1, type);
    *ret_device = &gpu->device;
    return OK;
}
