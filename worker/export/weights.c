/* weights.c - which form a file has, finding in it, and values of any type as fp32. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/export/weights.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/check.h"
#include "common/mem.h"
#include "common/safetensors_digest.h"
#include "worker/export/weights_pth.h"

enum { HEADER_BYTES_MAX = 100000000 }; /* of safetensors, by its format */

static const uint8_t zip_start[] = {'P', 'K', 3, 4};

static int compare_names(const void *left, const void *right)
{
    const struct weights_tensor *a = left, *b = right;
    return strcmp(a->name, b->name);
}

static void remember(struct weights *weights, const struct safetensors_tensor *from)
{
    struct weights_tensor *tensor = &weights->tensors[weights->tensor_count++];
    uint64_t stride = 1; /* means nothing if it overflows: then there are no elements */
    *tensor = (struct weights_tensor){.name = mem_string(from->name),
                                      .type = from->type,
                                      .rank = from->rank,
                                      .data = from->data,
                                      .storage = -1};
    for (int i = from->rank - 1; i >= 0; i--) {
        tensor->shape[i] = from->shape[i];
        tensor->stride[i] = (int64_t)stride;
        stride *= (uint64_t)from->shape[i];
    }
}

static enum status list_safetensors(struct weights *weights, int handle)
{
    int has_digests;
    TRY(safetensors_open(weights->path, &weights->file));
    const struct safetensors_header *header = &weights->file.header;
    TRY(safetensors_check_digests(weights->path, handle, header, &has_digests));
    weights->tensors = mem_array((size_t)header->tensor_count, sizeof(*weights->tensors));
    for (int i = 0; i < header->tensor_count; i++)
        remember(weights, &header->tensors[i]);
    return OK;
}

static enum status list_plain(struct weights *weights, int handle)
{
    weights->map = mmap(NULL, weights->map_bytes, PROT_READ, MAP_PRIVATE, handle, 0);
    if (weights->map == MAP_FAILED) {
        weights->map = NULL;
        return fail(ERR_IO, "cannot map '%s': %s", weights->path, strerror(errno));
    }
    if (weights_pth_list_plain(weights) != OK)
        return fail_add(ERR_CORRUPT, "'%s'", weights->path);
    return OK;
}

/* The length of a header that is an object, little-endian as we are. */
static int is_like_safetensors(const uint8_t start[16])
{
    uint64_t length;
    memcpy(&length, start, sizeof(length));
    return start[sizeof(length)] == '{' && length <= HEADER_BYTES_MAX;
}

static enum status list(struct weights *weights, int handle)
{
    struct stat info;
    uint8_t start[16];
    if (fstat(handle, &info) != 0)
        return fail(ERR_IO, "cannot ask for the size of '%s': %s", weights->path, strerror(errno));
    if (!S_ISREG(info.st_mode))
        return fail(ERR_INPUT, "'%s' is not a file", weights->path);
    weights->map_bytes = (size_t)info.st_size;
    const ssize_t length = pread(handle, start, sizeof(start), 0);
    if (length < 0)
        return fail(ERR_IO, "cannot read '%s': %s", weights->path, strerror(errno));
    if (length == sizeof(start) && memcmp(start, zip_start, sizeof(zip_start)) == 0)
        return weights_pth_list_zip(weights);
    if (length == sizeof(start) && weights_pth_is_plain(start, sizeof(start)))
        return list_plain(weights, handle);
    if (length < (ssize_t)sizeof(start) || !is_like_safetensors(start))
        return fail(ERR_INPUT, "'%s' is neither of torch.save nor safetensors", weights->path);
    return list_safetensors(weights, handle);
}

/* VISSL's trunks for FSDP put a level of their own between stage and block: "block2-part0." in
 * "_feature_blocks.res3.block2-part0.block2-0.proj.weight". It says nothing that counts. */
static void strip_part(char *name)
{
    char *start = strstr(name, ".block");
    for (; start != NULL; start = strstr(start + 1, ".block")) {
        int used = 0; /* stays so unless all of it is there */
        if (sscanf(start, ".block%*d-part%*d%n", &used) == 0 && used > 0 && start[used] == '.') {
            memmove(start, start + used, strlen(start + used) + 1);
            return;
        }
    }
}

static enum status check_listed(struct weights *weights)
{
    if (weights->tensor_count == 0)
        return fail(ERR_INPUT,
                    "'%s' holds no dictionary of tensors: save a model's state_dict(), not the "
                    "model",
                    weights->path);
    for (int i = 0; i < weights->tensor_count; i++)
        strip_part(weights->tensors[i].name);
    qsort(weights->tensors, (size_t)weights->tensor_count, sizeof(*weights->tensors),
          compare_names);
    for (int i = 1; i < weights->tensor_count; i++)
        if (strcmp(weights->tensors[i - 1].name, weights->tensors[i].name) == 0)
            return fail(ERR_CORRUPT, "'%s' has two tensors '%s'", weights->path,
                        weights->tensors[i].name);
    return OK;
}

enum status weights_open(const char *path, struct weights *ret_weights)
{
    struct weights weights = {.path = path};
    int handle = open(path, O_RDONLY | O_CLOEXEC);
    if (handle < 0)
        return fail(errno == ENOENT ? ERR_INPUT : ERR_IO, "cannot open '%s': %s", path,
                    strerror(errno));
    enum status status = list(&weights, handle);
    close(handle);
    if (status == OK)
        status = check_listed(&weights);
    if (status == OK)
        *ret_weights = weights;
    else
        weights_close(&weights);
    return status;
}

void weights_close(struct weights *weights)
{
    for (int i = 0; i < weights->tensor_count; i++)
        mem_free(weights->tensors[i].name);
    for (int i = 0; i < weights->storage_count; i++)
        mem_free(weights->storages[i].owned);
    mem_free(weights->tensors);
    mem_free(weights->storages);
    mem_free(weights->folder);
    safetensors_close(&weights->file);
    if (weights->map != NULL)
        munmap(weights->map, weights->map_bytes);
    *weights = (struct weights){0};
}

const struct weights_tensor *weights_find(const struct weights *weights, const char *name)
{
    int low = 0, high = weights->tensor_count;
    while (low < high) {
        const int middle = low + (high - low) / 2;
        const int order = strcmp(weights->tensors[middle].name, name);
        if (order == 0)
            return &weights->tensors[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

void weights_want(struct weights *weights, const struct weights_tensor *tensor)
{
    if (tensor->storage >= 0)
        weights->storages[tensor->storage].is_wanted = 1;
}

enum status weights_load(struct weights *weights)
{
    return weights->folder == NULL ? OK : weights_pth_load_zip(weights);
}

int weights_is_real(const struct weights_tensor *tensor)
{
    return tensor->type == SAFETENSORS_F32 || tensor->type == SAFETENSORS_F16 ||
           tensor->type == SAFETENSORS_BF16 || tensor->type == SAFETENSORS_F64;
}

/* IEEE 754 binary16: 1 sign, 5 exponent, 10 fraction. */
static float half_value(uint16_t half)
{
    const uint32_t sign = (uint32_t)(half & 0x8000U) << 16, exponent = half >> 10 & 0x1fU;
    uint32_t fraction = half & 0x3ffU, bits;
    float value;
    if (exponent == 0) { /* zero or subnormal: a multiple of 2^-24 */
        value = (float)fraction / (1 << 24);
        return sign != 0 ? -value : value;
    }
    bits = sign | (exponent == 0x1f ? 0xffU : exponent + 112) << 23 | fraction << 13;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

static float element(enum safetensors_type type, const uint8_t *at)
{
    uint32_t bits = 0;
    uint16_t half;
    double wide;
    float value;
    if (type == SAFETENSORS_F64) {
        memcpy(&wide, at, sizeof(wide));
        return (float)wide;
    }
    if (type == SAFETENSORS_F16) {
        memcpy(&half, at, sizeof(half));
        return half_value(half);
    }
    if (type == SAFETENSORS_BF16) { /* the upper half of an fp32 */
        memcpy(&half, at, sizeof(half));
        bits = (uint32_t)half << 16;
    } else {
        memcpy(&bits, at, sizeof(bits));
    }
    memcpy(&value, &bits, sizeof(value));
    return value;
}

static int is_contiguous(const struct weights_tensor *tensor)
{
    uint64_t stride = 1;
    for (int i = tensor->rank - 1; i >= 0; i--) {
        if (tensor->shape[i] != 1 && (uint64_t)tensor->stride[i] != stride)
            return 0;
        stride *= (uint64_t)tensor->shape[i];
    }
    return 1;
}

/* One dimension after the other; returns where the next value goes. */
static float *read_dimension(const struct weights_tensor *tensor, int dimension,
                             const uint8_t *from, float *to)
{
    const size_t bytes = safetensors_type_bytes(tensor->type);
    if (dimension == tensor->rank) {
        *to = element(tensor->type, from);
        return to + 1;
    }
    for (int64_t i = 0; i < tensor->shape[dimension]; i++)
        to = read_dimension(tensor, dimension + 1,
                            from + (size_t)(i * tensor->stride[dimension]) * bytes, to);
    return to;
}

void weights_read(const struct weights *weights, const struct weights_tensor *tensor,
                  float *ret_values)
{
    const uint8_t *from = tensor->data;
    CHECK(weights_is_real(tensor));
    if (tensor->storage >= 0) {
        CHECK(weights->storages[tensor->storage].bytes != NULL); /* wanted and loaded */
        from = (const uint8_t *)weights->storages[tensor->storage].bytes +
               tensor->offset * safetensors_type_bytes(tensor->type);
    }
    size_t count = 1;
    for (int i = 0; i < tensor->rank; i++)
        count *= (size_t)tensor->shape[i];
    if (tensor->type == SAFETENSORS_F32 && is_contiguous(tensor))
        memcpy(ret_values, from, count * sizeof(*ret_values)); /* bit for bit, NaN too */
    else if (count > 0)
        read_dimension(tensor, 0, from, ret_values);
}
