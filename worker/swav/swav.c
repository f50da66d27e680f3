/* swav.c - the swapped-prediction loss over several crops. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/swav/swav.h"

#include "worker/exchange.h"

enum { LOSSES_AT_ONCE = 256 };

void swav_init(struct swav *swav, struct team *team, struct head *head, const struct config *config,
               int group_size)
{
    struct exchange exchange;
    const double assigned = (double)config->crops[0].count;
    const double others = (double)(config_crops_per_image(config) - 1);
    exchange_init(&exchange, config);
    *swav = (struct swav){
        .team = team,
        .head = head,
        .temperature = (float)config->swav.temperature,
        .images = (double)config->train.batch_images,
        .tail = team->state->exchange + exchange.tail,
        .tail_floats = exchange.tail_floats,
    };
    swav->scale = 1 / (assigned * others * swav->images);
    swav->loss_scale = 1;
    swav->loss_sums =
        arena_take(&team->arena, 2 * (size_t)team->rows.slot_count * sizeof(*swav->loss_sums));
    swav->losses = arena_floats(&team->arena, (size_t)team->rows.slot_count);
    feature_queue_init(&swav->queue, team, config);
    codes_init(&swav->codes, team, config, team->rows.slot_count * team->rows.slot_images,
               feature_queue_share_max(&swav->queue, group_size));
}

enum status swav_codes(struct swav *swav, uint64_t number)
{
    const int is_queue_used = feature_queue_is_used(&swav->queue, number);
    for (int crop = 0; crop < swav->codes.crops && is_queue_used; crop++)
        feature_queue_scores(&swav->queue, swav->head, crop,
                             codes_queue_scores(&swav->codes, crop));
    return codes_compute(&swav->codes, swav->head->scores,
                         is_queue_used ? feature_queue_share(&swav->queue) : 0,
                         swav->images + (is_queue_used ? swav->queue.images : 0));
}

/* One crop of one slot: consecutive rows that share a target. */
static void predict(struct swav *swav, int resolution, int slot, int crop)
{
    const struct team *team = swav->team;
    const struct codes *codes = &swav->codes;
    const int images = team->rows.slot_images;
    const size_t k = (size_t)codes->prototypes;
    const int is_assigned = resolution == 0;
    const int row =
        rows_first(&team->rows, resolution) + (slot * team->rows.crops[resolution] + crop) * images;
    const float *target = codes_target(codes, is_assigned ? crop : codes->crops);
    team->ops->swav_loss(team->device, swav->head->scores + (size_t)row * k,
                         target + (size_t)(slot * images) * k,
                         (float)(is_assigned ? codes->crops - 1 : codes->crops), images, (int)k,
                         swav->temperature, (float)(swav->scale * swav->loss_scale),
                         swav->loss_sums + 2 * slot, swav->head->scores_grad + (size_t)row * k);
}

void swav_loss(struct swav *swav)
{
    const struct team *team = swav->team;
    const struct rows *rows = &team->rows;
    const size_t slot_count = (size_t)rows->slot_count;
    team->ops->zero(team->device, swav->loss_sums, 2 * slot_count * sizeof(*swav->loss_sums));
    for (int r = 0; r < rows->resolution_count; r++)
        for (int slot = 0; slot < rows->slot_count; slot++)
            for (int crop = 0; crop < rows->crops[r]; crop++)
                predict(swav, r, slot, crop);
    team->ops->wide_round(team->device, swav->loss_sums, slot_count, swav->losses);
    team->ops->multiply(team->device, swav->losses, slot_count, (float)swav->scale);
}

/* On the device alone: the host waits for no loss before the step's end. */
void swav_place(struct swav *swav, const uint32_t *slots)
{
    const struct team *team = swav->team;
    const struct rows *rows = &team->rows;
    const int run = rows->is_run ? rows->slot_count : 1;
    feature_queue_collect(&swav->queue, swav->head, slots);
    team->ops->zero(team->device, swav->tail, (size_t)rows->slot_total * sizeof(float));
    for (int i = 0; i < rows->slot_count; i += run)
        team->ops->copy(team->device, swav->tail + slots[i], swav->losses + i,
                        (size_t)run * sizeof(float));
}

double swav_loss_of_all(const struct swav *swav)
{
    const struct team *team = swav->team;
    const int total = team->rows.slot_total;
    float losses[LOSSES_AT_ONCE];
    double sum = 0;
    for (int slot = 0; slot < total; slot += LOSSES_AT_ONCE) {
        const int count = total - slot < LOSSES_AT_ONCE ? total - slot : LOSSES_AT_ONCE;
        team->ops->download(team->device, losses, swav->tail + slot,
                            (size_t)count * sizeof(*losses));
        for (int i = 0; i < count; i++)
            sum += (double)losses[i];
    }
    return sum;
}
