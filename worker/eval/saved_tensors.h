/* saved_tensors.h - tensors of a safetensors file into a state, found by their names. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_EVAL_SAVED_TENSORS_H
#define WORKER_EVAL_SAVED_TENSORS_H

#include "common/safetensors.h"
#include "worker/state.h"

/* All parameters and running statistics of the state whose names begin with prefix; has_momentum:
 * all of momentum too. path: of the file, for messages. ERR_CORRUPT: one is missing, or of another
 * type or shape. */
enum status saved_tensors_load(const char *path, const struct safetensors_header *header,
                               const char *prefix, int has_momentum, struct state *state);

#endif
