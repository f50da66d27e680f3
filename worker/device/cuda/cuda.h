/* cuda.h - what the files of the CUDA back end share: the device itself, its stream, its memory.
 *
 * Every operation goes into one stream and returns at once; the first thing that goes wrong is kept
 * and said by the next synchronize. Activations are bf16, fp16 or fp32 (enum cuda_values), all else
 * is fp32 as device.h says. Sums over pixels and rows are made in an order that follows from shapes
 * and alignment alone: the same numbers give the same bits on every GPU. C and C++. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_DEVICE_CUDA_CUDA_H
#define WORKER_DEVICE_CUDA_CUDA_H

#include <cuda_runtime_api.h>

#include "worker/device/device.h"

#ifdef __cplusplus
extern "C" {
#endif

struct conv_engines; /* conv_engine.h */
struct cuda_packing; /* kernels.h */
struct gemm_engine;  /* gemm_engine.h */

enum cuda_values { CUDA_BF16, CUDA_FP16, CUDA_FP32 };

/* Device memory that operations share, since they run one after the other. */
struct cuda_scratch {
    void *memory;
    size_t bytes;
};

/* A batch has up to four kinds of crops; with two, as usual, this is a batch and a half. */
enum { CUDA_RING = 3 };

/* cuda_images.c */
struct cuda_images {
    cudaStream_t stream;
    cudaEvent_t read, arrived; /* by images_normalize; all that was sent */
    int is_awaited;            /* arrived has not been waited for yet */
    int next;                  /* place */
    struct cuda_place {
        void *memory; /* page-locked */
        size_t bytes;
        cudaEvent_t copied;
    } ring[CUDA_RING];
};

struct cuda {
    struct device device; /* first: a struct device * is a struct cuda * */
    int index;
    enum cuda_values values;
    const struct cuda_packing *packing; /* for these */
    char description[384];
    char gpu[256];    /* its name */
    char address[32]; /* on the PCI bus */
    cudaStream_t stream;
    struct cuda_scratch rule;      /* a struct optimizer_rule: it may change with every step */
    struct cuda_scratch parts;     /* partial sums; of fixed size, see cuda_parts */
    struct cuda_scratch padded[2]; /* input and output of a convolution, grown by create */
    struct cuda_scratch grad;      /* of its weights, packed */
    struct cuda_images images;
    struct gemm_engine *gemm;
    struct conv_engines *conv;
    size_t held, peak, fixed; /* as struct device_memory has them */
    uint64_t epoch;           /* counts up when scratch that was there before moves */
    int is_recording;         /* failures are then the recording's alone */
    char unrecorded[256];     /* why what is recorded cannot be; "" while it can */
    int is_failed;
    char failure[256]; /* the first one; "" while there is none */
};

/* The stream, with its GPU made current for the calling thread. */
cudaStream_t cuda_stream(struct device *device);
/* Device memory for partial sums, until the next operation. NULL, and the device has failed, if
 * there is not so much: no shape that fits a GPU asks for it. */
void *cuda_parts(struct device *device, size_t bytes);

/* Keeps `words` as the failure of the device, or of what it records, if it is the first. */
void cuda_failed(struct cuda *cuda, const char *what, const char *words);
/* As cuda_failed, unless error is cudaSuccess. */
void cuda_note(struct cuda *cuda, const char *what, cudaError_t error);
/* After a launch: whether it was accepted. */
void cuda_launched(struct device *device, const char *kernel);

/* Makes it at least so large, contents lost. ERR_DEVICE: not enough memory. */
enum status cuda_scratch_grow(struct cuda *cuda, struct cuda_scratch *scratch, size_t bytes);

/* As device_cuda_create, with activations of the given kind. */
enum status cuda_create(int index, enum cuda_values values, struct device **ret_device);

/* cuda_ops.c, once per kind of activation */
extern const struct device_ops cuda_ops_bf16, cuda_ops_fp16, cuda_ops_fp32;

/* cuda.c: memory */
const char *cuda_describe(struct device *device);
const char *cuda_address(struct device *device);
enum status cuda_allocate(struct device *device, size_t bytes, int *ret_fd, void **ret_memory);
void cuda_release(struct device *device, void *memory, size_t bytes, int fd);
void cuda_upload(struct device *device, void *to, const void *host, size_t bytes);
void cuda_download(struct device *device, void *host, const void *from, size_t bytes);
void cuda_copy(struct device *device, void *to, const void *from, size_t bytes);
void cuda_zero(struct device *device, void *memory, size_t bytes);
void cuda_memory(struct device *device, struct device_memory *ret_memory);
enum status cuda_synchronize(struct device *device);
void cuda_destroy(struct device *device);
void cuda_tune(struct device *device, const char *folder);

/* cuda_images.c: device_ops images_ahead. join: what comes next in the device's stream finds what
 * was sent; read: what came before no longer needs it. */
enum status cuda_images_start(struct cuda *cuda);
void cuda_images_stop(struct cuda *cuda);
int cuda_images_ahead(struct device *device, void *to, const void *host, size_t bytes);
void cuda_images_join(struct device *device);
void cuda_images_read(struct device *device);

/* cuda_record.c: device_ops of recordings, by stream capture and CUDA graphs. */
enum status cuda_record_begin(struct device *device);
enum status cuda_record_end(struct device *device, struct recording **ret_recording);
void cuda_replay(struct device *device, struct recording *recording);
void cuda_recording_destroy(struct device *device, struct recording *recording);
uint64_t cuda_recordings_epoch(struct device *device);

/* cuda_gemm.c */
void cuda_gemm(struct device *device, int trans_a, int trans_b, int m, int n, int k, float alpha,
               const float *a, const float *b, float beta, float *c);

/* cuda_conv.c */
enum status cuda_conv_create(struct device *device, const struct conv_shape *shape,
                             struct conv **ret_conv);
enum status cuda_conv_memory(struct device *device, const struct conv_shape *shape,
                             struct conv_memory *ret_memory);
void cuda_conv_destroy(struct conv *conv);
void cuda_conv_weights(struct conv *conv, const float *weights);
/* Nothing: a GPU has no cache for that. */
void cuda_rows_begin(struct device *device, int rows, const void *const passing[ROWS_PASSING_MAX]);
void cuda_rows_end(struct device *device);
void cuda_conv_forward(struct conv *conv, const void *x, void *y);
void cuda_conv_backward_data(struct conv *conv, const void *dy, void *dx);
void cuda_conv_backward_weights(struct conv *conv, const void *x, const void *dy, float *dw,
                                int accumulate);

#ifdef __cplusplus
}
#endif
#endif
