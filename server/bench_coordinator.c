/* bench_coordinator.c - can one core coordinate a thousand workers? */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include <stdio.h>

#include <jansson.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/mem.h"
#include "common/percentile.h"
#include "server/bench_peers.h"
#include "server/bench_server.h"
#include "server/commands.h"

enum {
    WARM_UP_STEPS = 2,
    GATHER_US = 20000000,  /* for all to join */
    VERDICT_US = 20000000, /* a step that takes longer is given up */
    SECONDS_MAX = 3600,
};

struct request {
    int64_t workers, seconds, step_ms;
    const char *folder, *output;
};

struct figures {
    int64_t cpu_us, wall_us;
    uint64_t steps, heartbeats, heartbeats_lost, regroups, reconnects;
    size_t latency_count;
    int64_t *latency_us; /* [latency_count]; owned */
};

/* One step: at its time all vote at once. */
static enum status run_step(struct bench_peers *peers, int64_t at_us)
{
    TRY(bench_peers_live(peers, at_us, NULL));
    TRY(bench_peers_live(peers, clock_us() + VERDICT_US, bench_peers_are_planned));
    if (!bench_peers_are_planned(peers))
        return fail(ERR_UNREACHABLE, "a step was not planned for all within %d s",
                    VERDICT_US / 1000000);
    TRY(bench_peers_vote(peers));
    TRY(bench_peers_live(peers, clock_us() + VERDICT_US, bench_peers_are_told));
    if (!bench_peers_are_told(peers))
        return fail(ERR_UNREACHABLE, "%u workers have heard no verdict within %d s", peers->awaited,
                    VERDICT_US / 1000000);
    return OK;
}

static enum status measure(const struct request *request, const struct bench_server *server,
                           struct bench_peers *peers, struct figures *figures)
{
    TRY(bench_peers_live(peers, clock_us() + GATHER_US, bench_peers_are_planned));
    if (!bench_peers_are_planned(peers))
        return fail(ERR_UNREACHABLE, "not all %u workers were in one generation after %d s",
                    peers->count, GATHER_US / 1000000);
    int64_t at_us = clock_us();
    for (int i = 0; i < WARM_UP_STEPS; i++)
        TRY(run_step(peers, at_us += request->step_ms * 1000));
    const struct bench_peers before = *peers;
    int64_t cpu_us = bench_server_cpu_us(server), start_us = clock_us();
    for (uint64_t step = 0; step < figures->steps; step++) {
        TRY(run_step(peers, at_us += request->step_ms * 1000));
        for (uint32_t i = 0; i < peers->count; i++)
            figures->latency_us[figures->latency_count++] = peers->latency_us[i];
    }
    figures->cpu_us = bench_server_cpu_us(server) - cpu_us;
    figures->wall_us = clock_us() - start_us;
    figures->heartbeats = peers->heartbeats - before.heartbeats;
    figures->heartbeats_lost = peers->heartbeats_lost - before.heartbeats_lost;
    figures->regroups = peers->regroups - before.regroups;
    figures->reconnects = peers->reconnects - before.reconnects;
    return OK;
}

static void report(const struct request *request, struct figures *figures)
{
    double cpu_percent = 100.0 * (double)figures->cpu_us / (double)figures->wall_us;
    percentile_sort(figures->latency_us, figures->latency_count);
    double p50_ms = (double)percentile_of(figures->latency_us, figures->latency_count, 50) / 1000;
    double p99_ms = (double)percentile_of(figures->latency_us, figures->latency_count, 99) / 1000;
    double max_ms = (double)percentile_of(figures->latency_us, figures->latency_count, 100) / 1000;
    if (options_is_json(request->output)) {
        json_t *object = json_pack(
            "{s:i, s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:I, s:I, s:I, s:I}", "schema_version", 1,
            "workers", (json_int_t)request->workers, "steps", (json_int_t)figures->steps, "seconds",
            (double)figures->wall_us / 1e6, "server_cpu_percent", cpu_percent, "commit_ms_p50",
            p50_ms, "commit_ms_p99", p99_ms, "commit_ms_max", max_ms, "heartbeats",
            (json_int_t)figures->heartbeats, "heartbeats_lost",
            (json_int_t)figures->heartbeats_lost, "reconnects", (json_int_t)figures->reconnects,
            "regroups", (json_int_t)figures->regroups);
        json_print(object);
        json_decref(object);
        return;
    }
    printf("%lld workers, %llu steps in %.1f s: server %.1f %% of a core; from the last vote to a "
           "verdict p50 %.1f ms, p99 %.1f ms, max %.1f ms; %llu heartbeats, %llu lost; %llu "
           "reconnects, %llu regroups\n",
           (long long)request->workers, (unsigned long long)figures->steps,
           (double)figures->wall_us / 1e6, cpu_percent, p50_ms, p99_ms, max_ms,
           (unsigned long long)figures->heartbeats, (unsigned long long)figures->heartbeats_lost,
           (unsigned long long)figures->reconnects, (unsigned long long)figures->regroups);
}

static enum status run(const struct request *request)
{
    static struct config config; /* large */
    struct bench_server server = {0};
    struct bench_peers peers = {0};
    struct figures figures = {.steps = (uint64_t)(request->seconds * 1000 / request->step_ms)};
    figures.latency_us =
        mem_array(figures.steps * (uint64_t)request->workers, sizeof(*figures.latency_us));
    bench_server_config(request->workers, &config);
    enum status status = bench_server_start(request->folder, &config, &server);
    if (status == OK)
        status = bench_peers_open(server.address.control, (uint32_t)request->workers, &peers);
    if (status == OK)
        status = measure(request, &server, &peers, &figures);
    if (status == OK)
        report(request, &figures);
    bench_peers_close(&peers);
    bench_server_stop(&server);
    mem_free(figures.latency_us);
    return status;
}

static int bench_coordinator_run(int argc, char **argv)
{
    struct request request = {.workers = 1000, .seconds = 20, .step_ms = 1000, .folder = "."};
    const struct option_row rows[] = {
        {"workers", 'n', OPTION_INT, &request.workers, "N", "that compute nothing (default 1000)"},
        {"seconds", 's', OPTION_INT, &request.seconds, "S", "to measure (default 20)"},
        {"step-ms", 0, OPTION_INT, &request.step_ms, "MS", "a step in so many (default 1000)"},
        {"folder", 0, OPTION_STRING, &request.folder, "DIR",
         "where the journal is written, and removed (default: here)"},
        {"output", 'o', OPTION_STRING, &request.output, "FORMAT", "table (default) or json"},
        {0},
    };
    const struct usage usage = {
        .program = "seer bench coordinator",
        .synopsis = "[--workers N] [--seconds S] [--step-ms MS] [--folder DIR] [-o json]",
        .summary =
            "Runs a real server against workers that compute nothing, with a heartbeat each\n"
            "100 ms, over loopback; tells the CPU it takes and how long commits do.",
        .examples = "  seer bench coordinator --workers 100 --seconds 5",
        .options = rows,
    };
    enum status status = options_parse_all(&usage, argc, argv);
    if (status == OK)
        status = options_check_output(request.output);
    if (status == OK && (request.workers < 1 || request.workers > BENCH_PEERS_MAX ||
                         request.step_ms < 1 || request.seconds < 1 ||
                         request.seconds > SECONDS_MAX || request.step_ms > request.seconds * 1000))
        status = fail(ERR_INPUT, "--workers is 1 to %d, --seconds 1 to %d, --step-ms within them",
                      BENCH_PEERS_MAX, SECONDS_MAX);
    if (status != OK)
        return options_exit(&usage, status);
    return command_exit(usage.program, run(&request));
}

const struct command bench_coordinator_command = {
    "coordinator", "a server with a thousand workers that compute nothing", bench_coordinator_run};
