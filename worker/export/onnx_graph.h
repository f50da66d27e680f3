/* onnx_graph.h - the network of a snapshot as a graph of ONNX, for inference.
 *
 * BN is folded into the convolution (or linear layer) before it, in fp64. Operators are those that
 * every runtime has: Conv, Relu, MaxPool, GlobalAveragePool, Sigmoid, Mul, Add, Flatten, Gemm,
 * ReduceL2, Div. What OpenCV's reader (4.6) cannot do is avoided: Identity on constants,
 * LpNormalization. Of the product with squeeze-and-excitation's gate it takes one image at a time.
 */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_EXPORT_ONNX_GRAPH_H
#define WORKER_EXPORT_ONNX_GRAPH_H

#include "common/status.h"
#include "worker/export/saved_state.h"

/* Input "images" [batch][3][size][size]: RGB, 0 to 1, less augment.mean, by augment.std. Outputs
 * "features" [batch][width], and with has_head "embeddings" [batch][last of model.head], unit
 * vectors, and "scores" [batch][prototypes] (of several heads "scores0" ...). Complete or absent,
 * with the file of its data if there is one (is_external, and above 2 GiB; *ret_is_external).
 * *ret_count: tensors written. ERR_CORRUPT: a tensor is missing or misshapen; ERR_IO. */
enum status onnx_graph_save(const struct saved_state *saved, int has_head, int is_external,
                            const char *path, int *ret_count, int *ret_is_external);

#endif
