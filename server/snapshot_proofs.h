/* snapshot_proofs.h - are the snapshots of a folder sound? As JSON, for `seer snapshot verify`. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_SNAPSHOT_PROOFS_H
#define SERVER_SNAPSHOT_PROOFS_H

#include <jansson.h>

#include "common/status.h"

/* Reads the snapshot of this name, or all of them (NULL), to the last byte. {schema_version,
 * snapshots: [{name step bytes tensors has_digests is_sound reason}]}; the caller's.
 * *ret_damaged: how many are not sound. Blocks. ERR_INPUT: no such snapshot or folder; ERR_IO. */
enum status snapshot_proofs_json(const char *directory, const char *name, json_t **ret_body,
                                 int *ret_damaged);

#endif
