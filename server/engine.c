/* engine.c - the choice of the collective engine. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/engine.h"

#include <string.h>

static int is_named(const struct coordinator *c, const char *name)
{
    return strcmp(c->config->collective.engine, name) == 0;
}

static int is_gpu(const struct worker *worker)
{
    return strncmp(worker->device, "cuda", 4) == 0;
}

static int is_same_device(const struct worker *a, const struct worker *b)
{
    return a->boot == b->boot && strcmp(a->host, b->host) == 0 && strcmp(a->device, b->device) == 0;
}

/* NCCL refuses two members on one GPU. */
static int has_each_its_gpu(struct coordinator *c, uint32_t count,
                            struct worker *(*find)(struct roster *roster, int rank))
{
    for (uint32_t i = 0; i < count; i++) {
        const struct worker *worker = find(&c->roster, (int)i);
        if (!is_gpu(worker))
            return 0;
        for (uint32_t j = 0; j < i; j++)
            if (is_same_device(worker, find(&c->roster, (int)j)))
                return 0;
    }
    return 1;
}

uint32_t engine_of(struct coordinator *c, uint32_t count,
                   struct worker *(*find)(struct roster *roster, int rank))
{
    if (count == 1)
        return ENGINE_SELF;
    if (is_named(c, "nccl") || (is_named(c, "auto") && has_each_its_gpu(c, count, find)))
        return ENGINE_NCCL;
    return ENGINE_MPI;
}

int engine_may_have_helpers(const struct coordinator *c, uint32_t count)
{
    return count > 1 && !is_named(c, "nccl");
}

uint32_t engine_seats(const struct coordinator *c)
{
    return is_named(c, "self") ? 1 : (uint32_t)config_slots(c->config);
}
