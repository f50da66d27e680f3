/* advice.c - what a run's figures mean, and what has helped others. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/watch/advice.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

/* A healthy run ends far from each of these. */
static const double stuck_share = 0.99;        /* of ln K */
static const double grown_share = 1.02;        /* of ln K */
static const double used_share = 0.5;          /* of the prototypes */
static const double usage_entropy_least = 0.5; /* of ln K */
static const double codes_entropy_most = 0.95; /* of ln K */
static const double rank_share = 0.05;         /* of an embedding's length */
static const double spread_least = 0.1;

struct list {
    struct advice *items;
    int count;
};

__attribute__((format(printf, 4, 5))) static void say(struct list *list, int is_bad,
                                                      const char *name, const char *format, ...)
{
    struct advice *advice = &list->items[list->count++];
    va_list arguments;
    advice->is_bad = is_bad;
    advice->name = name;
    va_start(arguments, format);
    vsnprintf(advice->text, sizeof(advice->text), format, arguments);
    va_end(arguments);
}

static void judge_loss(const struct picture *picture, struct list *list)
{
    const double uniform = picture_uniform_loss(picture), loss = picture->loss_smooth;
    if (!isfinite(picture->last.loss))
        say(list, 1, "loss_not_finite",
            "The last loss is no number. Lower schedule.lr_peak or raise schedule.warmup_steps; "
            "for "
            "workers with fp16 set train.loss_scale: 65536; else go back to a snapshot.");
    if (uniform <= 0 || picture->server.step < ADVICE_FROM_STEP)
        return;
    if (loss > grown_share * uniform)
        say(list, 1, "loss_grows",
            "The loss is above ln K: it grows. If the queue has just begun to count, make "
            "swav.queue_images smaller or swav.queue_start_step later; else lower "
            "schedule.lr_peak.");
    else if (loss > stuck_share * uniform)
        say(list, 1, "loss_stuck",
            "The loss stays at ln K: the assignments say nothing. Lower swav.epsilon (0.03, 0.02), "
            "raise swav.freeze_prototypes_steps, set model.head_batch_norm: false, use fewer or "
            "softer crops, or change schedule.lr_peak.");
}

static void judge_prototypes(const struct message_learning *figures, struct list *list)
{
    const uint32_t k = figures->prototypes, used = figures->prototypes_used;
    /* With fewer assignments many are missed by chance. */
    if (figures->assignments >= 5 * (uint64_t)k && figures->usage_entropy < usage_entropy_least)
        say(list, 1, "prototypes_collapsed",
            "Nearly all images go to a few of %u prototypes. Lower swav.epsilon (0.03), raise "
            "swav.freeze_prototypes_steps, or lower schedule.lr_peak, and begin again from an "
            "earlier snapshot.",
            k);
    else if (figures->assignments >= 5 * (uint64_t)k && used < used_share * k)
        say(list, 0, "prototypes_dead",
            "%u of %u prototypes were given none of the last %" PRIu64 " images. Fewer "
            "model.prototypes would do (about ten for each kind of image), or with small batches a "
            "queue: swav.queue_images.",
            k - used, k, figures->assignments);
    if (figures->codes_entropy > codes_entropy_most)
        say(list, 0, "codes_flat",
            "Codes are spread over all prototypes and say nothing: lower swav.epsilon (0.03, "
            "0.02).");
}

static void judge_embeddings(const struct message_learning *figures, struct list *list)
{
    const double width = (double)figures->embedding, rank = figures->embedding_rank;
    if (rank > 0 && figures->embedding_spread < spread_least)
        say(list, 1, "embeddings_alike",
            "The embeddings of all images are nearly the same: collapse. Lower swav.epsilon (0.03) "
            "and schedule.lr_peak, and begin again from an earlier snapshot.");
    else if (rank > 0 && rank < fmax(2, rank_share * width))
        say(list, 0, "embeddings_flat",
            "Embeddings fill %.1f of %.0f directions. Watch the loss and evaluate (seer eval knn); "
            "if it falls, lower swav.epsilon or schedule.lr_peak.",
            rank, width);
}

int advice_of(const struct picture *picture, struct advice ret_advice[ADVICE_MAX])
{
    struct list list = {ret_advice, 0};
    const struct picture_learning *last = picture_learning_last(picture);
    if (picture->has_step)
        judge_loss(picture, &list);
    if (last == NULL || last->figures.step < ADVICE_FROM_STEP)
        return list.count;
    judge_prototypes(&last->figures, &list);
    judge_embeddings(&last->figures, &list);
    return list.count;
}
