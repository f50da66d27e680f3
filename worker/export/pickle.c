/* pickle.c - the few opcodes of Python's pickle (protocol 2) that a dictionary of tensors needs.
 *
 * Opcodes and their bytes: Lib/pickletools.py. What torch expects inside: torch/_utils.py
 * (_rebuild_tensor_v2) and torch/serialization.py (persistent_load). */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/export/pickle.h"

#include <stdio.h>
#include <string.h>

#define OP_PROTOCOL_2   "\x80\x02"
#define OP_MARK         "("
#define OP_TUPLE        "t"
#define OP_EMPTY_TUPLE  ")"
#define OP_REDUCE       "R"
#define OP_SET_ITEMS    "u"
#define OP_PERSISTENT   "Q"
#define OP_FALSE        "\x89"
#define OP_STOP         "."
#define OP_ORDERED_DICT "ccollections\nOrderedDict\n" OP_EMPTY_TUPLE OP_REDUCE

static enum status put(struct buf *out, const char *opcodes)
{
    return buf_append(out, opcodes, strlen(opcodes));
}

static enum status put_little(struct buf *out, char opcode, uint64_t value, int bytes)
{
    TRY(buf_append(out, &opcode, 1));
    for (int i = 0; i < bytes; i++) {
        uint8_t byte = (uint8_t)(value >> (8 * i));
        TRY(buf_append(out, &byte, 1));
    }
    return OK;
}

static enum status put_int(struct buf *out, uint64_t value)
{
    enum { LONG_BYTES = 9 }; /* eight, and one for the sign */
    if (value < 1u << 8)
        return put_little(out, 'K', value, 1);
    if (value < 1u << 31)
        return put_little(out, 'J', value, 4);
    TRY(put_little(out, '\x8a', LONG_BYTES, 1));
    for (int i = 0; i < LONG_BYTES; i++) {
        uint8_t byte = i < 8 ? (uint8_t)(value >> (8 * i)) : 0;
        TRY(buf_append(out, &byte, 1));
    }
    return OK;
}

static enum status put_string(struct buf *out, const char *text, size_t length)
{
    TRY(put_little(out, 'X', length, 4));
    return buf_append(out, text, length);
}

/* ('storage', torch.FloatStorage, 'INDEX', 'cpu', numel) as a persistent id. */
static enum status put_storage(struct buf *out, const struct safetensors_tensor *tensor, int index)
{
    char key[16];
    snprintf(key, sizeof(key), "%d", index);
    TRY(put(out, OP_MARK));
    TRY(put_string(out, "storage", strlen("storage")));
    TRY(put(out,
            tensor->type == SAFETENSORS_I64 ? "ctorch\nLongStorage\n" : "ctorch\nFloatStorage\n"));
    TRY(put_string(out, key, strlen(key)));
    TRY(put_string(out, "cpu", strlen("cpu")));
    TRY(put_int(out, safetensors_elements(tensor)));
    return put(out, OP_TUPLE OP_PERSISTENT);
}

static enum status put_shape(struct buf *out, const struct safetensors_tensor *tensor)
{
    TRY(put(out, OP_MARK));
    for (int i = 0; i < tensor->rank; i++)
        TRY(put_int(out, (uint64_t)tensor->shape[i]));
    return put(out, OP_TUPLE);
}

static enum status put_strides(struct buf *out, const struct safetensors_tensor *tensor)
{
    TRY(put(out, OP_MARK));
    for (int i = 0; i < tensor->rank; i++) {
        uint64_t stride = 1;
        for (int j = i + 1; j < tensor->rank; j++)
            stride *= (uint64_t)tensor->shape[j];
        TRY(put_int(out, stride));
    }
    return put(out, OP_TUPLE);
}

/* _rebuild_tensor_v2(storage, offset, shape, strides, requires_grad, backward_hooks) */
static enum status put_tensor(struct buf *out, const struct safetensors_tensor *tensor, int index)
{
    TRY(put(out, "ctorch._utils\n_rebuild_tensor_v2\n" OP_MARK));
    TRY(put_storage(out, tensor, index));
    TRY(put_int(out, 0));
    TRY(put_shape(out, tensor));
    TRY(put_strides(out, tensor));
    return put(out, OP_FALSE OP_ORDERED_DICT OP_TUPLE OP_REDUCE);
}

/* How many of the tensors share the first `length` characters of their groups. */
static int run_length(const struct pth_tensor *tensors, int count, size_t length)
{
    int run = 1;
    while (run < count && strncmp(tensors[run].group, tensors[0].group, length) == 0 &&
           (tensors[run].group[length] == '/' || tensors[run].group[length] == '\0'))
        run++;
    return run;
}

/* One dictionary: tensors whose group ends at `skip`, and dictionaries of those that go deeper. */
static enum status put_dictionary(struct buf *out, const struct pth_tensor *tensors, int count,
                                  size_t skip, int first_index)
{
    TRY(put(out, OP_ORDERED_DICT OP_MARK));
    for (int i = 0; i < count;) {
        const char *rest = tensors[i].group + skip;
        size_t length = strcspn(rest, "/");
        if (length == 0) {
            TRY(put_string(out, tensors[i].name, strlen(tensors[i].name)));
            TRY(put_tensor(out, tensors[i].tensor, first_index + i));
            i++;
            continue;
        }
        int run = run_length(tensors + i, count - i, skip + length);
        size_t deeper = skip + length + (rest[length] == '/');
        TRY(put_string(out, rest, length));
        TRY(put_dictionary(out, tensors + i, run, deeper, first_index + i));
        i += run;
    }
    return put(out, OP_SET_ITEMS);
}

enum status pickle_tensors(const struct pth_tensor *tensors, int count, struct buf *out)
{
    TRY(put(out, OP_PROTOCOL_2));
    TRY(put_dictionary(out, tensors, count, 0, 0));
    return put(out, OP_STOP);
}
