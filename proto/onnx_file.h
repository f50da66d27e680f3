/* onnx_file.h - a network as a file of ONNX: nodes, tensors, and what goes in and out.
 *
 * Built by add, in the order of the forward pass, and written by save. Names are copied; tensors'
 * values are borrowed until then, and written from where they lie. A message of protobuf ends at
 * 2 GiB, so of a larger network the values go into a second file beside it (ONNX's external
 * data). */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef PROTO_ONNX_FILE_H
#define PROTO_ONNX_FILE_H

#include <stdint.h>

#include "common/status.h"

enum { ONNX_INPUTS_MAX = 3, ONNX_INTS_MAX = 4, ONNX_ATTRIBUTES_MAX = 6, ONNX_RANK_MAX = 4 };

#define ONNX_DATA_SUFFIX ".data"

struct onnx_attribute {
    const char *name; /* NULL ends a list that is not full */
    int count;        /* of ints; 0: it is `number` alone */
    int64_t ints[ONNX_INTS_MAX];
    int64_t number;
};

struct onnx_node {
    const char *op;
    const char *inputs[ONNX_INPUTS_MAX]; /* NULL: no more */
    const char *output;                  /* its node is called so too */
    struct onnx_attribute attributes[ONNX_ATTRIBUTES_MAX];
};

struct onnx_file;

struct onnx_file *onnx_create(const char *name, const char *text);
void onnx_destroy(struct onnx_file *file); /* NULL is fine */
/* fp32; a size below 0 is any, and called "batch". */
void onnx_add_input(struct onnx_file *file, const char *name, int rank, const int64_t *sizes);
void onnx_add_output(struct onnx_file *file, const char *name, int rank, const int64_t *sizes);
/* A constant, fp32, row-major. */
void onnx_add_tensor(struct onnx_file *file, const char *name, int rank, const int64_t *sizes,
                     const float *values);
void onnx_add_node(struct onnx_file *file, const struct onnx_node *node);
void onnx_add_metadata(struct onnx_file *file, const char *key, const char *value);
int onnx_node_count(const struct onnx_file *file);
/* Complete or absent. is_external: values go into path ONNX_DATA_SUFFIX whatever their size.
 * *ret_is_external: they did. ERR_IO. Once. */
enum status onnx_save(struct onnx_file *file, const char *path, int is_external,
                      int *ret_is_external);

#endif
