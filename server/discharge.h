/* discharge.h - workers that shall leave by an operator's word, for as long as anybody may ask.
 *
 * The word is journaled before it is answered: a server that starts again still lets a worker
 * drain, and never lets one in again that was evicted. A word given twice, or for somebody who has
 * left by now because of the first, is the same word. The newest CORE_DISCHARGES are remembered. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_DISCHARGE_H
#define SERVER_DISCHARGE_H

#include "server/core.h"

/* Drains: the worker leaves at the next boundary. Evicts: it is no member from this moment, and
 * reason is told to it, "" = none. ERR_INPUT for a name that nobody has or had. *ret_worker: whom
 * it concerns. */
enum status discharge_order(struct coordinator *c, const char *name, int is_evicted,
                            const char *reason, uint64_t *ret_worker);
/* As the journal has it; beyond CORE_DISCHARGES the oldest is forgotten. */
void discharge_restore(struct coordinator *c, const struct journal_discharge *discharge);
/* What was said about this worker; NULL = nothing. */
const struct journal_discharge *discharge_find(const struct coordinator *c, uint64_t worker);

#endif
