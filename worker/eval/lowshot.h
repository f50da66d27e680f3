/* lowshot.h - a low-shot evaluation: subsets of the labels, draws of each, and what came of them.
 */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_EVAL_LOWSHOT_H
#define WORKER_EVAL_LOWSHOT_H

#include "worker/eval/finetune_request.h"

enum { LOWSHOT_RULES_MAX = 16, LOWSHOT_SEEDS_MAX = 100 };

struct lowshot_request {
    struct trial_request trial;
    struct finetune_request finetune; /* with is_finetuned */
    const char *percent, *per_class;
    int64_t seeds, steps;
    int is_finetuned;
    int rule_count;
    struct subset_rule rules[LOWSHOT_RULES_MAX];
};

/* Of one rule: accuracies by layer and seed. */
struct outcome {
    double images; /* learned from, on the mean of the seeds */
    double top1[LAYERS_MAX][LOWSHOT_SEEDS_MAX];
};

struct shots {
    const struct lowshot_request *request;
    struct trial trial;
    struct finetune_rule rule;      /* finetuned */
    struct subset *subsets;         /* [rule_count][seeds]; owned */
    struct feature_set train, test; /* frozen */
    struct outcome *outcomes;       /* [rule_count]; owned */
    int64_t test_images, skipped_images;
};

/* Prints the result, and keeps it beside the run. */
void lowshot_report(const struct shots *shots);

#endif
