/* views.c - the pictures of a store as a classifier is trained on them: shuffled, and in each pass
 * cropped and changed anew. */
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
    struct slot_plan *slots;    /* [slot_count] of the plan being made */
    struct record_ref *records; /* [slot_count][slot_images] of it */
    int32_t *labels;            /* [slot_count][slot_images] */
    uint64_t planned;           /* the next batch to submit */
    uint64_t replaced;
};

/* What config_init leaves of the augmentation is SwAV's. */
static void make_config(const struct views_rule *rule, struct config *ret_config)
{
    config_init(ret_config);
    ret_config->crop_count = 1;
    ret_config->crops[0] =
        (struct config_crop){.count = 1, .size = rule->size, .scale_min = 0.08, .scale_max = 1};
    if (!rule->has_colors)
        ret_config->augment.jitter = ret_config->augment.gray = ret_config->augment.blur = 0;
    ret_config->train.batch_images = rule->batch;
    ret_config->train.slot_images = rule->slot_images;
    ret_config->data.decode_threads = rule->threads;
    ret_config->data.prefetch_steps = PLANS_AHEAD;
    ret_config->data.max_pixels = rule->max_pixels;
}

static int images_here(const struct views *views)
{
    return views->rule.slot_count * views->rule.slot_images;
}

static void plan_slot(struct views *views, uint64_t number, int index)
{
    const int images = views->rule.slot_images, slot = views->rule.first_slot + index;
    struct record_ref *records = views->records + (ptrdiff_t)index * images;
    struct slot_plan *plan = &views->slots[index];
    *plan = (struct slot_plan){
        .slot = (uint32_t)slot,
        .position = number * (uint64_t)views->rule.batch + (uint64_t)slot * (uint64_t)images,
        .records = records,
    };
    for (int i = 0; i < images; i++)
        labelled_place(views->labelled,
                       subset_at(views->chosen, views->rule.seed, plan->position + (uint64_t)i),
                       &records[i].shard, &records[i].record);
}

static void submit(struct views *views)
{
    const struct batch_plan plan = {
        .step = views->planned,
        .slot_count = (uint32_t)views->rule.slot_count,
        .slots = views->slots,
    };
    for (int i = 0; i < views->rule.slot_count; i++)
        plan_slot(views, views->planned, i);
    views->planned++;
    loader_submit(views->loader, &plan);
}

static struct views_rule complete(const struct views_rule *rule)
{
    struct views_rule whole = *rule;
    if (whole.slot_images == 0)
        whole.slot_images = rule->batch;
    if (whole.slot_count == 0)
        whole.slot_count = rule->batch / whole.slot_images;
    return whole;
}

enum status views_open(const struct labelled *labelled, const struct subset *chosen,
                       const struct views_rule *rule, struct views **ret_views)
{
    struct views *views = mem_zero(sizeof(*views));
    struct config *config = mem_zero(sizeof(*config));
    *views = (struct views){
        .labelled = labelled,
        .chosen = chosen,
        .rule = complete(rule),
        .planned = rule->first_batch,
    };
    views->slots = mem_array((size_t)views->rule.slot_count, sizeof(*views->slots));
    views->records = mem_array((size_t)images_here(views), sizeof(*views->records));
    views->labels = mem_array((size_t)images_here(views), sizeof(*views->labels));
    make_config(&views->rule, config);
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
    mem_free(views->slots);
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

enum status views_next(struct views *views, const struct batch **ret_batch,
                       const int32_t **ret_labels)
{
    submit(views);
    if (views->batch != NULL)
        loader_give(views->loader, &views->batch);
    TRY(take(views));
    const struct batch *batch = views->batch;
    if (batch->blank_count > 0)
        return fail(ERR_INPUT, "store '%s': none of %u pictures can be decoded",
                    views->labelled->store.path, batch->blank_count);
    for (int i = 0; i < images_here(views); i++) {
        const struct record_ref *record = &batch->trained[i];
        views->labels[i] =
            views->labelled->labels[labelled_index(views->labelled, record->shard, record->record)];
    }
    views->replaced += batch->skip_count;
    *ret_batch = batch;
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
