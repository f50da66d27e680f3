/* witness_files.h - the files of workers' journals in a folder, read in order.
 *
 * They may grow and be removed at any time. What is read is what was there when they were listed,
 * so that whoever lists first and reads the server's journal afterwards finds there whatever the
 * workers wrote of. Any bytes are fine. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_WITNESS_FILES_H
#define SERVER_WITNESS_FILES_H

#include <stddef.h>
#include <stdint.h>

#include "common/status.h"
#include "server/hearing.h"

struct witness_file {
    char *path;
    uint64_t worker, bytes;
    uint32_t segment;
};

struct witness_files {
    size_t count, capacity;
    struct witness_file *items; /* by worker, then segment, once all are added */
};

/* Adds those of a folder; other files there are passed over. ERR_IO. Blocks, as does the next. */
enum status witness_files_add(struct witness_files *files, const char *folder);
void witness_files_done(struct witness_files *files);
/* All that processes of this run wrote. What cannot be read is damage in the hearing's count.
 * ERR_IO: a file that is there cannot be opened. */
enum status witness_files_hear(struct witness_files *files, uint64_t run, struct hearing *hearing);

#endif
