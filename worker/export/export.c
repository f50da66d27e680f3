/* export.c - the model of a snapshot in other people's files and names. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/export/export.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/architecture.h"
#include "common/fs.h"
#include "common/mem.h"
#include "common/safetensors_digest.h"
#include "worker/export/hub.h"
#include "worker/export/onnx_graph.h"
#include "worker/export/pth.h"

struct export_tensor {
    struct keymap_target target;
    struct safetensors_tensor tensor; /* data borrowed from the snapshot or the counter */
};

struct export
{
    int64_t batches_tracked; /* what PyTorch counts in every BN: forward passes in training */
    int count;
    struct export_tensor *tensors; /* owned; [2 * tensors of the snapshot] is enough */
};

/* torchvision rounds widths in its own way, so a network of the other rule may be one that it
 * cannot build (RegNetY-800MF, 4.0GF and 8GF). */
static enum status check_layout(const struct saved_state *saved, enum keymap_layout layout)
{
    struct architecture ours, theirs;
    struct config config = saved->config;
    config.model.rounding = ROUNDING_TORCHVISION;
    if (layout != KEYMAP_TORCHVISION)
        return OK;
    TRY(architecture_init(&ours, &saved->config));
    TRY(architecture_init(&theirs, &config));
    for (int i = 0; i < ours.block_count; i++) {
        if (ours.blocks[i].out_width != theirs.blocks[i].out_width)
            return fail(ERR_INPUT,
                        "this network does not exist in torchvision: stage %d has %d channels, "
                        "which torchvision rounds to %d; use --layout timm, or train with "
                        "model.rounding: torchvision",
                        ours.blocks[i].stage, ours.blocks[i].out_width, theirs.blocks[i].out_width);
    }
    return OK;
}

static int is_wanted(const char *name, int has_head)
{
    if (strncmp(name, "trunk.", strlen("trunk.")) == 0)
        return 1;
    return has_head && (strncmp(name, "head.", strlen("head.")) == 0 ||
                        strncmp(name, "prototypes", strlen("prototypes")) == 0);
}

/* PyTorch's BN also holds how many batches it has seen. */
static enum status add_counter(struct export *export, const struct export_plan *plan,
                               const char *name)
{
    static const char mean[] = ".running_mean";
    size_t length = strlen(name) - strlen(mean);
    if (strlen(name) < strlen(mean) || strcmp(name + length, mean) != 0)
        return OK;
    struct export_tensor *tensor = &export->tensors[export->count++];
    char counter[SAFETENSORS_NAME_BYTES];
    snprintf(counter, sizeof(counter), "%.*s.num_batches_tracked", (int)length, name);
    tensor->tensor = (struct safetensors_tensor){
        .type = SAFETENSORS_I64, .end = sizeof(int64_t), .data = &export->batches_tracked};
    return keymap_translate(plan->layout, counter, &tensor->target);
}

static enum status collect(const struct saved_state *saved, const struct export_plan *plan,
                           struct export *export)
{
    const struct safetensors_header *header = &saved->file.header;
    for (int i = 0; i < header->tensor_count; i++) {
        const struct safetensors_tensor *tensor = &header->tensors[i];
        if (!is_wanted(tensor->name, plan->has_head))
            continue;
        if (tensor->type != SAFETENSORS_F32)
            return fail(ERR_CORRUPT, "'%s': tensor '%s' is not F32", saved->path, tensor->name);
        struct export_tensor *copy = &export->tensors[export->count++];
        copy->tensor = *tensor;
        TRY(keymap_translate(plan->layout, tensor->name, &copy->target));
        TRY(add_counter(export, plan, tensor->name));
    }
    if (export->count == 0)
        return fail(ERR_INPUT, "'%s' holds no trunk", saved->path);
    return OK;
}

/* Groups one after the other, as a .pth needs them; the order within stays. */
static void save_order(const struct export *export, struct pth_tensor *ret_tensors)
{
    int count = 0;
    for (int i = 0; i < export->count; i++) {
        int is_first = 1;
        for (int j = 0; j < i && is_first; j++)
            is_first = strcmp(export->tensors[j].target.group, export->tensors[i].target.group);
        for (int j = i; is_first && j < export->count; j++) {
            const struct export_tensor *tensor = &export->tensors[j];
            if (strcmp(tensor->target.group, export->tensors[i].target.group) == 0)
                ret_tensors[count++] =
                    (struct pth_tensor){tensor->target.group, tensor->target.name, &tensor->tensor};
        }
    }
}

static enum status save_pth(const struct export *export, const char *path)
{
    struct pth_tensor *tensors = mem_array((size_t) export->count, sizeof(*tensors));
    save_order(export, tensors);
    enum status status = pth_save(path, tensors, export->count);
    mem_free(tensors);
    return status;
}

/* A flat file: of VISSL's dictionaries only the last word stays, "trunk." or "heads.". */
static enum status add_flat(const struct export *export, struct safetensors_header *header)
{
    for (int i = 0; i < export->count; i++) {
        const struct export_tensor *tensor = &export->tensors[i];
        const char *group = strrchr(tensor->target.group, '/');
        char name[SAFETENSORS_NAME_BYTES];
        snprintf(name, sizeof(name), "%s%s%s", group ? group + 1 : "", group ? "." : "",
                 tensor->target.name);
        TRY(safetensors_add(header, name, tensor->tensor.type, tensor->tensor.rank,
                            tensor->tensor.shape, tensor->tensor.data));
    }
    return OK;
}

static enum status save_safetensors(const struct saved_state *saved, const struct export *export,
                                    const char *path)
{
    struct safetensors_header header;
    const struct safetensors_header *from = &saved->file.header;
    safetensors_init(&header);
    safetensors_add_metadata(&header, "format", "pt");
    for (int i = 0; i < from->metadata_count; i++) {
        const char *key = from->metadata[i].key;
        if (strncmp(key, "everseer.", strlen("everseer.")) == 0 &&
            strcmp(key, SAFETENSORS_DIGESTS) != 0)
            safetensors_add_metadata(&header, key, from->metadata[i].value);
    }
    enum status status = add_flat(export, &header);
    if (status == OK) {
        safetensors_reserve_digests(&header);
        status = safetensors_save(path, &header);
    }
    safetensors_done(&header);
    return status;
}

static enum status save_weights(const struct saved_state *saved, const struct export_plan *plan,
                                const char *path, int *ret_count)
{
    TRY(check_layout(saved, plan->layout));
    /* Trunk and head run once per resolution group in each step. */
    struct export export = {.batches_tracked = (int64_t)saved->step * saved->config.crop_count};
    export.tensors =
        mem_array(2 * (size_t)saved->file.header.tensor_count, sizeof(*export.tensors));
    enum status status = collect(saved, plan, &export);
    if (status == OK)
        status = plan->format == EXPORT_PTH ? save_pth(&export, path)
                                            : save_safetensors(saved, &export, path);
    if (status == OK)
        *ret_count = export.count;
    mem_free(export.tensors);
    return status;
}

/* The model last: a folder with it is complete. */
static enum status save_hub(const struct saved_state *saved, const struct export_plan *plan,
                            const char *folder, int *ret_count)
{
    TRY(hub_check(saved, plan->layout));
    TRY(fs_make_directory(folder));
    TRY(hub_save(saved, plan->layout, folder));
    char *path = mem_format("%s/model.safetensors", folder);
    enum status status = save_weights(saved, plan, path, ret_count);
    mem_free(path);
    return status;
}

enum status export_save(const struct saved_state *saved, const struct export_plan *plan,
                        const char *path, int *ret_count)
{
    int is_external;
    if (plan->format == EXPORT_ONNX)
        return onnx_graph_save(saved, plan->has_head, plan->is_external, path, ret_count,
                               &is_external);
    return plan->format == EXPORT_HUB ? save_hub(saved, plan, path, ret_count)
                                      : save_weights(saved, plan, path, ret_count);
}
