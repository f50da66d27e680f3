/* decoder.c - a record from a map or from afar, and another of the slot if it is no good. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "loader/decoder.h"

#include <stdio.h>

#include "common/log.h"
#include "loader/shard.h"
#include "loader/shard_fault.h"

void decoder_init(struct decoder *decoder, const struct config *config, uint64_t seed, int index)
{
    *decoder = (struct decoder){.config = config, .index = index};
    image_init(&decoder->image);
    decoder->multicrop = multicrop_create(config, seed);
}

void decoder_done(struct decoder *decoder)
{
    multicrop_destroy(decoder->multicrop);
    image_done(&decoder->image);
}

static enum status decode_bytes(struct decoder *decoder, const uint8_t *bytes, size_t length)
{
    const struct image_limits limits = {
        .max_pixels = decoder->config->data.max_pixels,
        .max_side = image_limits_default.max_side,
        .min_side = image_limits_default.min_side,
    };
    return image_decode_part(&decoder->image, bytes, length, &limits, &decoder->wish);
}

static enum status decode_mapped(struct decoder *decoder, const struct batch_job_image *image)
{
    struct record record;
    TRY(shard_read(image->shard->readers[decoder->index], image->record.record, &record));
    return decode_bytes(decoder, record.bytes, record.length);
}

/* ERR_UNREACHABLE: no loader has it now. */
static enum status decode_fetched(struct decoder *decoder, const struct batch_job *job,
                                  const struct batch_job_image *image, struct fetch **fetch)
{
    struct shard_client *client = decoder->client;
    const uint8_t *bytes;
    size_t length;
    if (*fetch == NULL)
        *fetch = shard_client_ask(client, &image->shard->planned, image->record.record);
    TRY(shard_client_wait(client, *fetch, &job->is_dropped, &bytes, &length));
    return decode_bytes(decoder, bytes, length);
}

/* Decodes the record planned for image `index`, from whichever image of the slot asks; *fetch may
 * have it. What comes out of a shard that lost bytes meanwhile counts for nothing: it is waited for
 * again, as is one that nobody holds any more. */
static enum status decode_record(struct decoder *decoder, const struct batch_job *job,
                                 uint32_t index, struct fetch **fetch)
{
    struct shard_table *shards = decoder->shards;
    const struct batch_job_image *image = &job->images[index];
    struct open_shard *shard = image->shard;
    decoder->image.reason = IMAGE_REASON_IO;
    if (shard == NULL)
        return fail(ERR_CORRUPT, "shard cannot be opened");
    for (;;) {
        int is_remote = 0, is_lost;
        enum status status;
        TRY(shard_table_wait(shards, shard, &job->is_dropped, &is_remote));
        if (is_remote) {
            status = decode_fetched(decoder, job, image, fetch);
            is_lost = status == ERR_UNREACHABLE;
        } else {
            shard_fault_guard(&shard->is_faulty);
            status = decode_mapped(decoder, image);
            shard_fault_guard(NULL);
            is_lost = atomic_load(&shard->is_faulty);
        }
        if (!is_lost)
            return status;
        decoder->image.reason = IMAGE_REASON_IO;
        shard_table_fault(shards, shard);
    }
}

/* As decode_record: the image's own record may have been asked for when it was planned. */
static enum status decode_own_or_other(struct decoder *decoder, struct batch_job *job,
                                       uint32_t index, uint32_t other)
{
    struct fetch *none = NULL;
    struct fetch **fetch = other == index ? &job->images[index].fetch : &none;
    enum status status = decode_record(decoder, job, other, fetch);
    if (decoder->client != NULL)
        shard_client_drop(decoder->client, fetch);
    return status;
}

/* The next good record of the slot, cyclically from the image's own: the choice is a function of
 * the slot, not of who computes it. Only the image's own record is reported here; others are by
 * their own images. */
void decoder_image(struct decoder *decoder, struct batch_job *job, uint32_t index)
{
    const struct config *config = decoder->config;
    uint32_t slot_images = job->batch.slot_images;
    uint32_t slot_first = index / slot_images * slot_images;
    struct batch_job_image *image = &job->images[index];
    decoder->wish = multicrop_wish(decoder->multicrop, image->position);
    for (uint32_t i = 0; i < slot_images; i++) {
        uint32_t other = slot_first + (index - slot_first + i) % slot_images;
        if (decode_own_or_other(decoder, job, index, other) == OK) {
            struct multicrop_target targets[CROP_GROUPS_MAX];
            batch_job_targets(job, config, index, targets);
            multicrop_image(decoder->multicrop, &decoder->image, image->position, targets);
            image->trained = job->images[other].record;
            return;
        }
        if (i == 0) {
            snprintf(image->bad_reason, sizeof(image->bad_reason), "%s: %s",
                     image_reason_name(decoder->image.reason), fail_message());
            log_debug("event=record_skipped shard=%u record=%u position=%llu reason=\"%s\"",
                      image->record.shard, image->record.record,
                      (unsigned long long)image->position, image->bad_reason);
        }
    }
    batch_job_blank(job, config, index);
    image->trained = (struct record_ref){RECORD_NONE, RECORD_NONE};
}
