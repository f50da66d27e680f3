/* tensorboard.h - curves in a file that TensorBoard follows while it grows.
 *
 * One file per start of the program, in the run's folder; a record is a length, its checksum, an
 * Event message and its checksum (tensorflow/core/lib/io/record_writer.h, core/util/event.proto,
 * of which only what a scalar needs is written, by hand). One thread per file. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef COMMON_TENSORBOARD_H
#define COMMON_TENSORBOARD_H

#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/status.h"

struct tensorboard;

struct tensorboard_scalar {
    const char *tag; /* "train/loss" */
    float value;
};

/* Creates directory/events.out.tfevents.SECONDS.HOST.PID.N. ERR_IO. */
enum status tensorboard_open(const char *directory, int64_t wall_ms,
                             struct tensorboard **ret_tensorboard);
void tensorboard_close(struct tensorboard *tensorboard); /* NULL is fine */
/* One event with all scalars of a step; in the file when it returns (one write(2)). ERR_IO. */
enum status tensorboard_write(struct tensorboard *tensorboard, int64_t wall_ms, int64_t step,
                              const struct tensorboard_scalar *scalars, int count);

/* The pieces, for tests. CRC-32C (Castagnoli), as iSCSI and TensorFlow use it. */
uint32_t tensorboard_crc32c(const void *bytes, size_t length);
/* Appends the record that opens a file; has_time 0 leaves the time out. */
enum status tensorboard_encode_version(int has_time, int64_t wall_ms, struct buf *out);
enum status tensorboard_encode_scalars(int64_t wall_ms, int64_t step,
                                       const struct tensorboard_scalar *scalars, int count,
                                       struct buf *out);

#endif
