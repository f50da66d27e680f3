/* snapshot_proofs.c - are the snapshots of a folder sound? */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/snapshot_proofs.h"

#include "common/fs.h"
#include "common/json.h"
#include "common/mem.h"
#include "server/snapshot_folder.h"

enum { SCHEMA = 1 };

/* A disk that cannot be read says nothing about a snapshot, but neither is it sound. */
static json_t *prove(const char *directory, const char *name, int *ret_is_sound)
{
    struct snapshot_proof proof = {0};
    *ret_is_sound = snapshot_folder_verify(directory, name, &proof) == OK;
    json_t *object = json_object();
    json_object_set_new(object, "name", json_string(name));
    json_object_set_new(object, "step", json_integer((json_int_t)proof.step));
    json_object_set_new(object, "bytes", json_integer((json_int_t)proof.bytes));
    json_object_set_new(object, "tensors", json_integer(proof.tensor_count));
    json_object_set_new(object, "has_digests", json_boolean(proof.has_digests));
    json_object_set_new(object, "is_sound", json_boolean(*ret_is_sound));
    json_object_set_new(object, "reason", json_text(*ret_is_sound ? "" : fail_message()));
    return object;
}

static enum status require(const char *directory, const char *name)
{
    TRY(snapshot_name_check(name));
    char *path = snapshot_folder_path(directory, name);
    enum status status = fs_exists(path) ? OK : fail(ERR_INPUT, "there is no snapshot '%s'", path);
    mem_free(path);
    return status;
}

static void add(json_t *proofs, const char *directory, const char *name, int *damaged)
{
    int is_sound;
    json_array_append_new(proofs, prove(directory, name, &is_sound));
    *damaged += !is_sound;
}

enum status snapshot_proofs_json(const char *directory, const char *name, json_t **ret_body,
                                 int *ret_damaged)
{
    struct snapshot_name *names = NULL;
    int count = 0, damaged = 0;
    if (name != NULL)
        TRY(require(directory, name));
    else
        TRY(snapshot_folder_names(directory, &names, &count));
    json_t *proofs = json_array();
    if (name != NULL)
        add(proofs, directory, name, &damaged);
    for (int i = 0; i < count; i++)
        add(proofs, directory, names[i].text, &damaged);
    mem_free(names);
    *ret_body = json_pack("{s:i, s:o}", "schema_version", SCHEMA, "snapshots", proofs);
    *ret_damaged = damaged;
    return OK;
}
