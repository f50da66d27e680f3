/* worker_command.c - `seer worker`: list workers, send one home. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/json.h"
#include "server/client.h"
#include "server/commands.h"

enum { ASK_AGAIN_MS = 100 };

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

/* Is the worker of this identity still in the run? The name may be another one's by now. */
static enum status is_there(const struct client_options *options, const char *worker,
                            int *ret_is_there)
{
    json_t *body = NULL, *row;
    size_t i;
    TRY(client_ask(options, "status", json_object(), &body));
    *ret_is_there = 0;
    json_array_foreach(json_object_get(body, "workers"), i, row)
    {
        const char *id = json_string_value(json_object_get(row, "worker"));
        *ret_is_there |= id != NULL && strcmp(id, worker) == 0;
    }
    json_decref(body);
    return OK;
}

/* Asks again and again: the server tells nobody of a worker that leaves except in its event log. */
static enum status await_leave(const struct client_options *options, const char *name,
                               const char *worker, int64_t seconds)
{
    int64_t deadline_ms = clock_ms() + seconds * 1000;
    int is_staying = 1;
    for (;;) {
        TRY(is_there(options, worker, &is_staying));
        if (!is_staying)
            return OK;
        if (clock_ms() >= deadline_ms)
            return fail(ERR_TIMEOUT, "'%s' is noted, but has not left within %lld s", name,
                        (long long)seconds);
        poll(NULL, 0, ASK_AGAIN_MS);
    }
}

static enum status send_away(const struct client_options *options, const char *order,
                             const char *name, int64_t wait_seconds)
{
    json_t *body = NULL;
    enum status status = OK;
    TRY(client_ask(options, order, json_pack("{s:s}", "name", name), &body));
    const char *worker = json_string_value(json_object_get(body, "worker"));
    if (wait_seconds > 0 && worker != NULL)
        status = await_leave(options, name, worker, wait_seconds);
    if (status == OK && options_is_json(options->output))
        json_print(json_incref(body));
    json_decref(body);
    return status;
}

static enum status carry_out(const struct client_options *options, int64_t wait_seconds, int count,
                             char **words)
{
    if (count == 1 && strcmp(words[0], "ls") == 0)
        return list(options);
    if (count == 2 && strcmp(words[0], "drain") == 0)
        return send_away(options, "worker_drain", words[1], wait_seconds);
    if (count == 2 && strcmp(words[0], "evict") == 0)
        return send_away(options, "worker_evict", words[1], wait_seconds);
    return fail(ERR_INPUT, "say 'ls', 'drain NAME' or 'evict NAME'; see 'seer worker --help'");
}

static int worker_run(int argc, char **argv)
{
    struct client_options options = {0};
    int64_t wait_seconds = 0;
    const struct option_row rows[] = {
        CLIENT_OPTIONS(options),
        {"wait", 0, OPTION_INT, &wait_seconds, "SECONDS",
         "return when the worker has left; exit 5 if it has not by then"},
        {0},
    };
    const struct usage usage = {
        .program = "seer worker",
        .synopsis = "ls | drain NAME | evict NAME  --run DIR | --server URL [--wait SECONDS] "
                    "[-o json]",
        .summary = "Lists the workers of a run, lets one finish its step and leave (drain), or\n"
                   "ends its membership at once (evict: for one that hangs or computes rubbish).",
        .examples = "  seer worker ls --run run\n"
                    "  seer worker drain worker-2 --run run --wait 60\n"
                    "  seer worker evict worker-2 --run run",
        .options = rows,
    };
    int first = argc;
    enum status status = options_parse(&usage, argc, argv, &first);
    if (status == OK)
        status = client_options_check(&usage, &options);
    if (status != OK)
        return options_exit(&usage, status);
    return client_exit(usage.program,
                       carry_out(&options, wait_seconds, argc - first, argv + first));
}

const struct command worker_command = {"worker", "list workers, drain or evict one", worker_run};
