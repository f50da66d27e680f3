/* trunk_shape.h - what network the trunk in a file is, from its shapes: for words of advice. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_EXPORT_TRUNK_SHAPE_H
#define WORKER_EXPORT_TRUNK_SHAPE_H

#include "common/config.h"
#include "worker/export/keymap.h"
#include "worker/export/weights.h"

enum { TRUNK_ADVICE_BYTES = 768 };

/* Why a trunk found under this prefix is not the config's, and what to set; "" if nothing can be
 * said. In particular: whether it is the same RegNetY by the other rule of rounding. */
void trunk_shape_advise(const struct weights *weights, enum keymap_layout layout,
                        const char *prefix, const struct config *config,
                        char ret_advice[TRUNK_ADVICE_BYTES]);

#endif
