/* journal.h - the run's memory: records appended durably, read back in order.
 *
 * One LMDB environment in RUN/state: key 0 says what this is, keys 1, 2, 3, ... (big-endian) are
 * the records. An append is one transaction and is on disk when the call returns, which takes two
 * flushes. A write comes first where nobody can wait for those: it takes some microseconds, and
 * what it wrote outlives this process, but its host only once it is settled. One process owns a
 * journal; others may read it at any time, while it grows too. One thread per journal. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_JOURNAL_H
#define SERVER_JOURNAL_H

#include <stdint.h>

#include "common/status.h"
#include "server/journal_record.h"

struct journal;

/* Creates or continues the journal in the directory path and becomes its owner. ERR_INPUT: another
 * server owns it, it lies on a network file system, or it is of a newer format. ERR_CORRUPT,
 * ERR_IO.
 */
enum status journal_open(const char *path, struct journal **ret_journal);
/* For reading only; beside an owner too. ERR_INPUT: there is none. */
enum status journal_open_reader(const char *path, struct journal **ret_journal);
void journal_close(struct journal *journal); /* NULL is fine */
uint64_t journal_count(const struct journal *journal);
/* Settles what was written before, then blocks until the record is on disk. After ERR_IO nothing of
 * it is there. */
enum status journal_append(struct journal *journal, const struct journal_record *record);
/* Settles what was written before; then the record survives the end of this process, whatever ends
 * it: whoever opens the journal next finds it. A fall of the host may still take it away, nothing
 * else. After ERR_IO nothing of it is there. */
enum status journal_write(struct journal *journal, const struct journal_record *record);
/* Blocks until what was written is on disk as what was appended is. ERR_IO: it is still only
 * written. */
enum status journal_settle(struct journal *journal);
/* Calls visit for every record in order; stops at the first failure, which it passes on.
 * ERR_CORRUPT names the record. The record is borrowed for the call. */
enum status journal_each(struct journal *journal,
                         enum status (*visit)(void *context, const struct journal_record *record),
                         void *context);

#endif
