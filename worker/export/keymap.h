/* keymap.h - what other people's code calls our tensors.
 *
 * Ours are torchvision's names behind "trunk.", and "head.N.x", "prototypes.weight"
 * (worker/state.h). The tables are those of torchvision's regnet.py, timm's regnet.py,
 * ClassyVision's anynet.py, which VISSL wraps, and transformers' modeling_regnet.py and
 * modeling_resnet.py; ResNets are called the same in all but the last. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_EXPORT_KEYMAP_H
#define WORKER_EXPORT_KEYMAP_H

#include "common/status.h"

enum keymap_layout {
    KEYMAP_TORCHVISION,
    KEYMAP_TIMM,
    KEYMAP_VISSL,
    KEYMAP_HUGGINGFACE,
    KEYMAP_COUNT,
};

enum { KEYMAP_GROUP_BYTES = 64, KEYMAP_NAME_BYTES = 128 };

struct keymap_target {
    /* Dictionaries that a .pth nests the tensor in, slashes between: "" or, for VISSL,
     * "classy_state_dict/base_model/model/trunk". */
    char group[KEYMAP_GROUP_BYTES];
    char name[KEYMAP_NAME_BYTES];
};

/* ERR_INPUT: no such layout; the message lists them. */
enum status keymap_layout_find(const char *word, enum keymap_layout *ret_layout);
const char *keymap_layout_name(enum keymap_layout layout);
/* ERR_INPUT: a name that is not ours. */
enum status keymap_translate(enum keymap_layout layout, const char *name,
                             struct keymap_target *ret_target);

#endif
