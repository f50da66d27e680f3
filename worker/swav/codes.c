/* codes.c - which prototypes each assigned crop belongs to: Sinkhorn-Knopp over the global batch.
 */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/swav/codes.h"

#include "common/mem.h"
#include "worker/exchange.h"

static void fill_constants(struct codes *codes, int samples)
{
    const struct team *team = codes->team;
    const size_t n = (size_t)samples, crops = (size_t)codes->crops;
    float *ones = mem_array(n, sizeof(*ones));
    float *selection = mem_array((crops + 1) * crops, sizeof(*selection));
    for (size_t i = 0; i < n; i++)
        ones[i] = 1;
    for (size_t target = 0; target <= crops; target++)
        for (size_t crop = 0; crop < crops; crop++)
            selection[target * crops + crop] = target != crop;
    if (arena_check(&team->arena) == OK) {
        team->ops->upload(team->device, codes->ones, ones, n * sizeof(*ones));
        team->ops->upload(team->device, codes->selection, selection,
                          (crops + 1) * crops * sizeof(*selection));
    }
    mem_free(ones);
    mem_free(selection);
}

void codes_init(struct codes *codes, struct team *team, const struct config *config, int rows,
                int queue_rows)
{
    struct exchange exchange;
    struct arena *arena = &team->arena;
    const size_t crops = (size_t)config->crops[0].count, samples = (size_t)(rows + queue_rows);
    const size_t prototypes = (size_t)config->model.prototypes;
    const enum arena_part before = arena_enter(arena, ARENA_CODES);
    exchange_init(&exchange, config);
    *codes = (struct codes){
        .team = team,
        .crops = (int)crops,
        .prototypes = (int)prototypes,
        .rows = rows,
        .queue_rows = queue_rows,
        .iterations = (int)config->swav.sinkhorn_iterations,
        .epsilon = (float)config->swav.epsilon,
        .p = arena_floats(arena, crops * samples * prototypes),
        .a = arena_floats(arena, crops * prototypes),
        .b = arena_floats(arena, crops * samples),
        .ones = arena_floats(arena, samples),
        .q = arena_floats(arena, crops * (size_t)rows * prototypes),
        .targets = arena_floats(arena, (crops + 1) * (size_t)rows * prototypes),
        .selection = arena_floats(arena, (crops + 1) * crops),
        .maxima = arena_floats(arena, crops + 1),
        .max = team->state->exchange + exchange.max,
        .y = team->state->exchange + exchange.prototypes,
    };
    if (team->rows.is_exact) {
        codes->wide = (double *)(void *)codes->y;
        codes->y = arena_floats(arena, crops * prototypes);
        codes->partial = arena_floats(arena, prototypes);
    }
    arena_enter(arena, before);
    fill_constants(codes, rows + queue_rows);
}

static float *crop_p(const struct codes *codes, int crop)
{
    return codes->p +
           (size_t)crop * (size_t)(codes->rows + codes->queue_rows) * (size_t)codes->prototypes;
}

float *codes_queue_scores(const struct codes *codes, int crop)
{
    return crop_p(codes, crop) + (size_t)codes->rows * (size_t)codes->prototypes;
}

static enum status find_max(struct codes *codes, const float *scores, int queue_count)
{
    const struct team *team = codes->team;
    team->ops->scores_max(team->device, scores, rows_count(&team->rows, 0), codes->prototypes,
                          codes->maxima);
    for (int crop = 0; crop < codes->crops && queue_count > 0; crop++)
        team->ops->scores_max(team->device, codes_queue_scores(codes, crop), queue_count,
                              codes->prototypes, codes->maxima + crop + 1);
    team->ops->scores_max(team->device, codes->maxima, 1, queue_count > 0 ? codes->crops + 1 : 1,
                          codes->max);
    return team_max(codes->team, codes->max);
}

/* From rows [slot][crop][image] to [crop][slot][image], the queue behind. */
static void exponentiate(struct codes *codes, const float *scores, int queue_count)
{
    const struct team *team = codes->team;
    const int images = team->rows.slot_images, k = codes->prototypes;
    const size_t part = (size_t)images * (size_t)k;
    for (int crop = 0; crop < codes->crops; crop++) {
        for (int slot = 0; slot < team->rows.slot_count; slot++)
            team->ops->sinkhorn_exp(
                team->device, scores + (size_t)(slot * codes->crops + crop) * part, images, k,
                codes->max, codes->epsilon, crop_p(codes, crop) + (size_t)slot * part);
        float *queue = codes_queue_scores(codes, crop);
        if (queue_count > 0)
            team->ops->sinkhorn_exp(team->device, queue, queue_count, k, codes->max, codes->epsilon,
                                    queue);
    }
}

/* y = P b of one crop's samples here, in pieces of a slot's images with exact reduction: those of
 * the queue too come in whole slots. */
static void sum_samples(struct codes *codes, int crop, const float *b, int samples)
{
    const struct team *team = codes->team;
    const int k = codes->prototypes, images = team->rows.slot_images;
    const float *p = crop_p(codes, crop);
    if (codes->wide == NULL) {
        team->ops->sinkhorn_prototypes(team->device, p, b, samples, k,
                                       codes->y + (size_t)crop * (size_t)k);
        return;
    }
    double *wide = codes->wide + 2 * (size_t)crop * (size_t)k;
    team->ops->zero(team->device, wide, 2 * (size_t)k * sizeof(*wide));
    for (int first = 0; first < samples; first += images) {
        team->ops->sinkhorn_prototypes(team->device, p + (size_t)first * (size_t)k, b + first,
                                       images, k, codes->partial);
        team->ops->wide_add(team->device, codes->partial, (size_t)k, wide);
    }
}

static enum status sum_members(struct codes *codes)
{
    struct team *team = codes->team;
    const size_t count = (size_t)codes->crops * (size_t)codes->prototypes;
    if (codes->wide == NULL)
        return team_sum(team, codes->y, count);
    TRY(team_sum_wide(team, codes->wide, count));
    team->ops->wide_round(team->device, codes->wide, count, codes->y);
    return OK;
}

/* y = P b, summed over members; a = (1/K)/y; b = (1/N)/(P^T a). */
static enum status iterate(struct codes *codes, int is_first, int samples, double total)
{
    struct team *team = codes->team;
    const int k = codes->prototypes;
    const size_t stride = (size_t)(codes->rows + codes->queue_rows);
    for (int crop = 0; crop < codes->crops; crop++)
        sum_samples(codes, crop, is_first ? codes->ones : codes->b + (size_t)crop * stride,
                    samples);
    TRY(sum_members(codes));
    for (int crop = 0; crop < codes->crops; crop++) {
        const size_t at = (size_t)crop * (size_t)k;
        team->ops->sinkhorn_samples(team->device, crop_p(codes, crop), codes->y + at, samples, k,
                                    total, codes->a + at, codes->b + (size_t)crop * stride);
    }
    return OK;
}

enum status codes_compute(struct codes *codes, const float *scores, int queue_count, double total)
{
    const struct team *team = codes->team;
    const int k = codes->prototypes;
    const size_t crop_floats = (size_t)codes->rows * (size_t)k;
    TRY(find_max(codes, scores, queue_count));
    exponentiate(codes, scores, queue_count);
    for (int i = 0; i < codes->iterations; i++)
        TRY(iterate(codes, i == 0, codes->rows + queue_count, total));
    for (int crop = 0; crop < codes->crops; crop++)
        team->ops->sinkhorn_codes(team->device, crop_p(codes, crop),
                                  codes->a + (size_t)crop * (size_t)k, codes->rows, k,
                                  codes->q + (size_t)crop * crop_floats);
    team->ops->gemm(team->device, 0, 0, codes->crops + 1, (int)crop_floats, codes->crops, 1,
                    codes->selection, codes->q, 0, codes->targets);
    return OK;
}

const float *codes_target(const struct codes *codes, int crop)
{
    return codes->targets + (size_t)crop * (size_t)codes->rows * (size_t)codes->prototypes;
}
