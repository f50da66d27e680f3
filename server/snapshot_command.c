/* snapshot_command.c - `seer snapshot`: list, save, pin, remove and verify snapshots. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include <stdio.h>

#include "common/json.h"
#include "common/mem.h"
#include "server/client.h"
#include "server/commands.h"
#include "server/snapshot_list.h"
#include "server/snapshot_proofs.h"

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
    char *directory = mem_format("%s/snapshots", run);
    enum status status = snapshot_list_json(directory, ret_body);
    mem_free(directory);
    return status;
}

static enum status list(const void *request, int count, char **words)
{
    const struct client_options *options = request;
    (void)count;
    (void)words;
    json_t *body = NULL;
    if (options->run != NULL)
        TRY(list_folder(options->run, &body));
    else
        TRY(client_ask(options, "snapshot_list", NULL, &body));
    if (options_is_json(options->output))
        json_print(body);
    else
        print_table(body);
    json_decref(body);
    return OK;
}

static enum status save(const void *options, int count, char **words)
{
    json_t *arguments = json_pack("{s:s}", "name", count > 0 ? words[0] : "");
    return client_order(options, "snapshot_save", &arguments);
}

static enum status set_pin(const struct client_options *options, const char *name, int is_pinned)
{
    json_t *arguments = json_pack("{s:s, s:b}", "name", name, "is_pinned", is_pinned);
    return client_order(options, "snapshot_pin", &arguments);
}

static enum status pin(const void *options, int count, char **words)
{
    (void)count;
    return set_pin(options, words[0], 1);
}

static enum status unpin(const void *options, int count, char **words)
{
    (void)count;
    return set_pin(options, words[0], 0);
}

static enum status remove_named(const void *options, int count, char **words)
{
    (void)count;
    json_t *arguments = json_pack("{s:s}", "name", words[0]);
    return client_order(options, "snapshot_remove", &arguments);
}

static void print_proofs(const json_t *body)
{
    size_t i;
    json_t *proof;
    json_array_foreach(json_object_get(body, "snapshots"), i, proof)
    {
        int is_sound = json_is_true(json_object_get(proof, "is_sound"));
        int has_digests = json_is_true(json_object_get(proof, "has_digests"));
        printf("%-32s %s%s\n", json_string_value(json_object_get(proof, "name")),
               !is_sound     ? "DAMAGED: "
               : has_digests ? "sound"
                             : "readable, but it has no digests to compare with",
               json_string_value(json_object_get(proof, "reason")));
    }
}

/* Here, not in the server: gigabytes are read, and that is not for those who train to wait for. */
static enum status verify(const void *request, int count, char **words)
{
    const struct client_options *options = request;
    json_t *body = NULL;
    int damaged = 0;
    if (options->run == NULL)
        return fail(ERR_INPUT, "verify reads the files themselves: give --run DIR");
    char *directory = mem_format("%s/snapshots", options->run);
    enum status status =
        snapshot_proofs_json(directory, count > 0 ? words[0] : NULL, &body, &damaged);
    mem_free(directory);
    if (status != OK)
        return status;
    if (options_is_json(options->output))
        json_print(body);
    else
        print_proofs(body);
    json_decref(body);
    return damaged == 0 ? OK : fail(ERR_CORRUPT, "%d damaged; a restore passes over them", damaged);
}

static const struct verb verbs[] = {
    {"ls", "", 0, 0, list, "oldest first"},
    {"save", "[NAME]", 0, 1, save, "begin one at the next step boundary"},
    {"pin", "NAME", 1, 1, pin, "keep it for ever"},
    {"unpin", "NAME", 1, 1, unpin, "let it be removed when newer ones are there"},
    {"rm", "NAME", 1, 1, remove_named, "remove it"},
    {"verify", "[NAME]", 0, 1, verify, "read every byte, and say what is damaged"},
};

enum { VERB_COUNT = sizeof(verbs) / sizeof(verbs[0]) };

static int snapshot_run(int argc, char **argv)
{
    struct client_options options = {0};
    const struct option_row rows[] = {CLIENT_OPTIONS(options), CLIENT_REASON(options), {0}};
    const struct usage usage = {
        .program = "seer snapshot",
        .synopsis =
            "ls | save [NAME] | pin NAME | unpin NAME | rm NAME | verify [NAME]  --run DIR | "
            "--server URL [--reason TEXT]",
        .summary = "Lists the snapshots of a run; begins one at the next step boundary; keeps one\n"
                   "for ever; removes one; reads one, or all, and says which tensor is damaged.",
        .examples = "  seer snapshot ls --run run -o json\n"
                    "  seer snapshot save best --run run\n"
                    "  seer snapshot verify --run run",
        .options = rows,
        .verbs = verbs,
        .verb_count = VERB_COUNT,
    };
    return client_run(&usage, &options, &options, argc, argv);
}

const struct command snapshot_command = {"snapshot", "list, save, pin, remove, verify snapshots",
                                         snapshot_run};
