/* seer_main.c - `seer`, the one command for people: finds the part that answers and hands over.
 *
 * Each command lives with its part; a new one is a line in the table below. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include <stdio.h>
#include <string.h>

#include "common/config_command.h"
#include "common/log.h"
#include "common/options.h"
#include "loader/bench_loader.h"
#include "loader/commands.h"
#include "server/commands.h"
#include "worker/collective/bench_allreduce.h"
#include "worker/eval/eval_command.h"
#include "worker/export/export.h"
#include "worker/model/bench_step.h"

static int version_run(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    printf("everseer %s\n", EVERSEER_VERSION);
    return 0;
}

/* Benchmarks live with what they measure. */
static const struct command benches[] = {
    {"loader", "images decoded and augmented in a second", bench_loader_run},
    {"step", "training steps of one worker, phase by phase", bench_step_run},
    {"allreduce", "gradients reduced among workers on this host", bench_allreduce_run},
};

enum { BENCH_COUNT = sizeof(benches) / sizeof(benches[0]) };

static int bench_run(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : "";
    for (int i = 0; i < BENCH_COUNT; i++) {
        if (strcmp(word, benches[i].name) == 0)
            return benches[i].run(argc - 1, argv + 1);
    }
    int is_help = strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
    FILE *to = is_help ? stdout : stderr;
    fprintf(to, "Usage: seer bench WHAT [options]\n");
    for (int i = 0; i < BENCH_COUNT; i++)
        fprintf(to, "  %-10s %s\n", benches[i].name, benches[i].summary);
    return is_help ? 0 : status_exit_code(ERR_INPUT);
}

static const struct command bench_command = {"bench", "measure speed", bench_run};
static const struct command version_command = {"version", "print the version", version_run};

/* In the order in which a run meets them. */
static const struct command *const commands[] = {
    &ingest_command, &store_command,    &config_command, &status_command,
    &events_command, &worker_command,   &pause_command,  &resume_command,
    &stop_command,   &snapshot_command, &audit_command,  &export_command,
    &embed_command,  &eval_command,     &bench_command,  &version_command,
};

enum { COMMAND_COUNT = sizeof(commands) / sizeof(commands[0]) };

static void print_summary(FILE *to)
{
    fprintf(to, "Pretrains vision models without labels, on a stream of images that never stops "
                "changing.\n\nUsage: seer COMMAND [options]\n\nCommands:\n");
    for (int i = 0; i < COMMAND_COUNT; i++)
        fprintf(to, "  %-10s %s\n", commands[i]->name, commands[i]->summary);
    fprintf(to, "\n'seer COMMAND --help' tells more; 'seer --version' prints the version.\n");
}

static int unknown_command(const char *word)
{
    const char *names[COMMAND_COUNT];
    for (int i = 0; i < COMMAND_COUNT; i++)
        names[i] = commands[i]->name;
    const char *nearest = options_nearest(word, names, COMMAND_COUNT);
    fprintf(stderr, "seer: unknown command '%s'%s%s%s\nTry 'seer --help'.\n", word,
            nearest != NULL ? "; did you mean '" : "", nearest != NULL ? nearest : "",
            nearest != NULL ? "'?" : "");
    return status_exit_code(ERR_INPUT);
}

int main(int argc, char **argv)
{
    log_start("seer", LOG_LEVEL_WARN);
    if (argc < 2) {
        print_summary(stderr);
        return status_exit_code(ERR_INPUT);
    }
    const char *word = argv[1];
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0) {
        print_summary(stdout);
        return 0;
    }
    if (strcmp(word, "--version") == 0)
        return version_run(argc, argv);
    for (int i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(word, commands[i]->name) == 0)
            return commands[i]->run(argc - 1, argv + 1);
    }
    return unknown_command(word);
}
