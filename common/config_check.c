/* config_check.c - relations between keys that no single row of the table can check. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "common/config.h"

#include <inttypes.h>

#include "common/architecture.h"

static enum status check_batch(const struct config *config)
{
    int64_t batch = config->train.batch_images, slot = config->train.slot_images;
    if (batch % slot != 0) {
        int64_t below = batch / slot * slot;
        if (below < 2)
            return fail(ERR_INPUT,
                        "train.batch_images (%" PRId64 ") is less than train.slot_images (%" PRId64
                        "): make the slot a divisor of the batch",
                        batch, slot);
        return fail(ERR_INPUT,
                    "train.batch_images (%" PRId64
                    ") is not a multiple of train.slot_images (%" PRId64 "): use %" PRId64
                    " or %" PRId64,
                    batch, slot, below, below + slot);
    }
    int64_t group = config->train.bn_group_slots;
    if (group != 0 && (batch / slot) % group != 0)
        return fail(ERR_INPUT,
                    "train.bn_group_slots (%" PRId64 ") does not divide the %" PRId64
                    " slots of a step: use a divisor, or 0 for one group of all",
                    group, batch / slot);
    if (config->swav.queue_images % batch != 0)
        return fail(
            ERR_INPUT,
            "swav.queue_images (%" PRId64 ") is not a multiple of train.batch_images (%" PRId64
            "): use %" PRId64 ", or 0 for none",
            config->swav.queue_images, batch, (config->swav.queue_images / batch + 1) * batch);
    return OK;
}

static enum status check_loss_scale(const struct config *config)
{
    const int64_t scale = config->train.loss_scale;
    if ((scale & (scale - 1)) == 0)
        return OK;
    return fail(ERR_INPUT, "train.loss_scale (%" PRId64 ") must be a power of two, as 65536 is",
                scale);
}

static enum status check_recompute(const struct config *config)
{
    const int64_t count = config->train.recompute_stage_count;
    if (config->train.recompute == RECOMPUTE_STAGES && count == 0)
        return fail(ERR_INPUT,
                    "train.recompute is 'stages', but train.recompute_stages names none: "
                    "list some, as [1, 2], or use 'block' for all");
    if (config->train.recompute != RECOMPUTE_STAGES && count > 0)
        return fail(ERR_INPUT, "train.recompute_stages needs train.recompute: stages");
    return OK;
}

static enum status check_crops(const struct config *config)
{
    if (config->crop_count < 1 || config_crops_per_image(config) < 2)
        return fail(ERR_INPUT, "crops: SwAV predicts one crop from another, so an image needs at "
                               "least 2: raise crops.0.count");
    for (int i = 0; i < config->crop_count; i++) {
        const struct config_crop *crop = &config->crops[i];
        if (crop->scale_min > crop->scale_max)
            return fail(ERR_INPUT, "crops.%d.scale_min (%g) is above crops.%d.scale_max (%g)", i,
                        crop->scale_min, i, crop->scale_max);
    }
    if (config->augment.blur_sigma_min > config->augment.blur_sigma_max)
        return fail(ERR_INPUT, "augment.blur_sigma_min (%g) is above augment.blur_sigma_max (%g)",
                    config->augment.blur_sigma_min, config->augment.blur_sigma_max);
    return OK;
}

static enum status check_model(const struct config *config)
{
    struct architecture architecture;
    TRY(architecture_init(&architecture, config));
    if (config->model.family == FAMILY_REGNETY &&
        config->model.group_width > architecture_width(&architecture))
        return fail(ERR_INPUT,
                    "model.group_width (%" PRId64
                    ") divides no stage: the widest has %d channels; use a divisor of that",
                    config->model.group_width, architecture_width(&architecture));
    return OK;
}

static enum status check_milestones(const struct config *config)
{
    int64_t before = config->schedule.warmup_steps - 1;
    if (config->schedule.milestone_count == 0)
        return fail(ERR_INPUT, "schedule.kind is 'multistep', but schedule.milestones is empty: "
                               "list the steps at which the rate falls, or use 'constant'");
    for (int i = 0; i < config->schedule.milestone_count; i++) {
        if (config->schedule.milestones[i] <= before)
            return fail(ERR_INPUT,
                        "schedule.milestones: %" PRId64 " must rise, and not lie in the warm-up "
                        "of %" PRId64 " steps",
                        config->schedule.milestones[i], config->schedule.warmup_steps);
        before = config->schedule.milestones[i];
    }
    return OK;
}

static enum status check_schedule(const struct config *config)
{
    if (config->schedule.lr_start > config->schedule.lr_peak)
        return fail(ERR_INPUT, "schedule.lr_start (%g) is above schedule.lr_peak (%g)",
                    config->schedule.lr_start, config->schedule.lr_peak);
    if (config->schedule.lr_final > config->schedule.lr_peak)
        return fail(ERR_INPUT, "schedule.lr_final (%g) is above schedule.lr_peak (%g)",
                    config->schedule.lr_final, config->schedule.lr_peak);
    if (config->schedule.kind == SCHEDULE_MULTISTEP)
        return check_milestones(config);
    if (config->schedule.kind != SCHEDULE_COSINE)
        return OK;
    if (config->schedule.length_steps == 0)
        return fail(ERR_INPUT, "schedule.length_steps is 0, but a cosine must end: set it, or use "
                               "schedule.kind plateau, which needs no end");
    if (config->schedule.warmup_steps > config->schedule.length_steps)
        return fail(ERR_INPUT,
                    "schedule.warmup_steps (%" PRId64 ") is above schedule.length_steps (%" PRId64
                    ")",
                    config->schedule.warmup_steps, config->schedule.length_steps);
    return OK;
}

/* What a member computes of the next momentum before the verdict must not depend on its rate. */
static enum status check_optimizer(const struct config *config)
{
    if (config->optimizer.sharded && config->optimizer.clip &&
        config->optimizer.kind == OPTIMIZER_LARC)
        return fail(ERR_INPUT, "optimizer.sharded does not go with optimizer.clip, whose momentum "
                               "depends on the rate: set one of them to false");
    return OK;
}

static enum status check_server(const struct config *config)
{
    if (config->server.lost_ms < 2 * config->server.heartbeat_ms)
        return fail(ERR_INPUT,
                    "server.lost_ms (%" PRId64 ") must be at least twice server.heartbeat_ms "
                    "(%" PRId64 "), or one late heartbeat loses a worker",
                    config->server.lost_ms, config->server.heartbeat_ms);
    if (config->server.dashboard_orders && config->server.dashboard_open)
        return fail(ERR_INPUT,
                    "server.dashboard_orders does not go with server.dashboard_open: the "
                    "token would cross the network in plain text; put a proxy with TLS "
                    "before the page, and set dashboard_open to false");
    return OK;
}

enum status config_check(const struct config *config)
{
    TRY(check_batch(config));
    TRY(check_loss_scale(config));
    TRY(check_recompute(config));
    TRY(check_crops(config));
    TRY(check_model(config));
    TRY(check_schedule(config));
    TRY(check_optimizer(config));
    return check_server(config);
}
