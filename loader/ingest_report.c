/* ingest_report.c - JSON lines through jansson. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "loader/ingest_report.h"

#include <errno.h>
#include <string.h>

#include <jansson.h>

#include "common/json.h"

enum status ingest_report_open(struct ingest_report *report, const char *path, int is_going_on)
{
    *report = (struct ingest_report){.path = path};
    if (path == NULL)
        return OK;
    report->file = fopen(path, is_going_on ? "ae" : "we");
    if (report->file == NULL)
        return fail(ERR_IO, "cannot create the report '%s': %s", path, strerror(errno));
    if (is_going_on)
        setvbuf(report->file, NULL, _IOLBF, BUFSIZ);
    return OK;
}

static enum status report_fail(const struct ingest_report *report)
{
    return fail(ERR_IO, "cannot write the report '%s': %s", report->path, strerror(errno));
}

enum status ingest_report_add(struct ingest_report *report, const char *source, const char *reason,
                              const char *detail)
{
    if (report->file == NULL)
        return OK;
    json_t *line = json_pack("{so ss so}", "source", json_text(source), "reason", reason, "detail",
                             json_text(detail));
    int is_bad = json_dumpf(line, report->file, JSON_COMPACT) != 0 || fputc('\n', report->file) < 0;
    json_decref(line);
    return is_bad ? report_fail(report) : OK;
}

enum status ingest_report_close(struct ingest_report *report)
{
    FILE *file = report->file;
    report->file = NULL;
    return file != NULL && fclose(file) != 0 ? report_fail(report) : OK;
}
