/* agreement.h - what members must have computed alike, and what follows when they have not.
 *
 * Members whose digests differ cannot all be right, and nobody can see from outside who is. Rules,
 * the first that decides: what more than half of them say; what the giver of the state says, which
 * the others should have copied; what the first in rank says. Only the first rule tells which
 * machine computes wrongly: by the others it may as well be the one that is believed. So the event
 * names the rule, and each member with its digest, for a person to judge. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_AGREEMENT_H
#define SERVER_AGREEMENT_H

#include "server/core.h"

enum { AGREEMENT_NO_GIVER = -1 };

struct agreement {
    const char *event;            /* static: its kind, if they differ */
    const char *of;               /* what of: gradient, parameters, state */
    const char *reason;           /* why the generation ends then */
    int giver;                    /* rank of whom the others have their state from, or NO_GIVER */
    uint64_t digests[ROSTER_MAX]; /* [world_size] by rank in the present generation */
};

/* Are they all equal? If not: tells it, ends the generation, takes the state from those who are
 * held to be wrong, and sends those away who were for CORE_DEVIATIONS_MAX times in a row. Pointers
 * to workers move then. */
int agreement_holds(struct coordinator *c, const struct agreement *agreement);

#endif
