/* manual.c - the same table, told to three readers. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "common/manual.h"

#include <ctype.h>
#include <string.h>

/* Rows of the sections that pages share. program: of this one alone; NULL: of every program. */
struct remark {
    const char *program, *term, *words;
};

static const struct remark exit_codes[] = {
    {NULL, "0", "Done."},
    {NULL, "1", "Failed; the last line on stderr names place, cause and remedy."},
    {NULL, "2", "Wrong usage, wrong config, wrong input."},
    {NULL, "3", "Nobody is there: the server cannot be reached."},
    {"seer ingest", "4", "Partly done: with --strict, something was refused."},
    {NULL, "5", "Timed out."},
    {"seer-worker", "70",
     "Its device or its memory failed, one of its threads hangs, or the server sent it away "
     "because it stood still: start it again, as --respawn does."},
    {NULL, "128+N", "Ended by signal N."},
};
static const struct remark variables[] = {
    {NULL, "SEER_LOG", "Least level that is logged on stderr: error, warn, info or debug."},
    {NULL, "SEER_LOG_FORMAT", "How lines are logged: text or json, one object a line."},
    {"seer-server", "SEER_HELPER",
     "The helper of collectives, if it is not where it is installed."},
};
static const struct remark other_pages[] = {
    {NULL, "seer", "1"},        {NULL, "seer-server", "8"},   {NULL, "seer-worker", "8"},
    {NULL, "seer-loader", "8"}, {NULL, "everseer.yaml", "5"},
};
enum {
    EXIT_CODES = sizeof(exit_codes) / sizeof(exit_codes[0]),
    VARIABLES = sizeof(variables) / sizeof(variables[0]),
    OTHER_PAGES = sizeof(other_pages) / sizeof(other_pages[0]),
};

static int is_group(const struct usage *usage)
{
    return usage->options == NULL;
}

static void print_option(const struct option_row *row, FILE *to)
{
    char left[64], letter[8] = "    ";
    if (row->letter != 0)
        snprintf(letter, sizeof(letter), "-%c, ", row->letter);
    snprintf(left, sizeof(left), "%s--%s%s%s", letter, row->name, row->value ? " " : "",
             row->value ? row->value : "");
    fprintf(to, "  %-30s %s\n", left, row->help);
}

static void print_words(const struct usage *usage)
{
    for (int i = 0; i < usage->verb_count; i++)
        printf("%s\t%s\t%s\t%s\n", is_group(usage) ? "command" : "verb", usage->verbs[i].name,
               usage->verbs[i].words, usage->verbs[i].summary);
    for (const struct option_row *row = usage->options; row != NULL && row->name != NULL; row++) {
        const char *value = row->value == NULL ? "" : row->value;
        printf("option\t--%s\t%s\t%s\n", row->name, value, row->help);
        if (row->letter != 0)
            printf("option\t-%c\t%s\t%s\n", row->letter, value, row->help);
    }
    printf("option\t--help\t\tshow this help\noption\t--version\t\tprint the version\n");
}

/* Plain text up to end; a hyphen of ours is never one that roff may break or prettify. */
static void roff(const char *text, const char *end)
{
    for (; text < end; text++) {
        int begins_line = text[0] == '\n' && text + 1 < end;
        if (*text == '\\')
            fputs("\\e", stdout);
        else if (*text == '-')
            fputs("\\-", stdout);
        else if (*text == '\'')
            fputs("\\(aq", stdout);
        else
            putchar(*text);
        if (begins_line && text[1] == '.')
            fputs("\\&", stdout);
    }
}

static void roff_word(const char *text)
{
    if (*text == '.')
        fputs("\\&", stdout);
    roff(text, text + strlen(text));
}

/* "seer bench step" is the page seer-bench-step. */
static void roff_page_name(const char *program, int (*change)(int))
{
    for (; *program != '\0'; program++) {
        if (*program == ' ' || *program == '-')
            fputs("\\-", stdout);
        else
            putchar(change(*program));
    }
}

static int unchanged(int character)
{
    return character;
}

/* What the index of the manual shows: the summary up to its first stop or parenthesis. */
static void roff_title(const struct usage *usage)
{
    size_t length = strcspn(usage->summary, ".:;(");
    while (length > 1 && isspace((unsigned char)usage->summary[length - 1]))
        length--;
    printf(".TH ");
    roff_page_name(usage->program, toupper);
    printf(" %d %s \"everseer %s\" everseer\n.SH NAME\n", usage->section == 0 ? 1 : usage->section,
           EVERSEER_DATE, EVERSEER_VERSION);
    roff_page_name(usage->program, unchanged);
    printf(" \\- %c", tolower(usage->summary[0]));
    for (size_t i = 1; i < length; i++) {
        const char *at = usage->summary + i;
        if (*at == '\n')
            putchar(' ');
        else
            roff(at, at + 1);
    }
    putchar('\n');
}

static void roff_verbs(const struct usage *usage)
{
    if (usage->verb_count > 0)
        printf(".SH %s\n", is_group(usage) ? "COMMANDS" : "VERBS");
    for (int i = 0; i < usage->verb_count; i++) {
        const struct verb *verb = &usage->verbs[i];
        printf(".TP\n\\fB");
        roff_word(verb->name);
        printf("\\fR");
        if (verb->words[0] != '\0') {
            printf(" \\fI");
            roff_word(verb->words);
            printf("\\fR");
        }
        putchar('\n');
        roff_word(verb->summary);
        if (is_group(usage)) {
            printf(" (\\fB");
            roff_page_name(usage->program, unchanged);
            printf("\\-%s\\fR(1))", verb->name);
        }
        putchar('\n');
    }
}

static void roff_options(const struct usage *usage)
{
    if (is_group(usage))
        return;
    printf(".SH OPTIONS\n");
    for (const struct option_row *row = usage->options; row->name != NULL; row++) {
        printf(".TP\n");
        if (row->letter != 0)
            printf("\\fB\\-%c\\fR, ", row->letter);
        printf("\\fB\\-\\-");
        roff_word(row->name);
        printf("\\fR");
        if (row->value != NULL) {
            printf(" \\fI");
            roff_word(row->value);
            printf("\\fR");
        }
        putchar('\n');
        roff_word(row->help);
        putchar('\n');
    }
    printf(".TP\n\\fB\\-h\\fR, \\fB\\-\\-help\\fR\nshow a short help\n"
           ".TP\n\\fB\\-\\-version\\fR\nprint the version\n");
}

/* Lines of the table are indented by two, and may end with a newline. */
static void roff_examples(const char *examples)
{
    if (examples == NULL)
        return;
    printf(".SH EXAMPLES\n.EX\n");
    while (*examples != '\0') {
        size_t length = strcspn(examples, "\n");
        const char *line = examples;
        while (*line == ' ' && line < examples + 2)
            line++;
        if (*line == '.')
            fputs("\\&", stdout);
        roff(line, examples + length);
        putchar('\n');
        examples += length + (examples[length] == '\n');
    }
    printf(".EE\n");
}

static void roff_remarks(const char *program, const char *title, const struct remark *remarks,
                         int count)
{
    printf(".SH %s\n", title);
    for (int i = 0; i < count; i++) {
        if (remarks[i].program != NULL && strcmp(remarks[i].program, program) != 0)
            continue;
        printf(".TP\n.B ");
        roff_word(remarks[i].term);
        putchar('\n');
        roff_word(remarks[i].words);
        putchar('\n');
    }
}

static void roff_other_pages(void)
{
    printf(".SH SEE ALSO\n");
    for (int i = 0; i < OTHER_PAGES; i++) {
        printf(".BR ");
        roff_word(other_pages[i].term);
        printf(" (%s)%s\n", other_pages[i].words, i + 1 < OTHER_PAGES ? "," : "");
    }
}

static void print_page(const struct usage *usage)
{
    roff_title(usage);
    printf(".SH SYNOPSIS\n.B ");
    roff_word(usage->program);
    putchar('\n');
    roff_word(usage->synopsis);
    printf("\n.SH DESCRIPTION\n");
    roff_word(usage->summary);
    putchar('\n');
    roff_verbs(usage);
    roff_options(usage);
    roff_examples(usage->examples);
    roff_remarks(usage->program, "ENVIRONMENT", variables, VARIABLES);
    roff_remarks(usage->program, "EXIT STATUS", exit_codes, EXIT_CODES);
    roff_other_pages();
}

void manual_help(const struct usage *usage, FILE *to)
{
    fprintf(to, "%s\n\nUsage: %s %s\n", usage->summary, usage->program, usage->synopsis);
    if (usage->examples != NULL)
        fprintf(to, "\nExamples:\n%s\n", usage->examples);
    if (usage->verb_count > 0)
        fprintf(to, "\n%s:\n", is_group(usage) ? "Commands" : "Verbs");
    for (int i = 0; i < usage->verb_count; i++) {
        char left[64];
        snprintf(left, sizeof(left), "%s%s%s", usage->verbs[i].name,
                 usage->verbs[i].words[0] == '\0' ? "" : " ", usage->verbs[i].words);
        fprintf(to, "  %-*s %s\n", is_group(usage) ? 11 : 30, left, usage->verbs[i].summary);
    }
    if (is_group(usage)) {
        fprintf(to, "\n'%s COMMAND --help' tells more.\n", usage->program);
        return;
    }
    fprintf(to, "\nOptions:\n");
    for (const struct option_row *row = usage->options; row->name != NULL; row++)
        print_option(row, to);
    fprintf(to, "  %-30s %s\n", "-h, --help", "show this help");
    fprintf(to, "  %-30s %s\n", "    --version", "print the version");
}

enum status manual_print(const struct usage *usage, const char *form)
{
    if (form == NULL)
        manual_help(usage, stdout);
    else if (strcmp(form, "man") == 0)
        print_page(usage);
    else if (strcmp(form, "words") == 0)
        print_words(usage);
    else
        return fail(ERR_INPUT, "--help is man, words or nothing, not '%s'", form);
    return OK;
}
