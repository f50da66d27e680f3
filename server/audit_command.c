/* audit_command.c - `seer audit`: was every image counted exactly once? */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/fs.h"
#include "common/mem.h"
#include "server/audit.h"
#include "server/commands.h"
#include "server/journal.h"

enum { SCHEMA = 1 };

static enum status add_record(void *audit, const struct journal_record *record)
{
    return audit_add(audit, record);
}

/* A run's folder, or its state folder itself. */
static char *state_of(const char *path)
{
    char *file = mem_format("%s/data.mdb", path);
    int is_state = fs_exists(file);
    mem_free(file);
    return is_state ? mem_string(path) : mem_format("%s/state", path);
}

static enum status count(const char *path, struct audit_result *ret_result)
{
    struct journal *journal = NULL;
    struct audit *audit = audit_create();
    char *state = state_of(path);
    enum status status = journal_open_reader(state, &journal);
    if (status == OK)
        status = journal_each(journal, add_record, audit);
    if (status == OK)
        audit_count(audit, ret_result);
    journal_close(journal);
    audit_destroy(audit);
    mem_free(state);
    return status;
}

static const struct {
    const char *name;
    size_t offset; /* of a uint64_t in struct audit_result */
} rows[] = {
    {"steps", offsetof(struct audit_result, steps)},
    {"positions_trained", offsetof(struct audit_result, positions_trained)},
    {"positions_quarantined", offsetof(struct audit_result, positions_quarantined)},
    {"positions_passed_over", offsetof(struct audit_result, positions_passed_over)},
    {"positions_retired", offsetof(struct audit_result, positions_retired)},
    {"lost", offsetof(struct audit_result, lost)},
    {"duplicated", offsetof(struct audit_result, duplicated)},
    {"unequal_digests", offsetof(struct audit_result, unequal_digests)},
    {"voided_steps", offsetof(struct audit_result, voided_steps)},
};

static uint64_t row_value(const struct audit_result *result, size_t row)
{
    uint64_t value;
    memcpy(&value, (const char *)result + rows[row].offset, sizeof(value));
    return value;
}

static void print_json(const struct audit_result *result)
{
    printf("{\"schema_version\": %d", SCHEMA);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        printf(", \"%s\": %" PRIu64, rows[i].name, row_value(result, i));
    printf(", \"lineages\": %u}\n", result->lineages);
}

static void print_table(const struct audit_result *result)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        printf("%-22s %12" PRIu64 "\n", rows[i].name, row_value(result, i));
    printf("%-22s %12u\n", "lineages", result->lineages);
}

static int audit_run(int argc, char **argv)
{
    const char *output = NULL;
    const struct option_row options[] = {
        {"output", 'o', OPTION_STRING, &output, "FORMAT", "table (default) or json"},
        {0},
    };
    const struct usage usage = {
        .program = "seer audit",
        .synopsis = "DIR [-o json]",
        .summary = "Recounts every position of a run's stream from its journal; while the run "
                   "goes on, too.\nExit code 1 if any was lost or counted twice.",
        .examples = "  seer audit run -o json",
        .options = options,
    };
    int first = argc;
    struct audit_result result = {0};
    enum status status = options_parse(&usage, argc, argv, &first);
    if (status == OK && argc - first != 1)
        status = fail(ERR_INPUT, "name one DIR");
    if (status == OK)
        status = options_check_output(output);
    if (status != OK)
        return options_exit(&usage, status);
    status = count(argv[first], &result);
    if (status != OK)
        return command_exit(usage.program, status);
    if (options_is_json(output))
        print_json(&result);
    else
        print_table(&result);
    if (result.lost == 0 && result.duplicated == 0)
        return 0;
    fprintf(stderr,
            "%" PRIu64 " positions of '%s' were lost, %" PRIu64 " counted twice: a bug "
            "of ours; keep the folder and report it\n",
            result.lost, argv[first], result.duplicated);
    return 1;
}

const struct command audit_command = {"audit", "was every image counted exactly once?", audit_run};
