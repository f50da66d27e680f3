/* seer_main.c - `seer`, the one command for people: finds the part that answers and hands over.
 *
 * Each command lives with its part; a new one is a line in the table below. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include <stdio.h>
#include <string.h>

#include "common/command.h"
#include "common/config_command.h"
#include "common/demo_command.h"
#include "common/log.h"
#include "loader/bench_loader.h"
#include "loader/commands.h"
#include "server/commands.h"
#include "server/watch/commands.h"
#include "worker/collective/bench_allreduce.h"
#include "worker/doctor_command.h"
#include "worker/eval/eval_command.h"
#include "worker/export/export.h"
#include "worker/export/import.h"
#include "worker/model/bench_step.h"
#include "worker/plan_command.h"

static int version_run(int argc, char **argv)
{
    const struct option_row rows[] = {{0}};
    const struct usage usage = {.program = "seer version",
                                .synopsis = "",
                                .summary = "Prints the version.",
                                .options = rows};
    enum status status = options_parse_all(&usage, argc, argv);
    if (status != OK)
        return options_exit(&usage, status);
    printf("everseer %s\n", EVERSEER_VERSION);
    return 0;
}

/* Benchmarks live with what they measure. */
static const struct command *const benches[] = {
    &bench_loader_command,      &bench_step_command, &bench_allreduce_command,
    &bench_coordinator_command, &bench_gate_command,
};

static int bench_run(int argc, char **argv)
{
    const struct command_group group = {"seer bench", "Measures speed on this host.", benches,
                                        sizeof(benches) / sizeof(benches[0])};
    return command_run(&group, argc, argv);
}

static const struct command bench_command = {"bench", "measure speed", bench_run};
static const struct command version_command = {"version", "print the version", version_run};

/* In the order in which a run meets them. */
static const struct command *const commands[] = {
    &doctor_command,    &demo_command,     &ingest_command, &store_command,   &config_command,
    &plan_command,      &import_command,   &status_command, &events_command,  &top_command,
    &dashboard_command, &worker_command,   &pause_command,  &resume_command,  &stop_command,
    &stream_command,    &snapshot_command, &key_command,    &audit_command,   &export_command,
    &embed_command,     &eval_command,     &bench_command,  &version_command,
};

static const struct command_group group = {
    "seer",
    "Pretrains vision models without labels, on a stream of images that never stops changing.",
    commands, sizeof(commands) / sizeof(commands[0])};

int main(int argc, char **argv)
{
    log_start("seer", LOG_LEVEL_WARN);
    if (argc > 1 && strcmp(argv[1], "--version") == 0)
        return version_run(argc - 1, argv + 1);
    return command_run(&group, argc, argv);
}
