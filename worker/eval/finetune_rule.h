/* finetune_rule.h - the paper's recipe of finetuning: how long, and at which rate. Pure.
 *
 * Goyal et al. 2021, section 4.1: SGD with momentum 0.9 and weight decay 1e-4, batches of 256 at a
 * rate of 0.0125, divided by 10 after 30 of 35 epochs. Images come in an endless order, pass after
 * pass, cut into batches: an epoch ends with the batch that holds its last image. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_EVAL_FINETUNE_RULE_H
#define WORKER_EVAL_FINETUNE_RULE_H

#include <stdint.h>

#include "common/status.h"

enum { FINETUNE_MILESTONES_MAX = 16, FINETUNE_EPOCHS_MAX = 10000, FINETUNE_RULE_BYTES = 512 };

struct finetune_rule {
    int class_count;
    int batch, slot_images; /* the second divides the first */
    int64_t epochs;
    int milestone_count;
    double milestones[FINETUNE_MILESTONES_MAX]; /* epochs, rising; the rate falls after each */
    double factor;                              /* to that fraction */
    double lr, classifier_lr;                   /* of a batch of 256; scaled with the batch */
    double momentum, weight_decay;
    int is_nesterov;
};

/* words: epochs with commas between, "30" or "30,60,90"; NULL: 6/7 of all epochs. ERR_INPUT. */
enum status finetune_rule_milestones(const char *words, struct finetune_rule *rule);
/* The largest number of images up to 32 (VISSL's batch of one GPU) that divides the batch. */
int finetune_rule_slot(int batch);
/* Steps until so many epochs of `images` images each are through. */
uint64_t finetune_rule_steps(const struct finetune_rule *rule, uint64_t images, int64_t epochs);
/* What is left of a rate at a step: 1, factor, factor^2 ... */
double finetune_rule_decay(const struct finetune_rule *rule, uint64_t images, uint64_t step);
/* rate: lr or classifier_lr. */
double finetune_rule_rate(const struct finetune_rule *rule, double rate, uint64_t images,
                          uint64_t step);
/* All of it in words: two rules that train alike have the same. */
void finetune_rule_print(const struct finetune_rule *rule, char ret_text[FINETUNE_RULE_BYTES]);

#endif
