/* self.c - the engine of a generation with one member: every sum is there already. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include <stdatomic.h>

#include "common/mem.h"
#include "worker/collective/engine.h"

struct self {
    struct collective base;
    _Atomic int is_aborted;
};

static enum status self_check(struct collective *collective)
{
    struct self *self = (struct self *)collective;
    return atomic_load(&self->is_aborted) ? fail(ERR_STALE, "collective aborted") : OK;
}

static void self_destroy(struct collective *collective)
{
    mem_free(collective);
}

static void self_abort(struct collective *collective)
{
    struct self *self = (struct self *)collective;
    atomic_store(&self->is_aborted, 1);
}

static enum status self_allreduce(struct collective *collective, void *data, size_t count,
                                  enum reduce_op op)
{
    (void)data, (void)count, (void)op;
    return self_check(collective);
}

static enum status self_split(struct collective *collective, int cut, int color)
{
    (void)cut, (void)color;
    return self_check(collective);
}

static enum status self_allreduce_within(struct collective *collective,
                                         const struct collective_part parts[COLLECTIVE_CUTS],
                                         enum reduce_op op)
{
    (void)parts, (void)op;
    return self_check(collective);
}

static enum status self_allreduce_start(struct collective *collective, void *data, size_t count,
                                        enum reduce_op op, uint64_t *ret_ticket)
{
    (void)data, (void)count, (void)op;
    TRY(self_check(collective));
    *ret_ticket = 0;
    return OK;
}

static enum status self_wait(struct collective *collective, uint64_t ticket)
{
    (void)ticket;
    return self_check(collective);
}

static enum status self_broadcast(struct collective *collective, void *data, size_t bytes, int root)
{
    (void)data, (void)bytes, (void)root;
    return self_check(collective);
}

static enum status self_allgather(struct collective *collective, void *data, size_t bytes)
{
    (void)data, (void)bytes;
    return self_check(collective);
}

static const struct engine_ops self_ops = {
    .name = "self",
    .is_alone = 1,
    .destroy = self_destroy,
    .abort = self_abort,
    .allreduce = self_allreduce,
    .split = self_split,
    .allreduce_within = self_allreduce_within,
    .allreduce_start = self_allreduce_start,
    .wait = self_wait,
    .broadcast = self_broadcast,
    .allgather = self_allgather,
};

enum status collective_self_form(const struct collective_group *group,
                                 struct collective **ret_collective)
{
    if (group->size != 1)
        return fail(ERR_INPUT, "collective engine 'self' serves one member, not %d", group->size);
    struct self *self = mem_zero(sizeof(*self));
    self->base.ops = &self_ops;
    *ret_collective = &self->base;
    return OK;
}
