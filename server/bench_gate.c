/* bench_gate.c - what plan, vote, journal and verdict cost a step when nothing fails.
 *
 * The same step, once with the gate and once without, in turns of a block each, so that both meet
 * the same machine. A step is a time in which nothing is done, as if a GPU did it; with the gate
 * its plan must have come, then all members vote, and the next begins when all have the verdict. */
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
    WARM_UP_STEPS = 20,
    BLOCK_STEPS = 50,
    GATHER_US = 30000000,
    VERDICT_US = 10000000,
    STEPS_MAX = 1000000,
};

struct request {
    int64_t members, steps, step_us;
    const char *folder, *output;
};

static enum status await(struct bench_peers *peers, int (*is_done)(const struct bench_peers *),
                         const char *what)
{
    TRY(bench_peers_live(peers, clock_us() + VERDICT_US, is_done));
    return is_done(peers) ? OK
                          : fail(ERR_UNREACHABLE, "no %s within %d s", what, VERDICT_US / 1000000);
}

/* Returns how long it took. */
static enum status step_through(struct bench_peers *peers, int64_t step_us, int is_gated,
                                int64_t *ret_us)
{
    int64_t start_us = clock_us();
    if (is_gated)
        TRY(await(peers, bench_peers_are_planned, "plan"));
    TRY(bench_peers_live(peers, start_us + step_us, NULL));
    if (is_gated) {
        TRY(bench_peers_vote(peers));
        TRY(await(peers, bench_peers_are_told, "verdict"));
    }
    *ret_us = clock_us() - start_us;
    return OK;
}

/* gated_us, bypassed_us: [steps]. */
static enum status measure(const struct request *request, struct bench_peers *peers,
                           int64_t *gated_us, int64_t *bypassed_us)
{
    int64_t ignored;
    TRY(bench_peers_live(peers, clock_us() + GATHER_US, bench_peers_are_planned));
    for (int i = 0; i < WARM_UP_STEPS; i++)
        TRY(step_through(peers, request->step_us, 1, &ignored));
    for (int64_t first = 0; first < request->steps; first += BLOCK_STEPS) {
        int64_t end = first + BLOCK_STEPS < request->steps ? first + BLOCK_STEPS : request->steps;
        for (int64_t i = first; i < end; i++)
            TRY(step_through(peers, request->step_us, 1, &gated_us[i]));
        for (int64_t i = first; i < end; i++)
            TRY(step_through(peers, request->step_us, 0, &bypassed_us[i]));
    }
    return OK;
}

static const double percents[] = {50, 99, 100};
enum { PERCENTS = sizeof(percents) / sizeof(percents[0]) };

static json_t *json_times(const int64_t *us)
{
    return json_pack("{s:I, s:I, s:I}", "p50", (json_int_t)us[0], "p99", (json_int_t)us[1], "max",
                     (json_int_t)us[2]);
}

static void report(const struct request *request, int64_t *gated_us, int64_t *bypassed_us)
{
    int64_t gated[PERCENTS], bypassed[PERCENTS], cost[PERCENTS];
    size_t steps = (size_t)request->steps;
    percentile_sort(gated_us, steps);
    percentile_sort(bypassed_us, steps);
    for (int i = 0; i < PERCENTS; i++) {
        gated[i] = percentile_of(gated_us, steps, percents[i]);
        bypassed[i] = percentile_of(bypassed_us, steps, percents[i]);
        cost[i] = gated[i] - bypassed[i];
    }
    if (options_is_json(request->output)) {
        json_t *object =
            json_pack("{s:i, s:I, s:I, s:I, s:o, s:o, s:o}", "schema_version", 1, "members",
                      (json_int_t)request->members, "steps", (json_int_t)steps, "step_us",
                      (json_int_t)request->step_us, "gated_us", json_times(gated), "bypassed_us",
                      json_times(bypassed), "cost_us", json_times(cost));
        json_print(object);
        json_decref(object);
        return;
    }
    printf("%lld members, %zu steps of %lld us, in us:\n%-10s %8s %8s %8s\n",
           (long long)request->members, steps, (long long)request->step_us, "", "p50", "p99",
           "max");
    const struct {
        const char *name;
        const int64_t *us;
    } lines[] = {{"gated", gated}, {"bypassed", bypassed}, {"cost", cost}};
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
        printf("%-10s %8lld %8lld %8lld\n", lines[i].name, (long long)lines[i].us[0],
               (long long)lines[i].us[1], (long long)lines[i].us[2]);
}

static enum status run(const struct request *request)
{
    static struct config config; /* large */
    struct bench_server server = {0};
    struct bench_peers peers = {0};
    int64_t *gated_us = mem_array((size_t)request->steps, sizeof(*gated_us));
    int64_t *bypassed_us = mem_array((size_t)request->steps, sizeof(*bypassed_us));
    bench_server_config(request->members, &config);
    enum status status = bench_server_start(request->folder, &config, &server);
    if (status == OK)
        status = bench_peers_open(server.address.control, (uint32_t)request->members, &peers);
    if (status == OK)
        status = measure(request, &peers, gated_us, bypassed_us);
    if (status == OK)
        report(request, gated_us, bypassed_us);
    bench_peers_close(&peers);
    bench_server_stop(&server);
    mem_free(gated_us);
    mem_free(bypassed_us);
    return status;
}

static int bench_gate_run(int argc, char **argv)
{
    struct request request = {.members = 4, .steps = 2000, .step_us = 5000, .folder = "."};
    const struct option_row rows[] = {
        {"members", 'n', OPTION_INT, &request.members, "N", "of the generation (default 4)"},
        {"steps", 's', OPTION_INT, &request.steps, "N", "of each kind (default 2000)"},
        {"step-us", 0, OPTION_INT, &request.step_us, "US",
         "that a step itself takes (default 5000)"},
        {"folder", 0, OPTION_STRING, &request.folder, "DIR",
         "where the journal is written, and removed (default: here)"},
        {"output", 'o', OPTION_STRING, &request.output, "FORMAT", "table (default) or json"},
        {0},
    };
    const struct usage usage = {
        .program = "seer bench gate",
        .synopsis = "[--members N] [--steps N] [--step-us US] [--folder DIR] [-o json]",
        .summary = "Times steps that end with a vote and a verdict of a real server, and the same\n"
                   "steps without, over loopback, with the journal on this disk.",
        .examples = "  seer bench gate --steps 500",
        .options = rows,
    };
    enum status status = options_parse_all(&usage, argc, argv);
    if (status == OK)
        status = options_check_output(request.output);
    if (status == OK &&
        (request.members < 1 || request.members > BENCH_PEERS_MAX || request.steps < 1 ||
         request.steps > STEPS_MAX || request.step_us < 0 || request.step_us > VERDICT_US / 2))
        status = fail(ERR_INPUT, "--members is 1 to %d, --steps 1 to %d, --step-us 0 to %d",
                      BENCH_PEERS_MAX, STEPS_MAX, VERDICT_US / 2);
    if (status != OK)
        return options_exit(&usage, status);
    return command_exit(usage.program, run(&request));
}

const struct command bench_gate_command = {"gate", "what a step pays for its vote and verdict",
                                           bench_gate_run};
