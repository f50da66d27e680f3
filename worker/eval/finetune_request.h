/* finetune_request.h - what finetuning can be told, by whichever command. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_EVAL_FINETUNE_REQUEST_H
#define WORKER_EVAL_FINETUNE_REQUEST_H

#include <jansson.h>

#include "common/options.h"
#include "worker/eval/finetune_rule.h"
#include "worker/eval/trial.h"

/* As read from options, beside struct trial_request. */
struct finetune_request {
    int64_t epochs, workers;
    const char *milestones;       /* NULL: as the paper */
    double factor, classifier_lr; /* NAN: --lr */
    int is_nesterov, is_resumed;
    const char *state; /* NULL: beside the run */
};

#define FINETUNE_ROWS(request)                                                                       \
    {"epochs", 'e', OPTION_INT, &(request)->epochs, "N", "passes over the training images (35)"},    \
        {"milestones",  0,                                                                           \
         OPTION_STRING, &(request)->milestones,                                                      \
         "LIST",        "epochs after which the rate falls (6/7 of all, 30 of 35)"},                 \
        {"factor", 0, OPTION_DOUBLE, &(request)->factor, "X", "to what fraction (0.1)"},             \
        {"classifier-lr",                                                                            \
         0,                                                                                          \
         OPTION_DOUBLE,                                                                              \
         &(request)->classifier_lr,                                                                  \
         "X",                                                                                        \
         "learning rate of the classifier alone (that of the trunk)"},                               \
        {"nesterov", 0, OPTION_FLAG, &(request)->is_nesterov, NULL, "Nesterov's momentum"},          \
        {"workers",                                                                                  \
         'w',                                                                                        \
         OPTION_INT,                                                                                 \
         &(request)->workers,                                                                        \
         "N",                                                                                        \
         "processes of this host that share the work: cores, or GPUs from --device on (1)"},         \
        {"state",           0,      OPTION_STRING,                                                   \
         &(request)->state, "FILE", "where to keep after every epoch how far it is (in RUN/evals)"}, \
    {                                                                                                \
        "resume", 0, OPTION_FLAG, &(request)->is_resumed, NULL,                                      \
            "go on where an interrupted one was, if there is one"                                    \
    }

struct finetune_request finetune_request_usual(void);
/* Is anything asked for that is not usual? */
int finetune_request_is_given(const struct finetune_request *request);
/* The paper's rate and weight decay, where request has none (NAN). */
void finetune_request_complete(struct trial_request *request);
/* ERR_INPUT: an option out of range, or more workers than a batch has slots. */
enum status finetune_request_check(const struct finetune_request *request,
                                   const struct trial_request *trial);
/* Of requests that were checked. */
struct finetune_rule finetune_request_rule(const struct finetune_request *request,
                                           const struct trial *trial);
/* Where the state is kept: --state, or PATH.state beside the run, with "-SUFFIX" before the end if
 * suffix is not NULL; its folder is there. NULL: nowhere. The caller's. ERR_INPUT: --resume without
 * a place; ERR_IO. */
enum status finetune_request_state(const struct finetune_request *request,
                                   const struct trial *trial, const char *evaluation,
                                   const char *suffix, char **ret_path);
/* Adds what a result says of the recipe. */
void finetune_request_tell(const struct finetune_rule *rule, json_t *result);

#endif
