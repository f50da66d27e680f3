/* snapshot_name.c - what snapshots are called. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/snapshot_name.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define AUTOMATIC "step-" /* how the coordinator's names begin */

enum status snapshot_name_check(const char *name)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789-_.";
    if (name[0] == 0 || name[0] == '.' || strlen(name) >= JOURNAL_NAME_BYTES ||
        name[strspn(name, allowed)] != 0)
        return fail(ERR_INPUT,
                    "'%.100s' is no snapshot name: up to %d letters, digits, '-', '_' and '.', not "
                    "'.' first",
                    name, JOURNAL_NAME_BYTES - 1);
    return OK;
}

enum status snapshot_name_check_given(const char *name)
{
    TRY(snapshot_name_check(name));
    if (snapshot_name_is_automatic(name))
        return fail(
            ERR_INPUT,
            "'%s': names with '" AUTOMATIC "' in front are the server's own; choose another", name);
    if (snapshot_name_is_initial(name))
        return fail(ERR_INPUT,
                    "'" SNAPSHOT_INITIAL "' is what a run with model.init begins with; choose "
                    "another name");
    return OK;
}

int snapshot_name_is_initial(const char *name)
{
    return strcmp(name, SNAPSHOT_INITIAL) == 0;
}

int snapshot_name_is_automatic(const char *name)
{
    return strncmp(name, AUTOMATIC, strlen(AUTOMATIC)) == 0;
}

void snapshot_name_make(uint64_t step, uint32_t lineage, char name[JOURNAL_NAME_BYTES])
{
    if (lineage == 0)
        snprintf(name, JOURNAL_NAME_BYTES, AUTOMATIC "%09" PRIu64, step);
    else
        snprintf(name, JOURNAL_NAME_BYTES, AUTOMATIC "%09" PRIu64 "-lineage-%" PRIu32, step,
                 lineage);
}
