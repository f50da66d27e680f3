/* memory_plan.c - what training will take of a device's memory, known before any of it is taken. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/memory_plan.h"

#include <stdio.h>

#include "common/check.h"
#include "common/log.h"
#include "worker/model/model.h"
#include "worker/model/planner.h"
#include "worker/optim/optimizer.h"
#include "worker/swav/swav.h"

static const double mib = 1 << 20;

static const char *const part_names[ARENA_PARTS] = {
    [ARENA_SMALL] = "small_vectors",
    [ARENA_IMAGES] = "images",
    [ARENA_ACTIVATIONS] = "activations",
    [ARENA_RECOMPUTED] = "recomputed_block",
    [ARENA_BACKWARD] = "backward",
    [ARENA_HEAD] = "head",
    [ARENA_CODES] = "codes",
};

static void add_row(struct memory_plan *plan, const char *name, size_t bytes)
{
    if (bytes == 0)
        return;
    CHECK(plan->row_count < MEMORY_ROWS_MAX);
    plan->rows[plan->row_count++] = (struct memory_row){name, bytes};
    plan->total_bytes += bytes;
}

static void add_state(struct memory_plan *plan, const struct state *state, size_t optimizer_bytes)
{
    const struct state_layout *layout = &state->layout;
    const size_t momentum_floats = state->is_sharded ? state->kept.floats : layout->momentum_floats;
    add_row(plan, "parameters", layout->parameter_floats * sizeof(float));
    add_row(plan, "running_statistics", layout->statistic_floats * sizeof(float));
    add_row(plan, "momentum", momentum_floats * sizeof(float));
    add_row(plan, "feature_queue", layout->queue_floats * sizeof(float));
    add_row(plan, "gradients", layout->parameter_floats * sizeof(float));
    add_row(plan, "exact_gradients", layout->wide_floats * sizeof(float));
    add_row(plan, "exchange", layout->exchange_floats * sizeof(float));
    add_row(plan, "group_statistics", layout->group_statistic_floats * sizeof(float));
    add_row(plan, "gradient_wire", state->wire_bytes);
    add_row(plan, "optimizer_tables", optimizer_bytes);
    plan->state_bytes = plan->total_bytes;
}

/* Shared areas that are larger already than these convolutions need stay so. */
static void add_convolutions(struct memory_plan *plan, const struct conv_memory *conv,
                             const struct device_memory *now)
{
    size_t shared = 0, growth = 0;
    for (int i = 0; i < CONV_SHARED_MAX; i++) {
        const size_t more = conv->shared[i] > now->shared[i] ? conv->shared[i] - now->shared[i] : 0;
        shared += now->shared[i] + more;
        growth += more;
    }
    add_row(plan, "convolution_weights", conv->own);
    add_row(plan, "convolution_scratch", shared);
    plan->more_bytes = plan->arena_bytes + conv->own + growth;
}

static void add_model(struct memory_plan *plan, const struct arena *arena)
{
    for (int i = 0; i < ARENA_PARTS; i++) {
        add_row(plan, part_names[i], arena->part_bytes[i]);
        plan->arena_bytes += arena->part_bytes[i];
    }
}

/* The state of a planner lies nowhere; only its layout is real. */
static enum status build(const struct config *config, struct planner *planner, int members,
                         struct memory_plan *plan)
{
    enum status status = OK;
    struct optimizer optimizer = {0};
    struct state *state = NULL;
    struct model *model = NULL;
    struct swav swav;
    TRY_OUT(state_create(config, &planner->device, &state));
    const size_t state_bytes = planner->allocated;
    TRY_OUT(optimizer_init(&optimizer, config, state));
    const size_t optimizer_bytes = planner->allocated - state_bytes;
    if (state->is_sharded)
        TRY_OUT(momentum_hold(&state->kept, (struct slice_holding){0, (uint32_t)members}, NULL));
    add_state(plan, state, optimizer_bytes);
    TRY_OUT(model_create(config, state, plan->slots, 0, &model));
    swav_init(&swav, &model->team, &model->head, config, members);
    add_model(plan, &model->team.arena);
out:
    model_destroy(model);
    optimizer_done(&optimizer);
    state_destroy(state);
    return status;
}

enum status memory_plan_make(const struct config *config, struct device *device, int slots,
                             int members, struct memory_plan *ret_plan)
{
    struct memory_plan plan = {.slots = slots};
    struct device_memory now;
    struct planner planner;
    planner_init(&planner, device);
    TRY(build(config, &planner, members, &plan));
    device->ops->memory(device, &now);
    add_convolutions(&plan, &planner.conv, &now);
    add_row(&plan, "device_workspace", now.fixed);
    *ret_plan = plan;
    return OK;
}

static enum status fits(const struct config *config, struct device *device, int slots, int members,
                        int has_state, int *ret_fits)
{
    struct device_memory now;
    struct memory_plan plan;
    TRY(memory_plan_make(config, device, slots, members, &plan));
    device->ops->memory(device, &now);
    *ret_fits = plan.more_bytes + (has_state ? 0 : plan.state_bytes) <= now.free;
    return OK;
}

/* A larger share never takes less, so halving finds it. */
enum status memory_plan_most_slots(const struct config *config, struct device *device, int members,
                                   int has_state, int *ret_slots)
{
    int fit = 0, above = (int)config_slots(config) + 1;
    for (int at = above - 1; fit + 1 < above; at = fit + (above - fit) / 2) {
        int is_fine = 0;
        TRY(fits(config, device, at, members, has_state, &is_fine));
        if (is_fine)
            fit = at;
        else
            above = at;
    }
    *ret_slots = fit;
    return OK;
}

enum status memory_plan_check(const struct memory_plan *plan, const struct config *config,
                              struct device *device, int members)
{
    struct device_memory now;
    int most = 0;
    device->ops->memory(device, &now);
    if (plan->more_bytes <= now.free)
        return OK;
    TRY(memory_plan_most_slots(config, device, members, 1, &most));
    return fail(ERR_DEVICE,
                "%s: %d slots of %d images take %.0f MiB more, and %.0f MiB are free: at most %d "
                "slots (%d images) fit; use more workers, a smaller train.batch_images or "
                "train.recompute: block",
                device->ops->name, plan->slots, (int)config->train.slot_images,
                (double)plan->more_bytes / mib, (double)now.free / mib, most,
                most * (int)config->train.slot_images);
}

void memory_plan_log(const struct memory_plan *plan)
{
    char text[MEMORY_ROWS_MAX * 48] = "";
    size_t length = 0;
    for (int i = 0; i < plan->row_count; i++)
        length += (size_t)snprintf(text + length, sizeof(text) - length, " %s_mib=%.1f",
                                   plan->rows[i].name, (double)plan->rows[i].bytes / mib);
    CHECK(length < sizeof(text));
    log_info("event=memory_plan slots=%d total_mib=%.1f%s", plan->slots,
             (double)plan->total_bytes / mib, text);
}
