/* shard_check.h - is this file a whole LMDB tree that can be read without harm?
 *
 * LMDB follows offsets in a file as it finds them: one flipped bit in a page header is a crash. So
 * every page of the main tree is checked once at open: page numbers, bounds of nodes, the extent of
 * large values. Image bytes are not checked here; decoding does that, and `seer store verify`.
 * Costs a touch of each branch and leaf page; large values (over 2 KB) have theirs elsewhere and
 * are not touched beyond their header. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef LOADER_SHARD_CHECK_H
#define LOADER_SHARD_CHECK_H

#include <stdint.h>

#include "common/status.h"

/* file: path of data.mdb. ERR_INPUT: missing, or no LMDB file of format 1. ERR_CORRUPT: damaged,
 * with the place. ERR_DEVICE: no descriptor or memory is left. ERR_IO. */
enum status shard_check(const char *file, uint64_t *ret_record_count);

#endif
