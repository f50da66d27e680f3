/* verdicts.h - what a run's journal decided, found again by lineage and step; for the audit.
 *
 * Every step that was ever decided is here, also those that a rollback voided later: whoever
 * applied one of those did right. Pure. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_VERDICTS_H
#define SERVER_VERDICTS_H

#include <stdint.h>

#include "common/status.h"
#include "server/journal_record.h"

struct verdict {
    uint64_t step, generation;
    uint64_t position; /* of its first image */
    uint64_t digest;   /* of the reduced gradient */
    uint64_t parameter_digest;
    uint64_t first_skip; /* its quarantined records; see verdicts_is_bad */
    uint32_t skip_count;
    uint32_t lineage, images;
    int is_commit;
};

struct verdicts;

struct verdicts *verdicts_create(void);
void verdicts_destroy(struct verdicts *verdicts); /* NULL is fine */
/* In the journal's order; kinds that decide nothing are fine. ERR_CORRUPT for what cannot follow.
 */
enum status verdicts_add(struct verdicts *verdicts, const struct journal_record *record);
uint64_t verdicts_count(const struct verdicts *verdicts);
/* In the order of decision. */
const struct verdict *verdicts_at(const struct verdicts *verdicts, uint64_t index);
/* NULL: nothing was decided on this step in this lineage. */
const struct verdict *verdicts_find(const struct verdicts *verdicts, uint32_t lineage,
                                    uint64_t step);
uint64_t verdicts_index(const struct verdicts *verdicts, const struct verdict *verdict);
/* Did this lineage ever have a state of `step` committed steps? */
int verdicts_has_state(const struct verdicts *verdicts, uint32_t lineage, uint64_t step);
/* May this generation have been told a verdict on this step that the journal lost, because the
 * server's host fell before the record was safe? It was the next step of that generation then. */
int verdicts_may_be_lost(const struct verdicts *verdicts, uint32_t lineage, uint64_t step,
                         uint64_t generation);
/* 0: a rollback voided it. */
int verdicts_survives(const struct verdicts *verdicts, const struct verdict *verdict);
/* Is the record among those that could not be decoded in this step? */
int verdicts_is_bad(const struct verdicts *verdicts, const struct verdict *verdict, uint32_t shard,
                    uint32_t record);
/* Members of a generation; 0 = there is none of that number. */
uint32_t verdicts_member_count(const struct verdicts *verdicts, uint64_t generation);
int verdicts_is_member(const struct verdicts *verdicts, uint64_t generation, uint64_t worker);

#endif
