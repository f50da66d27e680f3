/* norm.c - batch normalisation over slots, whoever holds them. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/model/norm.h"

#include <stdio.h>

#include "common/check.h"
#include "worker/exchange.h"

/* The rows of one BN group here, as values of a tensor of so many pixels a row. */
struct span {
    size_t first_row, first_value;
    int rows;
};

static struct span span_of(const struct norm *norm, int resolution, const struct row_run *run)
{
    const int slot_rows = rows_of_slot(&norm->team->rows, resolution);
    const size_t first = (size_t)run->first_slot * (size_t)slot_rows;
    const size_t pixels = (size_t)norm->pixels[resolution];
    const int rows = run->slot_count * slot_rows;
    return (struct span){
        .first_row = first,
        .first_value = first * pixels * (size_t)norm->channels,
        .rows = rows,
    };
}

/* The runs of a part: [first, end). */
static int first_run(const struct norm *norm, struct piece piece)
{
    return norm->team->rows.is_exact ? piece.part : 0;
}

static int run_end(const struct norm *norm, struct piece piece)
{
    return norm->team->rows.is_exact ? piece.part + 1 : norm->team->rows.run_count;
}

/* The groups with which this member has to do: all, or those of its slots. */
static int first_group(const struct norm *norm)
{
    const struct team *team = norm->team;
    return team->groups.key == 0 ? 0 : team->rows.runs[0].group;
}

static int group_end(const struct norm *norm)
{
    const struct rows *rows = &norm->team->rows;
    return norm->team->groups.key == 0 ? rows->group_count
                                       : rows->runs[rows->run_count - 1].group + 1;
}

static float *sums_of(const struct norm *norm, int resolution, int group)
{
    return norm->sums + (size_t)group * norm->sums_stride +
           (size_t)(resolution * 2 * norm->channels);
}

static double *wide_of(const struct norm *norm, int resolution, int group)
{
    return norm->wide +
           2 * ((size_t)group * norm->message_stride + (size_t)(resolution * 2 * norm->channels));
}

static float *reduced_of(const struct norm *norm, int resolution, int group)
{
    if (norm->joined == NULL)
        return sums_of(norm, resolution, group);
    return norm->joined + (size_t)group * 2 * (size_t)norm->channels;
}

static size_t statistics_of(const struct norm *norm, int resolution, int group)
{
    const int set = norm->set_count == 1 ? 0 : resolution;
    return (size_t)(set * norm->team->rows.group_count + group) * (size_t)norm->channels;
}

/* Pixels behind the statistics of a group, over all members. */
static double count_of(const struct norm *norm, int resolution)
{
    const struct rows *rows = &norm->team->rows;
    double count = 0;
    for (int r = 0; r < rows->resolution_count; r++)
        if (r == resolution || norm->set_count == 1)
            count += (double)rows_of_group(rows, r) * norm->pixels[r];
    return count;
}

static struct parameter parameter_of(const struct team *team, const char *name, const char *suffix)
{
    char full[112];
    snprintf(full, sizeof(full), "%s%s", name, suffix);
    return state_parameter(team->state, full);
}

static float *statistic_of(const struct team *team, const char *name, const char *suffix)
{
    char full[112];
    snprintf(full, sizeof(full), "%s%s", name, suffix);
    return state_statistic(team->state, full);
}

size_t norm_group_floats(const struct team *team, int channels)
{
    return (size_t)(team->rows.resolution_count * 2 * channels);
}

/* Where sums and batch statistics of a step go. */
static void init_training(struct norm *norm, const struct norm_place *place)
{
    struct team *team = norm->team;
    float *message = team->norm_sums[place->message];
    const struct rows *rows = &team->rows;
    const struct state *state = team->state;
    const size_t own = norm_group_floats(team, norm->channels), groups = (size_t)rows->group_count;
    norm->message_stride = place->floats_before + own + place->floats_behind;
    if (rows->is_exact) {
        norm->wide = (double *)(void *)(message + place->floats_before * WIDE_FLOATS);
        norm->sums = arena_floats(&team->arena, groups * own);
        norm->sums_stride = own;
    } else {
        norm->sums = message + place->floats_before;
        norm->sums_stride = norm->message_stride;
    }
    if (place->is_joint && rows->resolution_count > 1)
        norm->joined = arena_floats(&team->arena, 2 * groups * (size_t)norm->channels);
    norm->mean_at = (size_t)(norm->running_mean - state->statistics);
    norm->var_at = (size_t)(norm->running_var - state->statistics);
}

void norm_init(struct norm *norm, struct team *team, const struct norm_place *place)
{
    const struct rows *rows = &team->rows;
    const size_t channels = (size_t)place->channels, groups = (size_t)rows->group_count;
    *norm = (struct norm){
        .team = team,
        .channels = place->channels,
        .set_count = place->is_joint ? 1 : rows->resolution_count,
        .gamma = parameter_of(team, place->name, ".weight"),
        .beta = parameter_of(team, place->name, ".bias"),
        .running_mean = statistic_of(team, place->name, ".running_mean"),
        .running_var = statistic_of(team, place->name, ".running_var"),
    };
    for (int r = 0; r < rows->resolution_count; r++)
        norm->pixels[r] = place->pixels[r];
    const size_t floats = (size_t)norm->set_count * groups * channels;
    norm->mean = arena_floats(&team->arena, floats);
    norm->invstd = arena_floats(&team->arena, floats);
    norm->scale = arena_floats(&team->arena, floats);
    norm->bias = arena_floats(&team->arena, floats);
    norm->scratch = arena_floats(&team->arena, 2 * channels);
    if (team->is_training)
        init_training(norm, place);
    else
        norm->sums = arena_floats(&team->arena, 2 * channels);
}

/* The running variance as the sum of squares of a single pixel around the running mean. */
void norm_use_running(struct norm *norm)
{
    const struct team *team = norm->team;
    const size_t bytes = (size_t)norm->channels * sizeof(float);
    team->ops->zero(team->device, norm->sums, bytes);
    team->ops->copy(team->device, norm->sums + norm->channels, norm->running_var, bytes);
    const struct bn_finalize args = {
        .sums = norm->sums,
        .shift = norm->running_mean,
        .count = 1,
        .gamma = norm->gamma.value,
        .beta = norm->beta.value,
        .eps = team->bn_eps,
        .channels = norm->channels,
        .mean = norm->mean,
        .invstd = norm->invstd,
        .scale = norm->scale,
        .bias = norm->bias,
        .batch_mean = norm->scratch,
        .batch_var = norm->scratch + norm->channels,
    };
    team->ops->bn_finalize(team->device, &args);
}

/* Where one run's sums go: into the message at once, or aside to be added to it. */
static float *run_sums(const struct norm *norm, int resolution, const struct row_run *run)
{
    return norm->wide != NULL ? norm->scratch : sums_of(norm, resolution, run->group);
}

/* What is not written by a run of its own. */
static void clear_message(struct norm *norm, int resolution)
{
    const struct team *team = norm->team;
    const size_t values = 2 * (size_t)norm->channels;
    const int end = group_end(norm);
    if (norm->wide == NULL && team->rows.run_count == end - first_group(norm))
        return;
    for (int group = first_group(norm); group < end; group++)
        if (norm->wide != NULL)
            team->ops->zero(team->device, wide_of(norm, resolution, group),
                            values * 2 * sizeof(double));
        else
            team->ops->zero(team->device, sums_of(norm, resolution, group), values * sizeof(float));
}

static void add_to_message(struct norm *norm, int resolution, const struct row_run *run)
{
    if (norm->wide != NULL)
        norm->team->ops->wide_add(norm->team->device, norm->scratch, 2 * (size_t)norm->channels, 0,
                                  wide_of(norm, resolution, run->group));
}

void norm_sums(struct norm *norm, struct piece piece, const void *x)
{
    const struct team *team = norm->team;
    if (piece.part == 0)
        clear_message(norm, piece.resolution);
    for (int i = first_run(norm, piece); i < run_end(norm, piece); i++) {
        const struct row_run *run = &team->rows.runs[i];
        const struct span span = span_of(norm, piece.resolution, run);
        const struct bn_sums args = {
            .x = team_offset(team, x, span.first_value),
            .rows = span.rows,
            .pixels_per_row = norm->pixels[piece.resolution],
            .channels = norm->channels,
            .shift = norm->running_mean,
            .sums = run_sums(norm, piece.resolution, run),
        };
        team->ops->bn_sums(team->device, &args);
    }
}

void norm_summed(struct norm *norm, struct piece piece)
{
    for (int i = first_run(norm, piece); i < run_end(norm, piece); i++)
        add_to_message(norm, piece.resolution, &norm->team->rows.runs[i]);
}

/* Where the batch statistics of a group go; NULL: another member's count. */
static float *batch_of(const struct norm *norm, int set, int group)
{
    const struct team *team = norm->team;
    const size_t all = team->state->layout.statistic_floats;
    if (team->rows.group_count == 1)
        return team->batch + (size_t)set * all;
    if (team->groups.key != 0 && !rows_start_group(&team->rows, group))
        return NULL;
    return team->state->group_statistics +
           (size_t)(group * team->rows.resolution_count + set) * all;
}

static void finalize(struct norm *norm, int resolution, int group)
{
    const struct team *team = norm->team;
    const size_t at = statistics_of(norm, resolution, group);
    float *batch = batch_of(norm, resolution, group);
    const struct bn_finalize args = {
        .sums = reduced_of(norm, resolution, group),
        .shift = norm->running_mean,
        .count = count_of(norm, resolution),
        .gamma = norm->gamma.value,
        .beta = norm->beta.value,
        .eps = team->bn_eps,
        .channels = norm->channels,
        .mean = norm->mean + at,
        .invstd = norm->invstd + at,
        .scale = norm->scale + at,
        .bias = norm->bias + at,
        .batch_mean = batch != NULL ? batch + norm->mean_at : norm->scratch,
        .batch_var = batch != NULL ? batch + norm->var_at : norm->scratch + norm->channels,
    };
    team->ops->bn_finalize(team->device, &args);
}

static void round_message(struct norm *norm)
{
    const struct team *team = norm->team;
    const size_t own = norm->sums_stride;
    const int first = first_group(norm), end = group_end(norm);
    if (own == norm->message_stride) {
        team->ops->wide_round(team->device, wide_of(norm, 0, first), (size_t)(end - first) * own,
                              sums_of(norm, 0, first));
        return;
    }
    for (int group = first; group < end; group++)
        team->ops->wide_round(team->device, wide_of(norm, 0, group), own, sums_of(norm, 0, group));
}

/* Each group's part of the message among those who have slots of it. */
static enum status sum_by_groups(struct norm *norm)
{
    struct team *team = norm->team;
    struct collective_part parts[COLLECTIVE_CUTS] = {{0}};
    for (int cut = 0; cut < COLLECTIVE_CUTS; cut++) {
        const int group = team->groups.group[cut];
        if (group == COLLECTIVE_NO_COLOR)
            continue;
        if (norm->wide != NULL)
            parts[cut] =
                (struct collective_part){wide_of(norm, 0, group), 2 * norm->message_stride};
        else
            parts[cut] = (struct collective_part){sums_of(norm, 0, group), norm->message_stride};
    }
    return team_sum_groups(team, parts, norm->wide != NULL ? REDUCE_SUM_DOUBLE : REDUCE_SUM);
}

static enum status sum_messages(struct norm *norm, struct norm *second)
{
    struct team *team = norm->team;
    const size_t values = (size_t)team->rows.group_count * norm->message_stride;
    CHECK(norm->message_stride ==
          norm_group_floats(team, norm->channels) +
              (second == NULL ? 0 : norm_group_floats(team, second->channels)));
    if (team->groups.key != 0)
        TRY(sum_by_groups(norm));
    else if (norm->wide != NULL)
        TRY(team_sum_wide(team, norm->wide, values));
    else
        TRY(team_sum(team, norm->sums, values));
    if (norm->wide == NULL)
        return OK;
    round_message(norm);
    if (second != NULL)
        round_message(second);
    return OK;
}

static void join(struct norm *norm)
{
    const int n = 2 * norm->channels;
    for (int group = first_group(norm); norm->joined != NULL && group < group_end(norm); group++)
        team_add_rows(norm->team, sums_of(norm, 0, group), norm->team->rows.resolution_count, n, 0,
                      norm->joined + (size_t)(group * n));
}

static void finalize_all(struct norm *norm)
{
    join(norm);
    for (int set = 0; set < norm->set_count; set++)
        for (int group = first_group(norm); group < group_end(norm); group++)
            finalize(norm, set, group);
}

enum status norm_share(struct norm *norm, struct norm *second)
{
    TRY(sum_messages(norm, second));
    finalize_all(norm);
    if (second != NULL)
        finalize_all(second);
    return OK;
}

void norm_apply(struct norm *norm, struct piece piece, const struct bn_apply *tensors,
                const struct norm *skip_norm)
{
    const struct team *team = norm->team;
    for (int i = first_run(norm, piece); i < run_end(norm, piece); i++) {
        const struct row_run *run = &team->rows.runs[i];
        const struct span span = span_of(norm, piece.resolution, run);
        const size_t at = statistics_of(norm, piece.resolution, run->group);
        struct bn_apply args = *tensors;
        args.x = team_offset(team, tensors->x, span.first_value);
        args.y = team_offset(team, tensors->y, span.first_value);
        args.skip = team_offset(team, tensors->skip, span.first_value);
        args.scale = norm->scale + at;
        args.bias = norm->bias + at;
        if (skip_norm != NULL) {
            args.skip_scale = skip_norm->scale + at;
            args.skip_bias = skip_norm->bias + at;
        }
        if (tensors->row_scale != NULL)
            args.row_scale = tensors->row_scale + span.first_row * (size_t)norm->channels;
        if (tensors->pooled != NULL)
            args.pooled = tensors->pooled + span.first_row * (size_t)norm->channels;
        args.rows = span.rows;
        args.pixels_per_row = norm->pixels[piece.resolution];
        args.channels = norm->channels;
        team->ops->bn_apply(team->device, &args);
    }
}

/* tensors' part that is one run's. */
static struct bn_backward run_backward(const struct norm *norm, int resolution,
                                       const struct row_run *run, const struct bn_backward *tensors)
{
    const struct team *team = norm->team;
    const struct span span = span_of(norm, resolution, run);
    const size_t at = statistics_of(norm, resolution, run->group);
    const size_t row_value = span.first_row * (size_t)norm->channels;
    struct bn_backward args = *tensors;
    args.dy = team_offset(team, tensors->dy, span.first_value);
    args.dy2 = team_offset(team, tensors->dy2, span.first_value);
    args.y = team_offset(team, tensors->y, span.first_value);
    args.x = team_offset(team, tensors->x, span.first_value);
    args.dz = team_offset(team, tensors->dz, span.first_value);
    args.row_scale = tensors->row_scale == NULL ? NULL : tensors->row_scale + row_value;
    args.row_add = tensors->row_add == NULL ? NULL : tensors->row_add + row_value;
    args.scale = norm->scale + at;
    args.bias = norm->bias + at;
    args.mean = norm->mean + at;
    args.invstd = norm->invstd + at;
    args.rows = span.rows;
    args.pixels_per_row = norm->pixels[resolution];
    args.channels = norm->channels;
    return args;
}

void norm_backward_sums(struct norm *norm, struct piece piece, const struct bn_backward *tensors)
{
    const struct team *team = norm->team;
    if (piece.part == 0)
        clear_message(norm, piece.resolution);
    for (int i = first_run(norm, piece); i < run_end(norm, piece); i++) {
        const struct row_run *run = &team->rows.runs[i];
        struct bn_backward args = run_backward(norm, piece.resolution, run, tensors);
        args.sums = run_sums(norm, piece.resolution, run);
        team->ops->bn_backward_sums(team->device, &args);
    }
}

void norm_backward_summed(struct norm *norm, struct piece piece)
{
    const int is_first = piece.resolution == 0 && piece.part == 0;
    norm_summed(norm, piece);
    if (norm->wide != NULL) {
        team_gradient_add(norm->team, &norm->beta, norm->scratch, is_first);
        team_gradient_add(norm->team, &norm->gamma, norm->scratch + norm->channels, is_first);
    }
}

/* d beta = sum dz, d gamma = sum dz * xhat, over all that is here. */
static void own_gradients(struct norm *norm)
{
    struct team *team = norm->team;
    const size_t bytes = (size_t)norm->channels * sizeof(float);
    if (norm->wide != NULL)
        return; /* added slot by slot */
    for (int group = first_group(norm); group < group_end(norm); group++)
        team_add_rows(team, sums_of(norm, 0, group), team->rows.resolution_count,
                      2 * norm->channels, group > first_group(norm), norm->scratch);
    team->ops->copy(team->device, norm->beta.grad, norm->scratch, bytes);
    team->ops->copy(team->device, norm->gamma.grad, norm->scratch + norm->channels, bytes);
}

enum status norm_backward_share(struct norm *norm, struct norm *second)
{
    own_gradients(norm);
    if (second != NULL)
        own_gradients(second);
    TRY(sum_messages(norm, second));
    join(norm);
    if (second != NULL)
        join(second);
    return OK;
}

void norm_backward_apply(struct norm *norm, struct piece piece, const struct bn_backward *tensors,
                         void *dx)
{
    const struct team *team = norm->team;
    for (int i = first_run(norm, piece); i < run_end(norm, piece); i++) {
        const struct row_run *run = &team->rows.runs[i];
        const struct bn_backward args = run_backward(norm, piece.resolution, run, tensors);
        team->ops->bn_backward_apply(
            team->device, &args, norm->gamma.value, reduced_of(norm, piece.resolution, run->group),
            count_of(norm, piece.resolution),
            team_offset(team, dx, span_of(norm, piece.resolution, run).first_value));
    }
}

void norm_row_scale_backward(struct norm *norm, struct piece piece,
                             const struct bn_backward *tensors, float *ds)
{
    const struct team *team = norm->team;
    for (int i = first_run(norm, piece); i < run_end(norm, piece); i++) {
        const struct row_run *run = &team->rows.runs[i];
        const struct bn_backward args = run_backward(norm, piece.resolution, run, tensors);
        const size_t first_row = span_of(norm, piece.resolution, run).first_row;
        team->ops->row_scale_backward(team->device, &args, ds + first_row * (size_t)norm->channels);
    }
}
