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

static size_t samples_of(const struct codes *codes)
{
    return (size_t)(codes->rows + codes->queue_rows);
}

static void init_set(struct codes *codes, int index, size_t prototypes)
{
    struct arena *arena = &codes->team->arena;
    struct code_set *set = &codes->sets[index];
    const size_t crops = (size_t)codes->crops, samples = samples_of(codes);
    const size_t rows = (size_t)codes->rows;
    set->prototypes = (int)prototypes;
    set->p = arena_floats(arena, crops * samples * prototypes);
    set->a = arena_floats(arena, crops * prototypes);
    set->b = arena_floats(arena, crops * samples);
    set->q = arena_floats(arena, crops * rows * prototypes);
    set->targets = arena_floats(arena, (crops + 1) * rows * prototypes);
    set->max = codes->max + index;
}

/* Sums lie set by set in what members exchange. */
static void place_sums(struct codes *codes)
{
    size_t at = 0, most = 0;
    for (int i = 0; i < codes->set_count; i++)
        most = (size_t)codes->sets[i].prototypes > most ? (size_t)codes->sets[i].prototypes : most;
    if (codes->team->rows.is_exact) {
        codes->wide = (double *)(void *)codes->y;
        codes->y = arena_floats(&codes->team->arena, codes->y_floats);
        codes->partial = arena_floats(&codes->team->arena, most);
    }
    for (int i = 0; i < codes->set_count; i++) {
        struct code_set *set = &codes->sets[i];
        set->y = codes->y == NULL ? NULL : codes->y + at;
        set->wide = codes->wide == NULL ? NULL : codes->wide + 2 * at;
        at += (size_t)codes->crops * (size_t)set->prototypes;
    }
}

void codes_init(struct codes *codes, struct team *team, const struct config *config, int rows,
                int queue_rows)
{
    struct exchange exchange;
    struct arena *arena = &team->arena;
    const size_t crops = (size_t)config->crops[0].count;
    const enum arena_part before = arena_enter(arena, ARENA_CODES);
    exchange_init(&exchange, config);
    *codes = (struct codes){
        .team = team,
        .crops = (int)crops,
        .rows = rows,
        .queue_rows = queue_rows,
        .iterations = (int)config->swav.sinkhorn_iterations,
        .epsilon = (float)config->swav.epsilon,
        .set_count = (int)config->model.prototype_heads,
        .y_floats = crops * (size_t)config_prototypes(config),
        .y = team->state->exchange + exchange.prototypes,
        .max = team->state->exchange + exchange.max,
    };
    for (int i = 0; i < codes->set_count; i++)
        init_set(codes, i, (size_t)config->model.prototypes[i]);
    codes->ones = arena_floats(arena, samples_of(codes));
    codes->selection = arena_floats(arena, (crops + 1) * crops);
    codes->maxima = arena_floats(arena, crops + 1);
    place_sums(codes);
    arena_enter(arena, before);
    fill_constants(codes, rows + queue_rows);
}

static float *crop_p(const struct codes *codes, const struct code_set *set, int crop)
{
    return set->p + (size_t)crop * samples_of(codes) * (size_t)set->prototypes;
}

static float *queue_scores(const struct codes *codes, const struct code_set *set, int crop)
{
    return crop_p(codes, set, crop) + (size_t)codes->rows * (size_t)set->prototypes;
}

float *codes_queue_scores(const struct codes *codes, int set, int crop)
{
    return queue_scores(codes, &codes->sets[set], crop);
}

static void find_max(const struct codes *codes, const struct code_set *set, const float *scores,
                     int queue_count)
{
    const struct team *team = codes->team;
    team->ops->scores_max(team->device, scores, rows_count(&team->rows, 0), set->prototypes,
                          codes->maxima);
    for (int crop = 0; crop < codes->crops && queue_count > 0; crop++)
        team->ops->scores_max(team->device, queue_scores(codes, set, crop), queue_count,
                              set->prototypes, codes->maxima + crop + 1);
    team->ops->scores_max(team->device, codes->maxima, 1, queue_count > 0 ? codes->crops + 1 : 1,
                          set->max);
}

/* From rows [slot][crop][image] to [crop][slot][image], the queue behind. */
static void exponentiate(const struct codes *codes, const struct code_set *set, const float *scores,
                         int queue_count)
{
    const struct team *team = codes->team;
    const int images = team->rows.slot_images, k = set->prototypes;
    const size_t part = (size_t)images * (size_t)k;
    for (int crop = 0; crop < codes->crops; crop++) {
        for (int slot = 0; slot < team->rows.slot_count; slot++)
            team->ops->sinkhorn_exp(
                team->device, scores + (size_t)(slot * codes->crops + crop) * part, images, k,
                set->max, codes->epsilon, crop_p(codes, set, crop) + (size_t)slot * part);
        float *queue = queue_scores(codes, set, crop);
        if (queue_count > 0)
            team->ops->sinkhorn_exp(team->device, queue, queue_count, k, set->max, codes->epsilon,
                                    queue);
    }
}

/* y = P b of one crop's samples here, in pieces of a slot's images with exact reduction: those of
 * the queue too come in whole slots. */
static void sum_samples(const struct codes *codes, const struct code_set *set, int crop,
                        const float *b, int samples)
{
    const struct team *team = codes->team;
    const int k = set->prototypes, images = team->rows.slot_images;
    const float *p = crop_p(codes, set, crop);
    if (set->wide == NULL) {
        team->ops->sinkhorn_prototypes(team->device, p, b, samples, k,
                                       set->y + (size_t)crop * (size_t)k);
        return;
    }
    double *wide = set->wide + 2 * (size_t)crop * (size_t)k;
    team->ops->zero(team->device, wide, 2 * (size_t)k * sizeof(*wide));
    for (int first = 0; first < samples; first += images) {
        team->ops->sinkhorn_prototypes(team->device, p + (size_t)first * (size_t)k, b + first,
                                       images, k, codes->partial);
        team->ops->wide_add(team->device, codes->partial, (size_t)k, 0, wide);
    }
}

static enum status sum_members(struct codes *codes)
{
    struct team *team = codes->team;
    if (codes->wide == NULL)
        return team_sum(team, codes->y, codes->y_floats);
    TRY(team_sum_wide(team, codes->wide, codes->y_floats));
    team->ops->wide_round(team->device, codes->wide, codes->y_floats, codes->y);
    return OK;
}

/* y = P b, summed over members; a = (1/K)/y; b = (1/N)/(P^T a). */
static enum status iterate(struct codes *codes, int is_first, int samples, double total)
{
    struct team *team = codes->team;
    const size_t stride = samples_of(codes);
    for (int i = 0; i < codes->set_count; i++)
        for (int crop = 0; crop < codes->crops; crop++)
            sum_samples(codes, &codes->sets[i], crop,
                        is_first ? codes->ones : codes->sets[i].b + (size_t)crop * stride, samples);
    TRY(sum_members(codes));
    for (int i = 0; i < codes->set_count; i++)
        for (int crop = 0; crop < codes->crops; crop++) {
            const struct code_set *set = &codes->sets[i];
            const size_t at = (size_t)crop * (size_t)set->prototypes;
            team->ops->sinkhorn_samples(team->device, crop_p(codes, set, crop), set->y + at,
                                        samples, set->prototypes, total, set->a + at,
                                        set->b + (size_t)crop * stride);
        }
    return OK;
}

static void find_targets(const struct codes *codes, const struct code_set *set)
{
    const struct team *team = codes->team;
    const size_t k = (size_t)set->prototypes, crop_floats = (size_t)codes->rows * k;
    for (int crop = 0; crop < codes->crops; crop++)
        team->ops->sinkhorn_codes(team->device, crop_p(codes, set, crop), set->a + (size_t)crop * k,
                                  codes->rows, (int)k, set->q + (size_t)crop * crop_floats);
    team->ops->gemm(team->device, 0, 0, codes->crops + 1, (int)crop_floats, codes->crops, 1,
                    codes->selection, set->q, 0, set->targets);
}

enum status codes_compute(struct codes *codes, const float *const *scores, int queue_count,
                          double total)
{
    for (int i = 0; i < codes->set_count; i++)
        find_max(codes, &codes->sets[i], scores[i], queue_count);
    TRY(team_max(codes->team, codes->max, (size_t)codes->set_count));
    for (int i = 0; i < codes->set_count; i++)
        exponentiate(codes, &codes->sets[i], scores[i], queue_count);
    for (int i = 0; i < codes->iterations; i++)
        TRY(iterate(codes, i == 0, codes->rows + queue_count, total));
    for (int i = 0; i < codes->set_count; i++)
        find_targets(codes, &codes->sets[i]);
    return OK;
}

const float *codes_target(const struct codes *codes, int set, int crop)
{
    const struct code_set *of = &codes->sets[set];
    return of->targets + (size_t)crop * (size_t)codes->rows * (size_t)of->prototypes;
}
