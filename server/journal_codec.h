/* journal_codec.h - journal records as bytes, and back, through one description for both ways.
 *
 * Little-endian, fixed widths, texts and lists with a count in front, a checksum behind. Bytes are
 * read as if an enemy had written them. Kinds of records may be added, and fields behind the last
 * of a kind: in records of before those are not known. Programs of before refuse what they do not
 * know, with the remedy. Any other change is a new JOURNAL_FORMAT. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_JOURNAL_CODEC_H
#define SERVER_JOURNAL_CODEC_H

#include "common/buf.h"
#include "common/status.h"
#include "server/journal_record.h"

enum { JOURNAL_FORMAT = 1, JOURNAL_RECORD_BYTES_MAX = 64 << 20 };

/* Appends. ERR_INPUT past out's limit. */
enum status journal_encode(const struct journal_record *record, struct buf *out);
/* ERR_CORRUPT says what is wrong; also of what a newer everseer wrote. On OK the caller owns the
 * record (journal_record_done). */
enum status journal_decode(const void *bytes, size_t length, struct journal_record *ret_record);

#endif
