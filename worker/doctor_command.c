/* doctor_command.c - `seer doctor`: is this machine fit to train? */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/doctor_command.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>

#include "worker/doctor.h"

static const char *const finding_names[] = {"ok", "warn", "fail"};

void checkup_add(struct checkup *checkup, const char *name, enum finding finding,
                 const char *remedy, const char *found, ...)
{
    if (checkup->count == CHECKUP_MAX)
        return;
    struct checkup_line *line = &checkup->lines[checkup->count++];
    *line = (struct checkup_line){
        .name = name, .finding = finding, .remedy = finding == FINDING_OK ? NULL : remedy};
    va_list args;
    va_start(args, found);
    vsnprintf(line->found, sizeof(line->found), found, args);
    va_end(args);
}

static int count_of(const struct checkup *checkup, enum finding finding)
{
    int count = 0;
    for (int i = 0; i < checkup->count; i++)
        count += checkup->lines[i].finding == finding;
    return count;
}

static void print_table(const struct checkup *checkup)
{
    for (int i = 0; i < checkup->count; i++) {
        const struct checkup_line *line = &checkup->lines[i];
        printf("%-4s  %-14s  %s\n", finding_names[line->finding], line->name, line->found);
        if (line->remedy != NULL)
            printf("%-4s  %-14s  -> %s\n", "", "", line->remedy);
    }
}

static void print_json(const struct checkup *checkup)
{
    json_t *lines = json_array();
    for (int i = 0; i < checkup->count; i++) {
        const struct checkup_line *line = &checkup->lines[i];
        json_t *object = json_pack("{s:s, s:s, s:s}", "check", line->name, "finding",
                                   finding_names[line->finding], "found", line->found);
        if (line->remedy != NULL)
            json_object_set_new(object, "remedy", json_string(line->remedy));
        json_array_append_new(lines, object);
    }
    json_t *object = json_pack("{s:i, s:i, s:i, s:o}", "schema_version", 1, "failed",
                               count_of(checkup, FINDING_FAIL), "warned",
                               count_of(checkup, FINDING_WARN), "checks", lines);
    json_dumpf(object, stdout, JSON_INDENT(2));
    printf("\n");
    json_decref(object);
}

static int doctor_run(int argc, char **argv)
{
    struct option_list folders = {0};
    const char *output = NULL;
    int needs_gpu = 0;
    const struct option_row rows[] = {
        {"folder", 'f', OPTION_LIST, &folders, "DIR", "state or a store: look at its disk too"},
        {"gpu", 'g', OPTION_FLAG, &needs_gpu, NULL, "this machine is to train on a GPU"},
        {"output", 'o', OPTION_STRING, &output, "FORMAT", "table (default) or json"},
        {NULL, 0, OPTION_FLAG, NULL, NULL, NULL},
    };
    const struct usage usage = {
        .program = "seer doctor",
        .synopsis = "[--folder DIR]... [--gpu] [-o json]",
        .summary = "Says what of this machine would hinder a run, each with its remedy. Exit 1 if\n"
                   "something would stop it.",
        .examples = "  seer doctor --gpu --folder /data/run --folder /data/store\n",
        .options = rows,
    };
    struct checkup checkup = {0};
    enum status status = options_parse_all(&usage, argc, argv);
    if (status == OK)
        status = options_check_output(output);
    if (status != OK)
        return options_exit(&usage, status);
    doctor_host(&checkup, folders.items, folders.count);
    doctor_gpu(&checkup, needs_gpu);
    if (options_is_json(output))
        print_json(&checkup);
    else
        print_table(&checkup);
    fflush(stdout); /* the message that follows speaks of what stands above it */
    const int failed = count_of(&checkup, FINDING_FAIL);
    if (failed > 0)
        status =
            fail(ERR_IO, "%d of %d checks failed: see the remedies above", failed, checkup.count);
    return command_exit(usage.program, status);
}

const struct command doctor_command = {"doctor", "is this machine fit to train?", doctor_run};
