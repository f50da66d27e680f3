/* bench_allreduce.c - times the mpi engine exactly as workers use it. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/collective/bench_allreduce.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "common/check.h"
#include "common/clock.h"
#include "common/json.h"
#include "common/percentile.h"
#include "worker/collective/local_group.h"

enum { WARM_UP = 5, RUNS_MAX = 10000 };

/* In memory shared with the members; rank 0 writes. */
struct measurement {
    int64_t floats, runs;
    int64_t us[RUNS_MAX];
};

static int member_run(struct collective *collective, float *region, void *argument)
{
    struct measurement *measurement = argument;
    for (int64_t i = -WARM_UP; i < measurement->runs; i++) {
        int64_t start_us = clock_us();
        if (collective_allreduce(collective, region, (size_t)measurement->floats, REDUCE_SUM) != OK)
            return 1;
        if (i >= 0 && collective_rank(collective) == 0)
            measurement->us[i] = clock_us() - start_us;
    }
    return 0;
}

static void report(const struct measurement *m, int64_t members, int is_json)
{
    int64_t bytes = m->floats * (int64_t)sizeof(float);
    int64_t p50 = percentile_of(m->us, (size_t)m->runs, 50);
    int64_t p99 = percentile_of(m->us, (size_t)m->runs, 99);
    if (!is_json) {
        printf("%lld members, %lld bytes: p50 %lld us, p99 %lld us\n", (long long)members,
               (long long)bytes, (long long)p50, (long long)p99);
        return;
    }
    json_t *object =
        json_pack("{s:i, s:s, s:I, s:I, s:I, s:I, s:I, s:f}", "schema_version", 1, "engine", "mpi",
                  "members", (json_int_t)members, "bytes", (json_int_t)bytes, "runs",
                  (json_int_t)m->runs, "time_us_p50", (json_int_t)p50, "time_us_p99",
                  (json_int_t)p99, "megabytes_per_second", (double)bytes / (double)(p50 + !p50));
    json_print(object);
    json_decref(object);
}

static enum status measure(struct measurement *m, int64_t members)
{
    struct local_group group;
    struct local_member member = {.run = member_run, .argument = m, .timeout_ms = 60000};
    int ended[LOCAL_MEMBERS_MAX] = {0};
    enum status status =
        local_group_start(&group, (int)members, (size_t)m->floats * sizeof(float), &member);
    local_group_end(&group, ended);
    TRY(status);
    for (int64_t rank = 0; rank < members; rank++) {
        if (ended[rank] != 0)
            return fail(ERR_UNREACHABLE, "member %lld failed; run with SEER_LOG=debug",
                        (long long)rank);
    }
    percentile_sort(m->us, (size_t)m->runs);
    return OK;
}

static int bench_allreduce_run(int argc, char **argv)
{
    int64_t members = 2, bytes = 4 << 20, runs = 100;
    const char *output = NULL;
    const struct option_row rows[] = {
        {"members", 'n', OPTION_INT, &members, "N", "workers on this host (default 2)"},
        {"bytes", 'b', OPTION_INT, &bytes, "N", "size of the sum (default 4194304)"},
        {"runs", 'r', OPTION_INT, &runs, "N", "repetitions (default 100)"},
        {"output", 'o', OPTION_STRING, &output, "FORMAT", "table (default) or json"},
        {NULL, 0, OPTION_FLAG, NULL, NULL, NULL},
    };
    const struct usage usage = {
        .program = "seer bench allreduce",
        .synopsis = "[--members N] [--bytes N] [--runs N] [-o json]",
        .summary = "Times a sum among workers of this host through collective helpers.",
        .examples = "  seer bench allreduce --members 4 --bytes 16777216",
        .options = rows,
    };
    enum status status = options_parse_all(&usage, argc, argv);
    if (status == OK)
        status = options_check_output(output);
    if (status == OK && (members < 1 || members > LOCAL_MEMBERS_MAX || bytes < 4 ||
                         bytes > ((int64_t)1 << 32) || runs < 1 || runs > RUNS_MAX))
        status = fail(ERR_INPUT, "--members is 1 to %d, --bytes 4 to 4294967296, --runs 1 to %d",
                      LOCAL_MEMBERS_MAX, RUNS_MAX);
    if (status != OK)
        return options_exit(&usage, status);
    struct measurement *m =
        mmap(NULL, sizeof(*m), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(m != MAP_FAILED);
    m->floats = bytes / (int64_t)sizeof(float);
    m->runs = runs;
    status = measure(m, members);
    if (status == OK)
        report(m, members, options_is_json(output));
    munmap(m, sizeof(*m));
    return command_exit(usage.program, status);
}

const struct command bench_allreduce_command = {
    "allreduce", "gradients reduced among workers on this host", bench_allreduce_run};
