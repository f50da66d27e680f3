/* warm_up.c - a step of grey slots. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/warm_up.h"

#include <string.h>

#include "common/log.h"
#include "common/mem.h"

enum { NCCL_WAIT_MS = 120000 };
enum { WAIT_MS = 1000, GREY = 128 }; /* nobody else is in the collective: there is no waiting */

static void paint(const struct config *config, int slots, struct batch *batch)
{
    *batch = (struct batch){
        .slot_count = (uint32_t)slots,
        .slot_images = (uint32_t)config->train.slot_images,
        .slots = mem_array((size_t)slots, sizeof(*batch->slots)),
        .group_count = (int)config->crop_count,
    };
    for (int i = 0; i < slots; i++)
        batch->slots[i] = (uint32_t)i;
    for (int g = 0; g < batch->group_count; g++) {
        const struct config_crop *crop = &config->crops[g];
        const size_t bytes =
            (size_t)(slots * config->train.slot_images * crop->count * crop->size * crop->size * 3);
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

static enum status rehearse(const struct config *config, struct state *state, struct step *step,
                            int slots)
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
    paint(config, slots, &batch);
    const enum status status = step_compute(step, alone, state->step, &batch, &result);
    wipe(&batch);
    collective_destroy(alone);
    return status;
}

/* The first communicator of a process takes up to a minute, most of it loading NCCL's kernels. */
static enum status warm_nccl(const struct config *config, struct state *state)
{
    const struct collective_group group = {
        .engine = COLLECTIVE_NCCL,
        .size = 1,
        .region = state->block,
        .region_bytes = state->bytes,
        .device = state->device,
        .region_fd = -1,
        .listen_fd = -1,
        .form_timeout_ms = NCCL_WAIT_MS,
        .timeout_ms = NCCL_WAIT_MS,
        .abort_timeout_ms = config->collective.abort_ms,
    };
    struct collective *alone = NULL;
    uint64_t ticket = 0;
    TRY(collective_form(&group, &alone));
    enum status status =
        collective_allreduce_start(alone, state->exchange, 1, REDUCE_SUM_DOUBLE, &ticket);
    if (status == OK)
        status = collective_wait(alone, ticket);
    collective_destroy(alone);
    return status;
}

enum status warm_up(const struct config *config, struct state *state, struct step *step, int slots)
{
    const int is_gpu = strcmp(state->device->ops->name, "cuda") == 0;
    const int is_wanted = strcmp(config->collective.engine, "nccl") == 0;
    TRY(rehearse(config, state, step, slots));
    if (!is_wanted && !(is_gpu && strcmp(config->collective.engine, "auto") == 0))
        return OK;
    const enum status status = warm_nccl(config, state);
    if (status == OK || is_wanted)
        return status;
    log_warn(
        "event=nccl_not_warm reason=\"%s\" action=\"set collective.engine to mpi if it stays\"",
        fail_message());
    return OK;
}
