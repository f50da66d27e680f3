/* options.h - one table per command: parsing, --help and suggestions come from it. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef COMMON_OPTIONS_H
#define COMMON_OPTIONS_H

#include <stdint.h>

#include "common/status.h"

enum option_type {
    OPTION_FLAG,   /* int *: set to 1 */
    OPTION_STRING, /* const char **: borrowed from argv */
    OPTION_INT,    /* int64_t * */
    OPTION_DOUBLE, /* double * */
    OPTION_LIST,   /* struct option_list *: may be repeated */
};

enum { OPTION_LIST_MAX = 256 };

struct option_list {
    int count;
    const char *items[OPTION_LIST_MAX];
};

struct option_row {
    const char *name; /* long name without dashes; NULL ends the table */
    char letter;      /* short name or 0 */
    enum option_type type;
    void *target;
    const char *value; /* what to call the value in help; NULL for flags */
    const char *help;
};

/* A word that chooses what a command does; how they are found: common/command.h. */
struct verb {
    const char *name;
    const char *words; /* that follow it, for messages: "NAME", "[NAME]" or "" */
    int words_min, words_max;
    /* request is the command's own, as read from the options; words is [count], borrowed. */
    enum status (*run)(const void *request, int count, char **words);
    const char *summary; /* a few words for help */
};

struct usage {
    const char *program;              /* "seer ingest" */
    const char *synopsis;             /* "SOURCE... --store DIR [options]" */
    const char *summary;              /* one or two sentences; the first is the title of its page */
    const char *examples;             /* shown first; lines indented by two */
    const struct option_row *options; /* NULL: its verbs are commands with options of their own */
    const struct verb *verbs;         /* [verb_count] */
    int verb_count;
    int section; /* of the manual: 8 for daemons; 0 is 1 */
};

/* Reads options anywhere among argv[1..]; positional arguments end up, in order, at
 * argv[*ret_first..argc-1]; "--" ends options. -h/--help prints help on stdout,
 * --help=FORM what manual.h says, --version the version: ERR_END (exit 0).
 * ERR_INPUT: unknown option (with the nearest known one) or bad value. */
enum status options_parse(const struct usage *usage, int argc, char **argv, int *ret_first);
/* The same of a command that takes options alone. */
enum status options_parse_all(const struct usage *usage, int argc, char **argv);
/* For commands that take no argument, or no more: whatever is left at argv[first] is ERR_INPUT,
 * since "seer stop worker-1" must not stop everything. */
enum status options_check_rest(int argc, char **argv, int first);
/* For -o: "table", "json" or NULL, which is table. ERR_INPUT for any other word. */
enum status options_check_output(const char *output);
int options_is_json(const char *output); /* NULL is not */
/* What a command's main does with wrong usage (a failed options_parse or check): prints it behind
 * the program's name and points to --help; returns the exit code, 0 after --help itself. */
int options_exit(const struct usage *usage, enum status status);

/* The candidate nearest to word by edit distance, or NULL if none is near (distance > 1/2 length).
 */
const char *options_nearest(const char *word, const char *const *candidates, int count);

/* ERR_INPUT "unknown KIND 'word'", with the nearest candidate or, if none is near, all of them; an
 * empty word is a missing one. */
enum status options_unknown(const char *kind, const char *word, const char *const *candidates,
                            int count);

#endif
