/* pickle.h - the few opcodes of Python's pickle (protocol 2) that a dictionary of tensors needs. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_EXPORT_PICKLE_H
#define WORKER_EXPORT_PICKLE_H

#include "common/buf.h"
#include "worker/export/pth.h"

/* The whole data.pkl: storages are named "0", "1", ... in the order given. */
enum status pickle_tensors(const struct pth_tensor *tensors, int count, struct buf *out);

#endif
