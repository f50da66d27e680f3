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

struct request {
    struct client_options client;
    int64_t wait_seconds;
};

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

static enum status list(const void *argument, int count, char **words)
{
    const struct client_options *options = &((const struct request *)argument)->client;
    (void)count;
    (void)words;
    json_t *body = NULL;
    TRY(client_ask(options, "status", NULL, &body));
    const json_t *workers = json_object_get(body, "workers");
    if (options_is_json(options->output)) {
        json_t *answer = json_pack("{s:i, s:O}", "schema_version", 1, "workers", workers);
        json_print(answer);
        json_decref(answer);
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
    TRY(client_ask(options, "status", NULL, &body));
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

static enum status send_away(const struct request *request, const char *order, const char *name)
{
    const struct client_options *options = &request->client;
    json_t *body = NULL, *arguments = json_pack("{s:s}", "name", name);
    enum status status = OK;
    TRY(client_ask(options, order, &arguments, &body));
    const char *worker = json_string_value(json_object_get(body, "worker"));
    if (request->wait_seconds > 0 && worker != NULL)
        status = await_leave(options, name, worker, request->wait_seconds);
    if (status == OK && options_is_json(options->output))
        json_print(body);
    json_decref(body);
    return status;
}

static enum status drain(const void *request, int count, char **words)
{
    (void)count;
    return send_away(request, "worker_drain", words[0]);
}

static enum status evict(const void *request, int count, char **words)
{
    (void)count;
    return send_away(request, "worker_evict", words[0]);
}

static const struct verb verbs[] = {
    {"ls", "", 0, 0, list, "who is in the run"},
    {"drain", "NAME", 1, 1, drain, "let it finish its step and leave"},
    {"evict", "NAME", 1, 1, evict, "end its membership at once"}};

enum { VERB_COUNT = sizeof(verbs) / sizeof(verbs[0]) };

static int worker_run(int argc, char **argv)
{
    struct request request = {0};
    const struct option_row rows[] = {
        CLIENT_OPTIONS(request.client),
        CLIENT_REASON(request.client),
        {"wait", 0, OPTION_INT, &request.wait_seconds, "SECONDS",
         "return when the worker has left; exit 5 if it has not by then"},
        {0},
    };
    const struct usage usage = {
        .program = "seer worker",
        .synopsis = "ls | drain NAME | evict NAME  --run DIR | --server URL [--wait SECONDS] "
                    "[--reason TEXT] [-o json]",
        .summary = "Lists the workers of a run, lets one finish its step and leave (drain), or\n"
                   "ends its membership at once (evict: for one that hangs or computes rubbish).",
        .examples = "  seer worker ls --run run\n"
                    "  seer worker drain worker-2 --run run --wait 60\n"
                    "  seer worker evict worker-2 --run run",
        .options = rows,
        .verbs = verbs,
        .verb_count = VERB_COUNT,
    };
    return client_run(&usage, &request.client, &request, argc, argv);
}

const struct command worker_command = {"worker", "list workers, drain or evict one", worker_run};
