/* tape.h - a part of a step, recorded, so that the device need not be given it call by call.
 *
 * A part is a function that gives the device work and exchanges through the team. Its first run
 * with a key is an ordinary one, in which libraries settle what they use. At the second the device
 * records it, in pieces that end where members exchange; what was exchanged there is noted. From
 * then on the pieces are replayed and the exchanges made, without running the function: the same
 * operations in the same order, so the same bits. With nobody to exchange with there is one piece.
 *
 * What a part leaves on the host must not depend on its being run, and what may change from run to
 * run lies in device memory or is in the key. Where the device cannot record, or fails to, the
 * function is run. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_MODEL_TAPE_H
#define WORKER_MODEL_TAPE_H

#include "worker/model/team.h"

/* A key or two are in use at a time; more where shares move or a loss scale seeks its place. */
enum { TAPE_KEYS = 4 };

struct tape_piece;

/* What is known of one key. */
struct tape_reel {
    uint64_t key;
    uint64_t used; /* the tape's count when it was last; 0: never, and key means nothing */
    int is_recorded;
    int piece_count;
    struct tape_piece *pieces; /* owned */
};

struct tape {
    struct team *team; /* borrowed */
    const char *name;  /* of the part, for the log; borrowed */
    int is_on;         /* 0: the function is always run */
    int is_open;       /* the device records */
    uint64_t count;    /* of runs */
    struct tape_reel reels[TAPE_KEYS];
    struct tape_reel *reel; /* on which is recorded */
};

/* is_wanted 0: it only ever runs functions. */
void tape_init(struct tape *tape, struct team *team, const char *name, int is_wanted);
/* Waits for the device; a zeroed one is fine. */
void tape_done(struct tape *tape);
/* Does the part. It may be called twice, the first time to no effect on the device. Errors as the
 * part has them. */
enum status tape_run(struct tape *tape, uint64_t key, enum status (*part)(void *errand),
                     void *errand);
/* For the team: an exchange of the part that is recorded. ERR_DEVICE: it cannot be. */
enum status tape_cut(struct tape *tape, const struct team_call *call);

#endif
