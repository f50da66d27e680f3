/* safetensors.h - files of named tensors that PyTorch, and anyone who reads JSON, can open.
 *
 * The file: 8 bytes little-endian N, N bytes of JSON ("name": {dtype, shape, data_offsets}, and
 * "__metadata__": strings), then the data, row-major and little-endian, without holes
 * (github.com/huggingface/safetensors, README). A header is a value that is built with add, laid
 * out by encode (larger types first, then by name, as the reference writer does) and read back by
 * decode; whoever writes the data in pieces uses data_start and the tensors' begin. Reading
 * believes nothing: sizes, offsets, order and duplicates are checked before a byte is used. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef COMMON_SAFETENSORS_H
#define COMMON_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/status.h"

enum {
    SAFETENSORS_NAME_BYTES = 192,
    SAFETENSORS_RANK_MAX = 8,
    SAFETENSORS_HEADER_BYTES_MAX = 16 << 20, /* the format allows 100 MB; ours have 0.2 */
};

enum safetensors_type {
    SAFETENSORS_F64,
    SAFETENSORS_I64,
    SAFETENSORS_F32,
    SAFETENSORS_I32,
    SAFETENSORS_F16,
    SAFETENSORS_BF16,
    SAFETENSORS_I16,
    SAFETENSORS_I8,
    SAFETENSORS_U8,
    SAFETENSORS_BOOL,
};

struct safetensors_tensor {
    char name[SAFETENSORS_NAME_BYTES];
    enum safetensors_type type;
    int rank; /* 0: a scalar */
    int64_t shape[SAFETENSORS_RANK_MAX];
    uint64_t begin, end; /* bytes from the start of the data; set by encode and decode */
    const void *data;    /* borrowed: what save writes, what open found */
};

struct safetensors_header {
    int tensor_count;
    struct safetensors_tensor *tensors; /* owned; after encode and decode in file order */
    int metadata_count;
    struct safetensors_metadata {
        char *key, *value;
    } * metadata;        /* owned, and its strings too */
    uint64_t data_start; /* bytes from the start of the file; set by encode and decode */
    uint64_t data_bytes;
};

void safetensors_init(struct safetensors_header *header);
void safetensors_done(struct safetensors_header *header);
/* data may be NULL when the caller writes it himself. ERR_INPUT: a name given twice (found by
 * encode), too long, or a shape that is negative or too large. */
enum status safetensors_add(struct safetensors_header *header, const char *name,
                            enum safetensors_type type, int rank, const int64_t *shape,
                            const void *data);
void safetensors_add_metadata(struct safetensors_header *header, const char *key,
                              const char *value);
/* Lays the tensors out and appends everything before the data to out. */
enum status safetensors_encode(struct safetensors_header *header, struct buf *out);
/* The reverse, from the first bytes of a file of file_bytes; length must cover the header. header
 * must be initialised and empty. ERR_CORRUPT says what is wrong in the file called name. */
enum status safetensors_decode(const char *name, const void *bytes, size_t length,
                               uint64_t file_bytes, struct safetensors_header *header);

/* NULL = no such tensor, no such key. */
const struct safetensors_tensor *safetensors_find(const struct safetensors_header *header,
                                                  const char *name);
const char *safetensors_find_metadata(const struct safetensors_header *header, const char *key);
size_t safetensors_type_bytes(enum safetensors_type type);
/* Number of elements. */
uint64_t safetensors_elements(const struct safetensors_tensor *tensor);

/* Writes header and every tensor's data to path: complete or absent. A place that was reserved for
 * digests (safetensors_digest.h) is filled in. Blocks. ERR_IO. */
enum status safetensors_save(const char *path, struct safetensors_header *header);

/* A file mapped for reading; its tensors' data point into it. */
struct safetensors_file {
    struct safetensors_header header;
    void *map;
    size_t bytes;
};

/* ERR_INPUT: no such file; ERR_IO; ERR_CORRUPT. The data may be on disk still: a file that shrinks
 * while it is mapped kills the reader, so our writers only ever rename. */
enum status safetensors_open(const char *path, struct safetensors_file *ret_file);
void safetensors_close(struct safetensors_file *file);

#endif
