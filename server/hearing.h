/* hearing.h - the workers' own journals held against the server's and against the stream.
 *
 * A worker's journal is the steps that one process did, in order; between two records it may have
 * been without a generation, and its end may be anywhere, for processes die. So what a journal does
 * not say is held against a worker only where it says what came after. Of a step it is only known
 * that a slot was lost when all members of its generation wrote of it.
 *
 * Use: all records of one worker between begin and the next begin; then end, once. Pure. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_HEARING_H
#define SERVER_HEARING_H

#include <stdint.h>

#include "proto/witness.h"
#include "server/stream.h"
#include "server/verdicts.h"

struct hearing_result {
    uint64_t workers;         /* processes that left a journal of this run */
    uint64_t steps_witnessed; /* that survive and that every member wrote of */
    uint64_t lost;            /* positions that no member trained, though all wrote of the step */
    uint64_t duplicated;      /* positions that were trained twice in a step, or a step twice */
    uint64_t digests_differ;  /* a gradient or state was another one than the others' */
    uint64_t applied_without_commit;
    /* Steps that workers did by a verdict which the server's host took with it when it fell, and
     * which no survivor brought back: they were decided anew, or given up. No finding. */
    uint64_t lost_with_host;
    uint64_t committed_not_applied; /* steps that a worker went past without applying them */
    uint64_t records_differ;   /* images whose pixels were of another record than they must be */
    uint64_t journals_damaged; /* places that cannot be read, or contradict what came before */
};

struct hearing;

/* Borrows both for its life; they know the whole journal of the server by then. slot_images: of a
 * slot of this run. */
struct hearing *hearing_create(const struct stream *stream, const struct verdicts *verdicts,
                               uint32_t slot_images);
void hearing_destroy(struct hearing *hearing); /* NULL is fine */
/* What is heard from here on is of this process. */
void hearing_begin(struct hearing *hearing, uint64_t worker, const char *name);
/* The next record. */
void hearing_take(struct hearing *hearing, const struct witness *witness);
/* Files are missing that were removed for want of room: the next record need not follow. */
void hearing_pass(struct hearing *hearing);
/* A place in the present worker's files that cannot be read. */
void hearing_damage(struct hearing *hearing, const char *what);
/* Counts. What was found first is told in words, by hearing_finding. */
void hearing_end(struct hearing *hearing, struct hearing_result *ret_result);
/* NULL: there are no more. Borrowed. */
const char *hearing_finding(const struct hearing *hearing, int index);

#endif
