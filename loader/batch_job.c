/* batch_job.c - the memory of a batch and of the plan it comes from. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "loader/batch_job.h"

#include <string.h>

#include "common/mem.h"

struct batch_job *batch_job_create(void)
{
    return mem_zero(sizeof(struct batch_job));
}

static void batch_job_release(struct batch_job *job)
{
    for (int kind = 0; kind < CROP_GROUPS_MAX; kind++)
        mem_free(job->batch.crops[kind]);
    mem_free(job->batch.slots);
    mem_free(job->batch.positions);
    mem_free(job->batch.trained);
    mem_free(job->batch.skips);
    mem_free(job->images);
}

void batch_job_destroy(struct batch_job *job)
{
    if (job == NULL)
        return;
    batch_job_release(job);
    mem_free(job);
}

static size_t crop_bytes(const struct config_crop *crop)
{
    return (size_t)crop->size * (size_t)crop->size * 3;
}

static void batch_job_reserve(struct batch_job *job, const struct config *config,
                              uint32_t slot_count)
{
    if (slot_count <= job->slot_capacity)
        return;
    batch_job_release(job);
    size_t image_count = (size_t)slot_count * (size_t)config->train.slot_images;
    for (int64_t kind = 0; kind < config->crop_count; kind++) {
        const struct config_crop *crop = &config->crops[kind];
        job->batch.crops[kind] = mem_aligned(image_count * (size_t)crop->count * crop_bytes(crop));
    }
    job->batch.slots = mem_array(slot_count, sizeof(*job->batch.slots));
    job->batch.positions = mem_array(slot_count, sizeof(*job->batch.positions));
    job->batch.trained = mem_array(image_count, sizeof(*job->batch.trained));
    job->batch.skips = mem_array(image_count, sizeof(*job->batch.skips));
    job->images = mem_array(image_count, sizeof(*job->images));
    job->slot_capacity = slot_count;
}

void batch_job_plan(struct batch_job *job, const struct config *config,
                    const struct batch_plan *plan)
{
    batch_job_reserve(job, config, plan->slot_count);
    uint32_t slot_images = (uint32_t)config->train.slot_images;
    job->batch.step = plan->step;
    job->batch.slot_count = plan->slot_count;
    job->batch.slot_images = slot_images;
    job->batch.group_count = (int)config->crop_count;
    job->batch.skip_count = 0;
    job->batch.blank_count = 0;
    job->batch.decode_us = 0;
    job->image_count = plan->slot_count * slot_images;
    for (uint32_t slot = 0; slot < plan->slot_count; slot++) {
        job->batch.slots[slot] = plan->slots[slot].slot;
        job->batch.positions[slot] = plan->slots[slot].position;
    }
    for (uint32_t index = 0; index < job->image_count; index++) {
        const struct slot_plan *slot = &plan->slots[index / slot_images];
        job->images[index] = (struct batch_job_image){
            .record = slot->records[index % slot_images],
            .position = slot->position + index % slot_images,
        };
    }
    job->next = NULL;
    job->wanted = job->image_count;
    job->claimed = 0;
    job->done = 0;
    atomic_store(&job->is_dropped, 0);
}

void batch_job_targets(const struct batch_job *job, const struct config *config, uint32_t index,
                       struct multicrop_target *ret_targets)
{
    size_t slot_images = job->batch.slot_images;
    size_t slot = index / slot_images, image = index % slot_images;
    for (int64_t kind = 0; kind < config->crop_count; kind++) {
        const struct config_crop *crop = &config->crops[kind];
        size_t first_row = slot * (size_t)crop->count * slot_images + image;
        ret_targets[kind] = (struct multicrop_target){
            .first = job->batch.crops[kind] + first_row * crop_bytes(crop),
            .stride = slot_images * crop_bytes(crop),
        };
    }
}

void batch_job_blank(struct batch_job *job, const struct config *config, uint32_t index)
{
    struct multicrop_target targets[CROP_GROUPS_MAX];
    batch_job_targets(job, config, index, targets);
    for (int64_t kind = 0; kind < config->crop_count; kind++)
        for (int64_t crop = 0; crop < config->crops[kind].count; crop++)
            memset(targets[kind].first + (size_t)crop * targets[kind].stride, 0,
                   crop_bytes(&config->crops[kind]));
}

/* Slots come in any order, so skips are put in order of position here, by insertion: few. */
static void skip_insert(struct batch *batch, const struct batch_job_image *image)
{
    uint32_t at = batch->skip_count++;
    for (; at > 0 && batch->skips[at - 1].position > image->position; at--)
        batch->skips[at] = batch->skips[at - 1];
    batch->skips[at].record = image->record;
    batch->skips[at].position = image->position;
    memcpy(batch->skips[at].reason, image->bad_reason, sizeof(batch->skips[at].reason));
}

static int is_listed(const struct batch_skip *skips, uint32_t count, struct record_ref record)
{
    for (uint32_t i = 0; i < count; i++)
        if (skips[i].record.shard == record.shard && skips[i].record.record == record.record)
            return 1;
    return 0;
}

void batch_job_collect(struct batch_job *job)
{
    struct batch *batch = &job->batch;
    for (uint32_t index = 0; index < job->image_count; index++) {
        const struct batch_job_image *image = &job->images[index];
        batch->trained[index] = image->trained;
        batch->blank_count += image->trained.shard == RECORD_NONE;
        if (image->bad_reason[0] != '\0')
            skip_insert(batch, image);
    }
    uint32_t kept = 0;
    for (uint32_t i = 0; i < batch->skip_count; i++)
        if (!is_listed(batch->skips, kept, batch->skips[i].record))
            batch->skips[kept++] = batch->skips[i];
    batch->skip_count = kept;
}
