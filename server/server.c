/* server.c - the shell's life: open, restore, loop, close. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/server.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include <zmq.h>

#include "common/clock.h"
#include "common/fs.h"
#include "common/helper_command.h"
#include "common/host.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/notify.h"
#include "proto/loader_address.h"
#include "server/dispatch.h"
#include "server/initial_state.h"
#include "server/perform.h"
#include "server/report.h"
#include "server/run_address.h"

enum {
    REPORT_MS = 1000, /* workers and stream to the feed, a look at the stores */
    POLL_HELPERS = 3, /* after control, signals and disk: the end and the output of each */
    POLL_FIXED = POLL_HELPERS + 2 * HELPERS_LAUNCHES,
    DISK_JOBS = 16 * ROSTER_MAX, /* room for all the parts that members may have under way */
    FINISHED_AT_ONCE = 64,       /* jobs; then the loop looks at all else again */
    CONFIG_BYTES_MAX = 64 << 10, /* a Welcome carries it */
    EVENT_BURST = 1000, /* events of a kind in a window: a store may come with 26,000 shards */
    EVENT_WINDOW_MS = 60000,
};

/* ---- events ---- */

void server_add_trouble(struct server *server, const struct trouble *trouble)
{
    if (server->trouble_count == server->trouble_capacity) {
        server->trouble_capacity = server->trouble_capacity * 2 + 16;
        server->troubles =
            mem_resize(server->troubles, server->trouble_capacity * sizeof(*server->troubles));
    }
    server->troubles[server->trouble_count++] = *trouble;
}

static void handle_one(struct server *server, const struct coordinator_event *event)
{
    if (server->status != OK)
        return;
    actions_clear(&server->actions);
    coordinator_handle(server->coordinator, event, clock_ms(), &server->actions);
    perform_actions(server);
}

static struct coordinator_event event_of(const struct trouble *trouble)
{
    struct coordinator_event event = {.kind = trouble->kind, .reason = trouble->reason};
    if (trouble->kind == COORDINATOR_CONNECTION_LOST)
        event.connection = trouble->number;
    else if (trouble->kind == COORDINATOR_PROCESS_DIED)
        event.worker = trouble->number;
    else if (trouble->kind == COORDINATOR_HELPERS_FAILED)
        event.generation = trouble->number;
    else
        event.snapshot.name = trouble->name;
    return event;
}

static void handle_troubles(struct server *server)
{
    while (server->trouble_count > 0) {
        struct trouble trouble = server->troubles[0];
        server->trouble_count--;
        memmove(server->troubles, server->troubles + 1, server->trouble_count * sizeof(trouble));
        struct coordinator_event event = event_of(&trouble);
        handle_one(server, &event);
    }
}

void server_handle(struct server *server, const struct coordinator_event *event)
{
    handle_one(server, event);
    handle_troubles(server);
}

/* ---- open ---- */

static enum status open_signals(int *ret_file)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    signal(SIGPIPE, SIG_IGN);
    if (sigprocmask(SIG_BLOCK, &signals, NULL) != 0)
        return fail(ERR_IO, "cannot block signals: %s", strerror(errno));
    int file = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    if (file < 0)
        return fail(ERR_IO, "cannot make a signalfd: %s", strerror(errno));
    *ret_file = file;
    return OK;
}

/* The run folder gets the lines that a crash between journal and file kept out of it. */
static enum status restore_record(void *context, const struct journal_record *record)
{
    struct server *server = context;
    TRY(coordinator_restore(server->coordinator, record));
    if (record->kind == JOURNAL_START)
        server->run = record->start.run;
    else if (record->kind == JOURNAL_STEP)
        run_folder_step(server->folder, &record->step);
    return OK;
}

/* Once, before anybody has computed anything. */
static enum status take_initial(struct server *server)
{
    struct coordinator_view view;
    coordinator_view(server->coordinator, &view);
    if (server->config->model.init[0] == 0 || view.has_initial)
        return OK;
    if (view.has_begun)
        return fail(ERR_INPUT, "model.init: this run has begun without it: leave the key away, or "
                               "start a new run in an empty folder");
    TRY(initial_state_take(server->config, parameter_store_directory(server->store)));
    coordinator_begin_with_initial(server->coordinator);
    return OK;
}

static enum status restore(struct server *server)
{
    struct buf config_text;
    buf_init(&config_text, CONFIG_BYTES_MAX);
    enum status status = config_print(server->config, &config_text);
    if (status == OK) {
        server->run = host_entropy();
        server->coordinator = coordinator_create(&(struct coordinator_setup){
            .config = server->config,
            .config_text = (const char *)config_text.bytes,
            .run = server->run,
            .entropy = host_entropy(),
            .boot = host_boot(),
        });
        status = journal_each(server->journal, restore_record, server);
    }
    if (status == OK)
        status = take_initial(server);
    buf_done(&config_text);
    return status;
}

/* Helpers of the generation that the run may go on with are kept, others end. */
static void see_left_helpers(void *context, const struct helper_left *left)
{
    struct server *server = context;
    struct coordinator_view view;
    struct helpers other;
    coordinator_view(server->coordinator, &view);
    int is_kept = view.state == RUN_RECOVERING && left->launch.generation == view.generation &&
                  server->helpers[0].pid == 0;
    helpers_adopt(is_kept ? &server->helpers[0] : &other, left);
    if (!is_kept)
        helpers_stop(&other);
}

/* What a server that was killed has left. */
static void adopt_helpers(struct server *server)
{
    struct helpers *helpers = &server->helpers[0];
    helper_each_left(server->run, see_left_helpers, server);
    struct helper_launch kept = {
        .run = server->run, .generation = helpers->generation, .nonce = helpers->nonce};
    helper_clean_run(server->run, helpers->pid != 0 ? &kept : NULL);
    struct coordinator_view view;
    coordinator_view(server->coordinator, &view);
    if (view.state == RUN_RECOVERING && helpers->pid == 0)
        server_handle(server,
                      &(struct coordinator_event){.kind = COORDINATOR_HELPERS_FAILED,
                                                  .generation = view.generation,
                                                  .reason = "its helpers ended with the server"});
}

static void start(struct server *server)
{
    for (int i = 0; i < HELPERS_LAUNCHES; i++)
        helpers_init(&server->helpers[i], server->run);
    actions_clear(&server->actions);
    coordinator_start(server->coordinator, clock_ms(), &server->actions);
    report_begin(server);
    perform_actions(server);
    handle_troubles(server);
    adopt_helpers(server);
    shard_watch_look(server);
}

/* Or every worker would find out for itself. */
static enum status check_loaders(const struct config *config)
{
    struct loader_address address;
    for (int64_t i = 0; i < config->data.loader_count; i++)
        if (loader_address_parse(config->data.loaders[i], &address) != OK)
            return fail_add(ERR_INPUT, "data.loaders");
    return OK;
}

/* The journal first: owning it is owning the run. Sockets last: nobody is heard before that. */
static enum status open_parts(struct server *server)
{
    const struct config *config = server->config;
    char *state = mem_format("%s/state", server->directory);
    char *snapshots = mem_format("%s/snapshots", server->directory);
    char *keys = mem_format("%s/keys", server->directory);
    enum status status = OK;
    TRY_OUT(journal_open(state, &server->journal));
    TRY_OUT(store_scan_create(config, &server->scan));
    TRY_OUT(parameter_store_open(snapshots, &server->store));
    evaluation_watch_init(&server->evaluations, server->directory);
    TRY_OUT(run_folder_open(server->directory, &server->folder));
    TRY_OUT(restore(server));
    TRY_OUT(check_loaders(config));
    TRY_OUT(gate_open(keys, KEY_SERVER, &server->gate));
    TRY_OUT(
        run_address_bind(server->directory, config, server->gate, &server->control, &server->feed));
    TRY_OUT(run_address_save(server->directory, server->run, endpoint_address(server->control),
                             feed_address(server->feed)));
    TRY_OUT(open_signals(&server->signals));
    TRY_OUT(disk_create(DISK_JOBS, &server->disk));
out:
    mem_free(state);
    mem_free(snapshots);
    mem_free(keys);
    return status;
}

enum status server_create(const struct config *config, const char *directory,
                          struct server **ret_server)
{
    struct server *server = mem_zero(sizeof(*server));
    server->config = config;
    server->directory = mem_string(directory);
    server->signals = -1;
    server->event_limit.burst = EVENT_BURST;
    server->event_limit.window_ms = EVENT_WINDOW_MS;
    actions_init(&server->actions);
    actions_init(&server->late.plans);
    process_watch_init(&server->watch);
    for (int i = 0; i < HELPERS_LAUNCHES; i++)
        helpers_init(&server->helpers[i], 0);
    enum status status = open_parts(server);
    if (status == OK) {
        start(server);
        status = server->status;
    }
    if (status != OK) {
        server_destroy(server);
        return status;
    }
    *ret_server = server;
    return OK;
}

void server_destroy(struct server *server)
{
    if (server == NULL)
        return;
    char *words = mem_string(fail_message());
    for (int i = 0; i < HELPERS_LAUNCHES; i++)
        helpers_stop(&server->helpers[i]);
    process_watch_done(&server->watch);
    disk_destroy(server->disk);
    shard_watch_done(&server->shard_watch);
    evaluation_watch_done(&server->evaluations);
    mem_free(server->shard_watch.is_unlinked);
    endpoint_close(server->control);
    feed_close(server->feed);
    gate_close(server->gate); /* after the sockets that ask it */
    coordinator_destroy(server->coordinator);
    actions_done(&server->actions);
    actions_done(&server->late.plans);
    store_scan_destroy(server->scan);
    parameter_store_close(server->store);
    run_folder_close(server->folder);
    journal_close(server->journal);
    if (server->signals >= 0)
        close(server->signals);
    mem_free(server->troubles);
    mem_free(server->directory);
    mem_free(server);
    fail(OK, "%s", words); /* why it ended is said after this: closing must not replace the words */
    mem_free(words);
}

/* ---- the loop ---- */

static void handle_signals(struct server *server)
{
    struct signalfd_siginfo info;
    while (read(server->signals, &info, sizeof(info)) == sizeof(info)) {
        notify_stopping();
        char *text = mem_format("signal=%u count=%d", info.ssi_signo, ++server->stop_count);
        report_event(server, "stop_asked", 0, text);
        mem_free(text);
        server_handle(server, &(struct coordinator_event){
                                  .kind = COORDINATOR_COMMAND,
                                  .command = {.command = COMMAND_STOP, .argument = ""}});
    }
}

static void handle_helpers_end(struct server *server, struct helpers *helpers)
{
    char reason[HELPERS_WORDS_BYTES + 32];
    helpers_stop(helpers); /* takes in what it still had to say */
    snprintf(reason, sizeof(reason), "mpirun ended: %s",
             helpers->words[0] != 0 ? helpers->words : "it said nothing");
    server_handle(server, &(struct coordinator_event){.kind = COORDINATOR_HELPERS_FAILED,
                                                      .generation = helpers->generation,
                                                      .reason = reason});
}

static void handle_process_end(struct server *server, uint64_t worker)
{
    process_watch_remove(&server->watch, worker);
    server_handle(server, &(struct coordinator_event){.kind = COORDINATOR_PROCESS_DIED,
                                                      .worker = worker,
                                                      .reason = "its process ended"});
}

static void handle_time(struct server *server)
{
    int64_t now_ms = clock_ms();
    if (now_ms - server->tick_ms >= COORDINATOR_TICK_MS) {
        server->tick_ms = now_ms;
        server_handle(server, &(struct coordinator_event){.kind = COORDINATOR_TICK});
    }
    if (now_ms - server->report_ms >= REPORT_MS) {
        server->report_ms = now_ms;
        report_present(server);
        shard_watch_look(server);
        shard_watch_expire(server);
        if (server->gate != NULL)
            gate_look(server->gate);
    }
}

/* What was polled for a launch of helpers, to know it from another that took its place since. */
struct helpers_polled {
    uint64_t generation;
    int process, output;
};

static void poll_helpers(const struct server *server, zmq_pollitem_t *items,
                         struct helpers_polled *polled)
{
    for (int i = 0; i < HELPERS_LAUNCHES; i++) {
        const struct helpers *helpers = &server->helpers[i];
        const int files[2] = {helpers->process, helpers->output};
        polled[i] = (struct helpers_polled){helpers->generation, files[0], files[1]};
        /* A negative fd is not skipped by zmq_poll as by poll(2): look at the signals instead. */
        for (int j = 0; j < 2; j++)
            items[2 * i + j] = (zmq_pollitem_t){.fd = files[j] >= 0 ? files[j] : server->signals,
                                                .events = ZMQ_POLLIN};
    }
}

/* Returns whether any of them have ended. */
static int handle_helpers(struct server *server, const zmq_pollitem_t *items,
                          const struct helpers_polled *polled)
{
    int has_ended = 0;
    for (int i = 0; i < HELPERS_LAUNCHES; i++) {
        struct helpers *helpers = &server->helpers[i];
        int is_same = helpers->pid != 0 && helpers->generation == polled[i].generation;
        if (is_same && items[2 * i + 1].revents != 0 && polled[i].output >= 0)
            helpers_log(helpers);
        if (is_same && items[2 * i].revents != 0 && polled[i].process >= 0) {
            handle_helpers_end(server, helpers);
            has_ended = 1;
        }
    }
    return has_ended;
}

static int patience_ms(struct server *server)
{
    if (shard_watch_tell(server))
        return 0;
    return server->late.is_due ? 1 : COORDINATOR_TICK_MS;
}

/* Waits for anything to happen, then handles it. Handling one thing may end the next: so the list
 * of processes is read from a copy. */
static void turn(struct server *server, zmq_pollitem_t *items, uint64_t *workers)
{
    struct helpers_polled polled[HELPERS_LAUNCHES];
    uint32_t watched = server->watch.count;
    items[0] = (zmq_pollitem_t){.socket = endpoint_socket(server->control), .events = ZMQ_POLLIN};
    items[1] = (zmq_pollitem_t){.fd = server->signals, .events = ZMQ_POLLIN};
    items[2] = (zmq_pollitem_t){.fd = disk_event(server->disk), .events = ZMQ_POLLIN};
    poll_helpers(server, items + POLL_HELPERS, polled);
    int count = POLL_FIXED;
    for (uint32_t i = 0; i < watched; i++) {
        workers[i] = server->watch.items[i].worker;
        items[count++] =
            (zmq_pollitem_t){.fd = server->watch.items[i].process, .events = ZMQ_POLLIN};
    }
    if (zmq_poll(items, count, patience_ms(server)) < 0)
        return; /* interrupted */
    int has_ended = handle_helpers(server, items + POLL_HELPERS, polled);
    for (uint32_t i = 0; i < watched; i++) {
        if (items[POLL_FIXED + i].revents == 0)
            continue;
        handle_process_end(server, workers[i]);
        has_ended = 1;
    }
    if (items[1].revents != 0)
        handle_signals(server);
    /* Others may have ended while that was handled. Look again before a successor's Hello is heard,
     * or it would not get the name back. */
    if (!has_ended)
        dispatch_messages(server);
    if (items[2].revents != 0)
        disk_finish(server->disk, FINISHED_AT_ONCE, server);
    handle_troubles(server);
    if (perform_is_late(server))
        perform_late(server);
    handle_time(server);
}

enum status server_run(struct server *server)
{
    enum { SIGNALS_PATIENCE = 2 };
    zmq_pollitem_t *items = mem_array(POLL_FIXED + PROCESS_WATCH_MAX, sizeof(*items));
    uint64_t *workers = mem_array(PROCESS_WATCH_MAX, sizeof(*workers));
    while (!server->is_finished && server->status == OK && server->stop_count < SIGNALS_PATIENCE)
        turn(server, items, workers);
    if (server->status == OK)
        perform_late(server);
    mem_free(items);
    mem_free(workers);
    if (server->status == OK && !server->is_finished)
        return fail(ERR_END, "stopped at once by a second signal; the run can be continued");
    return server->status == OK ? OK : fail(server->status, "%s", server->words);
}
