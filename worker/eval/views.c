/* views.c - the pictures of a store as a probe is trained on them: shuffled, and in each pass
 * cropped and mirrored anew. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/eval/views.h"

#include "common/clock.h"
#include "common/mem.h"
#include "loader/loader.h"

/* Plans ahead of the batch that is taken. */
enum { PLANS_AHEAD = 2 };

struct views {
    const struct labelled *labelled;
    const struct subset *chosen;
    struct views_rule rule;
    struct loader *loader;
    struct batch *batch;        /* the one handed out; NULL: none */
    struct record_ref *records; /* [batch] of the plan being made */
    int32_t *labels;            /* [batch] */
    uint64_t planned;           /* the next batch to submit */
    uint64_t replaced;
};

static void make_config(const struct views_rule *rule, struct config *ret_config)
{
    config_init(ret_config);
    ret_config->crop_count = 1;
    ret_config->crops[0] =
        (struct config_crop){.count = 1, .size = rule->size, .scale_min = 0.08, .scale_max = 1};
    ret_config->augment.flip = 0.5;
    ret_config->augment.jitter = ret_config->augment.gray = ret_config->augment.blur = 0;
    ret_config->train.batch_images = ret_config->train.slot_images = rule->batch;
    ret_config->data.decode_threads = rule->threads;
    ret_config->data.prefetch_steps = PLANS_AHEAD;
    ret_config->data.max_pixels = rule->max_pixels;
}

static void submit(struct views *views)
{
    const uint64_t number = views->planned++;
    const struct slot_plan slot = {
        .position = number * (uint64_t)views->rule.batch,
        .records = views->records,
    };
    const struct batch_plan plan = {.step = number, .slot_count = 1, .slots = &slot};
    for (int i = 0; i < views->rule.batch; i++)
        labelled_place(views->labelled,
                       subset_at(views->chosen, views->rule.seed, slot.position + (uint64_t)i),
                       &views->records[i].shard, &views->records[i].record);
    loader_submit(views->loader, &plan);
}

enum status views_open(const struct labelled *labelled, const struct subset *chosen,
                       const struct views_rule *rule, struct views **ret_views)
{
    struct views *views = mem_zero(sizeof(*views));
    struct config *config = mem_zero(sizeof(*config));
    *views = (struct views){.labelled = labelled, .chosen = chosen, .rule = *rule};
    views->records = mem_array((size_t)rule->batch, sizeof(*views->records));
    views->labels = mem_array((size_t)rule->batch, sizeof(*views->labels));
    make_config(rule, config);
    enum status status = loader_create(config, rule->seed, NULL, &views->loader);
    for (uint32_t i = 0; i < labelled->store.shard_count && status == OK; i++)
        status = loader_add_shard(views->loader, i, labelled->store.shards[i].path);
    mem_free(config);
    if (status != OK) {
        views_close(views);
        return status;
    }
    for (int i = 0; i < PLANS_AHEAD; i++)
        submit(views);
    *ret_views = views;
    return OK;
}

void views_close(struct views *views)
{
    if (views == NULL)
        return;
    if (views->batch != NULL)
        loader_give(views->loader, &views->batch);
    loader_destroy(views->loader);
    mem_free(views->records);
    mem_free(views->labels);
    mem_free(views);
}

static enum status take(struct views *views)
{
    enum { LOOK_MS = 500 };
    for (;;) {
        struct shard_trouble trouble;
        const enum status status = loader_take(views->loader, clock_ms() + LOOK_MS, &views->batch);
        if (status != ERR_TIMEOUT)
            return status;
        while (loader_trouble(views->loader, &trouble))
            if (trouble.kind == SHARD_TROUBLE_DAMAGED || trouble.kind == SHARD_TROUBLE_UNREACHABLE)
                return fail(ERR_INPUT, "%s", trouble.reason);
    }
}

enum status views_next(struct views *views, const uint8_t **ret_pixels, const int32_t **ret_labels)
{
    submit(views);
    if (views->batch != NULL)
        loader_give(views->loader, &views->batch);
    TRY(take(views));
    const struct batch *batch = views->batch;
    if (batch->blank_count > 0)
        return fail(ERR_INPUT, "store '%s': none of %u pictures can be decoded",
                    views->labelled->store.path, batch->blank_count);
    for (int i = 0; i < views->rule.batch; i++) {
        const struct record_ref *record = &batch->trained[i];
        views->labels[i] =
            views->labelled->labels[labelled_index(views->labelled, record->shard, record->record)];
    }
    views->replaced += batch->skip_count;
    *ret_pixels = batch->crops[0];
    *ret_labels = views->labels;
    return OK;
}

int views_batch(const struct views *views)
{
    return views->rule.batch;
}

uint64_t views_replaced(const struct views *views)
{
    return views->replaced;
}
