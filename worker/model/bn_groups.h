/* bn_groups.h - with whom a member sums the statistics of which BN group.
 *
 * Members hold runs of slots in the order of ranks, and so does a BN group: it lies with one member
 * or with a few neighbours, and a member shares at most two groups with others, its first and its
 * last. So the groups that are shared, taken alternately, make two cuts of the members into
 * subgroups (collective.h), whose sums concern nobody else. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_MODEL_BN_GROUPS_H
#define WORKER_MODEL_BN_GROUPS_H

#include <stdint.h>

#include "worker/collective/collective.h"

/* The slots of a member; count 0: they are no run. */
struct bn_share {
    uint32_t first, count;
};

struct bn_groups {
    uint64_t key; /* of who holds what, for collective_split; 0: sums are among all members */
    int group[COLLECTIVE_CUTS]; /* that this member shares in a cut, its colour there, or none */
};

/* shares[members]. A function of these: all members come to the same. */
void bn_groups_make(struct bn_groups *groups, const struct bn_share *shares, int members, int rank,
                    int group_slots);

#endif
