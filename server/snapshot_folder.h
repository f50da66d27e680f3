/* snapshot_folder.h - what lies in a folder of snapshots, and whether it is sound.
 *
 * Reads only, and holds nothing between calls: so it serves the server's disk as well as people who
 * look into the folder of a run beside its server, or after it. All calls block. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_SNAPSHOT_FOLDER_H
#define SERVER_SNAPSHOT_FOLDER_H

#include <stdint.h>

#include "common/status.h"
#include "server/snapshot_name.h"

#define SNAPSHOT_PIN_SUFFIX ".pin" /* an empty file of this name beside it: it is pinned */

struct snapshot_info {
    char name[JOURNAL_NAME_BYTES];
    uint64_t step, bytes;
    uint32_t lineage;
    int is_pinned;
    int64_t modified_ms; /* wall clock */
};

/* What a snapshot was found to be. */
struct snapshot_proof {
    uint64_t step, bytes; /* of all tensors */
    int tensor_count;
    int has_digests; /* 0: nothing to compare the tensors with: of an older version, or a copy */
};

/* "DIRECTORY/NAME.safetensors"; the caller frees it. */
char *snapshot_folder_path(const char *directory, const char *name);
struct snapshot_name {
    char text[JOURNAL_NAME_BYTES];
};

/* Whatever is named as a snapshot, by name; the list is the caller's (mem_free). ERR_INPUT: no such
 * directory; ERR_IO. */
enum status snapshot_folder_names(const char *directory, struct snapshot_name **ret_names,
                                  int *ret_count);
/* Complete snapshots, by lineage and step; the list is the caller's (mem_free). Who cannot be read
 * is logged and left out. ERR_INPUT: no such directory; ERR_IO. */
enum status snapshot_folder_list(const char *directory, struct snapshot_info **ret_list,
                                 int *ret_count);
/* Reads all of it: header, size, every tensor's digest. ERR_CORRUPT names the tensor that is
 * damaged; ERR_IO; ERR_INPUT: no such snapshot. */
enum status snapshot_folder_verify(const char *directory, const char *name,
                                   struct snapshot_proof *ret_proof);
/* The same of an open file. */
enum status snapshot_verify_file(const char *name, int file, struct snapshot_proof *ret_proof);
/* What the policy does not keep, of those with automatic names: the last keep_last stay, every
 * keep_every-th (by step / every_steps; 0: none) and pinned ones. Calls surplus for each; it may be
 * removed meanwhile. Failures are logged. */
void snapshot_folder_find_surplus(const char *directory, int64_t keep_last, int64_t keep_every,
                                  int64_t every_steps,
                                  void (*surplus)(void *context, const char *name), void *context);

#endif
