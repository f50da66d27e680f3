/* schedule.c - warm-up, then constant, cosine, multistep or plateau. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/schedule.h"

#include <math.h>

/* A run is at its start-up plateau while the loss is within this of ln K, what a uniform guess over
 * K prototypes costs. Cutting the rate there would only make it stay. */
static const double ARMING_MARGIN = 0.1;

/* A rise of so many times what would be an improvement is no noise and no overfitting: with the
 * defaults 1 % of the loss and 20 standard errors. */
static const double JUMP = 10;
enum { JUMP_WINDOWS = 2 };

static const double PI = 3.14159265358979323846;

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
    return final + 0.5 * (peak - final) * (1.0 + cos(PI * progress));
}

/* fvcore's composite of a "rescaled" linear and a "fixed" cosine part, as VISSL combines them: the
 * wave is at t/T, and each part ends 1e-6 of the whole early. */
static double vissl_lr(const struct config *config, uint64_t step)
{
    double start = config->schedule.lr_start, peak = config->schedule.lr_peak;
    double final = config->schedule.lr_final;
    double length = (double)config->schedule.length_steps;
    double warmup = (double)config->schedule.warmup_steps;
    if ((double)step >= length)
        return final;
    double progress = (double)step / length;
    if (progress + 1e-6 <= warmup / length)
        return start + (peak - start) * (double)step / warmup;
    return final + 0.5 * (peak - final) * (1.0 + cos(PI * progress));
}

static double multistep_lr(const struct config *config, uint64_t step)
{
    double lr = config->schedule.lr_peak;
    for (int i = 0; i < config->schedule.milestone_count; i++)
        if (step >= (uint64_t)config->schedule.milestones[i])
            lr *= config->schedule.milestone_factor;
    return lr;
}

static double plateau_lr(const struct config *config, const struct schedule_state *state)
{
    return fmax(config->schedule.lr_peak * pow(config->schedule.plateau_factor, state->cuts),
                config->schedule.lr_final);
}

double schedule_lr(const struct config *config, const struct schedule_state *state, uint64_t step)
{
    int64_t kind = config->schedule.kind;
    if (kind == SCHEDULE_COSINE && config->schedule.cosine_form == COSINE_VISSL)
        return vissl_lr(config, step);
    if (step < (uint64_t)config->schedule.warmup_steps)
        return warmup_lr(config, step);
    if (kind == SCHEDULE_COSINE)
        return cosine_lr(config, step);
    if (kind == SCHEDULE_MULTISTEP)
        return multistep_lr(config, step);
    return kind == SCHEDULE_PLATEAU ? plateau_lr(config, state) : config->schedule.lr_peak;
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

/* What was best means nothing any more. The rate stays. */
static void reset_best(struct schedule_state *state)
{
    state->best = INFINITY;
    state->bad = 0;
}

/* The loss is where a uniform guess is. Before the run has left that, it is an alarm in time; later
 * it has fallen back, and that is one at once. Neither is a plateau: a smaller rate would only make
 * it stay. */
static enum schedule_event judge_uniform(struct schedule_state *state)
{
    state->bad = 0;
    return state->is_armed || state->windows % SCHEDULE_ALARM_WINDOWS == 0 ? SCHEDULE_COLLAPSE
                                                                           : SCHEDULE_WINDOW;
}

/* Counts the window as one with or without improvement. */
static void compare_with_best(const struct config *config, struct schedule_state *state)
{
    double mean = state->window_mean;
    double margin = fmax(config->schedule.plateau_threshold * fabs(state->best),
                         config->schedule.plateau_noise * state->window_error);
    if (isinf(state->best) || mean < state->best - margin) {
        state->best = mean;
        state->bad = 0;
        return;
    }
    /* The loss fell until lately and stands far higher: other images came, and it is measured by
     * them from here on. In a window that has both kinds this may not show yet, so a second one may
     * do so too. Both count as bad, so that a loss that goes on rising has its rate cut. */
    if (state->bad < JUMP_WINDOWS && mean > state->best + JUMP * margin)
        state->best = mean;
    state->bad++;
}

/* The rule of the end of a window: is the loss still falling, beyond threshold and noise? */
static enum schedule_event judge_window(const struct config *config, struct schedule_state *state)
{
    double mean = state->window_mean;
    if (!(mean < config_uniform_loss(config) - ARMING_MARGIN))
        return judge_uniform(state);
    state->is_armed = 1;
    if (state->cool > 0) {
        state->cool--;
        state->bad = 0;
        state->best = fmin(state->best, mean);
        return SCHEDULE_WINDOW;
    }
    compare_with_best(config, state);
    if (state->bad < (uint32_t)config->schedule.plateau_patience ||
        plateau_lr(config, state) <= config->schedule.lr_final)
        return SCHEDULE_WINDOW;
    state->cuts++;
    state->cool = (uint32_t)config->schedule.plateau_cooldown;
    reset_best(state); /* a smaller rate has another noise floor */
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
    if (changes_level(config, step)) {
        reset_best(state);
        begin_window(state); /* none shall have losses of both kinds */
    }
    uint64_t window = (uint64_t)config->schedule.plateau_window_steps;
    if (state->commits >= window)
        begin_window(state); /* windows were longer before the server started again */
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
