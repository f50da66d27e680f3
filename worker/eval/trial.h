/* trial.h - what the probes of one command have in common: a snapshot, two labelled stores, layers.
 */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_EVAL_TRIAL_H
#define WORKER_EVAL_TRIAL_H

#include <jansson.h>
#include <stdint.h>

#include "common/options.h"
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

/* Rows of a command's table of options: its first, and its last. */
#define TRIAL_ROWS_STORES(request)                                                                 \
    {"snapshot", 's', OPTION_STRING, &(request)->snapshot, "FILE", "whose features"},              \
        {"train", 0, OPTION_STRING, &(request)->train, "STORE", "labelled images to learn from"},  \
    {                                                                                              \
        "test", 0, OPTION_STRING, &(request)->test, "STORE", "labelled images to classify"         \
    }
#define TRIAL_ROWS_MEANS(request)                                                                  \
    {"device", 0, OPTION_STRING, &(request)->device, "NAME", "cpu (default) or cuda:N"},           \
        {"threads", 0, OPTION_INT, &(request)->threads, "N", "of the cpu (all cores)"},            \
    {                                                                                              \
        "output", 'o', OPTION_STRING, &(request)->output, "FORMAT", "table (default) or json"      \
    }

struct trial {
    const struct trial_request *request; /* borrowed */
    struct saved_state saved;
    struct device *device;
    char device_name[32]; /* of the device, and threads of its cpu */
    int threads;
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
/* The same in two halves: all but the device, without starting a thread; then the part of it that
 * worker `rank` of `size` on this host has: a share of the cpu's threads, or the rank-th GPU from
 * the one that is named on. */
enum status trial_open_stores(const struct trial_request *request, struct trial *trial);
enum status trial_open_device(struct trial *trial, int rank, int size);
void trial_close(struct trial *trial);

/* Features of the snapshot on the trial's layers. */
enum status trial_features(struct trial *trial, struct features **ret_features);
/* Which records of test are asked for. */
void trial_test_items(const struct trial *trial, struct subset *ret_items);
/* Features of those test pictures, with labels as train numbers them; items is taken over. */
enum status trial_test_set_of(struct trial *trial, struct features *features, struct subset *items,
                              struct feature_set *ret_set);
/* The same of all that are asked for. */
enum status trial_test_set(struct trial *trial, struct features *features,
                           struct feature_set *ret_set);
/* Of the snapshot's bytes. */
uint64_t trial_snapshot_hash(const struct trial *trial);
struct probe_rule trial_rule(const struct trial *trial, uint64_t steps);

/* What every result says: schema_version, evaluation, step, and the numbers of images. */
json_t *trial_json(const struct trial *trial, const char *evaluation);
/* RUN/evals/EVALUATION-step-NNNNNNNNN if the snapshot lies in RUN/snapshots, else NULL; the
 * caller's. */
char *trial_path(const char *snapshot, uint64_t step, const char *evaluation);
/* Writes the result beside the run, at that path with .json, if there is one. A folder that cannot
 * be written is a warning: the result is printed anyway. */
void trial_keep(const char *snapshot, uint64_t step, const char *evaluation, const json_t *result);

#endif
