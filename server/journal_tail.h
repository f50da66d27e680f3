/* journal_tail.h - the journal's newest record, written down before it is durable.
 *
 * A file beside the journal that holds one numbered record at a time. What was written survives the
 * writer's death, however it comes, since it is in the page cache; it may not survive its host's.
 * A record that was torn or is of the past is as good as none. One writer; others may read. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_JOURNAL_TAIL_H
#define SERVER_JOURNAL_TAIL_H

#include <stdint.h>

#include "common/buf.h"
#include "common/status.h"

struct journal_tail {
    int file; /* -1 = there is none to read */
};

/* Of the journal in this directory; an owner creates the file. ERR_IO names it. */
enum status journal_tail_open(const char *directory, int is_owner, struct journal_tail *ret_tail);
void journal_tail_close(struct journal_tail *tail);
/* Replaces what it holds by one write(2) of some microseconds. ERR_IO: it holds nothing. */
enum status journal_tail_write(const struct journal_tail *tail, uint64_t number,
                               const struct buf *record);
/* Appends the bytes of the record to `record` and tells its number, 0 if it holds none: then there
 * may be bytes in `record` that mean nothing. ERR_IO. */
enum status journal_tail_read(const struct journal_tail *tail, struct buf *record,
                              uint64_t *ret_number);

#endif
