/* report.h - what others may see of the run: log, files, feed, service manager, `seer status`.
 *
 * Loop thread. Events and steps are lines in the files of the run folder, so those calls write to
 * the disk (not flushed); trouble there is logged and stops nothing (run_folder.h). */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_REPORT_H
#define SERVER_REPORT_H

#include <jansson.h>

#include "server/server.h"

/* The feed's numbers begin: the epoch is known, nothing was said yet. */
void report_begin(struct server *server);
/* One line to log, events.jsonl and feed. text: key=value ... */
void report_event(struct server *server, const char *kind, int is_warning, const char *text);
void report_step(struct server *server, const struct journal_step *step);
void report_snapshot(struct server *server, const char *name, uint64_t step, uint64_t bytes,
                     int is_complete, const char *reason);
/* What changes without an event: workers and stream, to the feed; and that the loop goes round. */
void report_present(struct server *server);
/* The object of `seer status -o json`; the caller's. */
json_t *report_status(const struct server *server);
/* Some shards from number `from` on, and where to go on: of `stream_list`; the caller's. */
json_t *report_stream(const struct server *server, uint32_t from);

#endif
