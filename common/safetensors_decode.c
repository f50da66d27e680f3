/* safetensors_decode.c - a safetensors header from bytes that may be hostile. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "common/safetensors.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "common/safetensors_type.h"

static enum status decode_shape(const char *name, const json_t *shape, int64_t *ret_shape,
                                int *ret_rank)
{
    if (!json_is_array(shape) || json_array_size(shape) > SAFETENSORS_RANK_MAX)
        return fail(ERR_CORRUPT, "tensor '%s': shape is not a list of at most %d numbers", name,
                    SAFETENSORS_RANK_MAX);
    *ret_rank = (int)json_array_size(shape);
    for (int i = 0; i < *ret_rank; i++) {
        const json_t *size = json_array_get(shape, (size_t)i);
        if (!json_is_integer(size))
            return fail(ERR_CORRUPT, "tensor '%s': its shape holds something not a number", name);
        ret_shape[i] = json_integer_value(size);
    }
    return OK;
}

static enum status decode_offsets(const char *name, const json_t *offsets, uint64_t *ret_begin,
                                  uint64_t *ret_end)
{
    const json_t *begin = json_array_get(offsets, 0), *end = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !json_is_integer(begin) || !json_is_integer(end) ||
        json_integer_value(begin) < 0 || json_integer_value(end) < json_integer_value(begin))
        return fail(ERR_CORRUPT, "tensor '%s': data_offsets is not [begin, end]", name);
    *ret_begin = (uint64_t)json_integer_value(begin);
    *ret_end = (uint64_t)json_integer_value(end);
    return OK;
}

static enum status decode_tensor(const char *name, const json_t *json,
                                 struct safetensors_header *header)
{
    int64_t shape[SAFETENSORS_RANK_MAX];
    int rank = 0;
    uint64_t begin = 0, end = 0;
    const char *type_name = json_string_value(json_object_get(json, "dtype"));
    int type = type_name != NULL ? safetensors_type_find(type_name) : -1;
    if (type < 0)
        return fail(ERR_CORRUPT, "tensor '%s': unknown dtype '%s'", name,
                    type_name != NULL ? type_name : "");
    TRY(decode_shape(name, json_object_get(json, "shape"), shape, &rank));
    TRY(decode_offsets(name, json_object_get(json, "data_offsets"), &begin, &end));
    TRY(safetensors_add(header, name, (enum safetensors_type)type, rank, shape, NULL));
    struct safetensors_tensor *tensor = &header->tensors[header->tensor_count - 1];
    if (end - begin != tensor->end)
        return fail(ERR_CORRUPT,
                    "tensor '%s': %" PRIu64 " bytes of data, but its shape needs %" PRIu64, name,
                    end - begin, tensor->end);
    tensor->begin = begin;
    tensor->end = end;
    return OK;
}

static enum status decode_metadata(const json_t *json, struct safetensors_header *header)
{
    const char *key;
    json_t *value;
    if (!json_is_object(json))
        return fail(ERR_CORRUPT, "__metadata__ is not an object");
    json_object_foreach((json_t *)json, key, value)
    {
        if (!json_is_string(value))
            return fail(ERR_CORRUPT, "__metadata__: '%s' is not a string", key);
        safetensors_add_metadata(header, key, json_string_value(value));
    }
    return OK;
}

static int compare_begin(const void *left, const void *right)
{
    const struct safetensors_tensor *a = left, *b = right;
    if (a->begin != b->begin)
        return a->begin < b->begin ? -1 : 1;
    return a->end < b->end ? -1 : a->end > b->end;
}

/* The data must be covered exactly: no hole, no overlap, no tail. */
static enum status check_layout(struct safetensors_header *header)
{
    uint64_t at = 0;
    if (header->tensor_count > 0)
        qsort(header->tensors, (size_t)header->tensor_count, sizeof(*header->tensors),
              compare_begin);
    for (int i = 0; i < header->tensor_count; i++) {
        const struct safetensors_tensor *tensor = &header->tensors[i];
        if (tensor->begin != at)
            return fail(ERR_CORRUPT,
                        "tensor '%s' begins at byte %" PRIu64 " of the data, not at %" PRIu64,
                        tensor->name, tensor->begin, at);
        at = tensor->end;
    }
    if (at != header->data_bytes)
        return fail(ERR_CORRUPT,
                    "%" PRIu64 " bytes of data, but the tensors take %" PRIu64
                    " (was the file cut?)",
                    header->data_bytes, at);
    return OK;
}

static enum status decode_json(const json_t *json, struct safetensors_header *header)
{
    const char *name;
    json_t *value;
    if (!json_is_object(json))
        return fail(ERR_CORRUPT, "the header is not an object");
    json_object_foreach((json_t *)json, name, value)
    {
        if (strcmp(name, "__metadata__") == 0)
            TRY(decode_metadata(value, header));
        else
            TRY(decode_tensor(name, value, header));
    }
    return check_layout(header);
}

static enum status decode_header(const uint8_t *bytes, size_t length, uint64_t file_bytes,
                                 struct safetensors_header *header)
{
    uint64_t json_bytes = 0;
    if (length < 8)
        return fail(ERR_CORRUPT, "only %zu bytes", length);
    for (int i = 0; i < 8; i++)
        json_bytes |= (uint64_t)bytes[i] << (8 * i);
    if (json_bytes > SAFETENSORS_HEADER_BYTES_MAX || json_bytes > length - 8 ||
        json_bytes > file_bytes - 8)
        return fail(ERR_CORRUPT, "a header of %" PRIu64 " bytes", json_bytes);
    header->data_start = 8 + json_bytes;
    header->data_bytes = file_bytes - header->data_start;
    json_error_t error;
    json_t *json =
        json_loadb((const char *)bytes + 8, (size_t)json_bytes, JSON_REJECT_DUPLICATES, &error);
    if (json == NULL)
        return fail(ERR_CORRUPT, "the header is not JSON: %s", error.text);
    enum status status = decode_json(json, header);
    json_decref(json);
    return status;
}

enum status safetensors_decode(const char *name, const void *bytes, size_t length,
                               uint64_t file_bytes, struct safetensors_header *header)
{
    if (decode_header(bytes, length, file_bytes, header) == OK)
        return OK;
    safetensors_done(header);
    return fail(ERR_CORRUPT, "'%s' is not a valid safetensors file: %s", name, fail_message());
}
