/* folder_watch.h - which files of a folder are there now, and which come, for ever.
 *
 * A file is told of when whoever wrote it has closed it, or when it was renamed into the folder or
 * a folder below; files that are there already are told of first. Folders that come later are
 * watched too: each before it is looked through, so that nothing falls between. When the kernel's
 * queue of events ran over, all is looked through again: then, and whenever a folder is renamed, a
 * file may be told of twice. Dot files and `*.part` are left out. inotify(7) sees what happens on
 * this host alone. Threads: one owner. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef LOADER_FOLDER_WATCH_H
#define LOADER_FOLDER_WATCH_H

#include "common/status.h"

struct folder_watch;

/* wake: a descriptor whose being readable ends the wait; borrowed; -1: none. ERR_INPUT: not a
 * folder, or on a network file system. ERR_IO: out of watches, with the remedy. */
enum status folder_watch_open(const char *root, int wake, struct folder_watch **ret_watch);
void folder_watch_close(struct folder_watch *watch); /* NULL is fine */
/* Waits for the next file; *ret_path is the watch's until the next call. ERR_END: woken. ERR_INPUT:
 * this folder below cannot be read; *ret_path names it; ask on. ERR_IO: the watch has ended, since
 * its root is gone or watches ran out. */
enum status folder_watch_next(struct folder_watch *watch, const char **ret_path);

#endif
