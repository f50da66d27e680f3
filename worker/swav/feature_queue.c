/* feature_queue.c - embeddings of the last images, so that small batches fill the prototypes too.
 */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/swav/feature_queue.h"

#include "worker/exchange.h"

void feature_queue_init(struct feature_queue *queue, struct team *team, const struct config *config)
{
    struct exchange exchange;
    exchange_init(&exchange, config);
    *queue = (struct feature_queue){
        .team = team,
        .images = (int)config->swav.queue_images,
        .batch_images = (int)config->train.batch_images,
        .crops = (int)config->crops[0].count,
        .embedding = (int)config->model.head[config->model.head_count - 1],
        .start_step = (uint64_t)config->swav.queue_start_step,
        .collected = team->state->exchange + exchange.embeddings,
    };
}

int feature_queue_is_used(const struct feature_queue *queue, uint64_t number)
{
    return queue->images > 0 && number >= queue->start_step &&
           queue->team->state->queue_filled == (uint32_t)queue->images;
}

/* First image of the share of a rank: whole slots, so that no result depends on the shares. */
static int share_first(const struct feature_queue *queue, int rank, int size)
{
    const int64_t slots = queue->images / queue->team->rows.slot_images;
    return (int)(slots * rank / size) * queue->team->rows.slot_images;
}

int feature_queue_share(const struct feature_queue *queue)
{
    const int rank = collective_rank(queue->team->collective);
    const int size = collective_size(queue->team->collective);
    return share_first(queue, rank + 1, size) - share_first(queue, rank, size);
}

int feature_queue_share_max(const struct feature_queue *queue, int size)
{
    const int images = queue->team->rows.slot_images, slots = queue->images / images;
    return (slots + size - 1) / size * images;
}

void feature_queue_scores(const struct feature_queue *queue, const struct prototypes *prototypes,
                          int crop, float *scores)
{
    const struct team *team = queue->team;
    const int first =
        share_first(queue, collective_rank(team->collective), collective_size(team->collective));
    const float *embeddings =
        team->state->queue +
        ((size_t)crop * (size_t)queue->images + (size_t)first) * (size_t)queue->embedding;
    const int images = team->rows.slot_images;
    for (int at = 0; at < feature_queue_share(queue); at += images)
        team->ops->gemm(team->device, 0, 1, images, prototypes->count, queue->embedding, 1,
                        embeddings + (size_t)at * (size_t)queue->embedding,
                        prototypes->linear.weight.value, 0,
                        scores + (size_t)at * (size_t)prototypes->count);
}

void feature_queue_collect(const struct feature_queue *queue, const struct head *head,
                           const uint32_t *slots)
{
    const struct team *team = queue->team;
    const size_t images = (size_t)team->rows.slot_images, embedding = (size_t)queue->embedding;
    const size_t crops = (size_t)queue->crops, slot_floats = images * embedding;
    const size_t crop_floats = (size_t)queue->batch_images * embedding;
    if (queue->images == 0)
        return;
    team->ops->zero(team->device, queue->collected, crops * crop_floats * sizeof(float));
    for (size_t slot = 0; slot < (size_t)team->rows.slot_count; slot++)
        for (size_t crop = 0; crop < crops; crop++)
            team->ops->copy(team->device,
                            queue->collected + crop * crop_floats + slots[slot] * slot_floats,
                            head->embeddings + (slot * crops + crop) * slot_floats,
                            slot_floats * sizeof(float));
}

/* Entries move back by a batch, the last ones first, so that no copy overlaps. */
void feature_queue_push(struct feature_queue *queue)
{
    const struct state *state = queue->team->state;
    const struct device_ops *ops = queue->team->ops;
    const size_t batch = (size_t)queue->batch_images * (size_t)queue->embedding;
    const size_t length = (size_t)queue->images * (size_t)queue->embedding;
    if (queue->images == 0)
        return;
    for (int crop = 0; crop < queue->crops; crop++) {
        float *entries = state->queue + (size_t)crop * length;
        for (size_t at = length - batch; at >= batch; at -= batch)
            ops->copy(state->device, entries + at, entries + at - batch, batch * sizeof(float));
        ops->copy(state->device, entries, queue->collected + (size_t)crop * batch,
                  batch * sizeof(float));
    }
}

void feature_queue_count(struct feature_queue *queue)
{
    struct state *state = queue->team->state;
    const int filled = (int)state->queue_filled + queue->batch_images;
    state->queue_filled = (uint32_t)(filled < queue->images ? filled : queue->images);
}
