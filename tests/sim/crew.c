/* crew.c - worker processes: a member, its training thread, and collectives that fail half-way. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/sim/shell.h"
#include "tests/sim/world.h"

#include <stdio.h>
#include <string.h>

#include "common/mem.h"

enum { LOOK_MS = 20 /* between two looks for a shard that a job waits for */ };

static void start_job(struct world *world, struct sim_worker *worker);

void crew_start(struct world *world, int place)
{
    struct sim_worker *worker = &world->workers[place];
    char name[16];
    snprintf(name, sizeof(name), "w%d", place);
    *worker = (struct sim_worker){.is_alive = 1, .place = place, .id = ++world->worker_ids};
    worker->member = member_create(&(struct member_setup){
        .worker = worker->id,
        .name = name,
        .host = "host",
        .device = "sim",
        .version = EVERSEER_VERSION,
        .helper_address = "",
        .boot = (uint64_t)(1 + place % 2), /* half of them on the server's host */
        .pid = (uint32_t)worker->id,
    });
    if (!world->is_peaceful && !world->is_calm && world_chance(world, 0.03))
        mounts_lose_some(world, worker);
    world_first_tick(world, place);
    crew_connect(world, place);
}

/* Those of `step` and later. */
static void drop_plans(struct sim_worker *worker, uint64_t step)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < worker->plan_count; i++)
        if (worker->plans[i].header.step < step) {
            worker->known_at[kept] = worker->known_at[i];
            worker->plans[kept++] = worker->plans[i];
        } else
            message_done(&worker->plans[i]);
    worker->plan_count = kept;
}

static void drop_jobs(struct sim_worker *worker, uint32_t from)
{
    for (uint32_t i = from; i < worker->job_count; i++)
        message_done(&worker->jobs[i].message);
    worker->job_count = from < worker->job_count ? from : worker->job_count;
}

/* Those who wait for it in a collective fail, some at once, some later; some may have succeeded. */
static void doom_meetings(struct world *world, struct sim_worker *worker)
{
    for (int i = 0; i < WORLD_MEETINGS; i++) {
        struct meeting *meeting = &world->meetings[i];
        int is_guest = 0;
        for (uint32_t rank = 0; rank < meeting->size; rank++)
            is_guest |= meeting->guests[rank].worker == worker->id;
        if (!is_guest || meeting->is_doomed)
            continue;
        meeting->is_doomed = 1;
        for (uint32_t rank = 0; rank < meeting->size; rank++)
            for (int j = 0; j < WORLD_WORKERS; j++) {
                struct sim_worker *other = &world->workers[j];
                if (other != worker && other->is_alive &&
                    other->id == meeting->guests[rank].worker && other->is_running &&
                    other->run_count == meeting->guests[rank].run &&
                    (meeting->arrived < meeting->size || world_chance(world, 0.5)))
                    world_job_ends(world, j, other->run_count, 1, world_delay(world, 40));
            }
    }
}

void crew_kill(struct world *world, int place)
{
    struct sim_worker *worker = &world->workers[place];
    if (!worker->is_alive)
        return;
    worker->is_alive = 0;
    worker->connection = 0;
    doom_meetings(world, worker);
    rehearsal_leave(world, worker);
    drop_jobs(worker, 0);
    drop_plans(worker, 0);
    member_destroy(worker->member);
    worker->member = NULL;
}

void crew_connect(struct world *world, int place)
{
    struct sim_worker *worker = &world->workers[place];
    worker->connection = ++world->connections;
    world->link_ms[place][0] = world->link_ms[place][1] = world->now;
    crew_handle(world, place, &(struct member_event){.kind = MEMBER_CONNECTED});
}

static void abandon(struct world *world, struct sim_worker *worker)
{
    uint32_t kept = worker->is_running ? 1 : 0;
    for (uint32_t i = kept; i < worker->job_count; i++) {
        enum member_action_kind kind = worker->jobs[i].kind;
        if (kind == MEMBER_APPLY || kind == MEMBER_SKIP || kind == MEMBER_SNAPSHOT ||
            kind == MEMBER_EXIT)
            worker->jobs[kept++] = worker->jobs[i];
        else
            message_done(&worker->jobs[i].message);
    }
    worker->job_count = kept;
    if (worker->is_running && worker->jobs[0].kind != MEMBER_APPLY &&
        worker->jobs[0].kind != MEMBER_SKIP) {
        worker->is_abandoned = 1;
        world_job_ends(world, worker->place, worker->run_count, 1, world_delay(world, 20));
    }
    doom_meetings(world, worker);
}

static void carry_out(struct world *world, int place, struct member_action *action)
{
    struct sim_worker *worker = &world->workers[place];
    switch (action->kind) {
    case MEMBER_SEND:
        world_send_to_server(world, place, &action->message);
        break;
    case MEMBER_CONFIGURE:
        crew_handle(
            world, place,
            &(struct member_event){.kind = MEMBER_CONFIGURED, .fingerprint = world->fingerprint});
        break;
    case MEMBER_SHARDS:
        mounts_hear(world, worker, &action->message.shards);
        break;
    case MEMBER_FLUSH:
        drop_plans(worker, action->step);
        break;
    case MEMBER_SUBMIT:
        if (worker->plan_count == WORLD_PLANS)
            world_violation(world, "I12: %d plans wait in the loader", WORLD_PLANS);
        worker->known_at[worker->plan_count] = worker->known_shards;
        worker->plans[worker->plan_count++] = action->message;
        action->message = (struct message){0};
        break;
    case MEMBER_ABANDON:
        abandon(world, worker);
        rehearsal_leave(world, worker);
        break;
    case MEMBER_PREPARE:
        rehearsal_begin(world, worker, action);
        break;
    default:
        if (worker->job_count == WORLD_JOBS)
            world_violation(world, "I12: %d jobs wait", WORLD_JOBS);
        worker->jobs[worker->job_count++] = (struct job){
            .kind = action->kind,
            .ticket = action->ticket,
            .step = action->step,
            .lr = action->lr,
            .wants_parameter_digest = action->wants_parameter_digest,
            .exit_code = action->exit_code,
            .takes_over = action->takes_over,
            .message = action->message,
        };
        action->message = (struct message){0};
        break;
    }
}

void crew_handle(struct world *world, int place, const struct member_event *event)
{
    struct sim_worker *worker = &world->workers[place];
    struct member_actions actions;
    member_actions_init(&actions);
    struct member_view before;
    member_view(worker->member, &before);
    member_handle(worker->member, event, &actions);
    if (event->kind == MEMBER_MESSAGE)
        oracle_heard(world, worker, event->message, before.generation, actions.count);
    for (uint32_t i = 0; i < actions.count && worker->is_alive; i++)
        carry_out(world, place, &actions.items[i]);
    member_actions_done(&actions);
    if (worker->is_alive && !worker->is_running && worker->job_count > 0)
        start_job(world, worker);
}

void crew_tick(struct world *world, int place)
{
    struct sim_worker *worker = &world->workers[place];
    struct message_heartbeat heartbeat = {.phase = PHASE_IDLE,
                                          .progress =
                                              2 * worker->run_count + (uint64_t)worker->has_met,
                                          .is_warm = worker->beats++ >= worker->id % 8};
    if (worker->is_running)
        heartbeat.phase = worker->jobs[0].kind == MEMBER_FORM ? PHASE_FORM
                          : worker->has_met                   ? PHASE_REDUCE
                          : worker->waits_for_shard           ? PHASE_DATA
                                                              : PHASE_FORWARD;
    if (worker->is_running && worker->jobs[0].kind == MEMBER_COMPUTE)
        heartbeat.operations = 2 * worker->jobs[0].step + (uint64_t)worker->has_met;
    crew_handle(world, place, &(struct member_event){.kind = MEMBER_TICK, .heartbeat = &heartbeat});
}

static struct message *find_plan(struct sim_worker *worker, uint64_t step)
{
    for (uint32_t i = 0; i < worker->plan_count; i++)
        if (worker->plans[i].header.step == step)
            return &worker->plans[i];
    return NULL;
}

static const struct message_regroup *regroup_of(const struct job *job)
{
    return &job->message.regroup;
}

void meeting_done(struct meeting *meeting)
{
    for (uint32_t rank = 0; rank < WORLD_SLOTS_MAX; rank++)
        message_done(&meeting->plans[rank]);
    *meeting = (struct meeting){0};
}

static struct meeting *find_meeting(struct world *world, uint64_t generation, uint64_t step,
                                    int is_forming, uint32_t size)
{
    for (int i = 0; i < WORLD_MEETINGS; i++) {
        struct meeting *meeting = &world->meetings[i];
        if (meeting->size > 0 && meeting->generation == generation && meeting->step == step &&
            meeting->is_forming == is_forming)
            return meeting;
    }
    struct meeting *meeting = &world->meetings[world->meeting_next++ % WORLD_MEETINGS];
    meeting_done(meeting);
    *meeting = (struct meeting){
        .generation = generation, .step = step, .is_forming = is_forming, .size = size};
    return meeting;
}

struct slice_holding crew_holding(const struct sim_worker *worker)
{
    return worker->model.is_whole ? (struct slice_holding){0, 1} : worker->model.slices;
}

/* All are there: each gets its result at its own time, unless somebody dies before. */
static void finish_meeting(struct world *world, struct meeting *meeting)
{
    if (!meeting->is_forming)
        meeting->gradient = oracle_gradient(world, meeting);
    else if (world->config.optimizer.sharded &&
             slice_find_cut(meeting->holdings, meeting->size) == 0)
        world_violation(world, "I16: members form at step %llu without a slice of its momentum",
                        (unsigned long long)meeting->step);
    for (uint32_t rank = 0; rank < meeting->size; rank++)
        for (int i = 0; i < WORLD_WORKERS; i++)
            if (world->workers[i].is_alive && world->workers[i].id == meeting->guests[rank].worker)
                world_job_ends(world, i, meeting->guests[rank].run, 0, world_delay(world, 15));
}

static void arrive(struct world *world, struct sim_worker *worker, struct meeting *meeting,
                   uint32_t rank)
{
    meeting->guests[rank].worker = worker->id;
    meeting->guests[rank].run = worker->run_count;
    worker->has_met = 1;
    if (meeting->is_doomed) {
        world_job_ends(world, worker->place, worker->run_count, 1, world_delay(world, 40));
        return;
    }
    if (++meeting->arrived == meeting->size)
        finish_meeting(world, meeting);
    else
        world_job_ends(world, worker->place, worker->run_count, 1, 1500); /* its own deadline */
}

const struct stored_snapshot *crew_find_stored(const struct world *world, const char *name)
{
    if (world->initial.name[0] != 0 && strcmp(world->initial.name, name) == 0)
        return &world->initial;
    for (uint32_t i = 0; i < world->stored_count; i++)
        if (strcmp(world->stored[i].name, name) == 0)
            return &world->stored[i];
    return NULL;
}

/* A server that restores from a snapshot lets nobody remove it; who still reads for a server that
 * has died since may find it gone, and fails. */
static int is_removed(struct world *world, const struct job *job)
{
    const struct message_regroup *regroup = regroup_of(job);
    if (regroup->source != STATE_SNAPSHOT || regroup->rank != 0 ||
        crew_find_stored(world, regroup->snapshot_name) != NULL)
        return 0;
    struct coordinator_view view = {.state = RUN_WAITING};
    if (world->coordinator != NULL)
        coordinator_view(world->coordinator, &view);
    if (view.state == RUN_FORMING && view.generation == job->message.header.generation)
        world_violation(world, "I11: snapshot '%s' is removed under its reader",
                        regroup->snapshot_name);
    return 1;
}

static void arrive_to_form(struct world *world, struct sim_worker *worker, struct job *job)
{
    const struct message_regroup *regroup = regroup_of(job);
    if ((job->takes_over && !rehearsal_take(world, worker, &job->message)) ||
        is_removed(world, job)) {
        world_job_ends(world, worker->place, worker->run_count, 1, 0);
        return;
    }
    world->takeovers += (uint64_t)job->takes_over;
    struct meeting *meeting =
        find_meeting(world, job->message.header.generation, job->step, 1, regroup->member_count);
    int is_source = regroup->source == STATE_MEMBER ? regroup->source_rank == regroup->rank
                                                    : regroup->rank == 0;
    if (is_source && regroup->source == STATE_INIT) {
        meeting->base = oracle_first_hash();
        meeting->has_base = 1;
    } else if (is_source && regroup->source == STATE_SNAPSHOT) {
        const struct stored_snapshot *stored = crew_find_stored(world, regroup->snapshot_name);
        meeting->base = stored->hash;
        meeting->has_base = stored->step == job->step;
    } else if (is_source) {
        meeting->base = worker->model.hash;
        meeting->has_base = worker->model.is_valid && worker->model.step == job->step;
    }
    if (is_source && regroup->source == STATE_INIT && world->initial.name[0] != 0)
        world_violation(world, "I5: a generation begins with random parameters in a run that began "
                               "with a snapshot");
    if (is_source && !meeting->has_base)
        world_violation(world, "I5: worker %llu is the source of a state that it does not hold",
                        (unsigned long long)worker->id);
    int is_held = worker->model.is_valid && worker->model.step == job->step &&
                  worker->model.lineage == job->message.header.lineage;
    if (!is_source && regroup->source != STATE_KEEP && !is_held)
        worker->model.is_valid = 0; /* it is being overwritten */
    int is_fresh = is_source && regroup->source != STATE_MEMBER && regroup->source != STATE_KEEP;
    if (!is_held) {
        worker->model.slices = (struct slice_holding){0};
        worker->model.is_whole = 0;
    }
    meeting->holdings[regroup->rank] =
        is_fresh ? (struct slice_holding){0, 1} : crew_holding(worker);
    arrive(world, worker, meeting, regroup->rank);
}

static void arrive_to_compute(struct world *world, struct sim_worker *worker, struct job *job)
{
    struct message *plan = find_plan(worker, job->step);
    if (plan == NULL)
        world_violation(world, "step %llu is computed without a plan",
                        (unsigned long long)job->step);
    struct meeting *meeting =
        find_meeting(world, worker->group.generation, job->step, 0, worker->group.size);
    if (meeting->has_base && meeting->base != worker->model.hash)
        world_violation(world, "I5: members compute step %llu from different states",
                        (unsigned long long)job->step);
    meeting->base = worker->model.hash;
    meeting->has_base = 1;
    message_copy(plan, &meeting->plans[worker->group.rank]);
    arrive(world, worker, meeting, worker->group.rank);
}

static void start_job(struct world *world, struct sim_worker *worker)
{
    static const int64_t longest[] = {
        [MEMBER_FORM] = 60, [MEMBER_COMPUTE] = 40,  [MEMBER_APPLY] = 4,
        [MEMBER_SKIP] = 1,  [MEMBER_SNAPSHOT] = 10, [MEMBER_EXIT] = 1};
    worker->is_running = 1;
    worker->is_abandoned = worker->has_met = worker->waits_for_shard = 0;
    worker->run_count++;
    const struct job *job = &worker->jobs[0];
    const struct message *plan = job->kind == MEMBER_COMPUTE ? find_plan(worker, job->step) : NULL;
    int64_t longest_ms = longest[job->kind];
    if (job->kind == MEMBER_COMPUTE)
        worker->model.is_whole = 0; /* gradients lie there now */
    if (plan != NULL)
        longest_ms = plan->plan.slot_count * world->slot_ms[worker->place];
    worker->compute_ms = longest_ms / 2 + 1 + world_delay(world, longest_ms / 2);
    world_job_ends(world, worker->place, worker->run_count, 0, worker->compute_ms);
}

static void finish_form(struct world *world, struct sim_worker *worker, struct job *job)
{
    const struct message_regroup *regroup = regroup_of(job);
    struct meeting *meeting =
        find_meeting(world, job->message.header.generation, job->step, 1, regroup->member_count);
    if (regroup->source != STATE_KEEP)
        worker->model = (struct model){.hash = meeting->base, .step = job->step, .is_valid = 1};
    if (!worker->model.is_valid || worker->model.step != job->step)
        world_violation(world, "I5: worker %llu forms at step %llu without its state",
                        (unsigned long long)worker->id, (unsigned long long)job->step);
    worker->model.lineage = job->message.header.lineage;
    worker->group.generation = job->message.header.generation;
    worker->group.rank = regroup->rank;
    worker->group.size = regroup->member_count;
    worker->model.is_whole = 1;
    if (world->bug != BUG_KEEP_NO_SLICE)
        worker->model.slices = (struct slice_holding){regroup->rank, regroup->member_count};
    testimony_state(world, worker);
    crew_handle(world, worker->place,
                &(struct member_event){
                    .kind = MEMBER_FORMED, .ticket = job->ticket, .digest = worker->model.hash});
}

/* The records of a plan that cannot be decoded, and the images of slots that have no other; of a
 * plan that was flushed meanwhile: none. */
static uint32_t find_bad(const struct world *world, const struct sim_worker *worker,
                         const struct message *plan, uint64_t known_shards,
                         struct message_skip *ret_skips, uint32_t *ret_unaccounted)
{
    uint32_t count = 0;
    for (uint32_t slot = 0; plan != NULL && slot < plan->plan.slot_count; slot++) {
        uint32_t before = count;
        for (uint32_t i = slot * WORLD_SLOT_IMAGES; i < (slot + 1) * WORLD_SLOT_IMAGES; i++)
            if (mounts_is_bad(world, worker, known_shards, plan->plan.shards[i],
                              plan->plan.records[i]))
                ret_skips[count++] = (struct message_skip){
                    .shard = plan->plan.shards[i],
                    .record = plan->plan.records[i],
                    .position = plan->plan.slots[slot].position + i % WORLD_SLOT_IMAGES,
                };
        if (count - before == WORLD_SLOT_IMAGES)
            *ret_unaccounted += WORLD_SLOT_IMAGES;
    }
    return count;
}

static void finish_compute(struct world *world, struct sim_worker *worker, struct job *job)
{
    struct meeting *meeting =
        find_meeting(world, worker->group.generation, job->step, 0, worker->group.size);
    worker->gradient = meeting->gradient;
    int is_odd = meeting->gradient % 97 == 0; /* now and then a loss is not finite, for all */
    struct message_ready ready = {
        .is_finite = !is_odd,
        .loss =
            5.0 + 1e-3 * (double)(meeting->gradient % 100), /* falls for nobody: rates are cut */
        .digest = meeting->gradient,
        .parameter_digest = job->wants_parameter_digest ? worker->model.hash : 0,
        .images = 1,
        .compute_us = 1000 * worker->compute_ms,
    };
    /* A bit flips in the memory of one member; alone, nobody could notice. */
    if (worker->group.size > 1 && world->now < world->faults_until && !world->is_peaceful &&
        world_chance(world, 0.001 * world->fault_rate)) {
        ready.digest ^= random_u64(&world->random) | 1;
        world->flipped_ms = world->now;
    }
    struct message_skip skips[WORLD_BATCH_MAX];
    ready.skips = skips;
    const struct message *plan = find_plan(worker, job->step);
    uint64_t known_shards = plan != NULL ? worker->known_at[plan - worker->plans] : 0;
    if (plan != NULL)
        oracle_check_known(world, worker, &plan->plan, known_shards);
    ready.skip_count = find_bad(world, worker, plan, known_shards, skips, &ready.unaccounted);
    testimony_remember(world, worker, plan, known_shards, ready.digest);
    for (uint32_t i = 0; i < worker->plan_count; i++)
        if (worker->plans[i].header.step == job->step) {
            message_done(&worker->plans[i]);
            worker->plan_count--;
            memmove(&worker->plans[i], &worker->plans[i + 1],
                    (worker->plan_count - i) * sizeof(worker->plans[0]));
            memmove(&worker->known_at[i], &worker->known_at[i + 1],
                    (worker->plan_count - i) * sizeof(worker->known_at[0]));
            break;
        }
    if (world->bug == BUG_APPLY_WITHOUT_VERDICT) {
        worker->model.hash =
            oracle_apply(worker->model.hash, job->step, !is_odd, meeting->gradient, 1.0);
        worker->model.step++;
    }
    crew_handle(
        world, worker->place,
        &(struct member_event){.kind = MEMBER_COMPUTED, .ticket = job->ticket, .ready = &ready});
}

static void apply(struct world *world, struct sim_worker *worker, const struct job *job)
{
    if (world->bug == BUG_APPLY_WITHOUT_VERDICT)
        return;
    if (!worker->model.is_valid || worker->model.step != job->step)
        world_violation(world, "worker %llu applies step %llu to a state of step %llu",
                        (unsigned long long)worker->id, (unsigned long long)job->step,
                        (unsigned long long)worker->model.step);
    worker->model.hash = oracle_apply(worker->model.hash, job->step, job->kind == MEMBER_APPLY,
                                      worker->gradient, job->lr);
    worker->model.step++;
    worker->model.is_whole = 1; /* it came with the step, before the vote */
    testimony_step(world, worker, job->kind == MEMBER_APPLY);
}

static int can_give(const struct slice_holding *holding, const struct message_snapshot_begin *begin)
{
    uint32_t count = begin->slice_count;
    return count == 0 || (slice_is_held(holding, begin->slice, count) &&
                          (!begin->has_slice_before ||
                           slice_is_held(holding, (begin->slice + count - 1) % count, count)));
}

static void push_share(struct world *world, const struct sim_worker *worker,
                       const struct message *begin)
{
    struct slice_holding holding = crew_holding(worker);
    if (!can_give(&holding, &begin->snapshot_begin))
        return; /* it came again, or late */
    shell_share_arrives(world, begin, worker->model.hash);
}

static void finish_job(struct world *world, struct sim_worker *worker, struct job *job)
{
    if (job->kind == MEMBER_FORM)
        finish_form(world, worker, job);
    else if (job->kind == MEMBER_COMPUTE)
        finish_compute(world, worker, job);
    else if (job->kind == MEMBER_APPLY || job->kind == MEMBER_SKIP)
        apply(world, worker, job);
    else if (job->kind == MEMBER_SNAPSHOT)
        push_share(world, worker, &job->message);
    else
        crew_kill(world, worker->place); /* MEMBER_EXIT */
}

/* Who slept so long that its meeting is forgotten gets nothing out of it. */
static int is_forgotten(struct world *world, struct sim_worker *worker, struct job *job)
{
    if (!worker->has_met)
        return 0;
    const struct meeting *meeting =
        job->kind == MEMBER_FORM
            ? find_meeting(world, job->message.header.generation, job->step, 1,
                           regroup_of(job)->member_count)
            : find_meeting(world, worker->group.generation, job->step, 0, worker->group.size);
    return meeting->arrived != meeting->size;
}

/* A job that meets others has two ends: its own work, then the meeting. */
static int goes_to_meeting(struct world *world, struct sim_worker *worker, struct job *job)
{
    if (worker->has_met || (job->kind != MEMBER_FORM && job->kind != MEMBER_COMPUTE))
        return 0;
    const struct message *plan = job->kind == MEMBER_COMPUTE ? find_plan(worker, job->step) : NULL;
    worker->waits_for_shard = plan != NULL && mounts_must_wait(world, worker, &plan->plan);
    if (worker->waits_for_shard)
        world_job_ends(world, worker->place, worker->run_count, 0, LOOK_MS);
    else if (job->kind == MEMBER_FORM)
        arrive_to_form(world, worker, job);
    else
        arrive_to_compute(world, worker, job);
    return 1;
}

void crew_job_done(struct world *world, int place, uint64_t run, int is_failed)
{
    struct sim_worker *worker = &world->workers[place];
    if (!worker->is_running || worker->run_count != run)
        return;
    if (worker->is_abandoned && !worker->has_met && worker->jobs[0].kind != MEMBER_SNAPSHOT)
        is_failed = 1;
    if (!is_failed && goes_to_meeting(world, worker, &worker->jobs[0]))
        return;
    is_failed |= is_forgotten(world, worker, &worker->jobs[0]);
    struct job job = worker->jobs[0];
    worker->job_count--;
    memmove(worker->jobs, worker->jobs + 1, worker->job_count * sizeof(job));
    worker->is_running = 0;
    if (is_failed) {
        doom_meetings(world, worker);
        crew_handle(world, place,
                    &(struct member_event){
                        .kind = MEMBER_JOB_FAILED, .ticket = job.ticket, .reason = "collective"});
    } else {
        finish_job(world, worker, &job);
    }
    message_done(&job.message);
    if (worker->is_alive && !worker->is_running && worker->job_count > 0)
        start_job(world, worker);
}
