/* tape.c - a part of a step, recorded, so that the device need not be given it call by call. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/model/tape.h"

#include "common/log.h"
#include "common/mem.h"

struct tape_piece {
    struct recording *recording; /* NULL: nothing comes before the call */
    int has_call;                /* 0: the last piece */
    struct team_call call;
};

void tape_init(struct tape *tape, struct team *team, const char *name, int is_wanted)
{
    *tape = (struct tape){
        .team = team,
        .name = name,
        .is_on = is_wanted && team->ops->has_recordings,
    };
}

static void wipe(struct tape *tape, struct tape_reel *reel)
{
    for (int i = 0; i < reel->piece_count; i++)
        tape->team->ops->recording_destroy(tape->team->device, reel->pieces[i].recording);
    mem_free(reel->pieces);
    *reel = (struct tape_reel){0};
}

void tape_done(struct tape *tape)
{
    for (int i = 0; i < TAPE_KEYS; i++)
        wipe(tape, &tape->reels[i]);
}

static void add_piece(struct tape_reel *reel, const struct tape_piece *piece)
{
    const size_t count = (size_t)reel->piece_count + 1;
    reel->pieces = mem_resize(reel->pieces, count * sizeof(*reel->pieces));
    reel->pieces[reel->piece_count++] = *piece;
}

static enum status begin_piece(struct tape *tape)
{
    TRY(tape->team->ops->record_begin(tape->team->device));
    tape->is_open = 1;
    return OK;
}

static enum status end_piece(struct tape *tape, const struct team_call *call)
{
    struct tape_piece piece = {.has_call = call != NULL};
    tape->is_open = 0;
    TRY(tape->team->ops->record_end(tape->team->device, &piece.recording));
    if (call != NULL)
        piece.call = *call;
    add_piece(tape->reel, &piece);
    return OK;
}

enum status tape_cut(struct tape *tape, const struct team_call *call)
{
    if (collective_is_alone(tape->team->collective))
        return OK;
    TRY(end_piece(tape, call));
    return begin_piece(tape);
}

static enum status record_pieces(struct tape *tape, enum status (*part)(void *errand), void *errand)
{
    TRY(begin_piece(tape));
    TRY(part(errand));
    return end_piece(tape, NULL);
}

static enum status record(struct tape *tape, struct tape_reel *reel,
                          enum status (*part)(void *errand), void *errand)
{
    struct team *team = tape->team;
    tape->reel = reel;
    team->tape = tape;
    const enum status status = record_pieces(tape, part, errand);
    team->tape = NULL;
    tape->reel = NULL;
    if (status == OK) {
        reel->is_recorded = 1;
        log_debug("event=step_recorded part=%s pieces=%d", tape->name, reel->piece_count);
        return OK;
    }
    log_warn("event=step_not_recorded part=%s reason=\"%s\" action=\"it is launched kernel by "
             "kernel; train.cuda_graph: off if it stays\"",
             tape->name, fail_message());
    struct recording *rest = NULL;
    if (tape->is_open && team->ops->record_end(team->device, &rest) == OK)
        team->ops->recording_destroy(team->device, rest);
    tape->is_open = 0;
    return status;
}

static enum status play(struct tape *tape, const struct tape_reel *reel)
{
    struct team *team = tape->team;
    for (int i = 0; i < reel->piece_count; i++) {
        const struct tape_piece *piece = &reel->pieces[i];
        if (piece->recording != NULL)
            team->ops->replay(team->device, piece->recording);
        if (piece->has_call)
            TRY(team_perform(team, &piece->call));
    }
    return OK;
}

/* The one of the key; or the one that was not used for the longest time, wiped. */
static struct tape_reel *reel_of(struct tape *tape, uint64_t key)
{
    struct tape_reel *oldest = &tape->reels[0];
    for (int i = 0; i < TAPE_KEYS; i++) {
        struct tape_reel *reel = &tape->reels[i];
        if (reel->used > 0 && reel->key == key)
            return reel;
        if (reel->used < oldest->used)
            oldest = reel;
    }
    wipe(tape, oldest);
    oldest->key = key;
    return oldest;
}

enum status tape_run(struct tape *tape, uint64_t key, enum status (*part)(void *errand),
                     void *errand)
{
    if (!tape->is_on)
        return part(errand);
    struct tape_reel *reel = reel_of(tape, key);
    tape->count++;
    if (reel->used == 0) {
        TRY(part(errand));
        reel->used = tape->count;
        return OK;
    }
    reel->used = tape->count;
    if (!reel->is_recorded && record(tape, reel, part, errand) != OK) {
        tape->is_on = 0;
        tape_done(tape);
        return part(errand);
    }
    return play(tape, reel);
}
