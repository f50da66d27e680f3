/* advice.h - what a run's figures mean, and what has helped others: for the page, `seer top` and
 * status.
 *
 * Only what is known to go wrong with SwAV, with the remedies its authors and users name
 * (docs/troubleshooting.md). Early on nothing is said: a network that has learned nothing yet looks
 * collapsed. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_WATCH_ADVICE_H
#define SERVER_WATCH_ADVICE_H

#include "server/watch/picture.h"

enum { ADVICE_MAX = 6, ADVICE_BYTES = 400, ADVICE_FROM_STEP = 500 };

struct advice {
    int is_bad;              /* it has collapsed; 0: it may */
    const char *name;        /* "loss_stuck", ... */
    char text[ADVICE_BYTES]; /* one line */
};

/* How many there are; 0: nothing is known to be wrong. */
int advice_of(const struct picture *picture, struct advice ret_advice[ADVICE_MAX]);

#endif
