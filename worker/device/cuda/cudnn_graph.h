/* cudnn_graph.h - which plans cuDNN has for a convolution in one direction.
 *
 * Each direction is a graph of one operation. cuDNN's heuristic lists engines for it, best first;
 * of these, those are plans that are deterministic, lose no precision and need no more workspace
 * than we give. Groups follow from the number of input channels of the weights. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_DEVICE_CUDA_CUDNN_GRAPH_H
#define WORKER_DEVICE_CUDA_CUDNN_GRAPH_H

#include <cudnn.h>

#include "worker/device/cuda/conv_tuning.h"
#include "worker/device/cuda/cuda.h"

enum { CUDNN_UID_X = 1, CUDNN_UID_Y, CUDNN_UID_W };

enum conv_direction { CONV_FORWARD, CONV_BACKWARD_DATA, CONV_BACKWARD_WEIGHTS, CONV_DIRECTIONS };

struct cudnn_convolution {
    struct conv_shape shape;
    enum conv_direction direction;
    const char *name; /* of the direction */
    enum cuda_values values, weight_values;
};

struct cudnn_plan {
    cudnnBackendDescriptor_t plan; /* owned */
    int rank;                      /* in the heuristic's list */
    int64_t engine;                /* cuDNN's number */
};

struct cudnn_plans {
    /* Set by the caller: how many are wanted, at most CONV_CANDIDATES, and of which rank; -1: any.
     */
    int most, only_rank;
    int count;
    struct cudnn_plan plans[CONV_CANDIDATES]; /* in the order of the list */
};

/* ERR_DEVICE: there is none, or cuDNN says so. */
enum status cudnn_plans_find(cudnnHandle_t handle, const struct cudnn_convolution *of,
                             struct cudnn_plans *plans);
void cudnn_plans_done(struct cudnn_plans *plans);

/* Descriptors; failures are ERR_DEVICE in cuDNN's words. */
enum status cudnn_check(const char *what, cudnnStatus_t status);
enum status cudnn_make(cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t *ret_descriptor);
enum status cudnn_set(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                      cudnnBackendAttributeType_t type, int64_t count, const void *values);
enum status cudnn_finalize(const char *what, cudnnBackendDescriptor_t descriptor);
void cudnn_drop(cudnnBackendDescriptor_t *descriptor); /* leaves NULL; NULL is fine */

#endif
