/* weights.h - the tensors of anybody's file of weights, by name: safetensors, or what torch.save
 * wrote.
 *
 * Three forms are read: safetensors; the zip that torch.save writes since 1.6; and the run of
 * pickles that it wrote before, which the published weights of SwAV and many of VISSL are. Nothing
 * in a file is executed (unpickle.h), and no size in it is believed. A tensor is called by the keys
 * of the dictionaries it lies in, slashes between:
 * "classy_state_dict/base_model/model/trunk/_feature_blocks.conv1.stem.0.weight". Opening reads
 * names and shapes; of a zip, data are read by weights_load, for whole checkpoints hold momentum
 * that nobody asked for. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_EXPORT_WEIGHTS_H
#define WORKER_EXPORT_WEIGHTS_H

#include <stddef.h>
#include <stdint.h>

#include "common/safetensors.h"
#include "common/status.h"

enum {
    WEIGHTS_NAME_BYTES = 512,
    WEIGHTS_KEY_BYTES = 32, /* of a storage; torch counts from "0", or has an address in decimal */
    WEIGHTS_TENSORS_MAX = 1 << 15,
};

/* Memory that tensors of a .pth look at. */
struct weights_storage {
    char key[WEIGHTS_KEY_BYTES];
    enum safetensors_type type;
    uint64_t elements;
    int is_wanted;
    void *owned;       /* of a zip, once it is loaded */
    const void *bytes; /* NULL: not loaded */
};

struct weights_tensor {
    char *name; /* owned */
    enum safetensors_type type;
    int rank;
    int64_t shape[SAFETENSORS_RANK_MAX];
    int64_t stride[SAFETENSORS_RANK_MAX]; /* elements; a tensor may be a view */
    const void *data;                     /* its first element, of safetensors; else */
    int64_t storage;                      /* the index of its storage, and */
    uint64_t offset;                      /* elements from its start */
};

struct weights {
    const char *path; /* borrowed */
    int tensor_count;
    struct weights_tensor *tensors; /* by name (strcmp) */
    int storage_count;
    struct weights_storage *storages;
    char *folder;                 /* of a zip, that its members lie in: "archive/" */
    struct safetensors_file file; /* of safetensors */
    void *map;                    /* of pickles without a zip */
    size_t map_bytes;
};

/* ERR_INPUT: no such file, or one that holds no dictionary of tensors; ERR_CORRUPT, also for
 * tensors that do not match the digests they come with; ERR_IO. */
enum status weights_open(const char *path, struct weights *ret_weights);
void weights_close(struct weights *weights);
/* NULL = no tensor of that name. */
const struct weights_tensor *weights_find(const struct weights *weights, const char *name);
/* That this tensor will be read. */
void weights_want(struct weights *weights, const struct weights_tensor *tensor);
/* Reads the data of all that are wanted into memory, if they are not mapped. ERR_CORRUPT, ERR_IO.
 */
enum status weights_load(struct weights *weights);
/* A wanted tensor's values, row-major, as fp32; fp64 is rounded. ret_values: [product of shape]. */
void weights_read(const struct weights *weights, const struct weights_tensor *tensor,
                  float *ret_values);
/* Can its values be had as fp32? */
int weights_is_real(const struct weights_tensor *tensor);

#endif
