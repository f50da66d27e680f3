/* holders.h - which loaders there are, what each one holds, and which one is asked for a record.
 *
 * A loader is away until it has told its whole inventory on a connection that stands. Of those that
 * hold a shard the same one is asked for all of it, so that each shard is in one host's memory, as
 * long as it is not much busier than another. A shard is known by name, number of records and the
 * hash of its file, as the server's catalogue has them: who holds another one under the name is not
 * asked for it. Where the server knows no hash (a shard without a manifest), two loaders that hold
 * different files under one name are a mistake that nobody here can put right, so neither is asked.
 * Pure. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef LOADER_HOLDERS_H
#define LOADER_HOLDERS_H

#include <stdint.h>

#include "common/status.h"
#include "loader/inventory.h"

enum {
    HOLDERS_MAX = 16,
    HOLDERS_BUSIER = 64, /* reads that the usual loader may have waiting beyond another's */
};

/* A shard as the server plans with it. */
struct planned_shard {
    const char *name; /* borrowed */
    uint32_t records;
    uint64_t content_hash; /* XXH3-64 of data.mdb; 0: not known */
};

struct holder {
    const char *address; /* borrowed */
    uint64_t key;        /* of the address: who is asked for what */
    int is_present;      /* connected, and has said what it holds */
    int is_whole;        /* all of it: what it has not named it does not hold */
    char reason[96];     /* why it is not present; "" = not reached so far */
    uint32_t asked;      /* reads that it has not answered */
    struct inventory inventory;
};

struct holders {
    int count;
    struct holder items[HOLDERS_MAX];
};

void holders_init(struct holders *holders, const char *const *addresses, int count);
void holders_done(struct holders *holders);
/* Whom to ask; -1: nobody. Bit i of tried: not loader i. */
int holders_choose(const struct holders *holders, const struct planned_shard *shard,
                   uint32_t tried);
/* OK: some loader holds the shard. Otherwise the words name each loader with what it lacks.
 * ERR_UNREACHABLE: a loader is away, which may hold it, or loaders hold different shards of this
 * name: wait. ERR_CORRUPT: all are there; who has it finds it damaged. ERR_INPUT: all are there,
 * and none has it. */
enum status holders_verdict(const struct holders *holders, const struct planned_shard *shard);

#endif
