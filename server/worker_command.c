/* worker_command.c - `seer worker`: list workers, send one home. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include <stdio.h>
#include <string.h>

#include "common/json.h"
#include "server/client.h"
#include "server/commands.h"

static void print_table(const json_t *workers)
{
    size_t i;
    json_t *worker;
    json_array_foreach(workers, i, worker)
        printf("%-16s %-9s rank %-4lld step %-9lld pid %-7lld %s\n",
               json_string_value(json_object_get(worker, "name")),
               json_string_value(json_object_get(worker, "state")),
               (long long)json_integer_value(json_object_get(worker, "rank")),
               (long long)json_integer_value(json_object_get(worker, "step")),
               (long long)json_integer_value(json_object_get(worker, "pid")),
               json_string_value(json_object_get(worker, "host")));
}

static enum status list(const struct client_options *options)
{
    json_t *body = NULL;
    TRY(client_ask(options, "status", json_object(), &body));
    const json_t *workers = json_object_get(body, "workers");
    if (options_is_json(options->output)) {
        json_t *answer = json_pack("{s:i, s:O}", "schema_version", 1, "workers", workers);
        json_print(answer);
    } else {
        print_table(workers);
    }
    json_decref(body);
    return OK;
}

static enum status drain(const struct client_options *options, const char *name)
{
    json_t *body = NULL;
    TRY(client_ask(options, "worker_drain", json_pack("{s:s}", "name", name), &body));
    if (options_is_json(options->output))
        json_print(json_incref(body));
    json_decref(body);
    return OK;
}

static enum status carry_out(const struct client_options *options, int count, char **words)
{
    if (count == 1 && strcmp(words[0], "ls") == 0)
        return list(options);
    if (count == 2 && strcmp(words[0], "drain") == 0)
        return drain(options, words[1]);
    return fail(ERR_INPUT, "say 'ls' or 'drain NAME'; see 'seer worker --help'");
}

static int worker_run(int argc, char **argv)
{
    struct client_options options = {0};
    const struct option_row rows[] = {CLIENT_OPTIONS(options), {0}};
    const struct usage usage = {
        .program = "seer worker",
        .synopsis = "ls | drain NAME  --run DIR | --server URL [-o json]",
        .summary = "Lists the workers of a run, or lets one finish its step and leave.",
        .examples = "  seer worker ls --run run\n  seer worker drain worker-2 --run run",
        .options = rows,
    };
    int first = argc;
    enum status status = options_parse(&usage, argc, argv, &first);
    if (status == OK)
        status = client_options_check(&usage, &options);
    if (status != OK)
        return options_exit(&usage, status);
    return client_exit(usage.program, carry_out(&options, argc - first, argv + first));
}

const struct command worker_command = {"worker", "list workers, drain one", worker_run};
