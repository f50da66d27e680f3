/* warm_up.c - a step of one grey slot. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/warm_up.h"

#include <string.h>

#include "common/mem.h"

enum { WAIT_MS = 1000, GREY = 128 }; /* nobody else is in the collective: there is no waiting */

static void paint(const struct config *config, struct batch *batch)
{
    *batch = (struct batch){
        .slot_count = 1,
        .slot_images = (uint32_t)config->train.slot_images,
        .slots = mem_zero(sizeof(*batch->slots)),
        .group_count = (int)config->crop_count,
    };
    for (int g = 0; g < batch->group_count; g++) {
        const struct config_crop *crop = &config->crops[g];
        const size_t bytes =
            (size_t)(config->train.slot_images * crop->count * crop->size * crop->size * 3);
        batch->crops[g] = mem_alloc(bytes);
        memset(batch->crops[g], GREY, bytes);
    }
}

static void wipe(struct batch *batch)
{
    for (int g = 0; g < batch->group_count; g++)
        mem_free(batch->crops[g]);
    mem_free(batch->slots);
}

enum status warm_up(const struct config *config, struct state *state, struct step *step)
{
    const struct collective_group group = {
        .engine = COLLECTIVE_SELF,
        .size = 1,
        .region = state->block,
        .region_bytes = state->bytes,
        .region_fd = -1,
        .listen_fd = -1,
        .form_timeout_ms = WAIT_MS,
        .timeout_ms = WAIT_MS,
    };
    struct collective *alone = NULL;
    struct step_result result;
    struct batch batch;
    TRY(collective_form(&group, &alone));
    paint(config, &batch);
    const enum status status = step_compute(step, alone, state->step, &batch, &result);
    wipe(&batch);
    collective_destroy(alone);
    return status;
}
