/* snapshot_list.h - the snapshots there are, as JSON: from a server or from its folder alike. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_SNAPSHOT_LIST_H
#define SERVER_SNAPSHOT_LIST_H

#include <jansson.h>

#include "server/snapshot_folder.h"

/* {schema_version, snapshots: [{name step lineage bytes is_pinned wall_ms path}]}, oldest first;
 * the caller's. As snapshot_folder_list. */
enum status snapshot_list_json(const char *directory, json_t **ret_list);

#endif
