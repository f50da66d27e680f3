/* model.c - trunk and head as one network: a batch in, embeddings and scores out, gradients back.
 */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/model/model.h"

#include "common/mem.h"

enum status model_create(const struct config *config, struct state *state, int slot_count,
                         size_t arena_bytes, struct model **ret_model)
{
    enum status status = OK;
    struct rows rows;
    struct model *model = mem_zero(sizeof(*model));
    rows_init(&rows, config, slot_count);
    team_init(&model->team, config, state, &rows, 1, arena_bytes);
    TRY_OUT(arena_check(&model->team.arena));
    TRY_OUT(trunk_init(&model->trunk, &model->team, config));
    head_init(&model->head, &model->team, config, model->trunk.features,
              architecture_width(&model->trunk.architecture));
    TRY_OUT(arena_check(&model->team.arena));
    *ret_model = model;
    model = NULL; /* given to the caller */
out:
    model_destroy(model);
    return status;
}

void model_destroy(struct model *model)
{
    if (model == NULL)
        return;
    trunk_done(&model->trunk);
    team_done(&model->team);
    mem_free(model);
}

static int is_of_shape(const struct rows *rows, const struct batch *batch)
{
    return (int)batch->slot_count == rows->slot_count &&
           (int)batch->slot_images == rows->slot_images &&
           batch->group_count == rows->resolution_count;
}

void model_load_ahead(struct model *model, const struct batch *batch)
{
    const struct rows *rows = &model->team.rows;
    if (batch->serial == model->ahead || !is_of_shape(rows, batch))
        return;
    model->ahead = batch->serial;
    for (int r = 0; r < rows->resolution_count; r++)
        if (!trunk_images_ahead(&model->trunk, r, batch->crops[r], rows_count(rows, r)))
            model->ahead = 0;
}

enum status model_load(struct model *model, struct collective *collective,
                       const struct batch *batch)
{
    struct rows *rows = &model->team.rows;
    if (!is_of_shape(rows, batch))
        return fail(ERR_INPUT,
                    "a batch of %u slots with %u images in %d resolutions; this model is for %d "
                    "slots with %d images in %d resolutions",
                    batch->slot_count, batch->slot_images, batch->group_count, rows->slot_count,
                    rows->slot_images, rows->resolution_count);
    TRY(rows_assign(rows, batch->slots));
    model->team.collective = collective;
    const int is_there = batch->serial != 0 && batch->serial == model->ahead;
    for (int r = 0; r < rows->resolution_count; r++)
        trunk_load_images(&model->trunk, r, is_there ? NULL : batch->crops[r], rows_count(rows, r));
    model->ahead = 0;
    return team_meet(&model->team);
}

enum status model_forward(struct model *model)
{
    trunk_load_weights(&model->trunk);
    TRY(trunk_forward(&model->trunk));
    return head_forward(&model->head);
}

enum status model_backward(struct model *model, struct buckets *buckets)
{
    const struct state *state = model->team.state;
    int pixels[CONFIG_CROPS_MAX];
    buckets_expect(buckets);
    if (model->team.groups.key != 0)
        TRY(buckets_add(buckets, state->group_statistics, state->layout.group_statistic_floats));
    for (int r = 0; r < model->team.rows.resolution_count; r++)
        pixels[r] = trunk_last_pixels(&model->trunk, r);
    TRY(head_backward(&model->head, pixels));
    TRY(buckets_ready(buckets, head_first_gradient(&model->head)));
    return trunk_backward(&model->trunk, model->head.features_grad, buckets);
}

/* Statistics of the head, which has one set, lie behind the trunk's. */
static size_t trunk_statistic_floats(const struct model *model)
{
    const struct state *state = model->team.state;
    for (int i = 0; i < model->head.layer_count; i++)
        if (model->head.layers[i].has_norm)
            return (size_t)(model->head.layers[i].norm.running_mean - state->statistics);
    return state->layout.statistic_floats;
}

/* Of several BN groups the average counts as the step's, taken one by one in their order. */
static void average_groups(const struct team *team)
{
    const size_t all = team->state->layout.statistic_floats;
    const int sets = team->rows.resolution_count;
    const float *from = team->state->group_statistics;
    team->ops->copy(team->device, team->batch, from, (size_t)sets * all * sizeof(float));
    for (int group = 1; group < team->rows.group_count; group++)
        team->ops->running_update(team->device, team->batch, from + (size_t)(group * sets) * all,
                                  (size_t)sets * all, 1.0f / (float)(group + 1));
}

void model_move_statistics(struct model *model, float momentum)
{
    const struct team *team = &model->team;
    const size_t all = team->state->layout.statistic_floats;
    if (team->rows.group_count > 1)
        average_groups(team);
    for (int r = 0; r < team->rows.resolution_count; r++)
        team->ops->running_update(team->device, team->state->statistics,
                                  team->batch + (size_t)r * all,
                                  r == 0 ? all : trunk_statistic_floats(model), momentum);
}
