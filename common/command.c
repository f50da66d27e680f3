/* command.c - tables of words, and the way into them. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "common/command.h"

#include <stdio.h>
#include <string.h>

#include "common/check.h"
#include "common/manual.h"

/* More commands or verbs than people would read through. */
enum { WORDS_MAX = 64 };

/* Asks for help with one of its words, "--help=FORM" too; *ret_form is then FORM or NULL. */
static int is_help(const char *word, const char **ret_form)
{
    const char *const long_form = "--help=";
    *ret_form = strncmp(word, long_form, strlen(long_form)) == 0 ? word + strlen(long_form) : NULL;
    return *ret_form != NULL || strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 ||
           strcmp(word, "help") == 0;
}

int command_run(const struct command_group *group, int argc, char **argv)
{
    const char *names[WORDS_MAX], *form;
    struct verb words[WORDS_MAX];
    CHECK(group->count <= WORDS_MAX);
    for (int i = 0; i < group->count; i++) {
        const struct command *command = group->commands[i];
        if (argc > 1 && strcmp(argv[1], command->name) == 0)
            return command->run(argc - 1, argv + 1);
        names[i] = command->name;
        words[i] = (struct verb){.name = names[i], .words = "", .summary = command->summary};
    }
    const struct usage usage = {.program = group->program,
                                .synopsis = "COMMAND [options]",
                                .summary = group->summary,
                                .verbs = words,
                                .verb_count = group->count};
    if (argc < 2) {
        manual_help(&usage, stderr);
        return status_exit_code(ERR_INPUT);
    }
    if (is_help(argv[1], &form)) {
        enum status status = manual_print(&usage, form);
        return status == OK ? 0 : options_exit(&usage, status);
    }
    return options_exit(&usage, options_unknown("command", argv[1], names, group->count));
}

enum status verb_find(const struct usage *usage, int count, char **words,
                      const struct verb **ret_verb)
{
    const char *names[WORDS_MAX];
    const struct verb *verbs = usage->verbs;
    int verb_count = usage->verb_count;
    CHECK(verb_count <= WORDS_MAX);
    for (int i = 0; i < verb_count; i++)
        names[i] = verbs[i].name;
    if (count == 0)
        return options_unknown("verb", "", names, verb_count);
    for (int i = 0; i < verb_count; i++) {
        const struct verb *verb = &verbs[i];
        if (strcmp(words[0], verb->name) != 0)
            continue;
        if (count - 1 < verb->words_min)
            return fail(ERR_INPUT, "'%s' needs %s", verb->name, verb->words);
        if (count - 1 > verb->words_max)
            return fail(ERR_INPUT, "there is no place for '%s'", words[1 + verb->words_max]);
        *ret_verb = verb;
        return OK;
    }
    return options_unknown("verb", words[0], names, verb_count);
}

int verbs_run(const struct usage *usage, const char *const *output, const void *request, int argc,
              char **argv)
{
    int first = argc;
    const struct verb *verb = NULL;
    enum status status = options_parse(usage, argc, argv, &first);
    if (status == OK)
        status = options_check_output(*output);
    if (status == OK)
        status = verb_find(usage, argc - first, argv + first, &verb);
    if (status != OK)
        return options_exit(usage, status);
    return command_exit(usage->program, verb->run(request, argc - first - 1, argv + first + 1));
}

int command_exit(const char *program, enum status status)
{
    if (status != OK)
        fprintf(stderr, "%s: %s\n", program, fail_message());
    return status_exit_code(status);
}
