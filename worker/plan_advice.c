/* plan_advice.c - what would make a share fit that does not. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/plan_advice.h"

#include <stdio.h>

#include "worker/memory_plan.h"

enum { WORDS_BYTES = 256 };
static const double mib = 1 << 20;

/* Changes of a config, the mildest first, each tried on top of those before. 0: it is like that
 * already. */
static int recompute(struct config *config)
{
    const int is_change = config->train.recompute != RECOMPUTE_BLOCK;
    config->train.recompute = RECOMPUTE_BLOCK;
    config->train.recompute_stage_count = 0;
    return is_change;
}

static int compute_fast(struct config *config)
{
    const int is_change = config->train.reduction == REDUCTION_EXACT;
    config->train.reduction = REDUCTION_FAST;
    return is_change;
}

static int halve_slots(struct config *config)
{
    const int is_change = config->train.slot_images % 2 == 0;
    if (is_change) {
        config->train.slot_images /= 2;
        config->train.bn_group_slots *= 2; /* the same images together */
    }
    return is_change;
}

static int (*const remedies[])(struct config *config) = {recompute, compute_fast, halve_slots,
                                                         halve_slots};

static void describe(const struct config *config, const struct config *changed,
                     char words[WORDS_BYTES])
{
    const char *block =
        config->train.recompute == RECOMPUTE_BLOCK ? "" : " --set train.recompute=block";
    const char *fast =
        config->train.reduction == changed->train.reduction ? "" : " --set train.reduction=fast";
    const char *stages =
        config->train.recompute_stage_count == 0 ? "" : " --set train.recompute_stages=[]";
    int length = snprintf(words, WORDS_BYTES, "%s%s%s", block, stages, fast);
    if (config->train.slot_images != changed->train.slot_images)
        length += snprintf(words + length, (size_t)(WORDS_BYTES - length),
                           " --set train.slot_images=%d", (int)changed->train.slot_images);
    if (config->train.bn_group_slots != changed->train.bn_group_slots)
        snprintf(words + length, (size_t)(WORDS_BYTES - length), " --set train.bn_group_slots=%d",
                 (int)changed->train.bn_group_slots);
}

/* The largest share that fits, and how many workers make all shares so small; 0: none does. */
struct outcome {
    int most_slots, workers;
};

static enum status try_config(const struct config *config, struct device *device, int members,
                              struct outcome *ret_outcome)
{
    int most = 0;
    TRY(memory_plan_most_slots(config, device, members, 0, &most));
    const int slots = (int)config_slots(config);
    *ret_outcome = (struct outcome){most, most == 0 ? 0 : (slots + most - 1) / most};
    return OK;
}

static enum status no_remedy(const struct config *config, struct device *device, int members)
{
    struct memory_plan plan;
    struct device_memory memory;
    TRY(memory_plan_make(config, device, 1, members, &plan));
    device->ops->memory(device, &memory);
    return fail(ERR_DEVICE,
                "this share does not fit, and no smaller one does: the training state alone takes "
                "%.0f of the %.0f MiB that can be had; use a device with more memory",
                (double)plan.state_bytes / mib, (double)(memory.free + memory.held) / mib);
}

enum status plan_advice(const struct config *config, struct device *device, int members, int slots)
{
    struct config changed = *config;
    struct outcome now, then = {0};
    char words[WORDS_BYTES] = "";
    TRY(try_config(&changed, device, members, &now));
    for (size_t i = 0; i < sizeof(remedies) / sizeof(*remedies); i++) {
        if (!remedies[i](&changed))
            continue;
        TRY(try_config(&changed, device, members, &then));
        describe(config, &changed, words);
        const int64_t images = (int64_t)slots * config->train.slot_images;
        if (then.most_slots * changed.train.slot_images < images)
            continue;
        return now.workers == 0
                   ? fail(ERR_DEVICE, "this share does not fit; it does with%s", words)
                   : fail(ERR_DEVICE, "this share does not fit: use at least %d workers, or%s",
                          now.workers, words);
    }
    if (now.workers == 0 && then.workers != 0)
        return fail(ERR_DEVICE, "this share does not fit: use at least %d workers and%s",
                    then.workers, words);
    if (then.workers != 0 && then.workers < now.workers)
        return fail(ERR_DEVICE, "this share does not fit: use at least %d workers, or %d and%s",
                    now.workers, then.workers, words);
    if (now.workers != 0)
        return fail(ERR_DEVICE, "this share does not fit: use at least %d workers", now.workers);
    return no_remedy(&changed, device, members);
}
