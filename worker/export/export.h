/* export.h - the model of a snapshot in other people's files and names. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_EXPORT_EXPORT_H
#define WORKER_EXPORT_EXPORT_H

#include "common/command.h"
#include "worker/export/keymap.h"
#include "worker/export/saved_state.h"

enum export_format {
    EXPORT_SAFETENSORS,
    EXPORT_PTH,
    EXPORT_ONNX, /* onnx_graph.h */
    EXPORT_HUB,  /* a folder as on the Hugging Face hub: hub.h */
    EXPORT_FORMAT_COUNT
};

struct export_plan {
    enum export_format format;
    enum keymap_layout layout;
    int has_head;    /* 0: the trunk alone; 1: projection head and prototypes too */
    int is_external; /* ONNX: values into a file beside it */
};

/* Complete or absent; of a folder, each of its files. ret_count: tensors written. ERR_INPUT: this
 * model has no such form (the message says why), ERR_IO. */
enum status export_save(const struct saved_state *saved, const struct export_plan *plan,
                        const char *path, int *ret_count);

extern const struct command export_command;

#endif
