/* image_classifier.c - trunk and one linear layer as a network: images and labels in, gradients
 * out. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/model/image_classifier.h"

#include <string.h>

#include "common/check.h"
#include "common/mem.h"

static const char layer_name[] = "head.0";

static void take_memory(struct image_classifier *classifier)
{
    struct arena *arena = &classifier->team.arena;
    const size_t rows = (size_t)rows_total(&classifier->team.rows);
    const size_t logits = rows * (size_t)classifier->layer.out;
    const enum arena_part before = arena_enter(arena, ARENA_HEAD);
    classifier->logits = arena_floats(arena, logits);
    classifier->logits_grad = arena_floats(arena, logits);
    classifier->targets = arena_floats(arena, logits);
    classifier->features_grad = arena_floats(arena, rows * (size_t)classifier->layer.in);
    classifier->one_hot = mem_array(logits, sizeof(*classifier->one_hot));
    arena_enter(arena, before);
}

enum status image_classifier_create(const struct config *config, struct state *state,
                                    int slot_count, struct image_classifier **ret_classifier)
{
    enum status status = OK;
    struct rows rows;
    struct image_classifier *classifier = mem_zero(sizeof(*classifier));
    struct team *team = &classifier->team;
    rows_init(&rows, config, slot_count);
    team_init(team, config, state, &rows, 1, 0);
    TRY_OUT(arena_check(&team->arena));
    TRY_OUT(trunk_init(&classifier->trunk, team, config));
    linear_init(&classifier->layer, team, layer_name,
                architecture_width(&classifier->trunk.architecture), (int)config->model.head[0], 1);
    take_memory(classifier);
    slot_losses_init(&classifier->losses, team, config);
    TRY_OUT(arena_check(&team->arena));
    buckets_init(&classifier->buckets, team, config);
    classifier->scale = 1 / (double)config->train.batch_images;
    *ret_classifier = classifier;
    classifier = NULL; /* given to the caller */
out:
    image_classifier_destroy(classifier);
    return status;
}

void image_classifier_destroy(struct image_classifier *classifier)
{
    if (classifier == NULL)
        return;
    trunk_done(&classifier->trunk);
    team_done(&classifier->team);
    mem_free(classifier->one_hot);
    mem_free(classifier);
}

static enum status load(struct image_classifier *classifier, struct collective *collective,
                        const struct batch *batch, const int32_t *labels)
{
    struct team *team = &classifier->team;
    const int rows = rows_total(&team->rows), classes = classifier->layer.out;
    const size_t bytes = (size_t)rows * (size_t)classes * sizeof(*classifier->one_hot);
    CHECK((int)batch->slot_count == team->rows.slot_count && batch->group_count == 1);
    TRY(rows_assign(&team->rows, batch->slots));
    team->collective = collective;
    trunk_load_images(&classifier->trunk, 0, batch->crops[0], rows);
    memset(classifier->one_hot, 0, bytes);
    for (int row = 0; row < rows; row++)
        classifier->one_hot[(ptrdiff_t)row * classes + labels[row]] = 1;
    team->ops->upload(team->device, classifier->targets, classifier->one_hot, bytes);
    return team_meet(team);
}

static enum status forward(struct image_classifier *classifier)
{
    trunk_load_weights(&classifier->trunk);
    TRY(trunk_forward(&classifier->trunk));
    linear_forward(&classifier->layer, classifier->trunk.features, ACTIVATION_NONE,
                   classifier->logits);
    return OK;
}

/* Cross-entropy is SwAV's loss with codes of one class and a temperature of 1. */
static void loss(struct image_classifier *classifier)
{
    const struct team *team = &classifier->team;
    const int images = team->rows.slot_images, classes = classifier->layer.out;
    const size_t slot_floats = (size_t)images * (size_t)classes;
    slot_losses_zero(&classifier->losses);
    for (int slot = 0; slot < team->rows.slot_count; slot++) {
        const size_t at = (size_t)slot * slot_floats;
        team->ops->swav_loss(team->device, classifier->logits + at, classifier->targets + at, 1,
                             images, classes, 1, (float)classifier->scale,
                             slot_losses_sum(&classifier->losses, slot),
                             classifier->logits_grad + at);
    }
    slot_losses_finish(&classifier->losses, classifier->scale);
}

static enum status backward(struct image_classifier *classifier)
{
    struct trunk *trunk = &classifier->trunk;
    const struct linear *layer = &classifier->layer;
    const int pixels[1] = {trunk_last_pixels(trunk, 0)};
    buckets_expect(&classifier->buckets);
    linear_backward(layer, trunk->features, NULL, ACTIVATION_NONE, classifier->logits_grad);
    linear_backward_input(layer, classifier->logits_grad, pixels, classifier->features_grad);
    TRY(buckets_ready(&classifier->buckets, layer->weight.grad));
    return trunk_backward(trunk, classifier->features_grad, &classifier->buckets);
}

enum status image_classifier_compute(struct image_classifier *classifier,
                                     struct collective *collective, uint64_t number,
                                     const struct batch *batch, const int32_t *labels,
                                     double *ret_loss)
{
    struct slot_losses *losses = &classifier->losses;
    TRY(load(classifier, collective, batch, labels));
    TRY(forward(classifier));
    loss(classifier);
    slot_losses_place(losses, batch->slots);
    TRY(buckets_begin(&classifier->buckets, number, losses->all,
                      (size_t)classifier->team.rows.slot_total));
    TRY(backward(classifier));
    TRY(buckets_finish(&classifier->buckets));
    *ret_loss = slot_losses_total(losses);
    return OK;
}

void image_classifier_move_statistics(struct image_classifier *classifier, float momentum)
{
    const struct team *team = &classifier->team;
    team->ops->running_update(team->device, team->state->statistics, team->batch,
                              team->state->layout.statistic_floats, momentum);
}

void image_classifier_logits(const struct state *state, const float *features, int rows,
                             float *logits)
{
    const struct device_ops *ops = state->device->ops;
    const struct state_tensor *weight = state_find(&state->layout, "head.0.weight");
    const struct state_tensor *bias = state_find(&state->layout, "head.0.bias");
    const int classes = (int)weight->shape[0], width = (int)weight->shape[1];
    ops->gemm(state->device, 0, 1, rows, classes, width, 1, features, state->block + weight->offset,
              0, logits);
    ops->bias_activation(state->device, logits, state->block + bias->offset, rows, classes,
                         ACTIVATION_NONE, logits);
}
