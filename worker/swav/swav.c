/* swav.c - the swapped-prediction loss over several crops. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/swav/swav.h"

#include "worker/exchange.h"

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
    swav->scale = 1 / (assigned * others * swav->images * (double)config->model.prototype_heads);
    swav->loss_scale = 1;
    slot_losses_init(&swav->losses, team, config);
    feature_queue_init(&swav->queue, team, config);
    codes_init(&swav->codes, team, config, team->rows.slot_count * team->rows.slot_images,
               feature_queue_share_max(&swav->queue, group_size));
}

enum status swav_codes(struct swav *swav, uint64_t number)
{
    const struct head *head = swav->head;
    const int is_queue_used = feature_queue_is_used(&swav->queue, number);
    const float *scores[CONFIG_PROTOTYPES_MAX];
    for (int i = 0; i < head->prototype_heads; i++) {
        scores[i] = head->prototypes[i].scores;
        for (int crop = 0; crop < swav->codes.crops && is_queue_used; crop++)
            feature_queue_scores(&swav->queue, &head->prototypes[i], crop,
                                 codes_queue_scores(&swav->codes, i, crop));
    }
    return codes_compute(&swav->codes, scores,
                         is_queue_used ? feature_queue_share(&swav->queue) : 0,
                         swav->images + (is_queue_used ? swav->queue.images : 0));
}

/* One crop of one slot, by one head of prototypes: consecutive rows that share a target. */
static void predict(struct swav *swav, int index, int resolution, int slot, int crop)
{
    const struct team *team = swav->team;
    const struct codes *codes = &swav->codes;
    const struct prototypes *prototypes = &swav->head->prototypes[index];
    const int images = team->rows.slot_images;
    const size_t k = (size_t)prototypes->count;
    const int is_assigned = resolution == 0;
    const int row =
        rows_first(&team->rows, resolution) + (slot * team->rows.crops[resolution] + crop) * images;
    const float *target = codes_target(codes, index, is_assigned ? crop : codes->crops);
    team->ops->swav_loss(
        team->device, prototypes->scores + (size_t)row * k, target + (size_t)(slot * images) * k,
        (float)(is_assigned ? codes->crops - 1 : codes->crops), images, (int)k, swav->temperature,
        (float)(swav->scale * swav->loss_scale), slot_losses_sum(&swav->losses, slot),
        prototypes->scores_grad + (size_t)row * k);
}

void swav_loss(struct swav *swav)
{
    const struct rows *rows = &swav->team->rows;
    slot_losses_zero(&swav->losses);
    for (int i = 0; i < swav->head->prototype_heads; i++)
        for (int r = 0; r < rows->resolution_count; r++)
            for (int slot = 0; slot < rows->slot_count; slot++)
                for (int crop = 0; crop < rows->crops[r]; crop++)
                    predict(swav, i, r, slot, crop);
    slot_losses_finish(&swav->losses, swav->scale);
}

void swav_place(struct swav *swav, const uint32_t *slots)
{
    feature_queue_collect(&swav->queue, swav->head, slots);
    slot_losses_place(&swav->losses, slots);
}

double swav_loss_of_all(const struct swav *swav)
{
    return slot_losses_total(&swav->losses);
}
