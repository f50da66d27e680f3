/* planner.c - a device on which a model can be built and never run: it counts what is asked for. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/model/planner.h"

/* Where memory of a planner would begin: an address that nothing can have and that is aligned. */
enum { NOWHERE = 4096 };

/* All convolutions of planners are this one. */
static char a_convolution;

static enum status allocate(struct device *device, size_t bytes, int *ret_fd, void **ret_memory)
{
    struct planner *planner = (struct planner *)device;
    planner->allocated += bytes;
    if (ret_fd != NULL)
        *ret_fd = -1;
    *ret_memory = (void *)(uintptr_t)NOWHERE;
    return OK;
}

static void release(struct device *device, void *memory, size_t bytes, int fd)
{
    (void)device, (void)memory, (void)bytes, (void)fd;
}

static void upload(struct device *device, void *to, const void *host, size_t bytes)
{
    (void)device, (void)to, (void)host, (void)bytes;
}

static enum status conv_create(struct device *device, const struct conv_shape *shape,
                               struct conv **ret_conv)
{
    struct planner *planner = (struct planner *)device;
    struct conv_memory memory = {0};
    TRY(planner->real->ops->conv_memory(planner->real, shape, &memory));
    planner->conv.own += memory.own;
    for (int i = 0; i < CONV_SHARED_MAX; i++)
        if (memory.shared[i] > planner->conv.shared[i])
            planner->conv.shared[i] = memory.shared[i];
    *ret_conv = (struct conv *)(void *)&a_convolution;
    return OK;
}

static void conv_destroy(struct conv *conv)
{
    (void)conv;
}

void planner_init(struct planner *planner, struct device *real)
{
    *planner = (struct planner){
        .ops =
            {
                .name = real->ops->name, /* what depends on it is to be planned as well */
                .activation_bytes = real->ops->activation_bytes,
                .allocate = allocate,
                .release = release,
                .upload = upload,
                .conv_create = conv_create,
                .conv_destroy = conv_destroy,
            },
        .real = real,
    };
    planner->device.ops = &planner->ops;
    planner->device.has_bands = real->has_bands;
}
