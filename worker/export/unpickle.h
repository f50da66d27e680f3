/* unpickle.h - a pickle taken apart, and nothing of it executed.
 *
 * Python's pickle is a program for a machine with a stack. Here the machine only notes what it is
 * told: a callable stays a name, a call of it stays a call, an object's state is dropped. What
 * comes out is a graph of plain values, of which the reader takes what it knows
 * (weights_pth.c: dictionaries of tensors). Opcodes: Lib/pickletools.py, those of protocols 2 to 4;
 * files of torch.save have protocol 2. The bytes are anybody's: counts are bounded by them and by
 * PICKLE_VALUES_MAX, and the graph may share values and contain itself, so whoever walks it bounds
 * his walk. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_EXPORT_UNPICKLE_H
#define WORKER_EXPORT_UNPICKLE_H

#include <stddef.h>

#include "common/status.h"
#include "worker/export/pickle_graph.h"

/* Texts point into the bytes. ERR_CORRUPT: no pickle, or one of another kind; nothing is left to
 * free then. */
enum status unpickle(const void *bytes, size_t length, struct pickle *ret_pickle);

#endif
