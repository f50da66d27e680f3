/* weights_match.h - which tensor of somebody's file is which of our model's.
 *
 * Names are those of a layout (keymap.h) behind any prefix: "module.", "state_dict/encoder_q.",
 * "classy_state_dict/base_model/model/trunk/". The layout and the prefix under which most of the
 * trunk is found are taken; after that nothing is guessed: what is missing, of another shape or
 * left over of trunk and head is an error that names it. Head and prototypes are looked for by
 * VISSL's, SwAV's and our own names; each is taken whole or not at all. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_EXPORT_WEIGHTS_MATCH_H
#define WORKER_EXPORT_WEIGHTS_MATCH_H

#include "common/config.h"
#include "worker/export/keymap.h"
#include "worker/export/weights.h"
#include "worker/state.h"

enum match_part {
    MATCH_PRESENT, /* the trunk, and head and prototypes if they are there */
    MATCH_TRUNK,
    MATCH_ALL, /* all three must be there */
};

struct match_wish {
    int layout;         /* enum keymap_layout; -1: whichever it is */
    const char *prefix; /* names looked at begin so; "": all */
    enum match_part part;
};

struct weights_match {
    enum keymap_layout layout;
    char trunk_prefix[WEIGHTS_NAME_BYTES];
    const struct weights_tensor *
        *sources; /* [tensors of the layout], owned; NULL: not of the file */
    int trunk_count, head_count, prototypes_count; /* tensors of the file that are taken */
    int classifier_count;                          /* dropped */
    const char *classifier;                        /* one of them; into the weights' names */
    int aside_count; /* neither of the model nor of a classifier: counters, momentum ... */
};

/* config has passed architecture_check, and state_layout is of it. ERR_INPUT says what does not
 * fit, and what to do about it. */
enum status weights_match(const struct weights *weights, const struct config *config,
                          const struct state_layout *state_layout, const struct match_wish *wish,
                          struct weights_match *ret_match);
void weights_match_done(struct weights_match *match);

#endif
