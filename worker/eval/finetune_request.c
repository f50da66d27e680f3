/* finetune_request.c - what finetuning can be told, by whichever command. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/eval/finetune_request.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "common/fs.h"
#include "common/mem.h"
#include "worker/collective/local_group.h"

struct finetune_request finetune_request_usual(void)
{
    return (struct finetune_request){
        .epochs = 35,
        .workers = 1,
        .factor = 0.1,
        .classifier_lr = NAN,
    };
}

int finetune_request_is_given(const struct finetune_request *request)
{
    const struct finetune_request usual = finetune_request_usual();
    return request->epochs != usual.epochs || request->workers != usual.workers ||
           request->milestones != NULL || request->factor != usual.factor ||
           !isnan(request->classifier_lr) || request->is_nesterov || request->is_resumed ||
           request->state != NULL;
}

void finetune_request_complete(struct trial_request *request)
{
    if (isnan(request->lr))
        request->lr = 0.0125;
    if (isnan(request->weight_decay))
        request->weight_decay = 1e-4;
}

enum status finetune_request_check(const struct finetune_request *request,
                                   const struct trial_request *trial)
{
    struct finetune_rule rule = {.epochs = request->epochs};
    if (request->epochs < 1 || request->epochs > FINETUNE_EPOCHS_MAX)
        return fail(ERR_INPUT, "--epochs must be 1 to %d", FINETUNE_EPOCHS_MAX);
    if (!(request->factor > 0 && request->factor <= 1))
        return fail(ERR_INPUT, "--factor must be above 0, 1 at most");
    if (!isnan(request->classifier_lr) &&
        !(request->classifier_lr > 0 && request->classifier_lr <= 1000))
        return fail(ERR_INPUT, "--classifier-lr must be above 0, 1000 at most");
    TRY(finetune_rule_milestones(request->milestones, &rule));
    if (trial->batch < 2)
        return fail(ERR_INPUT, "--batch must be 2 or more: batch normalisation needs several");
    const int images = finetune_rule_slot((int)trial->batch);
    const int64_t slots = trial->batch / images;
    if (request->workers < 1 || request->workers > LOCAL_MEMBERS_MAX)
        return fail(ERR_INPUT, "--workers must be 1 to %d", LOCAL_MEMBERS_MAX);
    if (request->workers > slots)
        return fail(ERR_INPUT,
                    "--workers %" PRId64 ": a batch of %" PRId64 " images has %" PRId64
                    " slots of %d, and each worker needs one; take a --batch that more numbers "
                    "up to 32 divide",
                    request->workers, trial->batch, slots, images);
    return OK;
}

struct finetune_rule finetune_request_rule(const struct finetune_request *request,
                                           const struct trial *trial)
{
    const struct trial_request *common = trial->request;
    struct finetune_rule rule = {
        .class_count = trial->train.class_count,
        .batch = (int)common->batch,
        .slot_images = finetune_rule_slot((int)common->batch),
        .epochs = request->epochs,
        .factor = request->factor,
        .lr = common->lr,
        .classifier_lr = isnan(request->classifier_lr) ? common->lr : request->classifier_lr,
        .momentum = 0.9,
        .weight_decay = common->weight_decay,
        .is_nesterov = request->is_nesterov,
    };
    (void)finetune_rule_milestones(request->milestones, &rule); /* was checked */
    return rule;
}

static enum status make_folder_of(const char *path)
{
    const char *name = strrchr(path, '/');
    if (name == NULL || name == path)
        return OK;
    char *folder = mem_format("%.*s", (int)(name - path), path);
    const enum status status = fs_make_directory(folder);
    mem_free(folder);
    return status;
}

enum status finetune_request_state(const struct finetune_request *request,
                                   const struct trial *trial, const char *evaluation,
                                   const char *suffix, char **ret_path)
{
    char *place = request->state != NULL
                      ? mem_string(request->state)
                      : trial_path(trial->request->snapshot, trial->saved.step, evaluation);
    *ret_path = NULL;
    if (place == NULL)
        return request->is_resumed
                   ? fail(ERR_INPUT, "--resume needs --state FILE: the snapshot does not lie in a "
                                     "run's snapshots/, so nothing was kept beside it")
                   : OK;
    char *path = mem_format("%s%s%s%s", place, suffix == NULL ? "" : "-",
                            suffix == NULL ? "" : suffix, request->state == NULL ? ".state" : "");
    mem_free(place);
    const enum status status = make_folder_of(path);
    if (status == OK)
        *ret_path = path;
    else
        mem_free(path);
    return status;
}

void finetune_request_tell(const struct finetune_rule *rule, json_t *result)
{
    json_t *milestones = json_array();
    for (int i = 0; i < rule->milestone_count; i++)
        json_array_append_new(milestones, json_real(rule->milestones[i]));
    json_object_set_new(result, "epochs", json_integer(rule->epochs));
    json_object_set_new(result, "milestones", milestones);
    json_object_set_new(result, "factor", json_real(rule->factor));
    json_object_set_new(result, "classifier_lr", json_real(rule->classifier_lr));
    json_object_set_new(result, "momentum", json_real(rule->momentum));
    json_object_set_new(result, "nesterov", json_boolean(rule->is_nesterov));
}
