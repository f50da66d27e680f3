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
#include "server/witness_files.h"

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

/* Folders of workers' journals: those that were named, else the run's own, if it has one. */
static enum status list_workers(const char *run, const struct option_list *named,
                                struct witness_files *files)
{
    char *own = mem_format("%s/workers", run);
    enum status status = OK;
    for (int i = 0; i < named->count && status == OK; i++)
        status = witness_files_add(files, named->items[i]);
    if (named->count == 0 && fs_exists(own))
        status = witness_files_add(files, own);
    mem_free(own);
    return status;
}

static enum status read_journal(const char *state, struct audit *audit)
{
    struct journal *journal = NULL;
    TRY(journal_open_reader(state, &journal));
    enum status status = journal_each(journal, add_record, audit);
    journal_close(journal);
    return status;
}

/* The workers' files are listed before the server's journal is read: what they hold by then was
 * decided by then, so that a run that goes on is no riddle. */
static enum status count(const char *path, const struct option_list *workers, struct audit *audit,
                         struct audit_result *ret_result)
{
    struct witness_files files = {0};
    char *state = state_of(path);
    enum status status = list_workers(path, workers, &files);
    if (status == OK)
        status = read_journal(state, audit);
    if (status == OK && files.count > 0)
        status = witness_files_hear(&files, audit_run_id(audit), audit_hearing(audit));
    if (status == OK)
        audit_count(audit, ret_result);
    witness_files_done(&files);
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
    {"workers", offsetof(struct audit_result, heard.workers)},
    {"steps_witnessed", offsetof(struct audit_result, heard.steps_witnessed)},
    {"digests_differ", offsetof(struct audit_result, heard.digests_differ)},
    {"applied_without_commit", offsetof(struct audit_result, heard.applied_without_commit)},
    {"lost_with_host", offsetof(struct audit_result, heard.lost_with_host)},
    {"committed_not_applied", offsetof(struct audit_result, heard.committed_not_applied)},
    {"records_differ", offsetof(struct audit_result, heard.records_differ)},
    {"journals_damaged", offsetof(struct audit_result, heard.journals_damaged)},
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

/* What must never be. The first findings go to stderr, one a line. */
static enum status judge(const char *path, struct audit *audit, const struct audit_result *result)
{
    const struct hearing_result *heard = &result->heard;
    uint64_t disagreements = heard->digests_differ + heard->applied_without_commit +
                             heard->committed_not_applied + heard->records_differ;
    const char *finding;
    for (int i = 0; (finding = hearing_finding(audit_hearing(audit), i)) != NULL; i++)
        fprintf(stderr, "%s\n", finding);
    if (result->lost + result->duplicated + disagreements > 0)
        return fail(ERR_CORRUPT,
                    "%" PRIu64 " positions of '%s' were lost, %" PRIu64 " counted twice; workers "
                    "and server disagree %" PRIu64 " times: a bug of ours; keep the folder and "
                    "report it",
                    result->lost, path, result->duplicated, disagreements);
    if (heard->journals_damaged > 0)
        return fail(ERR_CORRUPT,
                    "workers' journals are damaged in %" PRIu64 " places: check the disks they "
                    "were written on; all that can be read agrees",
                    heard->journals_damaged);
    return OK;
}

static int audit_folder(const char *path, const struct option_list *workers, int is_json)
{
    struct audit_result result = {0};
    struct audit *audit = audit_create();
    enum status status = count(path, workers, audit, &result);
    if (status == OK) {
        if (is_json)
            print_json(&result);
        else
            print_table(&result);
        status = judge(path, audit, &result);
    }
    audit_destroy(audit);
    return status == OK ? 0 : command_exit("seer audit", status);
}

static int audit_run(int argc, char **argv)
{
    const char *output = NULL;
    struct option_list workers = {0};
    const struct option_row options[] = {
        {"workers", 'w', OPTION_LIST, &workers, "DIR",
         "workers' journals (default DIR/workers); may be repeated"},
        {"output", 'o', OPTION_STRING, &output, "FORMAT", "table (default) or json"},
        {0},
    };
    const struct usage usage = {
        .program = "seer audit",
        .synopsis = "DIR [--workers DIR]... [-o json]",
        .summary = "Recounts every position of a run's stream from its journal, and holds the "
                   "journals of the\nworkers against it; while the run goes on, too. Exit code 1 "
                   "if any image was lost or counted\ntwice, or if they disagree.",
        .examples = "  seer audit run -o json",
        .options = options,
    };
    int first = argc;
    enum status status = options_parse(&usage, argc, argv, &first);
    if (status == OK && argc - first != 1)
        status = fail(ERR_INPUT, "name one DIR");
    if (status == OK)
        status = options_check_output(output);
    if (status != OK)
        return options_exit(&usage, status);
    return audit_folder(argv[first], &workers, options_is_json(output));
}

const struct command audit_command = {"audit", "was every image counted exactly once?", audit_run};
