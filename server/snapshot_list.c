/* snapshot_list.c - the snapshots there are, as JSON. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/snapshot_list.h"

#include "common/mem.h"

enum { SCHEMA = 1 };

static json_t *snapshot_object(const char *directory, const struct snapshot_info *info)
{
    char *path = snapshot_folder_path(directory, info->name);
    json_t *object = json_object();
    json_object_set_new(object, "name", json_string(info->name));
    json_object_set_new(object, "step", json_integer((json_int_t)info->step));
    json_object_set_new(object, "lineage", json_integer(info->lineage));
    json_object_set_new(object, "bytes", json_integer((json_int_t)info->bytes));
    json_object_set_new(object, "is_pinned", json_boolean(info->is_pinned));
    json_object_set_new(object, "wall_ms", json_integer(info->modified_ms));
    json_object_set_new(object, "path", json_string(path));
    mem_free(path);
    return object;
}

enum status snapshot_list_json(const char *directory, json_t **ret_list)
{
    struct snapshot_info *list = NULL;
    int count = 0;
    TRY(snapshot_folder_list(directory, &list, &count));
    json_t *snapshots = json_array();
    for (int i = 0; i < count; i++)
        json_array_append_new(snapshots, snapshot_object(directory, &list[i]));
    mem_free(list);
    *ret_list = json_object();
    json_object_set_new(*ret_list, "schema_version", json_integer(SCHEMA));
    json_object_set_new(*ret_list, "snapshots", snapshots);
    return OK;
}
