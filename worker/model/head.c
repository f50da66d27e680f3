/* head.c - projection head, unit embeddings and prototype scores. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/model/head.h"

#include <stdio.h>

/* Places in torch's Sequential: linear, BN if any, ReLU, linear, ... */
static void init_layer(struct head *head, struct head_layer *layer, int place, int in, int out)
{
    static const int one_pixel[CONFIG_CROPS_MAX] = {1, 1, 1, 1};
    char name[24];
    struct team *team = head->team;
    const size_t values = (size_t)rows_total(&team->rows) * (size_t)out;
    snprintf(name, sizeof(name), "head.%d", place);
    linear_init(&layer->linear, team, name, in, out, 1);
    layer->y = arena_floats(&team->arena, values);
    layer->y_grad = arena_floats(&team->arena, values);
    if (!layer->has_norm)
        return;
    snprintf(name, sizeof(name), "head.%d", place + 1);
    const struct norm_place norm_place = {
        .name = name,
        .channels = out,
        .pixels = one_pixel,
        .is_joint = 1,
    };
    norm_init(&layer->norm, team, &norm_place);
    layer->linear_out = arena_floats(&team->arena, values);
    layer->norm_x = team_activations(team, values);
    layer->norm_y = team_activations(team, values);
    layer->norm_grad = team_activations(team, values);
}

static void init_prototypes(struct head *head, const struct config *config, int index)
{
    struct team *team = head->team;
    struct prototypes *prototypes = &head->prototypes[index];
    const size_t count = (size_t)config->model.prototypes[index];
    const size_t scores = (size_t)rows_total(&team->rows) * count;
    char name[STATE_PROTOTYPES_BYTES];
    state_prototypes_name(config, index, name);
    prototypes->count = (int)count;
    linear_init(&prototypes->linear, team, name, head->embedding, prototypes->count, 0);
    prototypes->norms = arena_floats(&team->arena, count);
    prototypes->scores = arena_floats(&team->arena, scores);
    prototypes->scores_grad = arena_floats(&team->arena, scores);
}

void head_init(struct head *head, struct team *team, const struct config *config,
               const float *features, int width)
{
    const size_t rows = (size_t)rows_total(&team->rows);
    *head = (struct head){
        .team = team,
        .layer_count = (int)config->model.head_count,
        .prototype_heads = (int)config->model.prototype_heads,
    };
    const enum arena_part before = arena_enter(&team->arena, ARENA_HEAD);
    int place = 0, in = width;
    const float *x = features;
    for (int i = 0; i < head->layer_count; i++) {
        struct head_layer *layer = &head->layers[i];
        layer->is_last = i + 1 == head->layer_count;
        layer->has_norm = config->model.head_batch_norm && !layer->is_last;
        layer->x = x;
        init_layer(head, layer, place, in, (int)config->model.head[i]);
        place += layer->has_norm ? 3 : 2;
        in = layer->linear.out;
        x = layer->y;
    }
    head->embedding = in;
    const size_t values = rows * (size_t)in;
    head->embeddings = arena_floats(&team->arena, values);
    head->norms = arena_floats(&team->arena, rows);
    head->embeddings_grad = arena_floats(&team->arena, values);
    for (int i = 0; i < head->prototype_heads; i++)
        init_prototypes(head, config, i);
    head->features_grad = arena_floats(&team->arena, rows * (size_t)width);
    arena_enter(&team->arena, before);
}

/* From a row of a resolution on. */
static void *values_at(const struct head_layer *layer, const struct team *team, void *x,
                       int resolution)
{
    const size_t first = (size_t)rows_first(&team->rows, resolution);
    return team_offset(team, x, first * (size_t)layer->linear.out);
}

static enum status norm_layer_forward(struct head_layer *layer, struct team *team)
{
    const size_t values = (size_t)rows_total(&team->rows) * (size_t)layer->linear.out;
    team->ops->from_float(team->device, layer->linear_out, values, layer->norm_x);
    for (struct piece p = {0}; rows_has(&team->rows, p); p = rows_after(&team->rows, p)) {
        norm_sums(&layer->norm, p, values_at(layer, team, layer->norm_x, p.resolution));
        norm_summed(&layer->norm, p);
    }
    TRY(norm_share(&layer->norm, NULL));
    for (struct piece p = {0}; rows_has(&team->rows, p); p = rows_after(&team->rows, p)) {
        const struct bn_apply args = {
            .x = values_at(layer, team, layer->norm_x, p.resolution),
            .is_relu = 1,
            .y = values_at(layer, team, layer->norm_y, p.resolution),
        };
        norm_apply(&layer->norm, p, &args, NULL);
    }
    team->ops->to_float(team->device, layer->norm_y, values, layer->y);
    return OK;
}

static enum status layer_forward(struct head_layer *layer, struct team *team)
{
    const enum activation activation =
        layer->has_norm || layer->is_last ? ACTIVATION_NONE : ACTIVATION_RELU;
    linear_forward(&layer->linear, layer->x, activation,
                   layer->has_norm ? layer->linear_out : layer->y);
    return layer->has_norm ? norm_layer_forward(layer, team) : OK;
}

enum status head_forward(struct head *head)
{
    struct team *team = head->team;
    const int rows = rows_total(&team->rows);
    for (int i = 0; i < head->layer_count; i++)
        TRY(layer_forward(&head->layers[i], team));
    team->ops->normalize_rows(team->device, head->layers[head->layer_count - 1].y, rows,
                              head->embedding, head->embeddings, head->norms);
    for (int i = 0; i < head->prototype_heads; i++)
        linear_forward(&head->prototypes[i].linear, head->embeddings, ACTIVATION_NONE,
                       head->prototypes[i].scores);
    return OK;
}

static struct bn_backward into_norm(const struct head_layer *layer, const struct team *team,
                                    int resolution)
{
    return (struct bn_backward){
        .dy = values_at(layer, team, layer->norm_grad, resolution),
        .is_relu = 1,
        .x = values_at(layer, team, layer->norm_x, resolution),
    };
}

/* y_grad: of the layer's output in, of BN's input out. */
static enum status norm_layer_backward(struct head_layer *layer, struct team *team)
{
    const size_t values = (size_t)rows_total(&team->rows) * (size_t)layer->linear.out;
    team->ops->from_float(team->device, layer->y_grad, values, layer->norm_grad);
    for (struct piece p = {0}; rows_has(&team->rows, p); p = rows_after(&team->rows, p)) {
        const struct bn_backward args = into_norm(layer, team, p.resolution);
        norm_backward_sums(&layer->norm, p, &args);
        norm_backward_summed(&layer->norm, p);
    }
    TRY(norm_backward_share(&layer->norm, NULL));
    for (struct piece p = {0}; rows_has(&team->rows, p); p = rows_after(&team->rows, p)) {
        const struct bn_backward args = into_norm(layer, team, p.resolution);
        norm_backward_apply(&layer->norm, p, &args,
                            values_at(layer, team, layer->norm_grad, p.resolution));
    }
    team->ops->to_float(team->device, layer->norm_grad, values, layer->y_grad);
    return OK;
}

static enum status layer_backward(struct head_layer *layer, struct team *team)
{
    const int is_relu = !layer->has_norm && !layer->is_last;
    if (layer->has_norm)
        TRY(norm_layer_backward(layer, team));
    linear_backward(&layer->linear, layer->x, is_relu ? layer->y : NULL,
                    is_relu ? ACTIVATION_RELU : ACTIVATION_NONE, layer->y_grad);
    return OK;
}

/* Through the prototypes and the normalisation to the gradient of z. */
static void embeddings_backward(struct head *head)
{
    const struct team *team = head->team;
    for (int i = 0; i < head->prototype_heads; i++) {
        const struct prototypes *prototypes = &head->prototypes[i];
        linear_backward(&prototypes->linear, head->embeddings, NULL, ACTIVATION_NONE,
                        prototypes->scores_grad);
        if (i == 0)
            linear_backward_input(&prototypes->linear, prototypes->scores_grad, NULL,
                                  head->embeddings_grad);
        else
            linear_backward_input_add(&prototypes->linear, prototypes->scores_grad,
                                      head->embeddings_grad);
    }
    team->ops->normalize_rows_backward(team->device, head->embeddings_grad, head->embeddings,
                                       head->norms, rows_total(&team->rows), head->embedding,
                                       head->layers[head->layer_count - 1].y_grad);
}

enum status head_backward(struct head *head, const int *pixels)
{
    embeddings_backward(head);
    for (int i = head->layer_count - 1; i >= 0; i--) {
        struct head_layer *layer = &head->layers[i];
        TRY(layer_backward(layer, head->team));
        if (i > 0)
            linear_backward_input(&layer->linear, layer->y_grad, NULL, head->layers[i - 1].y_grad);
    }
    const struct head_layer *first = &head->layers[0];
    linear_backward_input(&first->linear, first->y_grad, pixels, head->features_grad);
    return OK;
}

const float *head_first_gradient(const struct head *head)
{
    return head->layers[0].linear.weight.grad;
}

void head_normalize_prototypes(struct head *head)
{
    const struct team *team = head->team;
    for (int i = 0; i < head->prototype_heads; i++) {
        const struct prototypes *prototypes = &head->prototypes[i];
        float *rows = prototypes->linear.weight.value;
        team->ops->normalize_rows(team->device, rows, prototypes->count, head->embedding, rows,
                                  prototypes->norms);
    }
}
