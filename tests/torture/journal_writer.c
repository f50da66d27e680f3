/* journal_writer.c - a process to be killed while it writes a journal, and the judge of what it
 * left behind; for crash_points.sh.
 *
 * journal_writer append DIR COUNT: appends and writes COUNT records in turns, and says the number
 * of each once it would survive. journal_writer forget DIR COUNT: takes the last COUNT steps out of
 * the journal, and what came after, as a fall of the host does with one. journal_writer check DIR
 * ACKNOWLEDGED: fails unless the journal is whole and holds what was acknowledged, or one record
 * more: the one whose acknowledgement the kill cut off. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lmdb.h>

#include "common/mem.h"
#include "server/journal.h"
#include "server/journal_codec.h"

enum { SKIPS = 300 /* more than a page of LMDB's */ };

static struct message_skip skips[SKIPS];

static enum status append(struct journal *journal, uint64_t count)
{
    for (uint64_t step = 0; step < count; step++) {
        struct journal_record record = {.kind = JOURNAL_STEP};
        record.step.step = step;
        record.step.skip_count = step % 2 == 0 ? SKIPS : 0;
        record.step.skips = skips;
        TRY(step % 3 == 0 ? journal_append(journal, &record) : journal_write(journal, &record));
        printf("%llu\n", (unsigned long long)step + 1);
        fflush(stdout);
    }
    return OK;
}

static enum status check_step(void *context, const struct journal_record *record)
{
    uint64_t *step = context;
    if (record->kind != JOURNAL_STEP || record->step.step != *step ||
        record->step.skip_count != (*step % 2 == 0 ? SKIPS : 0))
        return fail(ERR_CORRUPT, "record %llu is another", (unsigned long long)*step);
    ++*step;
    return OK;
}

static enum status check(struct journal *journal, uint64_t acknowledged)
{
    uint64_t steps = 0;
    TRY(journal_each(journal, check_step, &steps));
    if (steps != acknowledged && steps != acknowledged + 1)
        return fail(ERR_CORRUPT, "%llu records were acknowledged, %llu are there",
                    (unsigned long long)acknowledged, (unsigned long long)steps);
    return OK;
}

static int is_step(const MDB_val *value)
{
    struct journal_record record;
    if (journal_decode(value->mv_data, value->mv_size, &record) != OK)
        return 0;
    int is = record.kind == JOURNAL_STEP;
    journal_record_done(&record);
    return is;
}

static int delete_last(MDB_txn *txn, uint64_t *steps)
{
    MDB_dbi table;
    MDB_cursor *cursor;
    MDB_val key, value;
    int error = mdb_dbi_open(txn, NULL, 0, &table);
    if (error == 0)
        error = mdb_cursor_open(txn, table, &cursor);
    if (error != 0)
        return error;
    error = mdb_cursor_get(cursor, &key, &value, MDB_LAST);
    if (error == 0)
        *steps -= is_step(&value);
    if (error == 0)
        error = mdb_cursor_del(cursor, 0);
    mdb_cursor_close(cursor);
    return error;
}

static int delete_steps(MDB_env *env, const char *directory, uint64_t steps)
{
    MDB_txn *txn = NULL;
    int error = mdb_env_open(env, directory, 0, 0666);
    if (error == 0)
        error = mdb_txn_begin(env, NULL, 0, &txn);
    while (steps > 0 && error == 0)
        error = delete_last(txn, &steps);
    if (error == 0)
        return mdb_txn_commit(txn);
    if (txn != NULL)
        mdb_txn_abort(txn);
    return error;
}

static enum status forget(const char *directory, uint64_t count)
{
    struct journal *journal = NULL;
    TRY(journal_open(directory, &journal)); /* settles the last one, and tells if it is in use */
    journal_close(journal);
    MDB_env *env = NULL;
    int error = mdb_env_create(&env);
    if (error == 0)
        error = delete_steps(env, directory, count);
    if (env != NULL)
        mdb_env_close(env);
    char *tail = mem_format("%s/tail", directory);
    remove(tail);
    mem_free(tail);
    return error == 0 ? OK : fail(ERR_IO, "'%s': %s", directory, mdb_strerror(error));
}

static enum status run(const char *what, const char *directory, uint64_t count)
{
    struct journal *journal = NULL;
    if (strcmp(what, "forget") == 0)
        return forget(directory, count);
    TRY(journal_open(directory, &journal));
    enum status status =
        strcmp(what, "append") == 0 ? append(journal, count) : check(journal, count);
    journal_close(journal);
    return status;
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    for (int i = 0; i < SKIPS; i++)
        skips[i].reason = "truncated";
    if (run(argv[1], argv[2], strtoull(argv[3], NULL, 10)) == OK)
        return 0;
    fprintf(stderr, "%s\n", fail_message());
    return 1;
}
