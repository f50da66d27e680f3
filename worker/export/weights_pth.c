/* weights_pth.c - tensors out of a pickle's graph, and the file form of torch before 1.6.
 *
 * What torch puts into a pickle: torch/_utils.py (_rebuild_tensor_v2: storage, offset, shape,
 * strides), torch/serialization.py (persistent_id, _legacy_save). */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/export/weights_pth.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/mem.h"
#include "common/safetensors_type.h"
#include "worker/export/unpickle.h"

enum { DEPTH_MAX = 12, VISITS_MAX = 1 << 20, COUNT_BYTES = 8 };

/* The pickle of torch's MAGIC_NUMBER, 0x1950a86a20f9469cfc6c. */
static const uint8_t plain_start[] = {0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46,
                                      0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, 0x2e};

static const struct {
    const char *name;
    enum safetensors_type type;
} storage_kinds[] = {
    {"torch FloatStorage", SAFETENSORS_F32},     {"torch HalfStorage", SAFETENSORS_F16},
    {"torch BFloat16Storage", SAFETENSORS_BF16}, {"torch DoubleStorage", SAFETENSORS_F64},
    {"torch LongStorage", SAFETENSORS_I64},      {"torch IntStorage", SAFETENSORS_I32},
    {"torch ShortStorage", SAFETENSORS_I16},     {"torch CharStorage", SAFETENSORS_I8},
    {"torch ByteStorage", SAFETENSORS_U8},       {"torch BoolStorage", SAFETENSORS_BOOL},
};

struct walk {
    const struct pickle *pickle;
    struct weights *weights;
    int visits; /* shared values and rings make a graph larger than its pickle */
};

/* Room for one more: arrays grow when their count is a power of two. */
static void *array_grow(void *array, int count, size_t size)
{
    if ((count & (count - 1)) != 0)
        return array;
    return mem_resize(array, (size_t)(count == 0 ? 1 : 2 * count) * size);
}

/* ---- storages ---- */

static int find_kind(const struct pickle *pickle, uint32_t name, enum safetensors_type *ret_type)
{
    for (size_t i = 0; i < sizeof(storage_kinds) / sizeof(storage_kinds[0]); i++) {
        if (pickle_is_name(pickle, name, storage_kinds[i].name)) {
            *ret_type = storage_kinds[i].type;
            return 1;
        }
    }
    return 0;
}

static int64_t find_storage(const struct weights *weights, const char *key)
{
    for (int i = weights->storage_count - 1; i >= 0; i--) /* the last one, most often */
        if (strcmp(weights->storages[i].key, key) == 0)
            return i;
    return -1;
}

/* A text that may become a storage's key. */
static int take_key(const struct pickle *pickle, uint32_t value, char key[WEIGHTS_KEY_BYTES])
{
    const struct pickle_value *text = &pickle->values[value];
    if (text->kind != PICKLE_TEXT || text->text_length >= WEIGHTS_KEY_BYTES ||
        memchr(text->text, 0, text->text_length) != NULL)
        return 0;
    snprintf(key, WEIGHTS_KEY_BYTES, "%.*s", (int)text->text_length, text->text);
    return 1;
}

/* ('storage', torch.FloatStorage, KEY, device, elements), and before 1.6 a view's place, which
 * nobody writes any more. 0: it is none that is known here. */
static int read_id(const struct pickle *pickle, uint32_t id, struct weights_storage *ret_storage)
{
    struct weights_storage storage = {0};
    uint32_t item;
    int64_t elements;
    if (!pickle_item(pickle, id, 0, &item) || !pickle_is_text(pickle, item, "storage") ||
        !pickle_item(pickle, id, 1, &item) || !find_kind(pickle, item, &storage.type) ||
        !pickle_item(pickle, id, 2, &item) || !take_key(pickle, item, storage.key) ||
        !pickle_item(pickle, id, 4, &item) || !pickle_number(pickle, item, &elements))
        return 0;
    if (pickle_item(pickle, id, 5, &item) && pickle->values[item].kind != PICKLE_OPAQUE)
        return 0;
    if (elements < 0 || (uint64_t)elements > SAFETENSORS_BYTES_MAX / sizeof(double))
        return 0;
    storage.elements = (uint64_t)elements;
    *ret_storage = storage;
    return 1;
}

/* Its index, -1 = it is none that is known here. */
static int64_t take_storage(const struct walk *walk, uint32_t value)
{
    struct weights *weights = walk->weights;
    const struct pickle_value *persistent = &walk->pickle->values[value];
    struct weights_storage storage;
    if (persistent->kind != PICKLE_PERSISTENT ||
        !read_id(walk->pickle, persistent->argument, &storage))
        return -1;
    const int64_t known = find_storage(weights, storage.key);
    if (known >= 0) {
        const struct weights_storage *same = &weights->storages[known];
        return same->type == storage.type && same->elements == storage.elements ? known : -1;
    }
    weights->storages =
        array_grow(weights->storages, weights->storage_count, sizeof(*weights->storages));
    weights->storages[weights->storage_count] = storage;
    return weights->storage_count++;
}

/* ---- tensors ---- */

static int take_extents(const struct pickle *pickle, uint32_t value, int *ret_rank,
                        int64_t extents[SAFETENSORS_RANK_MAX])
{
    const struct pickle_value *sequence = &pickle->values[value];
    if (sequence->kind != PICKLE_SEQUENCE || sequence->part_count > SAFETENSORS_RANK_MAX)
        return 0;
    for (uint32_t i = 0; i < sequence->part_count; i++)
        if (!pickle_number(pickle, sequence->parts[i], &extents[i]) || extents[i] < 0)
            return 0;
    *ret_rank = (int)sequence->part_count;
    return 1;
}

/* Does every element lie in the storage? */
static int is_inside(const struct weights_tensor *tensor, uint64_t elements)
{
    uint64_t last = tensor->offset, bytes, step;
    if (!safetensors_shape_bytes(tensor->type, tensor->rank, tensor->shape, &bytes))
        return 0;
    if (bytes == 0)
        return 1;
    for (int i = 0; i < tensor->rank; i++) {
        if (__builtin_mul_overflow((uint64_t)tensor->shape[i] - 1, (uint64_t)tensor->stride[i],
                                   &step) ||
            __builtin_add_overflow(last, step, &last))
            return 0;
    }
    return last < elements;
}

static int take_view(const struct walk *walk, uint32_t arguments, struct weights_tensor *ret_tensor)
{
    const struct pickle *pickle = walk->pickle;
    struct weights_tensor tensor = {0};
    uint32_t item;
    int64_t offset;
    int strides;
    if (!pickle_item(pickle, arguments, 1, &item) || !pickle_number(pickle, item, &offset) ||
        offset < 0 || !pickle_item(pickle, arguments, 2, &item) ||
        !take_extents(pickle, item, &tensor.rank, tensor.shape) ||
        !pickle_item(pickle, arguments, 3, &item) ||
        !take_extents(pickle, item, &strides, tensor.stride) || strides != tensor.rank)
        return 0;
    tensor.offset = (uint64_t)offset;
    *ret_tensor = tensor;
    return 1;
}

/* A parameter is a call with a tensor in it. */
static uint32_t unwrap(const struct pickle *pickle, uint32_t value)
{
    const struct pickle_value *call = &pickle->values[value];
    uint32_t item;
    const int is_parameter =
        call->kind == PICKLE_CALL &&
        (pickle_is_name(pickle, call->callable, "torch._utils _rebuild_parameter") ||
         pickle_is_name(pickle, call->callable, "torch._utils _rebuild_parameter_with_state"));
    return is_parameter && pickle_item(pickle, call->argument, 0, &item) ? item : value;
}

static int is_tensor(const struct pickle *pickle, uint32_t value)
{
    const struct pickle_value *call = &pickle->values[value];
    return call->kind == PICKLE_CALL &&
           (pickle_is_name(pickle, call->callable, "torch._utils _rebuild_tensor_v2") ||
            pickle_is_name(pickle, call->callable, "torch._utils _rebuild_tensor"));
}

static enum status add_tensor(struct walk *walk, uint32_t value, const char *name)
{
    struct weights *weights = walk->weights;
    struct weights_tensor tensor;
    uint32_t item;
    const uint32_t arguments = walk->pickle->values[value].argument;
    if (!pickle_item(walk->pickle, arguments, 0, &item) || !take_view(walk, arguments, &tensor))
        return fail(ERR_CORRUPT, "tensor '%s' is none", name);
    tensor.storage = take_storage(walk, item);
    if (tensor.storage < 0) /* complex numbers, quantised ones: no weights of ours */
        return OK;
    const struct weights_storage *storage = &weights->storages[tensor.storage];
    tensor.type = storage->type;
    if (!is_inside(&tensor, storage->elements))
        return fail(ERR_CORRUPT, "tensor '%s' goes beyond its storage '%s' of %" PRIu64 " elements",
                    name, storage->key, storage->elements);
    if (weights->tensor_count == WEIGHTS_TENSORS_MAX)
        return fail(ERR_CORRUPT, "more than %d tensors", WEIGHTS_TENSORS_MAX);
    tensor.name = mem_string(name);
    weights->tensors =
        array_grow(weights->tensors, weights->tensor_count, sizeof(*weights->tensors));
    weights->tensors[weights->tensor_count++] = tensor;
    return OK;
}

/* ---- dictionaries ---- */

/* Keys are texts; an optimizer's are numbers. 0: of no use. */
static int extend_name(const struct pickle *pickle, uint32_t key, const char *name, char *ret_name)
{
    const struct pickle_value *value = &pickle->values[key];
    int length = -1;
    if (value->kind == PICKLE_TEXT && memchr(value->text, 0, value->text_length) == NULL &&
        value->text_length < WEIGHTS_NAME_BYTES)
        length = snprintf(ret_name, WEIGHTS_NAME_BYTES, "%s%s%.*s", name, name[0] ? "/" : "",
                          (int)value->text_length, value->text);
    else if (value->kind == PICKLE_NUMBER)
        length = snprintf(ret_name, WEIGHTS_NAME_BYTES, "%s%s%" PRId64, name, name[0] ? "/" : "",
                          value->number);
    return length > 0 && length < WEIGHTS_NAME_BYTES;
}

static enum status visit(struct walk *walk, uint32_t value, const char *name, int depth)
{
    const struct pickle *pickle = walk->pickle;
    value = unwrap(pickle, value);
    if (is_tensor(pickle, value))
        return add_tensor(walk, value, name);
    const struct pickle_value *dictionary = &pickle->values[value];
    if ((dictionary->kind != PICKLE_DICTIONARY && dictionary->kind != PICKLE_CALL) ||
        depth == DEPTH_MAX)
        return OK;
    for (uint32_t i = 0; i + 1 < dictionary->part_count; i += 2) {
        char longer[WEIGHTS_NAME_BYTES];
        if (++walk->visits > VISITS_MAX)
            return fail(ERR_CORRUPT, "its dictionaries hold more than %d entries", VISITS_MAX);
        if (extend_name(pickle, dictionary->parts[i], name, longer))
            TRY(visit(walk, dictionary->parts[i + 1], longer, depth + 1));
    }
    return OK;
}

enum status weights_pth_collect(const struct pickle *pickle, struct weights *weights)
{
    struct walk walk = {.pickle = pickle, .weights = weights};
    return visit(&walk, pickle->root, "", 0);
}

/* ---- before torch 1.6: pickles of a magic number, a version, the writer's machine, the object and
 * the keys of its storages, then each storage: a count of 8 bytes, and its elements ---- */

int weights_pth_is_plain(const void *bytes, size_t length)
{
    return length > sizeof(plain_start) && memcmp(bytes, plain_start, sizeof(plain_start)) == 0;
}

static enum status next_pickle(const struct weights *weights, size_t *at, struct pickle *ret_pickle)
{
    const size_t left = weights->map_bytes - *at;
    TRY(unpickle((const uint8_t *)weights->map + *at,
                 left < WEIGHTS_PICKLE_BYTES_MAX ? left : WEIGHTS_PICKLE_BYTES_MAX, ret_pickle));
    *at += ret_pickle->taken;
    return OK;
}

/* Of lists and objects too, in which no tensor has a name: their bytes lie between the others'. */
static void note_storages(const struct pickle *pickle, struct weights *weights)
{
    const struct walk walk = {.pickle = pickle, .weights = weights};
    for (uint32_t i = 0; i < pickle->value_count; i++)
        take_storage(&walk, i);
}

static enum status skip_pickles(const struct weights *weights, int count, size_t *at)
{
    for (int i = 0; i < count; i++) {
        struct pickle pickle;
        TRY(next_pickle(weights, at, &pickle));
        pickle_done(&pickle);
    }
    return OK;
}

/* Where the storage of this key, whose bytes come next, lies. */
static enum status place_storage(struct weights *weights, const char *key, size_t *at)
{
    const int64_t index = find_storage(weights, key);
    uint64_t count;
    if (index < 0)
        return fail(ERR_CORRUPT, "storage '%s' belongs to nothing, or is of an unknown kind", key);
    struct weights_storage *storage = &weights->storages[index];
    const uint64_t bytes = storage->elements * safetensors_type_bytes(storage->type);
    if (weights->map_bytes - *at < COUNT_BYTES || bytes > weights->map_bytes - *at - COUNT_BYTES)
        return fail(ERR_CORRUPT, "the file ends before storage '%s' does (was it cut?)", key);
    memcpy(&count, (const uint8_t *)weights->map + *at, COUNT_BYTES); /* little-endian, as we are */
    if (count != storage->elements)
        return fail(ERR_CORRUPT, "storage '%s' has %" PRIu64 " elements in place of %" PRIu64, key,
                    count, storage->elements);
    storage->bytes = (const uint8_t *)weights->map + *at + COUNT_BYTES;
    *at += COUNT_BYTES + (size_t)bytes;
    return OK;
}

static enum status place_storages(struct weights *weights, const struct pickle *keys, size_t at)
{
    const struct pickle_value *list = &keys->values[keys->root];
    char key[WEIGHTS_KEY_BYTES];
    if (list->kind != PICKLE_SEQUENCE)
        return fail(ERR_CORRUPT, "no list of storages follows the object");
    for (uint32_t i = 0; i < list->part_count; i++) {
        if (!take_key(keys, list->parts[i], key))
            return fail(ERR_CORRUPT, "the key of storage %u is none", i);
        TRY(place_storage(weights, key, &at));
    }
    for (int i = 0; i < weights->storage_count; i++)
        if (weights->storages[i].bytes == NULL)
            return fail(ERR_CORRUPT, "storage '%s' is not there", weights->storages[i].key);
    return OK;
}

enum status weights_pth_list_plain(struct weights *weights)
{
    struct pickle object, keys;
    size_t at = 0;
    TRY(skip_pickles(weights, 3, &at));
    TRY(next_pickle(weights, &at, &object));
    enum status status = weights_pth_collect(&object, weights);
    if (status == OK)
        note_storages(&object, weights);
    pickle_done(&object);
    if (status == OK)
        status = next_pickle(weights, &at, &keys);
    if (status != OK)
        return status;
    status = place_storages(weights, &keys, at);
    pickle_done(&keys);
    return status;
}
