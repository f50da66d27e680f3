/* run_folder.h - what a run leaves for people and scripts: metrics.jsonl, events.jsonl,
 * learning.jsonl, curves.
 *
 * Lines are written whole with one write(2). Those of steps are made from the journal's records, so
 * a line that a crash swallowed is written at the next start, and none is written twice. Disk
 * trouble here is logged and does not stop the run. One thread. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_RUN_FOLDER_H
#define SERVER_RUN_FOLDER_H

#include <stdint.h>

#include "common/status.h"
#include "server/journal_record.h"

struct run_folder;

/* Opens or continues the files in directory. */
enum status run_folder_open(const char *directory, struct run_folder **ret_folder);
void run_folder_close(struct run_folder *folder); /* NULL is fine */
/* A decided step: a line, unless it is there, and a point of each curve. */
void run_folder_step(struct run_folder *folder, const struct journal_step *step);
/* A line of learning.jsonl, and points of its curves. */
void run_folder_learning(struct run_folder *folder, uint32_t lineage,
                         const struct message_learning *figures);
/* A line of events.jsonl, numbered on across restarts. Returns the number. */
uint64_t run_folder_event(struct run_folder *folder, const char *kind, int is_warning,
                          const char *text);

#endif
