/* step.c - one training step in the paper's order, up to the vote and after the verdict. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/step.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "common/check.h"
#include "common/clock.h"
#include "common/hash.h"
#include "common/log.h"
#include "common/mem.h"
#include "worker/memory_plan.h"
#include "worker/model/model.h"
#include "worker/model/tape.h"
#include "worker/optim/optimizer.h"
#include "worker/swav/swav.h"

/* What the device can do by itself, without a look at where this member's slots lie. Between these
 * parts is what depends on that, or waits for the device. */
enum part { PART_FORWARD, PART_LOSS, PART_BACKWARD, PART_APPLY, PARTS };

static const char *const part_names[PARTS] = {
    [PART_FORWARD] = "forward",
    [PART_LOSS] = "loss",
    [PART_BACKWARD] = "backward",
    [PART_APPLY] = "apply",
};

struct step {
    const struct config *config; /* borrowed */
    struct state *state;         /* borrowed */
    struct model *model;         /* NULL until the first batch is here */
    struct swav swav;
    struct buckets buckets;
    struct optimizer optimizer;
    struct tape tapes[PARTS]; /* of the model */
    uint64_t number;          /* under way */
    int is_told;              /* how parts are launched */
    int group_size;           /* members the model was built for */
    uint64_t computed;        /* 1 + the step that step_apply may follow; 0: none */
    int is_advanced;          /* sharded: the new momentum of that step is there */
    const struct batch *(*next)(void *errand); /* NULL: nobody knows */
    void *errand;
    struct step_progress *progress;
    enum worker_phase phase;
    int64_t phase_start_us;
    int64_t phase_us[PHASE_COUNT];
    int64_t compute_us;
};

/* Exact reduction promises the same bits to members that measured differently. */
static void allow_tuning(const struct config *config, struct device *device)
{
    const char *folder = config->train.tuning_folder;
    if (config->train.reduction == REDUCTION_FAST && strcmp(folder, "off") != 0)
        device->ops->tune(device, folder);
}

static int is_recording_wanted(const struct config *config)
{
    return config->train.cuda_graph == CUDA_GRAPH_AUTO;
}

/* A sharded update copies into slices that another generation keeps elsewhere. */
static int is_recorded(const struct step *step, int part)
{
    return is_recording_wanted(step->config) && !(part == PART_APPLY && step->state->is_sharded);
}

static void tell_how_parts_run(struct step *step)
{
    const struct device *device = step->state->device;
    if (step->is_told)
        return;
    step->is_told = 1;
    if (!is_recording_wanted(step->config))
        log_info("event=step_launches by=operation reason=\"train.cuda_graph is off\"");
    else if (!device->ops->has_recordings)
        log_info("event=step_launches by=operation reason=\"%s records nothing\"",
                 device->ops->name);
    else
        log_info("event=step_launches by=graph");
}

enum status step_create(const struct config *config, struct state *state, struct step **ret_step)
{
    struct step *step = mem_zero(sizeof(*step));
    *step = (struct step){.config = config, .state = state};
    allow_tuning(config, state->device);
    enum status status = optimizer_init(&step->optimizer, config, state);
    if (status != OK) {
        step_destroy(step);
        return status;
    }
    *ret_step = step;
    return OK;
}

static void drop_model(struct step *step)
{
    for (int part = 0; part < PARTS && step->model != NULL; part++)
        tape_done(&step->tapes[part]);
    model_destroy(step->model);
    step->model = NULL;
}

void step_release(struct step *step)
{
    drop_model(step);
}

void step_destroy(struct step *step)
{
    if (step == NULL)
        return;
    drop_model(step);
    optimizer_done(&step->optimizer);
    mem_free(step);
}

void step_watch(struct step *step, struct step_progress *progress)
{
    step->progress = progress;
    if (step->model != NULL)
        step->model->team.progress = progress == NULL ? NULL : &progress->progress;
}

void step_expect(struct step *step, const struct batch *(*next)(void *errand), void *errand)
{
    step->next = next;
    step->errand = errand;
}

static void load_ahead(struct step *step)
{
    if (step->next == NULL || !step->state->device->ops->has_images_ahead)
        return;
    const struct batch *batch = step->next(step->errand);
    if (batch != NULL)
        model_load_ahead(step->model, batch);
}

static void enter(struct step *step, enum worker_phase phase)
{
    const int64_t now_us = clock_us();
    step->phase_us[step->phase] += now_us - step->phase_start_us;
    step->phase = phase;
    step->phase_start_us = now_us;
    if (step->progress == NULL)
        return;
    atomic_store_explicit(&step->progress->phase, (uint32_t)phase, memory_order_relaxed);
    atomic_store_explicit(&step->progress->phase_since_ms, clock_ms(), memory_order_relaxed);
    atomic_fetch_add_explicit(&step->progress->progress, 1, memory_order_relaxed);
}

static enum status build_model(struct step *step, int slots, int size)
{
    struct memory_plan plan;
    TRY(memory_plan_make(step->config, step->state->device, slots, size, &plan));
    TRY(memory_plan_check(&plan, step->config, step->state->device, size));
    memory_plan_log(&plan);
    tell_how_parts_run(step);
    TRY(model_create(step->config, step->state, slots, plan.arena_bytes, &step->model));
    struct team *team = &step->model->team;
    swav_init(&step->swav, team, &step->model->head, step->config, size);
    buckets_init(&step->buckets, team, step->config);
    for (int part = 0; part < PARTS; part++)
        tape_init(&step->tapes[part], team, part_names[part], is_recorded(step, part));
    step->group_size = size;
    step_watch(step, step->progress);
    return arena_check(&team->arena);
}

/* Builds the model for this member's share, unless it is built for it already. */
static enum status prepare(struct step *step, struct collective *collective,
                           const struct batch *batch)
{
    const int slots = (int)batch->slot_count, size = collective_size(collective);
    memset(step->phase_us, 0, sizeof(step->phase_us));
    step->phase = PHASE_IDLE; /* it was another one if the last step was given up */
    step->phase_start_us = clock_us();
    step->computed = 0;
    step->is_advanced = 0;
    step->state->is_whole = !step->state->is_sharded; /* gradients are about to lie there */
    if (slots == 0)
        return fail(ERR_INPUT, "a batch without slots: a member needs at least one");
    const int is_same_share = step->model != NULL && step->model->team.rows.slot_count == slots;
    if (is_same_share && (step->group_size == size || step->config->swav.queue_images == 0))
        return OK;
    drop_model(step);
    const enum status status = build_model(step, slots, size);
    if (status != OK)
        drop_model(step);
    return status;
}

static double loss_scale(const struct step *step)
{
    return loss_scale_value(&step->state->loss_scale, (double)step->config->train.loss_scale);
}

/* Gradients as they are without a scale. What overflowed stays infinite or NaN, so the norm says
 * that the step is not finite, the members vote so, and the verdict skips it. */
static void unscale(struct step *step)
{
    const double scale = step->swav.loss_scale;
    struct state *state = step->state;
    if (scale != 1)
        state->device->ops->multiply(state->device, state->grads, state->layout.parameter_floats,
                                     (float)(1 / scale));
}

/* Sharded: the momentum that the verdict is to leave, from those who keep it to everybody, in place
 * of gradients that nobody needs any more. Whether that will be a new one or the present one,
 * because the step is going to be skipped, follows from the votes to come. A rehearsal keeps none.
 */
static enum status advance(struct step *step, int is_void)
{
    struct state *state = step->state;
    const struct slice_holding *holding = &state->kept.holding;
    const struct collective *collective = step->model->team.collective;
    int void_count = 0;
    if (holding->count == 0)
        return OK;
    if (holding->count != (uint32_t)collective_size(collective) ||
        holding->rank != (uint32_t)collective_rank(collective))
        return fail(ERR_PROTOCOL, "momentum of member %u of %u, in a generation of %d members",
                    holding->rank, holding->count, collective_size(collective));
    TRY(buckets_count(&step->buckets, is_void, &void_count));
    optimizer_advance(&step->optimizer, void_count > 0);
    TRY(buckets_gather(&step->buckets, state->momentum,
                       momentum_slice_floats(state->kept.arena_floats, holding->count)));
    step->is_advanced = void_count == 0;
    return OK;
}

uint32_t step_unaccounted(const struct batch *batch)
{
    const uint32_t told =
        batch->skip_count < MESSAGE_SKIPS_MAX ? batch->skip_count : MESSAGE_SKIPS_MAX;
    return batch->blank_count + batch->skip_count - told;
}

/* What the vote says, from numbers that are the same on every member. */
static enum status measure(struct step *step, uint64_t number, const struct batch *batch,
                           struct step_result *ret_result)
{
    const struct rows *rows = &step->model->team.rows;
    double grad_norm = 0;
    optimizer_measure(&step->optimizer, number, &grad_norm);
    const double loss = swav_loss_of_all(&step->swav);
    const uint64_t digest = state_gradient_digest(step->state);
    const int is_finite = isfinite(loss) && isfinite(grad_norm);
    if (step->state->is_sharded)
        TRY(advance(step, !is_finite || step_unaccounted(batch) > 0));
    TRY(step->state->device->ops->synchronize(step->state->device));
    enter(step, PHASE_READY);
    *ret_result = (struct step_result){
        .loss = loss,
        .grad_norm = grad_norm,
        .is_finite = is_finite,
        .images = (uint32_t)(rows->slot_count * rows->slot_images),
        .digest = digest,
    };
    memcpy(ret_result->phase_us, step->phase_us, sizeof(step->phase_us));
    ret_result->compute_us = step->compute_us;
    step->computed = number + 1;
    if (step->progress != NULL)
        atomic_store_explicit(&step->progress->is_warm, 1, memory_order_relaxed);
    return OK;
}

/* The parts, as a tape runs them. */
static enum status forward(void *errand)
{
    return model_forward(((struct step *)errand)->model);
}

static enum status loss(void *errand)
{
    struct step *step = errand;
    TRY(swav_codes(&step->swav, step->number));
    swav_loss(&step->swav);
    return OK;
}

static enum status backward(void *errand)
{
    struct step *step = errand;
    return model_backward(step->model, &step->buckets);
}

static enum status apply(void *errand)
{
    struct step *step = errand;
    optimizer_update(&step->optimizer);
    head_normalize_prototypes(&step->model->head);
    model_move_statistics(step->model, (float)step->config->model.bn_momentum);
    feature_queue_push(&step->swav.queue);
    return OK;
}

static uint64_t key_of(const struct step *step, enum part part)
{
    struct device *device = step->state->device;
    if (part == PART_APPLY) /* exchanges nothing; the collective may be gone by now */
        return device->ops->recordings_epoch(device);
    const uint64_t key = team_key(&step->model->team);
    if (part != PART_LOSS)
        return key;
    const int is_queue_used = feature_queue_is_used(&step->swav.queue, step->number);
    return hash_bytes_seed(&step->swav.loss_scale, sizeof(step->swav.loss_scale),
                           key + (uint64_t)is_queue_used);
}

static enum status run(struct step *step, enum part part)
{
    static enum status (*const functions[PARTS])(void *errand) = {
        [PART_FORWARD] = forward,
        [PART_LOSS] = loss,
        [PART_BACKWARD] = backward,
        [PART_APPLY] = apply,
    };
    return tape_run(&step->tapes[part], key_of(step, part), functions[part], step);
}

enum status step_compute(struct step *step, struct collective *collective, uint64_t number,
                         const struct batch *batch, struct step_result *ret_result)
{
    TRY(prepare(step, collective, batch));
    step->number = number;

    enter(step, PHASE_FORWARD);
    const int64_t start_us = step->phase_start_us - collective_waited_us(collective);
    TRY(model_load(step->model, collective, batch));
    TRY(run(step, PART_FORWARD));

    step->swav.loss_scale = loss_scale(step);
    enter(step, PHASE_LOSS);
    TRY(run(step, PART_LOSS));
    swav_place(&step->swav, batch->slots);

    enter(step, PHASE_BACKWARD);
    TRY(buckets_begin(&step->buckets, number, step->swav.tail, step->swav.tail_floats));
    TRY(run(step, PART_BACKWARD));

    enter(step, PHASE_REDUCE);
    step->compute_us = step->phase_start_us - collective_waited_us(collective) - start_us;
    load_ahead(step);
    TRY(buckets_finish(&step->buckets));
    unscale(step);
    TRY(measure(step, number, batch, ret_result));
    const int is_launched = step->state->device->is_asynchronous; /* which is not yet computed */
    if (is_launched) /* and sums of others are in the whole */
        ret_result->compute_us = collective_size(collective) > 1 ? 0 : clock_us() - start_us;
    return OK;
}

/* Of the first head. Rows of embeddings lie [slot][crop][image], those of codes
 * [crop][slot][image]. */
static void copy_first_crop(struct step *step, struct learning_sample *sample)
{
    const struct rows *rows = &step->model->team.rows;
    const struct head *head = &step->model->head;
    struct device *device = step->state->device;
    const size_t width = (size_t)sample->embedding;
    device->ops->download(device, sample->codes, step->swav.codes.sets[0].q,
                          (size_t)sample->rows * (size_t)sample->prototypes * sizeof(float));
    for (int row = 0; row < sample->rows; row += rows->slot_images) {
        const int left = sample->rows - row;
        const int count = left < rows->slot_images ? left : rows->slot_images;
        device->ops->download(device, sample->embeddings + (size_t)row * width,
                              head->embeddings + (size_t)row * (size_t)rows->crops[0] * width,
                              (size_t)count * width * sizeof(float));
    }
}

struct learning_sample *step_sample(struct step *step)
{
    CHECK(step->computed != 0);
    const struct rows *rows = &step->model->team.rows;
    const int prototypes = step->model->head.prototypes[0].count;
    const int width = step->model->head.embedding;
    const int here = rows->slot_count * rows->slot_images;
    const int most = LEARNING_SAMPLE_BYTES / (int)sizeof(float) / prototypes;
    struct learning_sample *sample = mem_zero(sizeof(*sample));
    sample->step = step->computed - 1;
    sample->rows = here < most ? here : most > 0 ? most : 1;
    sample->prototypes = prototypes;
    sample->embedding = width;
    sample->codes = mem_array((size_t)sample->rows * (size_t)prototypes, sizeof(float));
    sample->embeddings = mem_array((size_t)sample->rows * (size_t)width, sizeof(float));
    copy_first_crop(step, sample);
    optimizer_trust(&step->optimizer, &sample->trust_least, &sample->trust_median);
    sample->weight_norm = optimizer_weight_norm(&step->optimizer);
    return sample;
}

enum status step_apply(struct step *step, uint64_t number, double lr)
{
    CHECK(step->computed == number + 1);
    if (step->state->is_sharded && !step->is_advanced)
        return fail(ERR_PROTOCOL, "step %" PRIu64 " is committed, but its votes were against it",
                    number);
    enter(step, PHASE_APPLY);
    optimizer_prepare(&step->optimizer, lr);
    TRY(run(step, PART_APPLY));
    step->state->is_whole = 1;
    feature_queue_count(&step->swav.queue);
    loss_scale_commit(&step->state->loss_scale);
    step->state->step = number + 1;
    step->computed = 0;
    TRY(step->state->device->ops->synchronize(step->state->device));
    enter(step, PHASE_IDLE);
    return OK;
}

void step_skip(struct step *step, uint64_t number)
{
    loss_scale_skip(&step->state->loss_scale, (double)step->config->train.loss_scale);
    step->state->step = number + 1;
    step->state->is_whole |= step->computed == number + 1 && !step->is_advanced;
    step->computed = 0;
}
