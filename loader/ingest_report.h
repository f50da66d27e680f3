/* ingest_report.h - what became of each refused image, a line of JSON each. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef LOADER_INGEST_REPORT_H
#define LOADER_INGEST_REPORT_H

#include <stdio.h>

#include "common/status.h"

struct ingest_report {
    FILE *file; /* NULL: nobody asked */
    const char *path;
};

/* path may be NULL; borrowed. is_going_on: lines are added to those that are there, and each is
 * written at once. */
enum status ingest_report_open(struct ingest_report *report, const char *path, int is_going_on);
/* {"source": ..., "reason": ..., "detail": ...}. Bytes that are not UTF-8 become '?'. */
enum status ingest_report_add(struct ingest_report *report, const char *source, const char *reason,
                              const char *detail);
/* Flushes and closes; fine when it never opened. ERR_IO: lines may be missing. */
enum status ingest_report_close(struct ingest_report *report);

#endif
