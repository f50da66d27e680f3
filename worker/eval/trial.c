/* trial.c - what the probes of one command have in common: a snapshot, two labelled stores, layers.
 */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/eval/trial.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/fs.h"
#include "common/hash.h"
#include "common/log.h"
#include "common/mem.h"
#include "loader/record.h"

struct trial_request trial_request_usual(void)
{
    return (struct trial_request){
        .device = "cpu",
        .threads = sysconf(_SC_NPROCESSORS_ONLN),
        .batch = 256,
        .lr = 0.01,
        .weight_decay = 5e-4,
    };
}

enum status trial_request_check(const struct trial_request *request)
{
    if (request->snapshot == NULL || request->train == NULL || request->test == NULL)
        return fail(ERR_INPUT, "--snapshot, --train and --test are needed");
    if (request->train_limit < 0 || request->test_limit < 0)
        return fail(ERR_INPUT, "a limit must not be negative; 0 takes all");
    if (request->threads < 1 || request->threads > 1024)
        return fail(ERR_INPUT, "--threads must be 1 to 1024");
    if (request->batch < 1 || request->batch > 65536)
        return fail(ERR_INPUT, "--batch must be 1 to 65536");
    if (!(request->lr > 0 && request->lr <= 1000))
        return fail(ERR_INPUT, "--lr must be above 0, 1000 at most");
    if (!(request->weight_decay >= 0 && request->weight_decay <= 1))
        return fail(ERR_INPUT, "--weight-decay must be 0 to 1");
    if (request->seed < 0)
        return fail(ERR_INPUT, "--seed must not be negative");
    return OK;
}

/* Without records that are damaged: those have no label. */
static void choose_items(struct trial *trial)
{
    struct subset *items = &trial->items;
    uint64_t kept = 0;
    subset_sample(trial->train.count, (uint64_t)trial->request->train_limit, items);
    for (uint64_t i = 0; i < items->count; i++)
        if (trial->train.labels[items->items[i]] != LABEL_NONE)
            items->items[kept++] = items->items[i];
    items->count = kept;
}

enum status trial_open_stores(const struct trial_request *request, struct trial *trial)
{
    *trial = (struct trial){.request = request};
    TRY(saved_state_open(request->snapshot, &trial->saved));
    trial->size = features_picture_size(&trial->saved.config);
    TRY(layers_parse(request->layers, &trial->saved.config, trial->size, trial->layers,
                     &trial->layer_count));
    TRY(labelled_load(request->train, &trial->train));
    TRY(labelled_load(request->test, &trial->test));
    choose_items(trial);
    if (trial->train.class_count < 2 || trial->items.count == 0)
        return fail(ERR_INPUT, "store '%s' has images of %d class: a classifier needs two",
                    request->train, trial->items.count == 0 ? 0 : trial->train.class_count);
    return labelled_renumber(trial->test.labels, (int64_t)trial->test.count, request->test,
                             request->train);
}

/* "cuda:2:bf16" of a later rank is "cuda:3:bf16", "cuda" is "cuda:0"; other names are everybody's.
 */
static enum status name_device(const char *name, int rank, char *ret_name, size_t bytes)
{
    static const char gpu[] = "cuda:";
    char *rest = NULL;
    long index = -1;
    if (strcmp(name, "cuda") == 0)
        name = "cuda:0";
    if (strncmp(name, gpu, strlen(gpu)) == 0)
        index = strtol(name + strlen(gpu), &rest, 10);
    const int length = index < 0 || index > 1000 || rest == name + strlen(gpu)
                           ? snprintf(ret_name, bytes, "%s", name)
                           : snprintf(ret_name, bytes, "%s%ld%s", gpu, index + rank, rest);
    if (length < 0 || (size_t)length >= bytes)
        return fail(ERR_INPUT, "device '%s': the name is too long", name);
    return OK;
}

enum status trial_open_device(struct trial *trial, int rank, int size)
{
    const int threads = (int)trial->request->threads / size;
    trial->threads = threads < 1 ? 1 : threads;
    TRY(name_device(trial->request->device, rank, trial->device_name, sizeof(trial->device_name)));
    return device_open(trial->device_name, trial->threads, &trial->device);
}

enum status trial_open(const struct trial_request *request, struct trial *trial)
{
    TRY(trial_open_stores(request, trial));
    return trial_open_device(trial, 0, 1);
}

void trial_close(struct trial *trial)
{
    if (trial->device != NULL)
        device_close(trial->device);
    subset_done(&trial->items);
    labelled_done(&trial->test);
    labelled_done(&trial->train);
    saved_state_close(&trial->saved);
}

enum status trial_features(struct trial *trial, struct features **ret_features)
{
    struct features *features;
    TRY(features_open(&trial->saved, trial->device, &features));
    enum status status = features_set_layers(features, trial->layers, trial->layer_count);
    if (status == OK)
        *ret_features = features;
    else
        features_close(features);
    return status;
}

void trial_test_items(const struct trial *trial, struct subset *ret_items)
{
    subset_sample(trial->test.count, (uint64_t)trial->request->test_limit, ret_items);
}

enum status trial_test_set_of(struct trial *trial, struct features *features, struct subset *items,
                              struct feature_set *ret_set)
{
    const enum status status =
        feature_set_load(features, trial->request->test, trial->size, items, ret_set);
    subset_done(items);
    TRY(status);
    for (int64_t i = 0; i < ret_set->count; i++)
        ret_set->labels[i] = trial->test.labels[ret_set->items[i]];
    return OK;
}

enum status trial_test_set(struct trial *trial, struct features *features,
                           struct feature_set *ret_set)
{
    struct subset items;
    trial_test_items(trial, &items);
    return trial_test_set_of(trial, features, &items, ret_set);
}

uint64_t trial_snapshot_hash(const struct trial *trial)
{
    return hash_bytes(trial->saved.file.map, trial->saved.file.bytes);
}

struct probe_rule trial_rule(const struct trial *trial, uint64_t steps)
{
    return (struct probe_rule){
        .class_count = trial->train.class_count,
        .batch = (int)trial->request->batch,
        .lr = trial->request->lr,
        .momentum = 0.9,
        .weight_decay = trial->request->weight_decay,
        .steps = steps,
        .seed = (uint64_t)trial->request->seed,
    };
}

json_t *trial_json(const struct trial *trial, const char *evaluation)
{
    return json_pack("{s:i, s:s, s:I, s:i, s:I, s:f, s:f, s:I}", "schema_version", 1, "evaluation",
                     evaluation, "step", (json_int_t)trial->saved.step, "classes",
                     trial->train.class_count, "batch", (json_int_t)trial->request->batch, "lr",
                     trial->request->lr, "weight_decay", trial->request->weight_decay, "seed",
                     (json_int_t)trial->request->seed);
}

char *trial_path(const char *snapshot, uint64_t step, const char *evaluation)
{
    char *run = saved_state_run(snapshot);
    if (run == NULL)
        return NULL;
    char *path = mem_format("%s/evals/%s-step-%09" PRIu64, run, evaluation, step);
    mem_free(run);
    return path;
}

void trial_keep(const char *snapshot, uint64_t step, const char *evaluation, const json_t *result)
{
    char *place = trial_path(snapshot, step, evaluation);
    if (place == NULL)
        return;
    char *path = mem_format("%s.json", place);
    char *folder = mem_format("%.*s", (int)(strrchr(place, '/') - place), place);
    char *text = json_dumps(result, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    enum status status = fs_make_directory(folder);
    if (status == OK)
        status = fs_write_file(path, text, strlen(text));
    if (status != OK)
        log_warn("the result is not kept beside the run: %s", fail_message());
    free(text);
    mem_free(folder);
    mem_free(path);
    mem_free(place);
}
