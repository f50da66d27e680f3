/* vitals.c - figures of the server's own health for the status feed. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/vitals.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "common/mem.h"

void vitals_init(struct vitals *vitals, int64_t now_ms)
{
    *vitals = (struct vitals){.started_ms = now_ms};
}

void vitals_step(struct vitals *vitals, const struct journal_step *step)
{
    if (step->is_commit)
        vitals->trained_ms += step->step_ms;
}

static int64_t modified_ms(const char *directory, const char *snapshot)
{
    struct stat facts;
    char *path = mem_format("%s/snapshots/%s.safetensors", directory, snapshot);
    int is_there = stat(path, &facts) == 0;
    mem_free(path);
    if (!is_there)
        return 0;
    return facts.st_mtim.tv_sec * INT64_C(1000) + facts.st_mtim.tv_nsec / 1000000;
}

void vitals_look(struct vitals *vitals, const char *directory, const char *snapshot)
{
    struct statvfs disk;
    if (statvfs(directory, &disk) == 0) {
        vitals->disk_free_bytes = (uint64_t)disk.f_bavail * disk.f_frsize;
        vitals->disk_total_bytes = (uint64_t)disk.f_blocks * disk.f_frsize;
    }
    if (strcmp(vitals->snapshot, snapshot) == 0)
        return;
    snprintf(vitals->snapshot, sizeof(vitals->snapshot), "%s", snapshot);
    vitals->snapshot_wall_ms = snapshot[0] != 0 ? modified_ms(directory, snapshot) : 0;
}
