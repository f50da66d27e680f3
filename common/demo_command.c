/* demo_command.c - `seer demo`: options for a script, which is what a person would type. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "common/demo_command.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/install.h"
#include "common/options.h"

enum { PATH_BYTES = 4608, NUMBER_BYTES = 24, ARGUMENTS_MAX = 12 };

struct demo {
    int64_t pictures, steps;
    const char *keep;
    int is_grey;
};

/* Does not come back but with what is wrong. */
static enum status become_script(const struct demo *demo)
{
    char script[PATH_BYTES], programs[PATH_BYTES], pictures[NUMBER_BYTES], steps[NUMBER_BYTES];
    char *argv[ARGUMENTS_MAX] = {script};
    int count = 1;
    TRY(install_find("seer-demo.sh", script, sizeof(script)));
    TRY(install_programs(programs, sizeof(programs)));
    if (demo->is_grey)
        argv[count++] = "--grey";
    if (demo->pictures != 0) {
        snprintf(pictures, sizeof(pictures), "%" PRId64, demo->pictures);
        argv[count++] = "--pictures";
        argv[count++] = pictures;
    }
    if (demo->steps != 0) {
        snprintf(steps, sizeof(steps), "%" PRId64, demo->steps);
        argv[count++] = "--steps";
        argv[count++] = steps;
    }
    if (demo->keep != NULL) {
        argv[count++] = "--keep";
        argv[count++] = (char *)demo->keep; /* execv leaves it alone */
    }
    if (setenv("SEER_BIN", programs, 1) == 0)
        execv(script, argv);
    return fail(ERR_IO, "cannot start '%s': %s", script, strerror(errno));
}

static int demo_run(int argc, char **argv)
{
    struct demo demo = {0};
    const struct option_row rows[] = {
        {"grey", 'g', OPTION_FLAG, &demo.is_grey, NULL,
         "plain grey garments instead of coloured ones on coloured ground"},
        {"pictures", 0, OPTION_INT, &demo.pictures, "N",
         "train on so many of the 60,000 (all of them)"},
        {"steps", 0, OPTION_INT, &demo.steps, "N", "instead of as many as the recipe has"},
        {"keep", 0, OPTION_STRING, &demo.keep, "DIR",
         "stores, run folder and export stay there (a temporary folder, removed)"},
        {NULL, 0, OPTION_FLAG, NULL, NULL, NULL},
    };
    const struct usage usage = {
        .program = "seer demo",
        .synopsis = "[--grey] [--pictures N] [--steps N] [--keep DIR]",
        .summary =
            "Makes a store of pictures of garments (Debian's dataset-fashion-mnist), trains\n"
            "two workers on this CPU without labels, and says what a nearest-neighbour\n"
            "classifier makes of the features: a few minutes on two cores.",
        .examples = "  seer demo --keep /tmp/demo",
        .options = rows,
    };
    enum status status = options_parse_all(&usage, argc, argv);
    if (status == OK && (demo.pictures < 0 || demo.steps < 0))
        status = fail(ERR_INPUT, "--pictures and --steps count from 1");
    if (status != OK)
        return options_exit(&usage, status);
    return command_exit(usage.program, become_script(&demo));
}

const struct command demo_command = {"demo", "see it learn: pictures to features on this CPU",
                                     demo_run};
