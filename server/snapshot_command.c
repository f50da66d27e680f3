/* snapshot_command.c - `seer snapshot`: list, save, pin and remove snapshots. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include <stdio.h>
#include <string.h>

#include "common/json.h"
#include "common/mem.h"
#include "server/client.h"
#include "server/commands.h"
#include "server/snapshot_list.h"

static void print_table(const json_t *body)
{
    size_t i;
    json_t *info;
    json_array_foreach(json_object_get(body, "snapshots"), i, info)
        printf("%-32s step %-9lld lineage %-3lld %12lld bytes%s\n",
               json_string_value(json_object_get(info, "name")),
               (long long)json_integer_value(json_object_get(info, "step")),
               (long long)json_integer_value(json_object_get(info, "lineage")),
               (long long)json_integer_value(json_object_get(info, "bytes")),
               json_is_true(json_object_get(info, "is_pinned")) ? "  pinned" : "");
}

/* The folder tells as much as its server, and also when that does not run. */
static enum status list_folder(const char *run, json_t **ret_body)
{
    struct parameter_store *store = NULL;
    char *directory = mem_format("%s/snapshots", run);
    enum status status = parameter_store_open_reader(directory, &store);
    if (status == OK)
        status = snapshot_list_json(store, ret_body);
    parameter_store_close(store);
    mem_free(directory);
    return status;
}

static enum status list(const struct client_options *options)
{
    json_t *body = NULL;
    if (options->run != NULL)
        TRY(list_folder(options->run, &body));
    else
        TRY(client_ask(options, "snapshot_list", json_object(), &body));
    if (options_is_json(options->output))
        json_print(json_incref(body));
    else
        print_table(body);
    json_decref(body);
    return OK;
}

static enum status order(const struct client_options *options, const char *name, json_t *arguments)
{
    json_t *body = NULL;
    TRY(client_ask(options, name, arguments, &body));
    if (options_is_json(options->output))
        json_print(json_incref(body));
    json_decref(body);
    return OK;
}

static enum status carry_out(const struct client_options *options, int count, char **words)
{
    const char *verb = count > 0 ? words[0] : "";
    const char *name = count > 1 ? words[1] : "";
    if (count == 1 && strcmp(verb, "ls") == 0)
        return list(options);
    if (count <= 2 && strcmp(verb, "save") == 0)
        return order(options, "snapshot_save", json_pack("{s:s}", "name", name));
    if (count == 2 && strcmp(verb, "pin") == 0)
        return order(options, "snapshot_pin",
                     json_pack("{s:s, s:b}", "name", name, "is_pinned", 1));
    if (count == 2 && strcmp(verb, "unpin") == 0)
        return order(options, "snapshot_pin",
                     json_pack("{s:s, s:b}", "name", name, "is_pinned", 0));
    if (count == 2 && strcmp(verb, "rm") == 0)
        return order(options, "snapshot_remove", json_pack("{s:s}", "name", name));
    return fail(ERR_INPUT, "say 'ls', 'save [NAME]', 'pin NAME', 'unpin NAME' or 'rm NAME'; see "
                           "'seer snapshot --help'");
}

static int snapshot_run(int argc, char **argv)
{
    struct client_options options = {0};
    const struct option_row rows[] = {CLIENT_OPTIONS(options), {0}};
    const struct usage usage = {
        .program = "seer snapshot",
        .synopsis = "ls | save [NAME] | pin NAME | unpin NAME | rm NAME  --run DIR | --server URL",
        .summary = "Lists the snapshots of a run; begins one at the next step boundary;\nkeeps "
                   "one for ever; removes one.",
        .examples = "  seer snapshot ls --run run -o json\n  seer snapshot save best --run run",
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

const struct command snapshot_command = {"snapshot", "list, save, pin, remove snapshots",
                                         snapshot_run};
