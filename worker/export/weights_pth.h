/* weights_pth.h - what torch.save wrote, as the tensors that weights.h promises. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_EXPORT_WEIGHTS_PTH_H
#define WORKER_EXPORT_WEIGHTS_PTH_H

#include "worker/export/pickle_graph.h"
#include "worker/export/weights.h"

enum { WEIGHTS_PICKLE_BYTES_MAX = 64 << 20 };

/* Adds the tensors in the dictionaries of a pickle, and their storages. What is no dictionary and
 * no tensor is passed over. ERR_CORRUPT: a tensor beyond its storage, or more than a checkpoint
 * has. */
enum status weights_pth_collect(const struct pickle *pickle, struct weights *weights);
/* The forms before and since torch 1.6, from the whole file's bytes or by its path; weights is
 * zeroed but for its path and, of the first, its map. */
enum status weights_pth_list_plain(struct weights *weights);
enum status weights_pth_list_zip(struct weights *weights);
/* Does a file begin as the first of them? */
int weights_pth_is_plain(const void *bytes, size_t length);
/* Of a zip, the wanted storages. */
enum status weights_pth_load_zip(struct weights *weights);

#endif
