/* audit.h - recounts a run from its journals: what became of every position of the stream.
 *
 * Records of the server's journal are taken in order. A rollback voids the steps from its step on:
 * they no longer count, and their positions are trained again. In the history that is left every
 * position must belong to exactly one step, and every record must come up at most once in each pass
 * over its shard. Then the workers' own journals are heard about the same steps (hearing.h). */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_AUDIT_H
#define SERVER_AUDIT_H

#include <stdint.h>

#include "common/status.h"
#include "server/hearing.h"
#include "server/journal_record.h"

struct audit_result {
    uint64_t steps;                 /* that survive */
    uint64_t positions_trained;     /* applied by every member */
    uint64_t positions_quarantined; /* of those steps; the record could not be decoded */
    uint64_t positions_passed_over; /* of steps that were skipped, for whatever reason */
    uint64_t positions_retired;     /* left out of passes because their shard was retired */
    uint64_t lost;                  /* positions below the last one that no step or member had */
    uint64_t duplicated;            /* positions or records that counted twice */
    uint64_t unequal_digests;       /* disagreements among members, each healed or ended there */
    uint64_t voided_steps;          /* by rollbacks */
    uint32_t lineages;              /* rollbacks + 1 */
    struct hearing_result heard;    /* lost and duplicated of it are part of those above */
};

struct audit;

struct audit *audit_create(void);
void audit_destroy(struct audit *audit); /* NULL is fine */
/* ERR_CORRUPT for what cannot follow what came before. */
enum status audit_add(struct audit *audit, const struct journal_record *record);
/* The identity of the run; 0 before its first record. */
uint64_t audit_run_id(const struct audit *audit);
/* For the workers' journals, once all records are added, and one at least. Owned by the audit. */
struct hearing *audit_hearing(struct audit *audit);
/* Once. */
void audit_count(struct audit *audit, struct audit_result *ret_result);

#endif
