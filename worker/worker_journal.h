/* worker_journal.h - a worker's own record of what it did, for `seer audit`.
 *
 * The training thread says what happened and goes on; a thread of the journal's own writes it, with
 * one write(2) for each record and no flush before a file is full. So what was written survives the
 * death of the process, not that of the machine, which may take the last seconds along. Training
 * never waits and never fails for the journal: what cannot be written, since the disk is full or
 * slower than the training, is missing, and the next record says how many are.
 *
 * Files are FOLDER/WORKER-SEGMENT.journal (proto/witness.h), made when there is something to write.
 * All workers of a run may share the folder. Whoever begins a file removes the oldest that nobody
 * writes any more, until the folder is within its limit. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_WORKER_JOURNAL_H
#define WORKER_WORKER_JOURNAL_H

#include <stdint.h>

#include "common/status.h"
#include "proto/witness.h"

enum { WORKER_JOURNAL_FOLDER_BYTES = 1 << 30 };

struct worker_journal_setup {
    const char *folder; /* made if missing; borrowed for the call, like name */
    const char *name;   /* of the worker, for people */
    uint64_t segment_bytes,
        folder_bytes; /* WITNESS_SEGMENT_BYTES and the above; tests ask for less */
};

struct worker_journal;

/* ERR_INPUT: the folder cannot be made or written to. */
enum status worker_journal_open(const struct worker_journal_setup *setup,
                                struct worker_journal **ret_journal);
/* Writes what it was given, then closes. Blocks. NULL is fine. */
void worker_journal_close(struct worker_journal *journal);
/* A generation is formed, and this worker holds its first state: journal, run and worker as the
 * server calls them. is_own is found out here. Does not block; NULL journals are fine, here and
 * below. One thread calls these two. */
void worker_journal_state(struct worker_journal *journal, uint64_t run, uint64_t worker,
                          const struct witness_state *state);
/* A step was applied or skipped, after a state. Takes what *step points to and leaves it zeroed. */
void worker_journal_step(struct worker_journal *journal, struct witness_step *step);

#endif
