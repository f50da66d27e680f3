/* journal_writer.c - a process to be killed while it writes a journal, and the judge of what it
 * left behind; for crash_points.sh.
 *
 * journal_writer append DIR COUNT: appends COUNT records and says the number of each once it is
 * durable. journal_writer check DIR ACKNOWLEDGED: fails unless the journal is whole and holds what
 * was acknowledged, or one record more: the one whose acknowledgement the kill cut off. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/journal.h"

enum { SKIPS = 300 /* more than a page of LMDB's */ };

static struct message_skip skips[SKIPS];

static enum status append(struct journal *journal, uint64_t count)
{
    for (uint64_t step = 0; step < count; step++) {
        struct journal_record record = {.kind = JOURNAL_STEP};
        record.step.step = step;
        record.step.skip_count = step % 2 == 0 ? SKIPS : 0;
        record.step.skips = skips;
        TRY(journal_append(journal, &record));
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

static enum status run(const char *what, const char *directory, uint64_t count)
{
    struct journal *journal = NULL;
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
