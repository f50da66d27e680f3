/* finetune.c - a snapshot's trunk and a new classifier, trained together on labelled images. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/eval/finetune.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "common/check.h"
#include "common/fs.h"
#include "common/hash.h"
#include "common/log.h"
#include "common/mem.h"
#include "loader/progress.h"
#include "worker/eval/parameter_groups.h"
#include "worker/eval/saved_tensors.h"
#include "worker/eval/top1.h"
#include "worker/eval/views.h"
#include "worker/exchange.h"
#include "worker/model/image_classifier.h"

enum { SCORED_ROWS = 256, DEVICE_BYTES = 32, IDENTITY_BYTES = FINETUNE_RULE_BYTES + 256 };

struct finetune {
    struct trial *trial; /* borrowed */
    struct finetune_rule rule;
    struct config config; /* of the classifier */
    struct state *state;
    struct parameter_groups groups;
    struct collective *collective; /* borrowed */
    double *sums;                  /* [EXCHANGE_SEAL] in the exchange area */
    uint64_t snapshot_hash;
};

void finetune_config(const struct config *from, const struct finetune_rule *rule,
                     struct config *ret_config)
{
    *ret_config = *from;
    ret_config->crop_count = 1;
    ret_config->crops[0].count = 1;
    ret_config->model.head_count = 1;
    ret_config->model.head[0] = rule->class_count;
    ret_config->model.head_batch_norm = 0;
    ret_config->model.prototype_heads = 0;
    ret_config->swav.queue_images = 0;
    ret_config->train.batch_images = rule->batch;
    ret_config->train.slot_images = rule->slot_images;
    ret_config->train.bn_group_slots = 0;
    ret_config->train.reduction = REDUCTION_EXACT;
    ret_config->optimizer.sharded = 0;
}

enum status finetune_create(struct trial *trial, const struct finetune_rule *rule,
                            struct finetune **ret_finetune)
{
    enum status status = OK;
    struct exchange exchange;
    if (trial->device->ops->wants_loss_scale)
        return fail(ERR_INPUT,
                    "device '%s': fp16 needs a loss scale, which finetuning has not; "
                    "take bf16 or fp32",
                    trial->device_name);
    struct finetune *finetune = mem_zero(sizeof(*finetune));
    finetune->trial = trial;
    finetune->rule = *rule;
    finetune->snapshot_hash = trial_snapshot_hash(trial);
    finetune_config(&trial->saved.config, rule, &finetune->config);
    TRY_OUT(state_create(&finetune->config, trial->device, &finetune->state));
    TRY_OUT(parameter_groups_init(&finetune->groups, finetune->state));
    exchange_init(&exchange, &finetune->config);
    finetune->sums = (double *)(void *)(finetune->state->exchange + exchange.seal);
    *ret_finetune = finetune;
    finetune = NULL; /* given to the caller */
out:
    finetune_destroy(finetune);
    return status;
}

void finetune_destroy(struct finetune *finetune)
{
    if (finetune == NULL)
        return;
    parameter_groups_done(&finetune->groups);
    state_destroy(finetune->state);
    mem_free(finetune);
}

void finetune_describe(const struct finetune *finetune, struct collective_group *form)
{
    form->region = finetune->state->block;
    form->region_bytes = finetune->state->bytes;
    form->region_fd = finetune->state->fd;
    form->device = finetune->state->device;
}

void finetune_join(struct finetune *finetune, struct collective *collective)
{
    finetune->collective = collective;
}

int finetune_is_first(const struct finetune *finetune)
{
    return collective_rank(finetune->collective) == 0;
}

/* A member's share of n things: [first, end). */
static void share_of(const struct finetune *finetune, uint64_t n, uint64_t *ret_first,
                     uint64_t *ret_end)
{
    const uint64_t rank = (uint64_t)collective_rank(finetune->collective);
    const uint64_t size = (uint64_t)collective_size(finetune->collective);
    *ret_first = n * rank / size;
    *ret_end = n * (rank + 1) / size;
}

/* Whole numbers, summed over members. */
static enum status sum(struct finetune *finetune, int64_t *values, int count)
{
    struct device *device = finetune->state->device;
    double sums[EXCHANGE_SEAL] = {0};
    CHECK(count <= EXCHANGE_SEAL);
    for (int i = 0; i < count; i++)
        sums[i] = (double)values[i];
    device->ops->upload(device, finetune->sums, sums, sizeof(sums));
    TRY(device->ops->synchronize(device));
    TRY(collective_allreduce(finetune->collective, finetune->sums, EXCHANGE_SEAL,
                             REDUCE_SUM_DOUBLE));
    device->ops->download(device, sums, finetune->sums, sizeof(sums));
    for (int i = 0; i < count; i++)
        values[i] = (int64_t)sums[i];
    return OK;
}

static uint64_t hash_labelled(const struct labelled *labelled, uint64_t hash)
{
    hash = hash_bytes_seed(labelled->labels, labelled->count * sizeof(*labelled->labels), hash);
    for (uint32_t i = 0; i < labelled->store.shard_count; i++)
        hash = hash_bytes_seed(&labelled->store.shards[i].content_hash, sizeof(uint64_t), hash);
    return hash;
}

/* "cpu:bf16" or "cuda:": which GPU it is changes nothing. */
static void name_arithmetic(const char *device, char ret_name[DEVICE_BYTES])
{
    size_t length = 0;
    for (; *device != 0 && length + 1 < DEVICE_BYTES; device++)
        if (device[0] < '0' || device[0] > '9' || (length > 0 && ret_name[length - 1] != ':'))
            ret_name[length++] = *device;
    ret_name[length] = 0;
}

/* All that is trained, and what is said of it in the end, depends on these. */
static void identify(const struct finetune *finetune, const struct finetune_task *task,
                     char ret_identity[IDENTITY_BYTES])
{
    const struct trial *trial = finetune->trial;
    const struct subset *items = task->items;
    const int64_t test_limit = trial->request->test_limit;
    char rule[FINETUNE_RULE_BYTES], arithmetic[DEVICE_BYTES];
    uint64_t hash = hash_bytes(items->items, items->count * sizeof(*items->items));
    uint64_t test_hash = hash_bytes(&test_limit, sizeof(test_limit));
    hash = hash_labelled(&trial->train, hash);
    test_hash = hash_labelled(&trial->test, test_hash);
    finetune_rule_print(&finetune->rule, rule);
    name_arithmetic(trial->device_name, arithmetic);
    snprintf(ret_identity, IDENTITY_BYTES,
             "snapshot %016" PRIx64 " of step %" PRIu64 " images %" PRIu64 " of %016" PRIx64
             " tested on %016" PRIx64 " device %s seed %" PRIu64 " %s",
             finetune->snapshot_hash, trial->saved.step, items->count, hash, test_hash, arithmetic,
             task->seed, rule);
}

/* Where a finetuning begins, or where it was interrupted. */
static enum status begin(struct finetune *finetune, const struct finetune_task *task,
                         const char *identity, struct finetune_progress *progress)
{
    const struct saved_state *saved = &finetune->trial->saved;
    finetune_progress_init(progress, finetune->rule.epochs);
    state_reset(finetune->state, task->seed);
    TRY(saved_tensors_load(saved->path, &saved->file.header, "trunk.", 0, finetune->state));
    if (task->state_path == NULL || !fs_exists(task->state_path))
        return OK;
    if (!task->is_resumed)
        return fail(ERR_INPUT,
                    "'%s' is of a finetuning that was interrupted: --resume goes on with it; "
                    "remove it to begin anew",
                    task->state_path);
    TRY(finetune_state_load(task->state_path, identity, finetune->state, progress));
    if (finetune_is_first(finetune))
        log_info("event=finetune_resumed state=%s epochs=%" PRId64 " of=%" PRId64, task->state_path,
                 progress->epochs, progress->epochs_total);
    return OK;
}

/* The first may remove the state once its result is told, so until all have looked nobody goes on.
 */
static enum status check_together(struct finetune *finetune, const struct finetune_task *task,
                                  const struct finetune_progress *progress)
{
    const int64_t size = collective_size(finetune->collective);
    int64_t begun[] = {progress->epochs, progress->tested > 0};
    TRY(sum(finetune, begun, 2));
    if (begun[0] == size * progress->epochs && begun[1] == (progress->tested > 0 ? size : 0))
        return OK;
    return fail(ERR_INPUT, "workers find different states at '%s': did another command write it?",
                task->state_path != NULL ? task->state_path : "");
}

static enum status keep(struct finetune *finetune, const struct finetune_task *task,
                        const char *identity, const struct finetune_progress *progress)
{
    if (task->state_path == NULL || !finetune_is_first(finetune))
        return OK;
    return finetune_state_save(task->state_path, identity, finetune->state, progress);
}

static void update(struct finetune *finetune, uint64_t images, uint64_t step)
{
    const struct finetune_rule *rule = &finetune->rule;
    const struct parameter_rates rates = {
        .trunk = finetune_rule_rate(rule, rule->lr, images, step),
        .classifier = finetune_rule_rate(rule, rule->classifier_lr, images, step),
        .momentum = rule->momentum,
        .weight_decay = rule->weight_decay,
        .is_nesterov = rule->is_nesterov,
    };
    parameter_groups_update(&finetune->groups, &rates);
}

/* What one finetuning takes besides its state. */
struct course {
    struct finetune *finetune;
    const struct finetune_task *task;
    struct image_classifier *classifier;
    struct views *views;
    struct progress bar;
    uint64_t step, steps; /* done, of all */
};

static enum status take_step(struct course *course, double *loss)
{
    struct finetune *finetune = course->finetune;
    const struct batch *batch;
    const int32_t *labels;
    double now = 0;
    TRY(views_next(course->views, &batch, &labels));
    TRY(image_classifier_compute(course->classifier, finetune->collective, course->step, batch,
                                 labels, &now));
    if (!isfinite(now))
        return fail(ERR_INPUT, "finetuning diverged at step %" PRIu64 ": take a smaller --lr",
                    course->step);
    update(finetune, course->task->items->count, course->step);
    image_classifier_move_statistics(course->classifier, (float)finetune->config.model.bn_momentum);
    course->step++;
    *loss += now;
    return finetune->state->device->ops->synchronize(finetune->state->device);
}

static enum status learn_epoch(struct course *course, struct finetune_progress *progress)
{
    struct finetune *finetune = course->finetune;
    const uint64_t first = course->step, images = course->task->items->count;
    const uint64_t until = finetune_rule_steps(&finetune->rule, images, progress->epochs + 1);
    const int64_t replaced_before = (int64_t)views_replaced(course->views);
    double loss = 0;
    while (course->step < until) {
        TRY(take_step(course, &loss));
        progress_show(&course->bar, (double)course->step / (double)course->steps,
                      course->step * (uint64_t)finetune->rule.batch, views_replaced(course->views),
                      0);
    }
    int64_t replaced = (int64_t)views_replaced(course->views) - replaced_before;
    TRY(sum(finetune, &replaced, 1));
    progress->replaced += replaced;
    progress->epochs++;
    /* Few images may have an epoch within one batch: it has no step, and the loss of none. */
    json_array_append_new(progress->losses,
                          until > first ? json_real(loss / (double)(until - first)) : json_null());
    return OK;
}

static enum status open_views(const struct course *course, struct views **ret_views)
{
    const struct finetune *finetune = course->finetune;
    const struct finetune_rule *rule = &finetune->rule;
    uint64_t first, end;
    share_of(finetune, (uint64_t)(rule->batch / rule->slot_images), &first, &end);
    const struct views_rule views_rule = {
        .size = finetune->trial->size,
        .batch = rule->batch,
        .slot_images = rule->slot_images,
        .first_slot = (int)first,
        .slot_count = (int)(end - first),
        .has_colors = 1,
        .first_batch = course->step,
        .threads = finetune->trial->threads,
        .max_pixels = finetune->config.data.max_pixels,
        .seed = course->task->seed,
    };
    return views_open(&finetune->trial->train, course->task->items, &views_rule, ret_views);
}

static enum status learn_epochs(struct course *course, const char *identity,
                                struct finetune_progress *progress)
{
    struct finetune *finetune = course->finetune;
    uint64_t first, end;
    share_of(finetune, (uint64_t)config_slots(&finetune->config), &first, &end);
    TRY(image_classifier_create(&finetune->config, finetune->state, (int)(end - first),
                                &course->classifier));
    TRY(open_views(course, &course->views));
    while (progress->epochs < progress->epochs_total) {
        TRY(learn_epoch(course, progress));
        TRY(keep(finetune, course->task, identity, progress));
    }
    return OK;
}

static enum status learn(struct finetune *finetune, const struct finetune_task *task,
                         const char *identity, struct finetune_progress *progress)
{
    const uint64_t images = task->items->count;
    struct course course = {
        .finetune = finetune,
        .task = task,
        .step = finetune_rule_steps(&finetune->rule, images, progress->epochs),
        .steps = finetune_rule_steps(&finetune->rule, images, finetune->rule.epochs),
    };
    progress_start(&course.bar, task->name, !finetune_is_first(finetune));
    const enum status status = learn_epochs(&course, identity, progress);
    progress_stop(&course.bar);
    views_close(course.views);
    image_classifier_destroy(course.classifier);
    return status;
}

/* features [count][width] -> how many the classifier gets right. */
static enum status score(struct finetune *finetune, const struct feature_set *set,
                         int64_t *ret_right)
{
    struct device *device = finetune->state->device;
    const int classes = finetune->rule.class_count, width = set->width[0];
    float *host = mem_array((size_t)SCORED_ROWS * (size_t)classes, sizeof(*host));
    struct arena arena;
    arena_init(&arena, device);
    float *features = arena_floats(&arena, (size_t)SCORED_ROWS * (size_t)width);
    float *logits = arena_floats(&arena, (size_t)SCORED_ROWS * (size_t)classes);
    enum status status = arena_check(&arena);
    *ret_right = 0;
    for (int64_t first = 0; first < set->count && status == OK; first += SCORED_ROWS) {
        const int rows = set->count - first < SCORED_ROWS ? (int)(set->count - first) : SCORED_ROWS;
        device->ops->upload(device, features, set->values[0] + first * width,
                            (size_t)rows * (size_t)width * sizeof(float));
        image_classifier_logits(finetune->state, features, rows, logits);
        device->ops->download(device, host, logits, (size_t)rows * (size_t)classes * sizeof(float));
        *ret_right += top1_count(host, rows, classes, set->labels + first);
    }
    if (status == OK)
        status = device->ops->synchronize(device);
    arena_done(&arena);
    mem_free(host);
    return status;
}

/* This member's share of the test pictures. */
static enum status test_share(struct finetune *finetune, struct finetune_progress *progress)
{
    struct features *features;
    struct feature_set set = {0};
    struct subset chosen;
    uint64_t first, end;
    trial_test_items(finetune->trial, &chosen);
    share_of(finetune, chosen.count, &first, &end);
    subset_cut(&chosen, first, end);
    if (chosen.count == 0) {
        subset_done(&chosen);
        return OK;
    }
    enum status status =
        features_open_state(&finetune->config, finetune->state, finetune->trial->layers,
                            finetune->trial->layer_count, &features);
    if (status != OK) {
        subset_done(&chosen);
        return status;
    }
    status = trial_test_set_of(finetune->trial, features, &chosen, &set);
    if (status == OK)
        status = score(finetune, &set, &progress->right);
    progress->tested = set.count;
    progress->untested = set.skipped;
    feature_set_done(&set);
    features_close(features);
    return status;
}

static enum status test(struct finetune *finetune, struct finetune_progress *progress)
{
    TRY(test_share(finetune, progress));
    int64_t counts[] = {progress->right, progress->tested, progress->untested};
    TRY(sum(finetune, counts, 3));
    progress->right = counts[0];
    progress->tested = counts[1];
    progress->untested = counts[2];
    return OK;
}

enum status finetune_run(struct finetune *finetune, const struct finetune_task *task,
                         struct finetune_progress *ret_progress)
{
    char identity[IDENTITY_BYTES];
    identify(finetune, task, identity);
    TRY(begin(finetune, task, identity, ret_progress));
    TRY(check_together(finetune, task, ret_progress));
    if (ret_progress->tested > 0)
        return OK;
    TRY(learn(finetune, task, identity, ret_progress));
    TRY(test(finetune, ret_progress));
    return keep(finetune, task, identity, ret_progress);
}
