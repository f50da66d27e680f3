/* finetune.h - a snapshot's trunk and a new classifier, trained together on labelled images.
 *
 * The paper's recipe (finetune_rule.h) on SwAV's augmentation without its small crops, by the model
 * and the operations that pretraining uses. Batch normalisation is in training mode, its statistics
 * are of the whole batch, whoever holds which part. Every random number is a function of seed and
 * place, sums are exact: the same bits with any number of workers, and after an interruption. One
 * thread; every worker calls the same functions in the same order. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_EVAL_FINETUNE_H
#define WORKER_EVAL_FINETUNE_H

#include "worker/collective/collective.h"
#include "worker/eval/finetune_rule.h"
#include "worker/eval/finetune_state.h"
#include "worker/eval/trial.h"

struct finetune;

/* The trunk's part of a run's config, with a classifier in place of the head (image_classifier.h).
 */
void finetune_config(const struct config *from, const struct finetune_rule *rule,
                     struct config *ret_config);
/* The snapshot's network with a classifier; trial and its device are borrowed. ERR_INPUT: a device
 * that wants its loss scaled; ERR_DEVICE. */
enum status finetune_create(struct trial *trial, const struct finetune_rule *rule,
                            struct finetune **ret_finetune);
void finetune_destroy(struct finetune *finetune); /* NULL is fine */
/* What a collective is to work on. */
void finetune_describe(const struct finetune *finetune, struct collective_group *form);
/* From now on the work is shared with its members, who are no more than slots; borrowed. Slots are
 * dealt by rank. */
void finetune_join(struct finetune *finetune, struct collective *collective);
int finetune_is_first(const struct finetune *finetune); /* the member that writes and prints */

struct finetune_task {
    const struct subset *items; /* records of trial->train to learn from */
    uint64_t seed;              /* of weights, order and augmentation */
    const char *state_path;     /* kept after every epoch; NULL: nowhere */
    int is_resumed;             /* go on from there, if anything is */
    const char *name;           /* for the progress bar */
};

/* Trains, unless it is through already, and tests. progress is the caller's, who ends it, and says
 * the same on every member. ERR_INPUT: the loss is not finite, nothing can be decoded, or what is
 * kept is of something else; ERR_DEVICE; ERR_IO; errors of collective_allreduce. */
enum status finetune_run(struct finetune *finetune, const struct finetune_task *task,
                         struct finetune_progress *ret_progress);

#endif
