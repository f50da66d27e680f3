/* schedule.c - warm-up, then constant, cosine or plateau. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/schedule.h"

#include <math.h>

/* A run is at its start-up plateau while the loss is within this of ln K, what a uniform guess over
 * K prototypes costs. Cutting the rate there would only make it stay. */
static const double ARMING_MARGIN = 0.1;

void schedule_init(struct schedule_state *state)
{
    *state = (struct schedule_state){.best = INFINITY};
}

/* swav main_swav.py: linspace(start, peak, W) reaches the peak at step W-1. */
static double warmup_lr(const struct config *config, uint64_t step)
{
    double start = config->schedule.lr_start, peak = config->schedule.lr_peak;
    uint64_t steps = (uint64_t)config->schedule.warmup_steps;
    return steps < 2 ? peak : start + (peak - start) * (double)step / (double)(steps - 1);
}

/* swav main_swav.py: final + (peak - final)/2 (1 + cos(pi (t - W)/(T - W))). */
static double cosine_lr(const struct config *config, uint64_t step)
{
    double peak = config->schedule.lr_peak, final = config->schedule.lr_final;
    uint64_t warmup = (uint64_t)config->schedule.warmup_steps;
    uint64_t length = (uint64_t)config->schedule.length_steps;
    if (step >= length)
        return final;
    double progress = (double)(step - warmup) / (double)(length - warmup);
    return final + 0.5 * (peak - final) * (1.0 + cos(3.14159265358979323846 * progress));
}

static double plateau_lr(const struct config *config, const struct schedule_state *state)
{
    return fmax(config->schedule.lr_peak * pow(config->schedule.plateau_factor, state->cuts),
                config->schedule.lr_final);
}

double schedule_lr(const struct config *config, const struct schedule_state *state, uint64_t step)
{
    double peak = config->schedule.lr_peak;
    if (step < (uint64_t)config->schedule.warmup_steps)
        return warmup_lr(config, step);
    if (config->schedule.kind == SCHEDULE_COSINE)
        return cosine_lr(config, step);
    if (config->schedule.kind == SCHEDULE_PLATEAU)
        return plateau_lr(config, state);
    return peak;
}

/* Mean over the window and its standard error from the spread of the means of its parts. */
static void measure_window(struct schedule_state *state)
{
    double sum = 0.0, means[SCHEDULE_PARTS], mean_of_means = 0.0, squares = 0.0;
    int count = 0;
    for (int i = 0; i < SCHEDULE_PARTS; i++) {
        if (state->part_counts[i] == 0)
            continue;
        sum += state->part_sums[i];
        means[count] = state->part_sums[i] / state->part_counts[i];
        mean_of_means += means[count++];
    }
    mean_of_means /= count;
    for (int i = 0; i < count; i++)
        squares += (means[i] - mean_of_means) * (means[i] - mean_of_means);
    state->window_mean = sum / (double)state->commits;
    state->window_error = count > 1 ? sqrt(squares / (count - 1) / count) : 0.0;
}

/* The rule of the end of a window: is the loss still falling, beyond threshold and noise? */
static enum schedule_event judge_window(const struct config *config, struct schedule_state *state)
{
    double mean = state->window_mean;
    if (mean < log((double)config->model.prototypes) - ARMING_MARGIN)
        state->is_armed = 1;
    if (state->cool > 0) {
        state->cool--;
        state->bad = 0;
        state->best = fmin(state->best, mean);
        return SCHEDULE_WINDOW;
    }
    double margin = fmax(config->schedule.plateau_threshold * fabs(state->best),
                         config->schedule.plateau_noise * state->window_error);
    if (isinf(state->best) || mean < state->best - margin) {
        state->best = mean;
        state->bad = 0;
    } else {
        state->bad++;
    }
    if (!state->is_armed)
        return state->windows % SCHEDULE_ALARM_WINDOWS == 0 ? SCHEDULE_COLLAPSE : SCHEDULE_WINDOW;
    if (state->bad < (uint32_t)config->schedule.plateau_patience ||
        plateau_lr(config, state) <= config->schedule.lr_final)
        return SCHEDULE_WINDOW;
    state->cuts++;
    state->cool = (uint32_t)config->schedule.plateau_cooldown;
    schedule_reset_best(state); /* a smaller rate has another noise floor */
    return SCHEDULE_CUT;
}

static void begin_window(struct schedule_state *state)
{
    state->commits = 0;
    for (int i = 0; i < SCHEDULE_PARTS; i++) {
        state->part_sums[i] = 0.0;
        state->part_counts[i] = 0;
    }
}

/* Prototypes that begin to learn and a queue that begins to count both move the loss level. */
static int changes_level(const struct config *config, uint64_t step)
{
    uint64_t freeze = (uint64_t)config->swav.freeze_prototypes_steps;
    uint64_t queue = (uint64_t)config->swav.queue_start_step;
    return (freeze > 0 && step == freeze) ||
           (config->swav.queue_images > 0 && queue > 0 && step == queue);
}

enum schedule_event schedule_commit(const struct config *config, struct schedule_state *state,
                                    uint64_t step, double loss)
{
    if (config->schedule.kind != SCHEDULE_PLATEAU || step < (uint64_t)config->schedule.warmup_steps)
        return SCHEDULE_NOTHING;
    if (changes_level(config, step))
        schedule_reset_best(state);
    uint64_t window = (uint64_t)config->schedule.plateau_window_steps;
    uint64_t part = state->commits * SCHEDULE_PARTS / window;
    state->part_sums[part] += loss;
    state->part_counts[part]++;
    if (++state->commits < window)
        return SCHEDULE_NOTHING;
    measure_window(state);
    state->windows++;
    begin_window(state);
    return judge_window(config, state);
}

void schedule_reset_best(struct schedule_state *state)
{
    state->best = INFINITY;
    state->bad = 0;
}
