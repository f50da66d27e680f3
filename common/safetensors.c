/* safetensors.c - building, laying out and finding; the file in one piece. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "common/safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fs.h"
#include "common/mem.h"
#include "common/safetensors_digest.h"
#include "common/safetensors_type.h"

static const struct {
    const char *name;
    size_t bytes;
} types[] = {
    [SAFETENSORS_F64] = {"F64", 8}, [SAFETENSORS_I64] = {"I64", 8},
    [SAFETENSORS_F32] = {"F32", 4}, [SAFETENSORS_I32] = {"I32", 4},
    [SAFETENSORS_F16] = {"F16", 2}, [SAFETENSORS_BF16] = {"BF16", 2},
    [SAFETENSORS_I16] = {"I16", 2}, [SAFETENSORS_I8] = {"I8", 1},
    [SAFETENSORS_U8] = {"U8", 1},   [SAFETENSORS_BOOL] = {"BOOL", 1},
};

int safetensors_type_find(const char *name)
{
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (strcmp(types[i].name, name) == 0)
            return (int)i;
    }
    return -1;
}

size_t safetensors_type_bytes(enum safetensors_type type)
{
    return types[type].bytes;
}

int safetensors_shape_bytes(enum safetensors_type type, int rank, const int64_t *shape,
                            uint64_t *ret_bytes)
{
    uint64_t bytes = types[type].bytes;
    for (int i = 0; i < rank; i++) {
        if (shape[i] < 0 || __builtin_mul_overflow(bytes, (uint64_t)shape[i], &bytes) ||
            bytes > SAFETENSORS_BYTES_MAX)
            return 0;
    }
    *ret_bytes = bytes;
    return 1;
}

uint64_t safetensors_elements(const struct safetensors_tensor *tensor)
{
    return (tensor->end - tensor->begin) / types[tensor->type].bytes;
}

void safetensors_init(struct safetensors_header *header)
{
    *header = (struct safetensors_header){0};
}

void safetensors_done(struct safetensors_header *header)
{
    for (int i = 0; i < header->metadata_count; i++) {
        mem_free(header->metadata[i].key);
        mem_free(header->metadata[i].value);
    }
    mem_free(header->metadata);
    mem_free(header->tensors);
    safetensors_init(header);
}

/* Room for one more: arrays grow when their count is a power of two. */
static void *array_grow(void *array, int count, size_t size)
{
    if ((count & (count - 1)) != 0)
        return array;
    return mem_resize(array, (size_t)(count == 0 ? 1 : 2 * count) * size);
}

enum status safetensors_add(struct safetensors_header *header, const char *name,
                            enum safetensors_type type, int rank, const int64_t *shape,
                            const void *data)
{
    struct safetensors_tensor tensor = {.type = type, .rank = rank, .data = data};
    uint64_t bytes;
    if (strlen(name) >= sizeof(tensor.name))
        return fail(ERR_INPUT, "tensor name '%s' is too long (limit %zu)", name,
                    sizeof(tensor.name) - 1);
    if (rank < 0 || rank > SAFETENSORS_RANK_MAX)
        return fail(ERR_INPUT, "tensor '%s' has %d dimensions (limit %d)", name, rank,
                    SAFETENSORS_RANK_MAX);
    if (!safetensors_shape_bytes(type, rank, shape, &bytes))
        return fail(ERR_INPUT, "tensor '%s': its shape is negative or too large", name);
    memcpy(tensor.name, name, strlen(name));
    for (int i = 0; i < rank; i++)
        tensor.shape[i] = shape[i];
    tensor.end = bytes;
    header->tensors = array_grow(header->tensors, header->tensor_count, sizeof(tensor));
    header->tensors[header->tensor_count++] = tensor;
    return OK;
}

void safetensors_add_metadata(struct safetensors_header *header, const char *key, const char *value)
{
    header->metadata =
        array_grow(header->metadata, header->metadata_count, sizeof(*header->metadata));
    header->metadata[header->metadata_count++] =
        (struct safetensors_metadata){mem_string(key), mem_string(value)};
}

const struct safetensors_tensor *safetensors_find(const struct safetensors_header *header,
                                                  const char *name)
{
    for (int i = 0; i < header->tensor_count; i++) {
        if (strcmp(header->tensors[i].name, name) == 0)
            return &header->tensors[i];
    }
    return NULL;
}

const char *safetensors_find_metadata(const struct safetensors_header *header, const char *key)
{
    for (int i = 0; i < header->metadata_count; i++) {
        if (strcmp(header->metadata[i].key, key) == 0)
            return header->metadata[i].value;
    }
    return NULL;
}

/* The reference writer's order: alignment descending, then name. */
static int compare_layout(const void *left, const void *right)
{
    const struct safetensors_tensor *a = left, *b = right;
    size_t bytes_a = types[a->type].bytes, bytes_b = types[b->type].bytes;
    if (bytes_a != bytes_b)
        return bytes_a < bytes_b ? 1 : -1;
    return strcmp(a->name, b->name);
}

static int compare_names(const void *left, const void *right)
{
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

int safetensors_has_duplicate(const struct safetensors_header *header, const char **ret_name)
{
    int has_duplicate = 0;
    const char **names = mem_array((size_t)header->tensor_count, sizeof(*names));
    for (int i = 0; i < header->tensor_count; i++)
        names[i] = header->tensors[i].name;
    qsort(names, (size_t)header->tensor_count, sizeof(*names), compare_names);
    for (int i = 1; i < header->tensor_count && !has_duplicate; i++) {
        if (strcmp(names[i - 1], names[i]) == 0) {
            *ret_name = names[i];
            has_duplicate = 1;
        }
    }
    mem_free(names);
    return has_duplicate;
}

static enum status encode_string(const char *text, struct buf *out)
{
    TRY(buf_append(out, "\"", 1));
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (c < ' ')
            TRY(buf_format(out, "\\u%04x", c));
        else
            TRY(buf_format(out, c == '"' || c == '\\' ? "\\%c" : "%c", c));
    }
    return buf_append(out, "\"", 1);
}

static enum status encode_tensor(const struct safetensors_tensor *tensor, struct buf *out)
{
    TRY(encode_string(tensor->name, out));
    TRY(buf_format(out, ":{\"dtype\":\"%s\",\"shape\":[", types[tensor->type].name));
    for (int i = 0; i < tensor->rank; i++)
        TRY(buf_format(out, "%s%" PRId64, i > 0 ? "," : "", tensor->shape[i]));
    return buf_format(out, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", tensor->begin,
                      tensor->end);
}

static enum status encode_json(const struct safetensors_header *header, struct buf *out)
{
    const char *comma = "";
    TRY(buf_append(out, "{", 1));
    if (header->metadata_count > 0) {
        TRY(buf_format(out, "\"__metadata__\":{"));
        for (int i = 0; i < header->metadata_count; i++) {
            TRY(buf_format(out, "%s", i > 0 ? "," : ""));
            TRY(encode_string(header->metadata[i].key, out));
            TRY(buf_append(out, ":", 1));
            TRY(encode_string(header->metadata[i].value, out));
        }
        TRY(buf_append(out, "}", 1));
        comma = ",";
    }
    for (int i = 0; i < header->tensor_count; i++) {
        TRY(buf_format(out, "%s", comma));
        TRY(encode_tensor(&header->tensors[i], out));
        comma = ",";
    }
    return buf_append(out, "}", 1);
}

static void lay_out(struct safetensors_header *header)
{
    uint64_t at = 0;
    if (header->tensor_count > 0)
        qsort(header->tensors, (size_t)header->tensor_count, sizeof(*header->tensors),
              compare_layout);
    for (int i = 0; i < header->tensor_count; i++) {
        struct safetensors_tensor *tensor = &header->tensors[i];
        uint64_t bytes = tensor->end - tensor->begin;
        tensor->begin = at;
        tensor->end = at += bytes;
    }
    header->data_bytes = at;
}

enum status safetensors_encode(struct safetensors_header *header, struct buf *out)
{
    const char *twice;
    struct buf json;
    if (safetensors_has_duplicate(header, &twice))
        return fail(ERR_INPUT, "tensor '%s' is given twice", twice);
    lay_out(header);
    buf_init(&json, SAFETENSORS_HEADER_BYTES_MAX);
    enum status status = encode_json(header, &json);
    /* So that the data is aligned for whoever maps the file. */
    while (status == OK && json.length % 8 != 0)
        status = buf_append(&json, " ", 1);
    if (status == OK) {
        uint8_t length[8];
        for (int i = 0; i < 8; i++)
            length[i] = (uint8_t)((uint64_t)json.length >> (8 * i));
        header->data_start = 8 + json.length;
        status = buf_append(out, length, sizeof(length));
    }
    if (status == OK)
        status = buf_append(out, json.bytes, json.length);
    buf_done(&json);
    return status;
}

static enum status write_all(int file, const char *path, const void *bytes, uint64_t length)
{
    for (uint64_t done = 0; done < length;) {
        ssize_t written = write(file, (const char *)bytes + done, length - done);
        if (written > 0)
            done += (uint64_t)written;
        else if (written == 0 || errno != EINTR)
            return fail(ERR_IO, "cannot write '%s': %s", path, strerror(errno));
    }
    return OK;
}

static enum status write_file(const char *path, const struct buf *head,
                              const struct safetensors_header *header)
{
    int file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (file < 0)
        return fail(ERR_IO, "cannot create '%s': %s", path, strerror(errno));
    enum status status = write_all(file, path, head->bytes, head->length);
    for (int i = 0; i < header->tensor_count && status == OK; i++) {
        const struct safetensors_tensor *tensor = &header->tensors[i];
        status = write_all(file, path, tensor->data, tensor->end - tensor->begin);
    }
    if (status == OK)
        status = safetensors_write_digests(path, file, header);
    if (status == OK && fsync(file) != 0)
        status = fail(ERR_IO, "cannot flush '%s': %s", path, strerror(errno));
    if (close(file) != 0 && status == OK)
        status = fail(ERR_IO, "cannot close '%s': %s", path, strerror(errno));
    return status;
}

enum status safetensors_save(const char *path, struct safetensors_header *header)
{
    struct buf head;
    char *temporary = mem_format("%s.tmp.%d", path, (int)getpid());
    buf_init(&head, SAFETENSORS_HEADER_BYTES_MAX + 8);
    enum status status = safetensors_encode(header, &head);
    if (status == OK)
        status = write_file(temporary, &head, header);
    if (status == OK)
        status = fs_rename(temporary, path);
    if (status != OK)
        unlink(temporary);
    buf_done(&head);
    mem_free(temporary);
    return status;
}

static enum status map_file(const char *path, struct safetensors_file *file)
{
    struct stat info;
    int handle = open(path, O_RDONLY | O_CLOEXEC);
    if (handle < 0)
        return fail(errno == ENOENT ? ERR_INPUT : ERR_IO, "cannot open '%s': %s", path,
                    strerror(errno));
    enum status status = OK;
    if (fstat(handle, &info) != 0)
        status = fail(ERR_IO, "cannot ask for the size of '%s': %s", path, strerror(errno));
    else if (!S_ISREG(info.st_mode))
        status = fail(ERR_INPUT, "'%s' is not a file", path);
    else if (info.st_size < 8)
        status = fail(ERR_CORRUPT, "'%s' is not a safetensors file: only %lld bytes", path,
                      (long long)info.st_size);
    if (status == OK) {
        file->bytes = (size_t)info.st_size;
        file->map = mmap(NULL, file->bytes, PROT_READ, MAP_PRIVATE, handle, 0);
        if (file->map == MAP_FAILED) {
            file->map = NULL;
            status = fail(ERR_IO, "cannot map '%s': %s", path, strerror(errno));
        }
    }
    close(handle);
    return status;
}

enum status safetensors_open(const char *path, struct safetensors_file *ret_file)
{
    struct safetensors_file file = {0};
    enum status status = map_file(path, &file);
    if (status == OK)
        status = safetensors_decode(path, file.map, file.bytes, file.bytes, &file.header);
    if (status != OK) {
        safetensors_close(&file);
        return status;
    }
    for (int i = 0; i < file.header.tensor_count; i++) {
        struct safetensors_tensor *tensor = &file.header.tensors[i];
        tensor->data = (const char *)file.map + file.header.data_start + tensor->begin;
    }
    *ret_file = file;
    return OK;
}

void safetensors_close(struct safetensors_file *file)
{
    safetensors_done(&file->header);
    if (file->map != NULL)
        munmap(file->map, file->bytes);
    *file = (struct safetensors_file){0};
}
