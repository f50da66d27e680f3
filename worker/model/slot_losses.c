/* slot_losses.c - the loss of a step as a sum of those of its slots, whoever holds them. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/model/slot_losses.h"

#include "worker/exchange.h"

enum { LOSSES_AT_ONCE = 256 };

void slot_losses_init(struct slot_losses *losses, struct team *team, const struct config *config)
{
    struct exchange exchange;
    const size_t count = (size_t)team->rows.slot_count;
    exchange_init(&exchange, config);
    *losses = (struct slot_losses){
        .team = team,
        .all = team->state->exchange + exchange.tail,
    };
    losses->sums = arena_take(&team->arena, 2 * count * sizeof(*losses->sums));
    losses->values = arena_floats(&team->arena, count);
}

void slot_losses_zero(struct slot_losses *losses)
{
    const struct team *team = losses->team;
    team->ops->zero(team->device, losses->sums,
                    2 * (size_t)team->rows.slot_count * sizeof(*losses->sums));
}

double *slot_losses_sum(const struct slot_losses *losses, int slot)
{
    return losses->sums + (ptrdiff_t)2 * slot;
}

void slot_losses_finish(struct slot_losses *losses, double scale)
{
    const struct team *team = losses->team;
    const size_t count = (size_t)team->rows.slot_count;
    team->ops->wide_round(team->device, losses->sums, count, losses->values);
    team->ops->multiply(team->device, losses->values, count, (float)scale);
}

/* On the device alone: the host waits for no loss before the step's end. */
void slot_losses_place(struct slot_losses *losses, const uint32_t *slots)
{
    const struct team *team = losses->team;
    const struct rows *rows = &team->rows;
    const int run = rows->is_run ? rows->slot_count : 1;
    team->ops->zero(team->device, losses->all, (size_t)rows->slot_total * sizeof(float));
    for (int i = 0; i < rows->slot_count; i += run)
        team->ops->copy(team->device, losses->all + slots[i], losses->values + i,
                        (size_t)run * sizeof(float));
}

double slot_losses_total(const struct slot_losses *losses)
{
    const struct team *team = losses->team;
    const int total = team->rows.slot_total;
    float values[LOSSES_AT_ONCE];
    double sum = 0;
    for (int slot = 0; slot < total; slot += LOSSES_AT_ONCE) {
        const int count = total - slot < LOSSES_AT_ONCE ? total - slot : LOSSES_AT_ONCE;
        team->ops->download(team->device, values, losses->all + slot,
                            (size_t)count * sizeof(*values));
        for (int i = 0; i < count; i++)
            sum += (double)values[i];
    }
    return sum;
}
