/* command.c - tables of words, and the way into them. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "common/command.h"

#include <stdio.h>
#include <string.h>

#include "common/check.h"

/* More commands or verbs than people would read through. */
enum { WORDS_MAX = 64 };

static void print_commands(const struct command_group *group, FILE *to)
{
    fprintf(to, "%s\n\nUsage: %s COMMAND [options]\n\nCommands:\n", group->summary, group->program);
    for (int i = 0; i < group->count; i++)
        fprintf(to, "  %-10s %s\n", group->commands[i]->name, group->commands[i]->summary);
    fprintf(to, "\n'%s COMMAND --help' tells more.\n", group->program);
}

static int is_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0;
}

int command_run(const struct command_group *group, int argc, char **argv)
{
    const char *names[WORDS_MAX];
    CHECK(group->count <= WORDS_MAX);
    if (argc < 2 || is_help(argv[1])) {
        print_commands(group, argc < 2 ? stderr : stdout);
        return status_exit_code(argc < 2 ? ERR_INPUT : OK);
    }
    for (int i = 0; i < group->count; i++) {
        names[i] = group->commands[i]->name;
        if (strcmp(argv[1], names[i]) == 0)
            return group->commands[i]->run(argc - 1, argv + 1);
    }
    const struct usage usage = {.program = group->program};
    return options_exit(&usage, options_unknown("command", argv[1], names, group->count));
}

enum status verb_find(const struct verb *verbs, int verb_count, int count, char **words,
                      const struct verb **ret_verb)
{
    const char *names[WORDS_MAX];
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

int verbs_run(const struct usage *usage, const struct verb *verbs, int verb_count,
              const char *const *output, const void *request, int argc, char **argv)
{
    int first = argc;
    const struct verb *verb = NULL;
    enum status status = options_parse(usage, argc, argv, &first);
    if (status == OK)
        status = options_check_output(*output);
    if (status == OK)
        status = verb_find(verbs, verb_count, argc - first, argv + first, &verb);
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
