/* stale.h - kinds of the past that a message can come from: each is refused, and counted by kind.
 *
 * A step's attempt is no kind of its own: every attempt has its own generation. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_STALE_H
#define SERVER_STALE_H

enum stale_kind {
    STALE_RUN,         /* of another run */
    STALE_EPOCH,       /* said to a server that has died since */
    STALE_INCARNATION, /* of a process, or on a connection, that is none of the present ones */
    STALE_LINEAGE,     /* from a history that a rollback has ended */
    STALE_GENERATION,  /* from one that has ended */
    STALE_STEP,        /* about another step than the present one */
    STALE_ORDER,       /* overtaken by a later message of the same worker */
    STALE_KIND_COUNT,
};

/* "run", "epoch", ... */
const char *stale_kind_name(enum stale_kind kind);

#endif
