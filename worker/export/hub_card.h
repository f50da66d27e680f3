/* hub_card.h - the model card: README.md of a folder for the Hugging Face hub. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_EXPORT_HUB_CARD_H
#define WORKER_EXPORT_HUB_CARD_H

#include "common/architecture.h"
#include "common/buf.h"
#include "worker/export/keymap.h"
#include "worker/export/saved_state.h"

/* Appends it. What the run's folder has beside the snapshot (RUN/metrics.jsonl, RUN/evals) is said
 * if it is there; paths of the machine are not. */
enum status hub_card_write(const struct saved_state *saved, enum keymap_layout layout,
                           const struct architecture *architecture, struct buf *out);

#endif
