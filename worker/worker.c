/* worker.c - the training thread: does what the protocol orders, in its order.
 *
 * Read worker_train first; it is a step of docs/design.md as this member lives it. What to do and
 * when is decided in member.c, heard and said by link.c; here it is done. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/worker.h"
#include "proto/client_key.h"

#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/check.h"
#include "common/clock.h"
#include "common/host.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/notify.h"
#include "worker/collective/helper.h"
#include "worker/device/device_name.h"
#include "worker/handover.h"
#include "worker/learning_watch.h"
#include "worker/link.h"
#include "worker/memory_plan.h"
#include "worker/nvml.h"
#include "worker/preparation.h"
#include "worker/snapshot_fetch.h"
#include "worker/snapshot_file.h"
#include "worker/state_share.h"
#include "worker/step.h"
#include "worker/warm_up.h"
#include "worker/watchdog.h"
#include "worker/worker_journal.h"

enum { NAME_BYTES = 64 };

struct worker {
    struct handover handover;
    struct watchdog watchdog;
    struct link *link;
    struct step_progress progress;
    struct helper_door door; /* where collective helpers call */
    char name[NAME_BYTES];
    struct key key; /* if has_key: what it shows to the server */
    int has_key;

    struct worker_journal *journal; /* NULL: nobody wants one */
    struct witness witness;         /* of the step that is computed and not decided yet; owned */

    struct device *device;
    struct gpu_health health; /* of the device; started once there is one */
    struct learning_watch learning;
    /* From here on NULL until the server has sent the config. */
    struct config *config;
    char *config_text;
    struct loader *loader;
    struct state *state;
    struct step *step;
    struct preparation preparation;
    struct collective *collective; /* of the present generation; NULL: none */
    struct message_header group;   /* of the Regroup that formed it */
};

static void worker_phase(struct worker *worker, enum worker_phase phase)
{
    atomic_store(&worker->progress.phase, phase);
    atomic_store(&worker->progress.phase_since_ms, clock_ms());
    atomic_fetch_add(&worker->progress.progress, 1);
}

static struct group_means group_means(struct worker *worker)
{
    return (struct group_means){.config = worker->config,
                                .state = worker->state,
                                .handover = &worker->handover,
                                .listen_fd = worker->door.listen_fd};
}

/* Before any memory is taken: how large a share of a step fits, if it were alone; and the share to
 * rehearse, `expected` (0: not known) if it fits. The first step of a share costs more than others.
 */
static enum status check_memory(const struct worker *worker, uint32_t expected, int *ret_slots)
{
    int most = 0;
    TRY(memory_plan_most_slots(worker->config, worker->device, 1, 0, &most));
    if (most == 0)
        return fail(ERR_DEVICE,
                    "not one slot of %d images fits into the memory of %s; use a smaller "
                    "train.slot_images, or train.recompute: block ('seer plan' shows the parts)",
                    (int)worker->config->train.slot_images,
                    worker->device->ops->describe(worker->device));
    log_info("event=memory most_slots=%d slots=%d", most, (int)config_slots(worker->config));
    *ret_slots = expected == 0 ? 1 : expected < (uint32_t)most ? (int)expected : most;
    return OK;
}

static enum status check_loss_scale(const struct worker *worker)
{
    struct device *device = worker->device;
    if (!device->ops->wants_loss_scale || worker->config->train.loss_scale > 1)
        return OK;
    return fail(ERR_INPUT,
                "gradients vanish in the activations of %s, and this run scales no loss: use "
                "another --device, or a run with train.loss_scale: 65536",
                device->ops->describe(device));
}

static const struct batch *next_batch(void *errand)
{
    return loader_peek(((struct worker *)errand)->loader);
}

static enum status worker_configure(struct worker *worker, struct job *job)
{
    int slots = 0;
    worker->config = job->config;
    worker->loader = job->loader;
    worker->config_text = job->action.text;
    job->config = NULL;
    job->loader = NULL;
    job->action.text = NULL;
    TRY(check_loss_scale(worker));
    TRY(check_memory(worker, job->action.slots, &slots));
    TRY(state_create(worker->config, worker->device, &worker->state));
    TRY(step_create(worker->config, worker->state, &worker->step));
    step_watch(worker->step, &worker->progress);
    TRY(warm_up(worker->config, worker->state, worker->step, slots));
    step_expect(worker->step, next_batch, worker);
    worker_phase(worker, PHASE_IDLE);
    struct report *warm = report_create(REPORT_WARM, 0);
    handover_tell(&worker->handover, &warm);
    const struct group_means means = group_means(worker);
    return preparation_start(&worker->preparation, &means);
}

/* The one that was prepared, or a new one. */
static enum status form_collective(struct worker *worker, const struct job *job)
{
    const struct message *message = &job->action.message;
    if (job->action.takes_over)
        return preparation_take(&worker->preparation, message->header.generation,
                                message->regroup.nonce, &worker->collective);
    preparation_drop(&worker->preparation);
    const struct group_means means = group_means(worker);
    return group_form(&means, job, &worker->collective);
}

/* With fewer members slices grow: the model makes room, whose share changes with them anyway. */
static enum status keep_slices(struct worker *worker, const struct message_regroup *regroup)
{
    struct state *state = worker->state;
    if (state->is_sharded && state->kept.holding.count != regroup->member_count)
        step_release(worker->step);
    return state_keep_slices(state, (int)regroup->rank, (int)regroup->member_count);
}

/* The collective of a new generation, then the state that it starts from. */
static enum status form(struct worker *worker, const struct job *job)
{
    const struct message *message = &job->action.message;
    const struct message_regroup *regroup = &message->regroup;
    struct state *state = worker->state;
    worker_phase(worker, PHASE_FORM);
    collective_destroy(worker->collective);
    worker->collective = NULL;
    worker->group = message->header;
    TRY(handover_check(&worker->handover, job));
    TRY(form_collective(worker, job));
    if (!job->action.holds_state)
        state_forget_momentum(state);
    if (regroup->source == STATE_INIT)
        state_reset(state, (uint64_t)worker->config->run.seed);
    if (regroup->source == STATE_SNAPSHOT && regroup->rank == 0)
        TRY(snapshot_fetch(&worker->handover, job, regroup->snapshot_name, message->header.step,
                           state));
    if (regroup->source == STATE_SNAPSHOT || regroup->source == STATE_MEMBER)
        TRY(state_share(state, worker->collective,
                        regroup->source == STATE_MEMBER ? (int)regroup->source_rank : 0));
    if (regroup->source == STATE_KEEP)
        TRY(state_share_momentum(state, worker->collective));
    if (state->step != message->header.step)
        return fail(ERR_PROTOCOL, "the state is of step %" PRIu64 ", the generation of %" PRIu64,
                    state->step, message->header.step);
    return keep_slices(worker, regroup);
}

static void tell_failed(struct worker *worker, const struct job *job)
{
    log_debug("event=job_failed step=%" PRIu64 " reason=\"%s\"", job->action.step, fail_message());
    struct report *report = report_create(REPORT_FAILED, job->action.ticket);
    report->reason = mem_string(fail_message());
    handover_tell(&worker->handover, &report);
}

static enum status worker_form(struct worker *worker, struct job *job)
{
    enum status status = form(worker, job);
    if (status != OK) {
        /* The others must not wait for us. */
        collective_destroy(worker->collective);
        worker->collective = NULL;
        tell_failed(worker, job);
        return status == ERR_DEVICE ? status : OK;
    }
    const struct message_regroup *regroup = &job->action.message.regroup;
    log_info("event=formed generation=%" PRIu64 " rank=%u members=%u step=%" PRIu64,
             job->action.message.header.generation, regroup->rank, regroup->member_count,
             worker->state->step);
    struct report *report = report_create(REPORT_FORMED, job->action.ticket);
    report->digest = state_digest(worker->state);
    const struct witness_state held = {.generation = worker->group.generation,
                                       .step = worker->state->step,
                                       .lineage = worker->group.lineage,
                                       .digest = report->digest};
    worker_journal_state(worker->journal, worker->group.run, worker->group.worker, &held);
    worker_phase(worker, PHASE_IDLE);
    handover_tell(&worker->handover, &report);
    return OK;
}

/* What went wrong with single images, as the server wants to hear it. */
static void copy_skips(const struct batch *batch, struct message_ready *ready)
{
    ready->skip_count =
        batch->skip_count < MESSAGE_SKIPS_MAX ? batch->skip_count : MESSAGE_SKIPS_MAX;
    ready->unaccounted = step_unaccounted(batch);
    if (ready->skip_count == 0)
        return;
    ready->skips = mem_array(ready->skip_count, sizeof(*ready->skips));
    for (uint32_t i = 0; i < ready->skip_count; i++)
        ready->skips[i] = (struct message_skip){.shard = batch->skips[i].record.shard,
                                                .record = batch->skips[i].record.record,
                                                .position = batch->skips[i].position,
                                                .reason = mem_string(batch->skips[i].reason)};
}

/* What the journal is to say of this step if it is decided. */
static void remember(struct worker *worker, const struct batch *batch, uint64_t digest)
{
    uint32_t images = batch->slot_count * batch->slot_images;
    if (worker->journal == NULL)
        return;
    witness_done(&worker->witness);
    worker->witness.kind = WITNESS_STEP;
    worker->witness.step =
        (struct witness_step){.generation = worker->group.generation,
                              .step = batch->step,
                              .lineage = worker->group.lineage,
                              .digest = digest,
                              .slot_count = batch->slot_count,
                              .slot_images = batch->slot_images,
                              .slots = mem_array(batch->slot_count, sizeof(struct witness_slot)),
                              .images = mem_array(images, sizeof(struct witness_image))};
    for (uint32_t i = 0; i < batch->slot_count; i++)
        worker->witness.step.slots[i] = (struct witness_slot){batch->slots[i], batch->positions[i]};
    for (uint32_t i = 0; i < images; i++)
        worker->witness.step.images[i] =
            (struct witness_image){batch->trained[i].shard, batch->trained[i].record};
}

static void testify(struct worker *worker, uint64_t step, int is_applied)
{
    if (worker->journal == NULL)
        return;
    CHECK(worker->witness.kind == WITNESS_STEP && worker->witness.step.step == step);
    worker->witness.step.is_applied = is_applied;
    worker_journal_step(worker->journal, &worker->witness.step);
}

/* Its own speed, without the time it waited for the others, if that is known. */
static double images_per_second(const struct message_ready *ready)
{
    int64_t us = ready->compute_us;
    for (int phase = 0; ready->compute_us == 0 && phase < PHASE_COUNT; phase++)
        us += ready->phase_us[phase];
    return us > 0 ? (double)ready->images * 1e6 / (double)us : 0;
}

static enum status compute(struct worker *worker, const struct job *job, struct report *report)
{
    struct batch *batch = NULL;
    struct step_result result = {0};
    int64_t start_us = clock_us();
    worker_phase(worker, PHASE_DATA);
    TRY(handover_check(&worker->handover, job));
    if (worker->collective == NULL)
        return fail(ERR_STALE, "no generation is formed");
    /* Before the step: its digest belongs to the parameters that the step starts from. */
    report->ready.parameter_digest = job->action.wants_parameter_digest && worker->state->is_whole
                                         ? state_digest(worker->state)
                                         : 0;
    TRY(loader_take(worker->loader, clock_ms() + worker->config->server.step_ms, &batch));
    int64_t data_us = clock_us() - start_us;
    enum status status =
        batch->step == job->action.step
            ? step_compute(worker->step, worker->collective, job->action.step, batch, &result)
            : fail(ERR_STALE, "the batch of step %" PRIu64 " came for step %" PRIu64, batch->step,
                   job->action.step);
    copy_skips(batch, &report->ready);
    if (status == OK)
        remember(worker, batch, result.digest);
    loader_give(worker->loader, &batch);
    result.phase_us[PHASE_DATA] += data_us;
    report->ready.is_finite = result.is_finite;
    report->ready.loss = result.loss;
    report->ready.grad_norm = result.grad_norm;
    report->ready.images = result.images;
    report->ready.digest = result.digest;
    memcpy(report->ready.phase_us, result.phase_us, sizeof(result.phase_us));
    report->ready.compute_us = result.compute_us > 0 ? result.compute_us + data_us : 0;
    report->images_per_second = images_per_second(&report->ready);
    return status;
}

static enum status worker_compute(struct worker *worker, struct job *job)
{
    struct report *report = report_create(REPORT_COMPUTED, job->action.ticket);
    enum status status = compute(worker, job, report);
    const int is_finite = report->ready.is_finite;
    worker_phase(worker, status == OK ? PHASE_READY : PHASE_IDLE);
    if (status == OK) {
        handover_tell(&worker->handover, &report);
        if (is_finite) /* NaN would stay in the figures for good */
            learning_watch_look(&worker->learning, worker->step, job->action.step);
        return OK;
    }
    report_destroy(report);
    tell_failed(worker, job);
    return status == ERR_DEVICE ? status : OK;
}

static enum status worker_apply(struct worker *worker, struct job *job)
{
    worker_phase(worker, PHASE_APPLY);
    TRY(step_apply(worker->step, job->action.step, job->action.lr));
    testify(worker, job->action.step, 1);
    worker_phase(worker, PHASE_IDLE);
    return OK;
}

static enum status worker_skip(struct worker *worker, struct job *job)
{
    step_skip(worker->step, job->action.step);
    testify(worker, job->action.step, 0);
    worker_phase(worker, PHASE_IDLE);
    return OK;
}

/* Copies our share now, between two steps; the link sends it while training goes on. */
static enum status worker_snapshot(struct worker *worker, struct job *job)
{
    const struct message *message = &job->action.message;
    struct snapshot_identity identity = {.run = message->header.run,
                                         .step = message->header.step,
                                         .lineage = message->header.lineage,
                                         .config_text = worker->config_text};
    struct snapshot_share *share = NULL;
    if (worker->state->step != message->header.step)
        return OK; /* too late: the server sees no parts and gives it up */
    const enum status status =
        snapshot_share_create(&message->snapshot_begin, &identity, worker->state, &share);
    if (status == ERR_STALE)
        log_warn("event=snapshot_without_us reason=\"%s\"", fail_message());
    if (status != OK)
        return status == ERR_STALE ? OK : status;
    struct report *report = report_create(REPORT_SHARE, 0);
    report->share = share;
    handover_tell(&worker->handover, &report);
    return OK;
}

/* The life of a member. Generations come and go (form); within one, for every step: take the batch
 * and compute up to the vote, which the link sends; parameters change when the verdict has come
 * (apply). A step without a verdict leaves no trace. */
static enum status worker_train(struct worker *worker, int *ret_exit_code)
{
    enum status status = OK;
    int is_over = 0;
    while (status == OK && !is_over) {
        struct job *job = handover_job(&worker->handover);
        switch (job->action.kind) {
        case MEMBER_CONFIGURE:
            status = worker_configure(worker, job);
            break;
        case MEMBER_FORM:
            status = worker_form(worker, job);
            break;
        case MEMBER_COMPUTE:
            status = worker_compute(worker, job);
            break;
        case MEMBER_APPLY:
            status = worker_apply(worker, job);
            break;
        case MEMBER_SKIP:
            status = worker_skip(worker, job);
            break;
        case MEMBER_SNAPSHOT:
            status = worker_snapshot(worker, job);
            break;
        default: /* MEMBER_EXIT; the link does all others itself */
            *ret_exit_code = job->action.exit_code;
            is_over = 1;
            break;
        }
        job_end(&worker->handover, job);
    }
    return status;
}

static enum status worker_start(struct worker *worker, const struct worker_options *options)
{
    sigset_t signals; /* the link reads them; blocked here first, so that no thread gets them */
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    char host[NAME_BYTES / 2];
    host_name(host, sizeof(host));
    if (options->name[0] != 0)
        snprintf(worker->name, sizeof(worker->name), "%s", options->name);
    else
        snprintf(worker->name, sizeof(worker->name), "%s-%d", host, (int)getpid());
    if (options->journal != NULL) {
        const struct worker_journal_setup journal = {.folder = options->journal,
                                                     .name = worker->name,
                                                     .segment_bytes = WITNESS_SEGMENT_BYTES,
                                                     .folder_bytes = WORKER_JOURNAL_FOLDER_BYTES};
        TRY(worker_journal_open(&journal, &worker->journal));
    }
    TRY(device_open(options->device, options->threads, &worker->device));
    log_info("event=device device=\"%s\"", worker->device->ops->describe(worker->device));
    gpu_health_start(&worker->health, NVML_LIBRARY, worker->device->ops->address(worker->device));
    learning_watch_start(&worker->learning);
    TRY(helper_door_open(&worker->door));
    TRY(handover_init(&worker->handover));
    worker_phase(worker, PHASE_IDLE);
    TRY(watchdog_start(&worker->watchdog, &worker->handover, &worker->progress, WATCHDOG_HANG_MS));
    TRY(client_key_find(options->key, NULL, &worker->key, &worker->has_key));
    char device_name[NAME_BYTES];
    device_public_name(options->device, device_name, sizeof(device_name));
    struct link_setup setup = {.server = options->server,
                               .key = worker->has_key ? &worker->key : NULL,
                               .name = worker->name,
                               .device = device_name,
                               .helper_address = worker->door.address,
                               .loaders = options->loaders,
                               .handover = &worker->handover,
                               .progress = &worker->progress,
                               .health = &worker->health,
                               .learning = &worker->learning};
    TRY(link_start(&setup, &worker->link));
    notify_ready(); /* the server may be absent for long */
    return OK;
}

static void worker_stop(struct worker *worker)
{
    if (worker->link != NULL) {
        struct report *ended = report_create(REPORT_ENDED, 0);
        handover_tell(&worker->handover, &ended);
    }
    collective_destroy(worker->collective); /* the others need not wait for the link's last parts */
    preparation_stop(&worker->preparation);
    link_stop(worker->link);
    watchdog_stop(&worker->watchdog);
    learning_watch_stop(&worker->learning);
    worker_journal_close(worker->journal);
    witness_done(&worker->witness);
    step_destroy(worker->step);
    state_destroy(worker->state);
    loader_destroy(worker->loader);
    handover_done(&worker->handover);
    helper_door_close(&worker->door);
    if (worker->device != NULL) {
        gpu_health_stop(&worker->health);
        device_close(worker->device);
    }
    mem_free(worker->config_text);
    mem_free(worker->config);
}

enum status worker_run(const struct worker_options *options, int *ret_exit_code)
{
    struct worker worker = {.door = {.listen_fd = -1, .file_fd = -1}};
    enum status status = worker_start(&worker, options);
    if (status == OK)
        status = worker_train(&worker, ret_exit_code);
    if (status != OK)
        log_error("event=worker_failed reason=\"%s\"", fail_message());
    worker_stop(&worker);
    return status;
}
