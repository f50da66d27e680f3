/* saved_state.h - a snapshot file, opened for reading: tensors, config and step.
 *
 * A snapshot is a safetensors file; tensors are named as worker/state.h says, and its metadata
 * holds everseer.step, everseer.lineage, everseer.run, everseer.config (YAML) and
 * everseer.queue_filled. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_EXPORT_SAVED_STATE_H
#define WORKER_EXPORT_SAVED_STATE_H

#include "common/config.h"
#include "common/safetensors.h"
#include "common/status.h"

struct saved_state {
    const char *path; /* borrowed */
    struct safetensors_file file;
    struct config config;
    uint64_t step;
};

/* ERR_INPUT: no such file, or a safetensors file that is no snapshot; ERR_CORRUPT,
 * also for a tensor that does not match its digest; ERR_IO. Reads the whole file. */
enum status saved_state_open(const char *path, struct saved_state *ret_saved);
void saved_state_close(struct saved_state *saved);
/* RUN of RUN/snapshots/NAME; NULL if it does not lie so. The caller's. */
char *saved_state_run(const char *snapshot);

#endif
