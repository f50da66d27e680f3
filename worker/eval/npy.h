/* npy.h - the header of NumPy's array files (numpy/lib/format.py, version 1.0). */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_EVAL_NPY_H
#define WORKER_EVAL_NPY_H

#include <stdint.h>
#include <stdio.h>

#include "common/status.h"

enum { NPY_HEADER_BYTES = 128 };

/* Of a float32 matrix [rows][columns] that follows; always NPY_HEADER_BYTES, so that it can be
 * written again when rows is known. ERR_IO. */
enum status npy_write_header(FILE *file, const char *path, uint64_t rows, int columns);

#endif
