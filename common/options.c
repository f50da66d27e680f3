/* options.c - getopt_long driven by a table. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "common/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/check.h"
#include "common/manual.h"

enum { OPTION_ROWS_MAX = 64, LONG_ONLY = 256 };

static int row_count(const struct option_row *rows)
{
    int count = 0;
    while (rows[count].name != NULL)
        count++;
    CHECK(count < OPTION_ROWS_MAX);
    return count;
}

static int edit_distance(const char *a, const char *b)
{
    enum { LENGTH_MAX = 64 };
    int previous[LENGTH_MAX + 1], current[LENGTH_MAX + 1];
    int length_a = (int)strlen(a), length_b = (int)strlen(b);
    if (length_a > LENGTH_MAX || length_b > LENGTH_MAX)
        return LENGTH_MAX;
    for (int j = 0; j <= length_b; j++)
        previous[j] = j;
    for (int i = 1; i <= length_a; i++) {
        current[0] = i;
        for (int j = 1; j <= length_b; j++) {
            int best = previous[j - 1] + (a[i - 1] != b[j - 1]);
            if (previous[j] + 1 < best)
                best = previous[j] + 1;
            if (current[j - 1] + 1 < best)
                best = current[j - 1] + 1;
            current[j] = best;
        }
        memcpy(previous, current, sizeof(previous));
    }
    return previous[length_b];
}

static enum status take_value(const struct option_row *row, char *value)
{
    char *end = value;
    errno = 0;
    switch (row->type) {
    case OPTION_FLAG:
        *(int *)row->target = 1;
        return OK;
    case OPTION_STRING:
        *(const char **)row->target = value;
        return OK;
    case OPTION_INT:
        *(int64_t *)row->target = strtoll(value, &end, 10);
        break;
    case OPTION_DOUBLE:
        *(double *)row->target = strtod(value, &end);
        break;
    case OPTION_LIST: {
        struct option_list *list = row->target;
        if (list->count == OPTION_LIST_MAX)
            return fail(ERR_INPUT, "--%s is given more than %d times", row->name, OPTION_LIST_MAX);
        list->items[list->count++] = value;
        return OK;
    }
    }
    if (*value == '\0' || *end != '\0' || errno != 0)
        return fail(ERR_INPUT, "--%s needs a number, not '%s'", row->name, value);
    return OK;
}

static enum status unknown_option(const struct usage *usage, const char *word)
{
    if (optopt >= LONG_ONLY)
        return fail(ERR_INPUT, "'%s' takes no value", word);
    if (optopt != 0) /* among letters that stand together, word may be the one before */
        return fail(ERR_INPUT, "unknown option '-%c'", optopt);
    const char *names[OPTION_ROWS_MAX];
    int count = row_count(usage->options);
    for (int i = 0; i < count; i++)
        names[i] = usage->options[i].name;
    const char *nearest =
        strncmp(word, "--", 2) == 0 ? options_nearest(word + 2, names, count) : NULL;
    if (nearest != NULL)
        return fail(ERR_INPUT, "unknown option '%s'; did you mean '--%s'?", word, nearest);
    return fail(ERR_INPUT, "unknown option '%s'", word);
}

const char *options_nearest(const char *word, const char *const *candidates, int count)
{
    const char *nearest = NULL;
    int best = (int)strlen(word) / 2 + 1;
    for (int i = 0; i < count; i++) {
        int distance = edit_distance(word, candidates[i]);
        if (distance < best) {
            best = distance;
            nearest = candidates[i];
        }
    }
    return nearest;
}

/* "ls, drain or evict" */
static void join_words(const char *const *words, int count, char *text, size_t bytes)
{
    size_t used = 0;
    text[0] = '\0';
    for (int i = 0; i < count && used < bytes; i++)
        used += (size_t)snprintf(text + used, bytes - used, "%s%s",
                                 i == 0          ? ""
                                 : i + 1 < count ? ", "
                                                 : " or ",
                                 words[i]);
}

enum status options_unknown(const char *kind, const char *word, const char *const *candidates,
                            int count)
{
    char all[512];
    const char *nearest = options_nearest(word, candidates, count);
    join_words(candidates, count, all, sizeof(all));
    if (word[0] == '\0')
        return fail(ERR_INPUT, "a %s is missing: %s", kind, all);
    if (nearest != NULL)
        return fail(ERR_INPUT, "unknown %s '%s'; did you mean '%s'?", kind, word, nearest);
    return fail(ERR_INPUT, "unknown %s '%s': it is %s", kind, word, all);
}

enum status options_parse(const struct usage *usage, int argc, char **argv, int *ret_first)
{
    struct option longs[OPTION_ROWS_MAX + 3] = {{0}};
    char shorts[3 * OPTION_ROWS_MAX] = ":h";
    int count = row_count(usage->options);
    for (int i = 0; i < count; i++) {
        const struct option_row *row = &usage->options[i];
        int needs_value = row->type != OPTION_FLAG;
        longs[i] = (struct option){row->name, needs_value, NULL, LONG_ONLY + i};
        size_t used = strlen(shorts);
        if (row->letter != 0)
            snprintf(shorts + used, sizeof(shorts) - used, "%c%s", row->letter,
                     needs_value ? ":" : "");
    }
    longs[count] = (struct option){"help", optional_argument, NULL, 'h'};
    longs[count + 1] = (struct option){"version", no_argument, NULL, LONG_ONLY + OPTION_ROWS_MAX};
    optind = 0; /* glibc: forget earlier calls */
    opterr = 0;
    for (;;) {
        int option = getopt_long(argc, argv, shorts, longs, NULL);
        if (option < 0)
            break;
        if (option == 'h') {
            TRY(manual_print(usage, optarg));
            return fail(ERR_END, "help was printed");
        }
        if (option == LONG_ONLY + OPTION_ROWS_MAX) {
            printf("everseer %s\n", EVERSEER_VERSION);
            return fail(ERR_END, "the version was printed");
        }
        if (option == ':')
            return fail(ERR_INPUT, "'%s' needs a value", argv[optind - 1]);
        if (option == '?')
            return unknown_option(usage, argv[optind - 1]);
        int i = option - LONG_ONLY;
        for (int j = 0; option < LONG_ONLY && j < count; j++) {
            if (usage->options[j].letter == option)
                i = j;
        }
        TRY(take_value(&usage->options[i], optarg));
    }
    *ret_first = optind;
    return OK;
}

enum status options_check_rest(int argc, char **argv, int first)
{
    if (first < argc)
        return fail(ERR_INPUT, "there is no place for '%s'", argv[first]);
    return OK;
}

enum status options_parse_all(const struct usage *usage, int argc, char **argv)
{
    int first;
    TRY(options_parse(usage, argc, argv, &first));
    return options_check_rest(argc, argv, first);
}

enum status options_check_output(const char *output)
{
    if (output != NULL && strcmp(output, "table") != 0 && strcmp(output, "json") != 0)
        return fail(ERR_INPUT, "-o is table or json, not '%s'", output);
    return OK;
}

int options_is_json(const char *output)
{
    return output != NULL && strcmp(output, "json") == 0;
}

int options_exit(const struct usage *usage, enum status status)
{
    if (status == ERR_END)
        return 0;
    fprintf(stderr, "%s: %s\nTry '%s --help'.\n", usage->program, fail_message(), usage->program);
    return status_exit_code(status);
}
