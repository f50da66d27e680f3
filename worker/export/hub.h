/* hub.h - a folder as people put it on the Hugging Face hub, for transformers or timm.
 *
 * model.safetensors is written by export_save; here are config.json, from which the library builds
 * the network, preprocessor_config.json (transformers), and README.md, the model card: what the
 * snapshot and its run know of how it came to be. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_EXPORT_HUB_H
#define WORKER_EXPORT_HUB_H

#include "common/architecture.h"
#include "common/status.h"
#include "worker/export/keymap.h"
#include "worker/export/saved_state.h"

/* ERR_INPUT: the layout's library cannot build this network; the message says why. Layouts other
 * than timm and huggingface have no such folder. */
enum status hub_check(const struct saved_state *saved, enum keymap_layout layout);
/* The name that timm has for it; NULL: none. Static. */
const char *hub_timm_name(const struct architecture *architecture);
/* All files but the model, into a folder that exists. ERR_IO. */
enum status hub_save(const struct saved_state *saved, enum keymap_layout layout,
                     const char *folder);

#endif
