/* finetune_state.h - how far a finetuning is, in a file: complete or absent.
 *
 * A safetensors file with parameters, running statistics and momentum by their names
 * (worker/state.h) and, as metadata, what was learned from and how, so that nothing else is gone on
 * with. Of one that is through only its result is kept. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_EVAL_FINETUNE_STATE_H
#define WORKER_EVAL_FINETUNE_STATE_H

#include <jansson.h>

#include "worker/state.h"

struct finetune_progress {
    int64_t epochs, epochs_total;    /* through; of all */
    int64_t replaced;                /* places where another picture stood in */
    json_t *losses;                  /* [epochs] means; owned */
    int64_t right, tested, untested; /* once all are through; tested 0: not yet. untested: test
                                        pictures that could not be decoded */
};

void finetune_progress_init(struct finetune_progress *progress, int64_t epochs_total);
void finetune_progress_done(struct finetune_progress *progress);

/* identity: what was learned from and how, in words. Without tensors if it is tested. ERR_IO. */
enum status finetune_state_save(const char *path, const char *identity, struct state *state,
                                const struct finetune_progress *progress);
/* progress must be initialised; state is untouched if all is tested. ERR_INPUT: no such file, or it
 * is of another finetuning; ERR_CORRUPT; ERR_IO. */
enum status finetune_state_load(const char *path, const char *identity, struct state *state,
                                struct finetune_progress *progress);

#endif
