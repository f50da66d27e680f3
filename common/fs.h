/* fs.h - files that are complete or absent.
 *
 * All functions block. Failures are ERR_IO with the path and the system's words, unless said. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef COMMON_FS_H
#define COMMON_FS_H

#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/status.h"

/* mkdir -p. */
enum status fs_make_directory(const char *path);
/* Flushes a file or a directory entry to disk. */
enum status fs_sync(const char *path);
/* rename(2), then fsync of the directory that holds `to`. */
enum status fs_rename(const char *from, const char *to);
/* Writes path.tmp.PID, flushes it and renames it to path: readers see the old file or the new one.
 */
enum status fs_write_file(const char *path, const void *bytes, size_t length);
/* Appends a whole file to buf (whose limit bounds it). ERR_INPUT when there is no such file. */
enum status fs_read_file(const char *path, struct buf *buf);
/* rm -r; a path that does not exist is fine. */
enum status fs_remove_tree(const char *path);
int fs_exists(const char *path);
/* Bytes free for us on the file system of path. */
enum status fs_free_bytes(const char *path, uint64_t *ret_bytes);
/* ERR_INPUT if path lies on NFS, SMB or another remote file system, where LMDB's memory map and
 * locks do not work; the message says what to do instead. */
enum status fs_require_local(const char *path);

#endif
