/* source_file.h - one file of a folder: is it ours, what is in it, what stands beside it. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef LOADER_SOURCE_FILE_H
#define LOADER_SOURCE_FILE_H

#include <stddef.h>

#include "loader/source.h"

/* Dot files, locks of LMDB and what is still being copied ("x.part") belong to somebody else. */
int source_file_is_ignored(const char *name, size_t length);
/* Does the path end so, in capitals or not? */
int source_file_ends(const char *path, const char *suffix);
/* Fills in the item's bytes, or why there are none. */
void source_file_read(const char *path, struct source_item *item);
/* x.cls for x.png; the caller's. NULL: the name has no dot. */
char *source_file_label_path(const char *path);
/* The label in x.cls beside x.png, as in an unpacked WebDataset; LABEL_NONE if there is none. */
int32_t source_file_label(const char *path);
/* 0: there is no such file any more, or it is none. */
int source_file_stamp(const char *path, struct file_stamp *ret_stamp);
int file_stamp_is_equal(const struct file_stamp *a, const struct file_stamp *b);
/* 1: it is an archive or an IDX file, and *ret_source is open. */
int source_file_enter(const char *path, const struct source_options *options,
                      struct source **ret_source);

#endif
