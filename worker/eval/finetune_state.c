/* finetune_state.c - how far a finetuning is, in a file: complete or absent. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/eval/finetune_state.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "worker/eval/saved_tensors.h"

static const char identity_key[] = "everseer.finetune";
static const char progress_key[] = "everseer.finetune.progress";
static const char digest_key[] = "everseer.finetune.digest"; /* of the state's block */

void finetune_progress_init(struct finetune_progress *progress, int64_t epochs_total)
{
    *progress = (struct finetune_progress){
        .epochs_total = epochs_total,
        .losses = json_array(),
    };
}

void finetune_progress_done(struct finetune_progress *progress)
{
    json_decref(progress->losses);
    progress->losses = NULL;
}

static void add_progress(struct safetensors_header *header,
                         const struct finetune_progress *progress)
{
    json_t *json =
        json_pack("{s:I, s:I, s:O, s:I, s:I, s:I}", "epochs", (json_int_t)progress->epochs,
                  "replaced", (json_int_t)progress->replaced, "losses", progress->losses, "right",
                  (json_int_t)progress->right, "tested", (json_int_t)progress->tested, "untested",
                  (json_int_t)progress->untested);
    char *text = json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(17));
    safetensors_add_metadata(header, progress_key, text);
    free(text);
    json_decref(json);
}

/* ret_copy: of the block, which the tensors' data point into; the caller's. */
static enum status add_tensors(struct safetensors_header *header, struct state *state,
                               float **ret_copy)
{
    const struct state_layout *layout = &state->layout;
    float *copy = mem_array(layout->total_floats, sizeof(*copy));
    char digest[20];
    state->device->ops->download(state->device, copy, state->block,
                                 layout->total_floats * sizeof(*copy));
    snprintf(digest, sizeof(digest), "%016" PRIx64, state_digest(state));
    safetensors_add_metadata(header, digest_key, digest);
    *ret_copy = copy;
    for (int i = 0; i < layout->tensor_count; i++) {
        const struct state_tensor *tensor = &layout->tensors[i];
        TRY(safetensors_add(header, tensor->name, SAFETENSORS_F32, tensor->rank, tensor->shape,
                            copy + tensor->offset));
    }
    return OK;
}

enum status finetune_state_save(const char *path, const char *identity, struct state *state,
                                const struct finetune_progress *progress)
{
    struct safetensors_header header;
    float *copy = NULL;
    enum status status = OK;
    safetensors_init(&header);
    safetensors_add_metadata(&header, "format", "pt");
    safetensors_add_metadata(&header, identity_key, identity);
    add_progress(&header, progress);
    if (progress->tested == 0)
        status = add_tensors(&header, state, &copy);
    if (status == OK)
        status = safetensors_save(path, &header);
    mem_free(copy);
    safetensors_done(&header);
    return status;
}

static enum status read_progress(const char *path, const char *text,
                                 struct finetune_progress *progress)
{
    json_int_t epochs = 0, replaced = 0, right = 0, tested = 0, untested = 0;
    json_t *losses = NULL;
    json_t *json = text == NULL ? NULL : json_loads(text, 0, NULL);
    const int is_read =
        json != NULL && json_unpack(json, "{s:I, s:I, s:O, s:I, s:I, s:I}", "epochs", &epochs,
                                    "replaced", &replaced, "losses", &losses, "right", &right,
                                    "tested", &tested, "untested", &untested) == 0;
    json_decref(json);
    if (!is_read || epochs < 0 || epochs > progress->epochs_total || tested < 0 || right > tested ||
        !json_is_array(losses) || (json_int_t)json_array_size(losses) != epochs) {
        json_decref(losses);
        return fail(ERR_CORRUPT, "'%s': its metadata does not say how far it is", path);
    }
    json_decref(progress->losses);
    progress->epochs = epochs;
    progress->replaced = replaced;
    progress->losses = losses;
    progress->right = right;
    progress->tested = tested;
    progress->untested = untested;
    return OK;
}

static enum status read_tensors(const char *path, const struct safetensors_header *header,
                                struct state *state)
{
    char digest[20];
    const char *expected = safetensors_find_metadata(header, digest_key);
    TRY(saved_tensors_load(path, header, "", 1, state));
    snprintf(digest, sizeof(digest), "%016" PRIx64, state_digest(state));
    if (expected == NULL || strcmp(digest, expected) != 0)
        return fail(ERR_CORRUPT, "'%s' is damaged: remove it and finetune anew", path);
    return OK;
}

enum status finetune_state_load(const char *path, const char *identity, struct state *state,
                                struct finetune_progress *progress)
{
    struct safetensors_file file;
    TRY(safetensors_open(path, &file));
    const char *of = safetensors_find_metadata(&file.header, identity_key);
    enum status status = OK;
    if (of == NULL || strcmp(of, identity) != 0)
        status = fail(ERR_INPUT,
                      "'%s' is of another finetuning: it was \"%s\" and would be \"%s\"; give the "
                      "same options and stores, or remove it",
                      path, of == NULL ? "" : of, identity);
    if (status == OK)
        status =
            read_progress(path, safetensors_find_metadata(&file.header, progress_key), progress);
    if (status == OK && progress->tested == 0)
        status = read_tensors(path, &file.header, state);
    safetensors_close(&file);
    return status;
}
