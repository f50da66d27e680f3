/* stream_command.c - `seer stream`: the shards a run trains on, which it shall no more, and when.
 */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "server/client.h"
#include "server/commands.h"

enum { SCHEMA = 1 };

struct request {
    struct client_options options; /* first: some verbs need no more */
    int64_t max_age_days, max_gb;  /* -1: as it is */
    const char *exhausted, *unlink;
};

static void print_table(const json_t *shards)
{
    size_t i;
    json_t *shard;
    json_array_foreach(shards, i, shard)
    {
        json_int_t quarantined = json_integer_value(json_object_get(shard, "quarantined"));
        printf("%-6lld %10lld images  %-9s %s\n",
               (long long)json_integer_value(json_object_get(shard, "shard")),
               (long long)json_integer_value(json_object_get(shard, "records")),
               json_string_value(json_object_get(shard, "state")),
               json_string_value(json_object_get(shard, "path")));
        if (quarantined > 0)
            printf("       %10lld quarantined, the latest: %s\n", (long long)quarantined,
                   json_string_value(json_object_get(shard, "quarantine_reason")));
    }
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

static enum status add(const void *request, int count, char **words)
{
    (void)count;
    char *absolute = realpath(words[0], NULL); /* where the server is on this host */
    json_t *arguments = json_pack("{s:s}", "name", absolute != NULL ? absolute : words[0]);
    free(absolute);
    return client_order(request, "stream_add", &arguments);
}

static enum status read_switch(const char *word, int *ret_is_on)
{
    *ret_is_on = strcmp(word, "yes") == 0;
    return *ret_is_on || strcmp(word, "no") == 0
               ? OK
               : fail(ERR_INPUT, "--unlink is yes or no, not '%s'", word);
}

static enum status pack_policy(const struct request *request, json_t *arguments)
{
    enum { GB_MAX = 1 << 30 };
    int is_unlinking;
    if (request->max_age_days >= 0)
        json_object_set_new(arguments, "max_age_days", json_integer(request->max_age_days));
    if (request->max_gb > GB_MAX)
        return fail(ERR_INPUT, "--max-gb is 0 to %d", GB_MAX);
    if (request->max_gb >= 0)
        json_object_set_new(arguments, "max_bytes", json_integer(request->max_gb << 30));
    if (request->exhausted != NULL)
        json_object_set_new(arguments, "exhausted", json_string(request->exhausted));
    if (request->unlink == NULL)
        return OK;
    TRY(read_switch(request->unlink, &is_unlinking));
    json_object_set_new(arguments, "unlink", json_boolean(is_unlinking));
    return OK;
}

static void print_policy(const json_t *body)
{
    const json_int_t days = json_integer_value(json_object_get(body, "max_age_days"));
    const double gb =
        (double)json_integer_value(json_object_get(body, "max_bytes")) / (double)(1 << 30);
    if (days > 0)
        printf("%-12s after %lld days\n", "living", (long long)days);
    else
        printf("%-12s never by age\n", "living");
    if (gb > 0)
        printf("%-12s beyond %g GiB\n", "living", gb);
    printf("%-12s %s\n", "unlink", json_is_true(json_object_get(body, "unlink")) ? "yes" : "no");
    printf("%-12s %s\n", "exhausted", json_string_value(json_object_get(body, "exhausted")));
}

static enum status policy(const void *given, int count, char **words)
{
    const struct request *request = given;
    (void)count;
    (void)words;
    json_t *arguments = json_object(), *body = NULL;
    enum status status = pack_policy(request, arguments);
    if (status == OK)
        status = client_ask(&request->options, "stream_policy", &arguments, &body);
    if (status == OK && options_is_json(request->options.output))
        json_print(body);
    else if (status == OK)
        print_policy(body);
    json_decref(body);
    json_decref(arguments);
    return status;
}

static enum status retire(const void *request, int count, char **words)
{
    (void)count;
    json_t *arguments = json_pack("{s:s}", "name", words[0]);
    return client_order(request, "stream_retire", &arguments);
}

static const struct verb verbs[] = {
    {"ls", "", 0, 0, list, "the shards that the run knows"},
    {"add", "PATH", 1, 1, add, "one, by its path on the server's host"},
    {"retire", "SHARD", 1, 1, retire, "take it out of what is to come"},
    {"policy", "", 0, 0, policy, "show, or change, when living shards expire"}};

enum { VERB_COUNT = sizeof(verbs) / sizeof(verbs[0]) };

static int stream_run(int argc, char **argv)
{
    struct request request = {.max_age_days = -1, .max_gb = -1};
    const struct option_row rows[] = {{"max-age-days", 0, OPTION_INT, &request.max_age_days, "N",
                                       "policy: living shards expire at this age; 0: never"},
                                      {"max-gb", 0, OPTION_INT, &request.max_gb, "N",
                                       "policy: GiB of all living shards together; 0: any"},
                                      {"exhausted", 0, OPTION_STRING, &request.exhausted, "WORD",
                                       "policy: at the end of all images 'repeat' them or 'wait'"},
                                      {"unlink", 0, OPTION_STRING, &request.unlink, "WORD",
                                       "policy: remove the files of expired shards, yes or no"},
                                      CLIENT_OPTIONS(request.options),
                                      CLIENT_REASON(request.options),
                                      {0}};
    const struct usage usage = {
        .program = "seer stream",
        .synopsis = "ls | add PATH | retire SHARD | policy  --run DIR | --server URL [options]",
        .summary =
            "Lists the shards that a run knows, adds one by its path on the server's host, or "
            "takes one out of\nwhat is still to come: by its path or its number. Its files "
            "may be deleted once it is 'unused'.\npolicy shows, or changes, when living shards "
            "(seer ingest --watch) expire by themselves.",
        .examples = "  seer stream ls --run run\n"
                    "  seer stream retire 3 --run run --reason 'licence withdrawn'\n"
                    "  seer stream policy --max-age-days 30 --max-gb 500 --run run",
        .options = rows,
        .verbs = verbs,
        .verb_count = VERB_COUNT,
    };
    return client_run(&usage, &request.options, &request, argc, argv);
}

const struct command stream_command = {
    "stream", "list, add and retire the shards of a run, let them expire", stream_run};
