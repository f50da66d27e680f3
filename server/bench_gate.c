/* bench_gate.c - what plan, vote, journal and verdict cost a step when nothing fails.
 *
 * The same step with the gate, without it, and with bare sockets in its place, in turns of a block
 * each, so that all meet the same machine. A step is a time in which nothing is done, as if a GPU
 * did it; with the gate its plan must have come, then all members vote, and the next begins when
 * all have the verdict. What bare sockets take is the host's: threads that wake each other. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include <stdio.h>

#include <jansson.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/mem.h"
#include "common/percentile.h"
#include "server/bench_echo.h"
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

enum kind { GATED, BYPASSED, ECHOED, KINDS };

struct bench {
    const struct request *request;
    struct bench_server server;
    struct bench_peers peers;
    struct bench_echo echo;
    int64_t *us[KINDS]; /* [steps] */
};

static enum status await(struct bench_peers *peers, int (*is_done)(const struct bench_peers *),
                         const char *what)
{
    TRY(bench_peers_live(peers, clock_us() + VERDICT_US, is_done));
    return is_done(peers) ? OK
                          : fail(ERR_UNREACHABLE, "no %s within %d s", what, VERDICT_US / 1000000);
}

static enum status step_through(struct bench *bench, enum kind kind, int64_t *ret_us)
{
    struct bench_peers *peers = &bench->peers;
    int64_t start_us = clock_us();
    if (kind == GATED)
        TRY(await(peers, bench_peers_are_planned, "plan"));
    TRY(bench_peers_live(peers, start_us + bench->request->step_us, NULL));
    if (kind == GATED) {
        TRY(bench_peers_vote(peers));
        TRY(await(peers, bench_peers_are_told, "verdict"));
    } else if (kind == ECHOED)
        TRY(bench_echo_round(&bench->echo));
    *ret_us = clock_us() - start_us;
    return OK;
}

static enum status measure(struct bench *bench)
{
    int64_t ignored, steps = bench->request->steps;
    TRY(bench_peers_live(&bench->peers, clock_us() + GATHER_US, bench_peers_are_planned));
    for (int i = 0; i < WARM_UP_STEPS; i++)
        TRY(step_through(bench, GATED, &ignored));
    for (int64_t first = 0; first < steps; first += BLOCK_STEPS) {
        int64_t end = first + BLOCK_STEPS < steps ? first + BLOCK_STEPS : steps;
        for (enum kind kind = 0; kind < KINDS; kind++)
            for (int64_t i = first; i < end; i++)
                TRY(step_through(bench, kind, &bench->us[kind][i]));
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

/* The first three are the kinds. */
enum { ROW_GATED, ROW_BYPASSED, ROW_ECHOED, ROW_COST, ROW_TRANSPORT, ROWS };

static const char *const row_names[ROWS] = {
    [ROW_GATED] = "gated", [ROW_BYPASSED] = "bypassed",   [ROW_ECHOED] = "echoed",
    [ROW_COST] = "cost",   [ROW_TRANSPORT] = "transport",
};

static void report_json(const struct request *request, int64_t rows[ROWS][PERCENTS])
{
    json_t *object = json_pack("{s:i, s:I, s:I, s:I}", "schema_version", 1, "members",
                               (json_int_t)request->members, "steps", (json_int_t)request->steps,
                               "step_us", (json_int_t)request->step_us);
    for (int row = 0; row < ROWS; row++) {
        char key[32];
        snprintf(key, sizeof(key), "%s_us", row_names[row]);
        json_object_set_new(object, key, json_times(rows[row]));
    }
    json_print(object);
    json_decref(object);
}

static void report(struct bench *bench)
{
    const struct request *request = bench->request;
    int64_t rows[ROWS][PERCENTS];
    for (enum kind kind = 0; kind < KINDS; kind++)
        percentile_sort(bench->us[kind], (size_t)request->steps);
    for (int i = 0; i < PERCENTS; i++) {
        for (enum kind kind = 0; kind < KINDS; kind++)
            rows[kind][i] = percentile_of(bench->us[kind], (size_t)request->steps, percents[i]);
        rows[ROW_COST][i] = rows[ROW_GATED][i] - rows[ROW_BYPASSED][i];
        rows[ROW_TRANSPORT][i] = rows[ROW_ECHOED][i] - rows[ROW_BYPASSED][i];
    }
    if (options_is_json(request->output)) {
        report_json(request, rows);
        return;
    }
    printf("%lld members, %lld steps of %lld us, in us:\n%-10s %8s %8s %8s\n",
           (long long)request->members, (long long)request->steps, (long long)request->step_us, "",
           "p50", "p99", "max");
    for (int row = 0; row < ROWS; row++)
        printf("%-10s %8lld %8lld %8lld\n", row_names[row], (long long)rows[row][0],
               (long long)rows[row][1], (long long)rows[row][2]);
}

static enum status run(const struct request *request)
{
    static struct config config; /* large */
    struct bench bench = {.request = request};
    for (enum kind kind = 0; kind < KINDS; kind++)
        bench.us[kind] = mem_array((size_t)request->steps, sizeof(*bench.us[kind]));
    bench_server_config(request->members, &config);
    enum status status = bench_server_start(request->folder, &config, &bench.server);
    if (status == OK)
        status = bench_echo_start(&bench.echo);
    if (status == OK)
        status = bench_peers_open(bench.server.address.control, (uint32_t)request->members,
                                  &bench.peers);
    if (status == OK)
        status = bench_echo_connect(&bench.echo, (uint32_t)request->members);
    if (status == OK)
        status = measure(&bench);
    if (status == OK)
        report(&bench);
    bench_peers_close(&bench.peers);
    bench_echo_stop(&bench.echo);
    bench_server_stop(&bench.server);
    for (enum kind kind = 0; kind < KINDS; kind++)
        mem_free(bench.us[kind]);
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
        .summary =
            "Times steps that end with a vote and a verdict of a real server, the same steps\n"
            "without, and with bare sockets that answer instead of a server (transport: what\n"
            "the host takes), over loopback, with the journal on this disk.",
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
