/* stream_command.c - `seer stream`: the shards a run trains on, and which it shall no more. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include <stdio.h>

#include "common/json.h"
#include "server/client.h"
#include "server/commands.h"

enum { SCHEMA = 1 };

static void print_table(const json_t *shards)
{
    size_t i;
    json_t *shard;
    json_array_foreach(shards, i, shard)
        printf("%-6lld %10lld images  %-9s %s\n",
               (long long)json_integer_value(json_object_get(shard, "shard")),
               (long long)json_integer_value(json_object_get(shard, "records")),
               json_string_value(json_object_get(shard, "state")),
               json_string_value(json_object_get(shard, "path")));
}

/* The server tells of so many in an answer, and where to go on. */
static enum status collect(const struct client_options *options, json_t *shards)
{
    json_int_t from = 0;
    for (int has_more = 1; has_more;) {
        json_t *body = NULL, *arguments = json_pack("{s:I}", "from", from);
        TRY(client_ask(options, "stream_list", &arguments, &body));
        json_array_extend(shards, json_object_get(body, "shards"));
        const json_t *next = json_object_get(body, "next");
        has_more = json_is_integer(next) && json_integer_value(next) > from;
        from = json_integer_value(next);
        json_decref(body);
    }
    return OK;
}

static enum status list(const void *request, int count, char **words)
{
    const struct client_options *options = request;
    (void)count;
    (void)words;
    json_t *shards = json_array();
    enum status status = collect(options, shards);
    if (status == OK && options_is_json(options->output)) {
        json_t *answer = json_pack("{s:i, s:O}", "schema_version", SCHEMA, "shards", shards);
        json_print(answer);
        json_decref(answer);
    } else if (status == OK) {
        print_table(shards);
    }
    json_decref(shards);
    return status;
}

static enum status retire(const void *request, int count, char **words)
{
    (void)count;
    json_t *arguments = json_pack("{s:s}", "name", words[0]);
    return client_order(request, "stream_retire", &arguments);
}

static const struct verb verbs[] = {{"ls", "", 0, 0, list}, {"retire", "SHARD", 1, 1, retire}};

enum { VERB_COUNT = sizeof(verbs) / sizeof(verbs[0]) };

static int stream_run(int argc, char **argv)
{
    struct client_options options = {0};
    const struct option_row rows[] = {CLIENT_OPTIONS(options), CLIENT_REASON(options), {0}};
    const struct usage usage = {
        .program = "seer stream",
        .synopsis = "ls | retire SHARD  --run DIR | --server URL [--reason TEXT] [-o json]",
        .summary = "Lists the shards that a run knows, or takes one out of what is still to come:\n"
                   "by its path or its number. Its files may be deleted once it is 'unused'.",
        .examples = "  seer stream ls --run run\n"
                    "  seer stream retire 3 --run run --reason 'licence withdrawn'",
        .options = rows,
    };
    const struct client_verbs all = {&usage, verbs, VERB_COUNT, &options};
    return client_run(&all, &options, argc, argv);
}

const struct command stream_command = {"stream", "list the shards of a run, retire one",
                                       stream_run};
