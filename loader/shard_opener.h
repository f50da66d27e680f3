/* shard_opener.h - one attempt to open a shard of the table, and what its outcome means.
 *
 * The thread of shard_table.h calls it, and nobody else. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef LOADER_SHARD_OPENER_H
#define LOADER_SHARD_OPENER_H

#include "loader/shard_table.h"

/* At its path, else elsewhere: what is damaged here may be whole there. Without the lock; blocks on
 * disk. Statuses as of shard_open, and ERR_UNREACHABLE: somebody who may have it is away. */
enum status shard_opener_try(const struct shard_table *table, struct open_shard *open,
                             int *ret_is_remote);
/* With the lock held, right after the attempt, whose words are this thread's: it is open, tried
 * again later, or failed; the owner is told of what is worth it. */
void shard_opener_settle(const struct shard_table *table, struct open_shard *open,
                         enum status status, int is_remote);
void shard_opener_close(struct open_shard *open, int thread_count);

#endif
