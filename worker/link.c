/* link.c - one loop over the socket, its state, the reports, the signals and the heartbeat. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/link.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include <zmq.h>

#include "common/check.h"
#include "common/clock.h"
#include "common/config.h"
#include "common/host.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/notify.h"
#include "common/thread.h"
#include "proto/endpoint.h"
#include "proto/protocol.h"
#include "worker/server_watch.h"
#include "worker/service_status.h"
#include "worker/shard_source.h"
#include "worker/snapshot_push.h"
#include "worker/watchdog.h"

enum {
    HEARTBEAT_MS = 250, /* until Welcome names another */
    HOST_BYTES = 256,
    EXIT_BY_SIGNAL = 128,
    HEAR_MAX = 64, /* messages of a turn: reports, signals and heartbeats come in between */
};

struct link {
    struct link_setup setup;
    struct thread thread;
    struct endpoint *endpoint;
    struct member *member;
    struct message_header header; /* who we are and of which run, for messages of our own */
    struct snapshot_push push;
    struct message rendezvous; /* the last one of ours, for a server that did not hear it */
    struct loader *loader;     /* borrowed; the worker owns it. NULL before CONFIGURE */
    int64_t slot_images;
    int64_t push_ms; /* so long the server waits for a share: at the end, so do we */
    int signal_fd, signal_count;
    struct server_watch watch;
    struct service_status service;
    int64_t heartbeat_ms; /* of the last one */
    int64_t end_ms;       /* the training thread has ended: leave by then; 0: not yet */
    double images_per_second;
};

static void link_handle(struct link *link, const struct member_event *event);

static int link_send(struct link *link, const struct message *message)
{
    if (endpoint_send(link->endpoint, NULL, message) == OK)
        return 1;
    log_debug("event=send_failed message=%s reason=\"%s\"", message_kind_name(message->kind),
              fail_message());
    return 0;
}

/* The end of a worker that cannot go on. Its state is elsewhere too; the server sees it go. */
static void link_die(const char *what, enum status status)
{
    log_error("event=worker_failed what=\"%s\" reason=\"%s\"", what, fail_message());
    _exit(status == ERR_INPUT ? status_exit_code(status) : WATCHDOG_EXIT);
}

static void push_parts(struct link *link)
{
    struct message message = {.kind = MESSAGE_SNAPSHOT_PART, .header = link->header};
    if (link->push.share != NULL) {
        message.header.step = link->push.share->step;
        message.header.lineage = link->push.share->lineage;
    }
    while (link->watch.is_up && snapshot_push_next(&link->push, &message.snapshot_part)) {
        if (link_send(link, &message))
            continue;
        snapshot_push_put_back(&link->push, &message.snapshot_part);
        return; /* the queue to the server is full: on the next turn */
    }
}

/* The config, its loader and the fingerprint at once; the rest is the training thread's job. */
static void configure(struct link *link, struct member_action *action)
{
    struct config *config = mem_zero(sizeof(*config));
    config_init(config);
    enum status status =
        config_load_text("config from the server", action->text, strlen(action->text), config);
    if (status != OK)
        link_die("config", status);
    status = shard_source_add(config, link->setup.loaders);
    if (status == OK)
        status = loader_create(config, (uint64_t)config->run.seed, link->setup.key, &link->loader);
    if (status != OK)
        link_die("loader", status);
    link->slot_images = config->train.slot_images;
    link->push_ms = config->snapshot.push_ms;
    struct member_event event = {.kind = MEMBER_CONFIGURED,
                                 .fingerprint = config_fingerprint(config)};
    struct job *job = job_create(action);
    job->config = config;
    job->loader = link->loader;
    handover_order(link->setup.handover, &job);
    link_handle(link, &event);
}

static void take_shards(struct link *link, const struct message_shards *shards)
{
    uint32_t *ids = mem_array(shards->shard_count, sizeof(*ids));
    for (uint32_t i = 0; i < shards->shard_count; i++)
        ids[i] = shards->shards[i].id;
    loader_keep_shards(link->loader, shards->from, shards->until, ids, shards->shard_count);
    for (uint32_t i = 0; i < shards->shard_count; i++)
        if (loader_add_shard_anywhere(link->loader, ids[i], shards->shards[i].path,
                                      (uint32_t)shards->shards[i].records,
                                      shards->shards[i].content_hash) != OK)
            link_die("shards", ERR_PROTOCOL);
    mem_free(ids);
}

/* A worker that cannot do as it is told must not look as if it would some time. */
static void submit(struct link *link, const struct message *message)
{
    const struct message_plan *plan = &message->plan;
    if (plan->slot_images != link->slot_images ||
        plan->record_count != (uint64_t)plan->slot_count * plan->slot_images) {
        fail(ERR_PROTOCOL, "step %" PRIu64 ": %u records in %u slots of %u", message->header.step,
             plan->record_count, plan->slot_count, plan->slot_images);
        link_die("plan", ERR_PROTOCOL);
    }
    struct record_ref *records = mem_array(plan->record_count, sizeof(*records));
    struct slot_plan *slots = mem_array(plan->slot_count, sizeof(*slots));
    for (uint32_t i = 0; i < plan->record_count; i++)
        records[i] = (struct record_ref){plan->shards[i], plan->records[i]};
    for (uint32_t i = 0; i < plan->slot_count; i++)
        slots[i] = (struct slot_plan){plan->slots[i].slot, plan->slots[i].position,
                                      records + (size_t)i * plan->slot_images};
    struct batch_plan batch = {message->header.step, plan->slot_count, slots};
    loader_submit(link->loader, &batch);
    mem_free(slots);
    mem_free(records);
}

static void order(struct link *link, struct member_action *action)
{
    struct job *job = job_create(action);
    if (action->kind == MEMBER_PREPARE)
        handover_prepare(link->setup.handover, &job);
    else
        handover_order(link->setup.handover, &job);
}

static void act(struct link *link, struct member_action *action)
{
    switch (action->kind) {
    case MEMBER_SEND:
        link_send(link, &action->message);
        break;
    case MEMBER_CONFIGURE:
        configure(link, action);
        break;
    case MEMBER_SHARDS:
        take_shards(link, &action->message.shards);
        break;
    case MEMBER_FLUSH:
        if (link->loader != NULL)
            loader_flush(link->loader, action->step);
        break;
    case MEMBER_SUBMIT:
        submit(link, &action->message);
        break;
    case MEMBER_ABANDON:
        handover_abandon(link->setup.handover);
        break;
    case MEMBER_EXIT:
        log_info("event=leaving reason=\"%s\"", action->text);
        order(link, action);
        break;
    case MEMBER_PREPARE:
    case MEMBER_FORM:
    case MEMBER_COMPUTE:
    case MEMBER_APPLY:
    case MEMBER_SKIP:
    case MEMBER_SNAPSHOT:
        order(link, action);
        break;
    }
}

static void link_handle(struct link *link, const struct member_event *event)
{
    struct member_actions actions;
    member_actions_init(&actions);
    member_handle(link->member, event, &actions);
    for (uint32_t i = 0; i < actions.count; i++)
        act(link, &actions.items[i]);
    member_actions_done(&actions);
}

/* Bytes that the training thread asked for; it gives up by itself if they do not come. */
static void pass_part(struct link *link, struct message *message)
{
    struct message *part = mem_alloc(sizeof(*part));
    *part = *message;
    *message = (struct message){0};
    void *item = part;
    if (queue_push(link->setup.handover->parts, &item, 0) != OK) {
        message_done(part);
        mem_free(part);
    }
}

/* A server that forms another generation by now takes no note of it. */
static void say_rendezvous(struct link *link)
{
    const uint64_t generation = link->rendezvous.header.generation;
    link->rendezvous.header = link->header;
    link->rendezvous.header.generation = generation;
    link_send(link, &link->rendezvous);
}

static void hear_message(struct link *link, struct message *message)
{
    if (message->kind == MESSAGE_WELCOME) {
        link->header.run = message->header.run;
        link->header.epoch = message->header.epoch;
        log_info("event=welcome name=\"%s\" protocol=%u", message->welcome.name,
                 message->welcome.protocol);
    }
    struct member_event event = {.kind = MEMBER_MESSAGE, .message = message};
    if (message->kind == MESSAGE_WELCOME && link->rendezvous.kind != 0)
        say_rendezvous(link);
    if (message->kind == MESSAGE_RENDEZVOUS)
        meeting_put(&link->setup.handover->meeting, message);
    else if (message->kind == MESSAGE_SNAPSHOT_ACK)
        snapshot_push_acknowledge(&link->push, message);
    else if (message->kind == MESSAGE_SNAPSHOT_DATA)
        pass_part(link, message);
    else
        link_handle(link, &event);
}

/* What is not heard waits in the socket, and then at the server. */
static void hear(struct link *link)
{
    for (int i = 0; i < HEAR_MAX && handover_has_room(link->setup.handover); i++) {
        struct message message;
        enum status status = endpoint_receive(link->endpoint, 0, NULL, &message);
        if (status == ERR_END)
            return;
        if (status == ERR_IO)
            link_die("socket", status);
        if (status != OK) {
            log_debug("event=message_refused reason=\"%s\"", fail_message());
            continue;
        }
        hear_message(link, &message);
        message_done(&message);
    }
}

static void see_connection(struct link *link)
{
    enum endpoint_change change;
    while ((change = endpoint_watch_next(link->endpoint)) != ENDPOINT_SAME) {
        if (!server_watch_see(&link->watch, change))
            continue;
        snapshot_push_again(&link->push);
        struct member_event event = {.kind = link->watch.is_up ? MEMBER_CONNECTED
                                                               : MEMBER_DISCONNECTED};
        link_handle(link, &event);
    }
}

static void see_report(struct link *link, struct report *report)
{
    struct member_event event = {.ticket = report->ticket};
    switch (report->kind) {
    case REPORT_FORMED:
        event.kind = MEMBER_FORMED;
        event.digest = report->digest;
        link_handle(link, &event);
        break;
    case REPORT_COMPUTED:
        link->images_per_second = report->images_per_second;
        event.kind = MEMBER_COMPUTED;
        event.ready = &report->ready;
        link_handle(link, &event);
        break;
    case REPORT_FAILED:
        event.kind = MEMBER_JOB_FAILED;
        event.reason = report->reason;
        link_handle(link, &event);
        break;
    case REPORT_PREPARED:
        event.kind = MEMBER_PREPARED;
        link_handle(link, &event);
        break;
    case REPORT_PREPARE_FAILED:
        event.kind = MEMBER_PREPARE_FAILED;
        event.reason = report->reason;
        link_handle(link, &event);
        break;
    case REPORT_SHARE:
        snapshot_push_start(&link->push, &report->share);
        break;
    case REPORT_RENDEZVOUS:
        message_done(&link->rendezvous);
        link->rendezvous = report->message;
        report->message = (struct message){0};
        say_rendezvous(link);
        break;
    case REPORT_READ:
        report->message.header = link->header;
        link_send(link, &report->message);
        break;
    case REPORT_WARM:
        link->heartbeat_ms = 0; /* the next one tells it, and is due now */
        break;
    case REPORT_ENDED:
        link->end_ms = clock_ms() + link->push_ms;
        break;
    }
}

static void see_reports(struct link *link)
{
    struct report *report;
    eventfd_t count;
    CHECK(eventfd_read(link->setup.handover->report_fd, &count) == 0 || errno == EAGAIN);
    while ((report = handover_report(link->setup.handover)) != NULL) {
        see_report(link, report);
        report_destroy(report);
    }
}

/* Plans that need such a shard wait: for its file, for a loader, or for the server's word. */
static void see_shards(struct link *link)
{
    struct shard_trouble trouble;
    while (link->loader != NULL && shard_source_trouble(link->loader, &trouble)) {
        struct message_shard_unreadable unreadable = {
            .shard = trouble.shard,
            .is_damaged = trouble.kind == SHARD_TROUBLE_DAMAGED,
            .open_count = trouble.open_count,
            .reason = trouble.reason,
        };
        struct member_event event = {.kind = MEMBER_UNREADABLE, .unreadable = &unreadable};
        link_handle(link, &event);
    }
}

static void see_signals(struct link *link)
{
    struct signalfd_siginfo info;
    while (read(link->signal_fd, &info, sizeof(info)) == sizeof(info)) {
        notify_stopping();
        if (++link->signal_count > 1)
            _exit(EXIT_BY_SIGNAL + (int)info.ssi_signo);
        log_info("event=drain signal=%u hint=\"a second one ends at once\"", info.ssi_signo);
        struct member_event event = {.kind = MEMBER_DRAIN, .reason = "signal"};
        link_handle(link, &event);
    }
}

static void beat(struct link *link)
{
    const struct step_progress *progress = link->setup.progress;
    const struct collective_pulse *pulse =
        &link->setup.handover->pulses[link->setup.handover->present];
    struct message_heartbeat heartbeat = {
        .phase = atomic_load(&progress->phase),
        .progress = atomic_load(&progress->progress),
        .phase_ms = clock_ms() - atomic_load(&progress->phase_since_ms),
        .images_per_second = link->images_per_second,
        .memory_bytes = host_used_bytes(),
        .operations = atomic_load(&pulse->operations),
        .helper_ms = atomic_load(&pulse->helper_still_ms),
        .is_warm = atomic_load(&progress->is_warm),
    };
    heartbeat.has_gpu = gpu_health_read(link->setup.health, &heartbeat.gpu);
    heartbeat.has_learning = learning_watch_read(link->setup.learning, &heartbeat.learning);
    struct member_event event = {.kind = MEMBER_TICK, .heartbeat = &heartbeat};
    link_handle(link, &event);
    link->heartbeat_ms = clock_ms();
    server_watch_look(&link->watch);
    struct member_view view;
    member_view(link->member, &view);
    service_status_tell(&link->service, &link->watch, &view, link->images_per_second);
}

static int is_over(const struct link *link)
{
    return link->end_ms != 0 &&
           (link->push.share == NULL || !link->watch.is_up || clock_ms() > link->end_ms);
}

static void link_run(void *argument)
{
    struct link *link = argument;
    zmq_pollitem_t items[] = {
        {.socket = endpoint_socket(link->endpoint), .events = ZMQ_POLLIN},
        {.socket = endpoint_watch_socket(link->endpoint), .events = ZMQ_POLLIN},
        {.fd = link->setup.handover->report_fd, .events = ZMQ_POLLIN},
        {.fd = link->signal_fd, .events = ZMQ_POLLIN},
    };
    while (!is_over(link)) {
        atomic_fetch_add(&link->setup.handover->turns, 1);
        struct member_view view;
        member_view(link->member, &view);
        int64_t period_ms = view.heartbeat_ms > 0 ? view.heartbeat_ms : HEARTBEAT_MS;
        int64_t left_ms = link->heartbeat_ms + period_ms - clock_ms();
        items[0].events = handover_has_room(link->setup.handover) ? ZMQ_POLLIN : 0;
        zmq_poll(items, 4, left_ms > 0 ? (long)left_ms : 0);
        see_connection(link);
        hear(link);
        see_reports(link);
        see_shards(link);
        see_signals(link);
        push_parts(link);
        if (clock_ms() >= link->heartbeat_ms + period_ms)
            beat(link);
    }
    snapshot_push_drop(&link->push, link->watch.is_up ? "not taken within snapshot.push_ms"
                                                      : "the server is away");
}

static void link_destroy(struct link *link)
{
    if (link == NULL)
        return;
    snapshot_push_done(&link->push);
    message_done(&link->rendezvous);
    endpoint_close(link->endpoint);
    member_destroy(link->member);
    if (link->signal_fd >= 0)
        close(link->signal_fd);
    mem_free(link);
}

enum status link_start(const struct link_setup *setup, struct link **ret_link)
{
    enum status status = OK;
    char host[HOST_BYTES];
    host_name(host, sizeof(host));
    struct link *link = mem_zero(sizeof(*link));
    link->setup = *setup;
    server_watch_init(&link->watch, setup->server, setup->key != NULL);
    link->header.worker = host_entropy();
    struct member_setup member = {
        .worker = link->header.worker,
        .name = setup->name,
        .host = host,
        .device = setup->device,
        .version = protocol_program(),
        .helper_address = setup->helper_address,
        .boot = host_boot(),
        .pid = (uint32_t)getpid(),
    };
    link->member = member_create(&member);
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    link->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    if (link->signal_fd < 0) {
        status = fail(ERR_IO, "signalfd: %s", strerror(errno));
        goto out;
    }
    TRY_OUT(endpoint_connect_watched(setup->server, setup->key, &link->endpoint));
    log_info("event=connecting server=%s worker=%016" PRIx64, setup->server, link->header.worker);
    TRY_OUT(thread_start(&link->thread, "link", link_run, link));
    *ret_link = link;
    link = NULL; /* given to the caller */
out:
    link_destroy(link);
    return status;
}

void link_stop(struct link *link)
{
    if (link == NULL)
        return;
    thread_stop(&link->thread);
    link_destroy(link);
}
