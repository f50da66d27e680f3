/* test_link_faults.c - a worker's link, from its start to the server's goodbye, while call 1, 2, 3
 * ... fails: it goes on, or says why it cannot, and holds nothing any more. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include <signal.h>
#include <unistd.h>

#include "common/log.h"
#include "common/mem.h"
#include "proto/endpoint.h"
#include "tests/torture/lives.h"
#include "worker/handover.h"
#include "worker/learning_watch.h"
#include "worker/link.h"
#include "worker/watchdog.h"

enum { HEARTBEAT_MS = 10, HEARTBEATS = 2, EPOCH = 3 };

static char address[64];

/* The worker's side. What it is given of config and loader it keeps until the link has ended. */

static void train(struct handover *handover, struct job *kept)
{
    for (int is_over = 0; !is_over;) {
        struct job *job = handover_job(handover);
        if (job->action.kind == MEMBER_CONFIGURE) {
            kept->config = job->config;
            kept->loader = job->loader;
            job->config = NULL;
            job->loader = NULL;
        }
        is_over = job->action.kind == MEMBER_EXIT;
        job_end(handover, job);
    }
    struct report *ended = report_create(REPORT_ENDED, 0);
    handover_tell(handover, &ended);
}

static enum status live(void)
{
    struct handover handover;
    struct link *link = NULL;
    static const struct step_progress progress;
    struct gpu_health health;
    struct learning_watch learning;
    struct job kept = {0};
    struct link_setup setup = {.server = address,
                               .name = "w",
                               .device = "cpu",
                               .helper_address = "/nobody",
                               .handover = &handover,
                               .health = &health,
                               .learning = &learning,
                               .progress = &progress};
    TRY(handover_init(&handover));
    gpu_health_start(&health, "", ""); /* it is told of no GPU */
    learning_watch_start(&learning);   /* nor of a sample */
    enum status status = link_start(&setup, &link);
    if (status == OK)
        train(&handover, &kept);
    link_stop(link);
    learning_watch_stop(&learning);
    gpu_health_stop(&health);
    handover_done(&handover);
    loader_destroy(kept.loader);
    mem_free(kept.config);
    return status;
}

/* The server's: it knows who said Hello, and lets him go after some heartbeats. */

static struct endpoint *server;
static int heartbeats;
static int is_known;

static void begin(void)
{
    heartbeats = is_known = 0;
    assert_ok(endpoint_bind(address, NULL, &server));
}

static void answer(const struct peer *peer, const struct message *heard, struct message *message)
{
    message->header = (struct message_header){
        .run = 1, .epoch = EPOCH, .worker = heard->header.worker, .sequence = 1};
    (void)endpoint_send(server, peer, message); /* it may be gone: then it ends here */
}

static void hear(const struct peer *peer, const struct message *heard)
{
    static char config[] = "train: {batch_images: 4, slot_images: 2}\ndata: {decode_threads: 1}\n";
    struct message welcome = {
        .kind = MESSAGE_WELCOME,
        .welcome = {.name = "w", .config = config, .heartbeat_ms = HEARTBEAT_MS, .lost_ms = 1000}};
    struct message unknown = {.kind = MESSAGE_REJECT, .reject = {.reason = "say hello"}};
    struct message dismiss = {.kind = MESSAGE_DISMISS, .dismiss = {.reason = "enough"}};
    is_known |= heard->kind == MESSAGE_HELLO;
    if (heard->kind == MESSAGE_HELLO)
        answer(peer, heard, &welcome);
    else if (!is_known)
        answer(peer, heard, &unknown);
    else if (heard->kind == MESSAGE_HEARTBEAT && ++heartbeats >= HEARTBEATS)
        answer(peer, heard, &dismiss); /* again at each that follows: the first may be lost */
}

static void turn(void)
{
    struct peer peer;
    struct message heard;
    while (endpoint_receive(server, 0, &peer, &heard) == OK) {
        hear(&peer, &heard);
        message_done(&heard);
    }
}

static void end(void)
{
    endpoint_close(server);
}

static void a_link_goes_on_or_says_why_it_cannot(void **state)
{
    (void)state;
    const struct lives lives = {.live = live,
                                .begin = begin,
                                .turn = turn,
                                .end = end,
                                .exit_code = WATCHDOG_EXIT,
                                .failures_min = 90};
    lives_run(&lives);
}

int main(void)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    log_start("test", LOG_LEVEL_ERROR);
    snprintf(address, sizeof(address), "ipc:///tmp/seer-link-%d", (int)getpid());
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_link_goes_on_or_says_why_it_cannot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
