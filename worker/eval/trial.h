/* trial.h - what the probes of one command have in common: a snapshot, two labelled stores, layers.
 */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_EVAL_TRIAL_H
#define WORKER_EVAL_TRIAL_H

#include <jansson.h>
#include <stdint.h>

#include "common/status.h"
#include "worker/eval/feature_set.h"
#include "worker/eval/labelled.h"
#include "worker/eval/probe.h"
#include "worker/export/saved_state.h"

/* As read from options. */
struct trial_request {
    const char *snapshot, *train, *test, *layers, *device, *output;
    int64_t train_limit, test_limit, threads, seed, batch;
    double lr, weight_decay;
};

struct trial {
    const struct trial_request *request; /* borrowed */
    struct saved_state saved;
    struct device *device;
    int size; /* of pictures, in pixels */
    struct labelled train, test;
    struct subset items; /* of train, that may be learned from */
    int layer_count;
    struct layer layers[LAYERS_MAX];
};

/* The request's defaults: the paper's numbers, and all cores. */
struct trial_request trial_request_usual(void);
/* ERR_INPUT: an option that is missing or out of range. */
enum status trial_request_check(const struct trial_request *request);
/* Opens everything and looks at all labels. ERR_INPUT: also if there are fewer than two classes.
 * trial_close it in any case. */
enum status trial_open(const struct trial_request *request, struct trial *trial);
void trial_close(struct trial *trial);

/* Features of the snapshot on the trial's layers. */
enum status trial_features(struct trial *trial, struct features **ret_features);
/* Features of the test pictures, with labels as train numbers them. */
enum status trial_test_set(struct trial *trial, struct features *features,
                           struct feature_set *ret_set);
struct probe_rule trial_rule(const struct trial *trial, uint64_t steps);

/* What every result says: schema_version, evaluation, step, and the numbers of images. */
json_t *trial_json(const struct trial *trial, const char *evaluation);
/* Writes the result beside the run, as RUN/evals/EVALUATION-step-NNNNNNNNN.json, if the snapshot
 * lies in RUN/snapshots. A folder that cannot be written is a warning: the result is printed
 * anyway. */
void trial_keep(const char *snapshot, uint64_t step, const char *evaluation, const json_t *result);

#endif
