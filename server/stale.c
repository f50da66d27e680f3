/* stale.c - what the kinds are called. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/stale.h"

const char *stale_kind_name(enum stale_kind kind)
{
    static const char *const names[STALE_KIND_COUNT] = {
        [STALE_RUN] = "run",
        [STALE_EPOCH] = "epoch",
        [STALE_INCARNATION] = "incarnation",
        [STALE_LINEAGE] = "lineage",
        [STALE_GENERATION] = "generation",
        [STALE_STEP] = "step",
        [STALE_ORDER] = "order",
    };
    return names[kind];
}
