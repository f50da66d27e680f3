/* bn_groups.c - with whom a member sums the statistics of which BN group. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/model/bn_groups.h"

#include "common/hash.h"

static int are_runs(const struct bn_share *shares, int members)
{
    uint32_t next = 0;
    for (int rank = 0; rank < members; next += shares[rank++].count)
        if (shares[rank].count == 0 || shares[rank].first != next)
            return 0;
    return 1;
}

/* Groups that are shared come in the order of their slots, as ranks do: rank shares its last group
 * with those above it that have slots of it too. */
void bn_groups_make(struct bn_groups *groups, const struct bn_share *shares, int members, int rank,
                    int group_slots)
{
    *groups = (struct bn_groups){.group = {COLLECTIVE_NO_COLOR, COLLECTIVE_NO_COLOR}};
    if (!are_runs(shares, members))
        return;
    groups->key = hash_bytes(shares, (size_t)members * sizeof(*shares)) | 1;
    for (int first = 0, last, cut = 0; first<members; first = last> first ? last : first + 1) {
        const uint32_t end = shares[first].first + shares[first].count;
        const uint32_t group = (end - 1) / (uint32_t)group_slots;
        last = first;
        while (last + 1 < members && shares[last + 1].first / (uint32_t)group_slots == group)
            last++;
        if (last == first)
            continue;
        if (rank >= first && rank <= last)
            groups->group[cut] = (int)group;
        cut = (cut + 1) % COLLECTIVE_CUTS;
    }
}
