/* order_command.c - `seer pause`, `seer resume`, `seer stop`: orders without arguments. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include <stdio.h>

#include "server/client.h"
#include "server/commands.h"

static int order_run(int argc, char **argv, const char *program, const char *summary)
{
    struct client_options options = {0};
    const struct option_row rows[] = {CLIENT_OPTIONS(options), CLIENT_REASON(options), {0}};
    const struct usage usage = {
        .program = program,
        .synopsis = "--run DIR | --server URL [--reason TEXT]",
        .summary = summary,
        .options = rows,
    };
    enum status status = options_parse_all(&usage, argc, argv);
    if (status == OK)
        status = client_options_check(&options);
    if (status != OK)
        return options_exit(&usage, status);
    return command_exit(program, client_order(&options, argv[0], NULL));
}

static int pause_run(int argc, char **argv)
{
    return order_run(argc, argv, "seer pause",
                     "Holds the run at the next step boundary; workers stay and wait.");
}

static int resume_run(int argc, char **argv)
{
    return order_run(argc, argv, "seer resume", "Lets a paused run go on.");
}

static int stop_run(int argc, char **argv)
{
    return order_run(argc, argv, "seer stop",
                     "Ends the run: finishes the step, saves a snapshot, dismisses the workers.\n"
                     "Started again on the same folder it goes on from there.");
}

const struct command pause_command = {"pause", "hold a run at a step boundary", pause_run};
const struct command resume_command = {"resume", "let a paused run go on", resume_run};
const struct command stop_command = {"stop", "save and end a run", stop_run};
