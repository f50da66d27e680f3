/* events_command.c - `seer events`: what happened in a run, and what happens. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <jansson.h>

#include "common/mem.h"
#include "server/commands.h"

struct request {
    const char *run, *output;
    int is_following;
};

static void print_line(const struct request *request, const char *line)
{
    if (options_is_json(request->output)) {
        fputs(line, stdout);
        return;
    }
    json_t *event = json_loads(line, 0, NULL);
    const char *time = json_string_value(json_object_get(event, "time"));
    const char *kind = json_string_value(json_object_get(event, "kind"));
    const char *text = json_string_value(json_object_get(event, "text"));
    if (time != NULL && kind != NULL && text != NULL)
        printf("%s %s %-20s %s\n", time,
               json_is_true(json_object_get(event, "is_warning")) ? "!" : " ", kind, text);
    json_decref(event);
}

/* Prints the whole lines from here to the end of the file; the rest is left for the next time. */
static void print_rest(const struct request *request, FILE *file)
{
    char *line = NULL;
    size_t capacity = 0;
    for (;;) {
        long start = ftell(file);
        ssize_t length = getline(&line, &capacity, file);
        if (length <= 0 || line[length - 1] != '\n') {
            clearerr(file);
            fseek(file, start, SEEK_SET);
            break;
        }
        print_line(request, line);
    }
    free(line);
    fflush(stdout);
}

static enum status follow(const struct request *request, FILE *file, const char *path)
{
    char changes[4096];
    int watch = inotify_init1(IN_CLOEXEC);
    if (watch < 0 || inotify_add_watch(watch, path, IN_MODIFY) < 0) {
        enum status status = fail(ERR_IO, "cannot watch '%s': %s", path, strerror(errno));
        if (watch >= 0)
            close(watch);
        return status;
    }
    do
        print_rest(request, file);
    while (!ferror(stdout) && read(watch, changes, sizeof(changes)) > 0);
    close(watch);
    return OK;
}

static enum status show(const struct request *request)
{
    char *path = mem_format("%s/events.jsonl", request->run);
    enum status status = OK;
    FILE *file = fopen(path, "re");
    if (file == NULL)
        status = fail(ERR_INPUT, "cannot open '%s': %s; is it the folder of a run?", path,
                      strerror(errno));
    else if (request->is_following)
        status = follow(request, file, path);
    else
        print_rest(request, file);
    if (file != NULL)
        fclose(file);
    mem_free(path);
    return status;
}

static int events_run(int argc, char **argv)
{
    struct request request = {0};
    const struct option_row rows[] = {
        {"run", 0, OPTION_STRING, &request.run, "DIR", "the run's folder"},
        {"follow", 'f', OPTION_FLAG, &request.is_following, NULL, "go on with what happens"},
        {"output", 'o', OPTION_STRING, &request.output, "FORMAT",
         "table (default) or json: one object a line"},
        {0},
    };
    const struct usage usage = {
        .program = "seer events",
        .synopsis = "--run DIR [--follow] [-o json]",
        .summary = "Shows what happened in a run.",
        .examples = "  seer events --run run --follow",
        .options = rows,
    };
    enum status status = options_parse_all(&usage, argc, argv);
    if (status == OK)
        status = options_check_output(request.output);
    if (status == OK && request.run == NULL)
        status = fail(ERR_INPUT, "--run DIR is missing");
    if (status != OK)
        return options_exit(&usage, status);
    status = show(&request);
    return command_exit(usage.program, status);
}

const struct command events_command = {"events", "what happened in a run", events_run};
