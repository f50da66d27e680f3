/* command.h - words that choose what is run: "seer WORD", "seer bench WORD", "seer worker VERB
 * NAME".
 *
 * Two kinds, both found in a table, a mistyped word answered with the nearest: a `command` reads
 * its own options; verbs share the options of their command, which are read before the verb is
 * looked for. Messages of fail() never carry a program's name: it is put before them once, where
 * they are printed (command_exit, options_exit). Call from the main thread. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef COMMON_COMMAND_H
#define COMMON_COMMAND_H

#include "common/options.h"
#include "common/status.h"

/* Each lives with its part; the table of all is seer_main.c. */
struct command {
    const char *name;
    const char *summary;
    int (*run)(int argc, char **argv); /* argv[0] is the command's name; returns the exit code */
};

struct command_group {
    const char *program;                   /* "seer bench" */
    const char *summary;                   /* a sentence */
    const struct command *const *commands; /* [count] in the order of help */
    int count;
};

/* Runs the command named argv[1] and returns its exit code. --help prints the table on stdout. No
 * word (the table on stderr) or an unknown one (with the nearest) is wrong usage. */
int command_run(const struct command_group *group, int argc, char **argv);

/* words: what options_parse left, the verb first. ERR_INPUT: no verb, an unknown one, or too few or
 * too many words behind it; the message says what there is. */
enum status verb_find(const struct usage *usage, int count, char **words,
                      const struct verb **ret_verb);

/* A command of verbs, whole: reads the options, checks *output, finds the verb and runs it. Returns
 * the exit code. */
int verbs_run(const struct usage *usage, const char *const *output, const void *request, int argc,
              char **argv);

/* What a command's main does at its end: prints a failure behind the program's name on stderr;
 * returns the exit code, 0 for OK. */
int command_exit(const char *program, enum status status);

#endif
