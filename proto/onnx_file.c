/* onnx_file.c - the message grows by add; save streams it. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "proto/onnx_file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/fs.h"
#include "common/mem.h"
#include "proto/onnx.pb-c.h"

enum {
    IR_VERSION = 7,    /* the first one with */
    OPSET = 13,        /* and read by ONNX 1.8, OpenCV 4.5.1, TensorRT 7.2 and all later */
    DATA_ALIGN = 4096, /* of external data, so that it can be mapped */
};

struct onnx_file {
    Onnx__ModelProto model;
    Onnx__GraphProto graph;
    Onnx__OperatorSetIdProto opset, *opsets[1];
    size_t kept_count;
    void **kept; /* [kept_count] all that the message points to */
};

/* Memory that lives as long as the file. */
static void *keep(struct onnx_file *file, void *memory)
{
    if ((file->kept_count & (file->kept_count - 1)) == 0)
        file->kept = mem_resize(file->kept, (file->kept_count == 0 ? 1 : 2 * file->kept_count) *
                                                sizeof(*file->kept));
    file->kept[file->kept_count++] = memory;
    return memory;
}

static char *keep_string(struct onnx_file *file, const char *text)
{
    return keep(file, mem_string(text));
}

/* Room for one more: arrays grow when their count is a power of two. Those are not kept: they
 * move. */
static void *grow(void *array, size_t count)
{
    if ((count & (count - 1)) != 0)
        return array;
    return mem_resize(array, (count == 0 ? 1 : 2 * count) * sizeof(void *));
}

struct onnx_file *onnx_create(const char *name, const char *text)
{
    struct onnx_file *file = mem_zero(sizeof(*file));
    onnx__model_proto__init(&file->model);
    onnx__graph_proto__init(&file->graph);
    onnx__operator_set_id_proto__init(&file->opset);
    file->model.has_ir_version = file->opset.has_version = 1;
    file->model.ir_version = IR_VERSION;
    file->opset.version = OPSET;
    file->opset.domain = keep_string(file, "");
    file->opsets[0] = &file->opset;
    file->model.n_opset_import = 1;
    file->model.opset_import = file->opsets;
    file->model.producer_name = keep_string(file, "everseer");
    file->model.producer_version = keep_string(file, EVERSEER_VERSION);
    file->model.doc_string = keep_string(file, text);
    file->model.graph = &file->graph;
    file->graph.name = keep_string(file, name);
    return file;
}

void onnx_destroy(struct onnx_file *file)
{
    if (file == NULL)
        return;
    for (size_t i = 0; i < file->kept_count; i++)
        mem_free(file->kept[i]);
    mem_free(file->kept);
    mem_free(file->graph.node);
    mem_free(file->graph.initializer);
    mem_free(file->graph.input);
    mem_free(file->graph.output);
    mem_free(file->model.metadata_props);
    mem_free(file);
}

static Onnx__TensorShapeProto__Dimension *make_dimension(struct onnx_file *file, int64_t size)
{
    Onnx__TensorShapeProto__Dimension *dimension = keep(file, mem_zero(sizeof(*dimension)));
    onnx__tensor_shape_proto__dimension__init(dimension);
    if (size < 0) {
        dimension->dim_param = keep_string(file, "batch");
    } else {
        dimension->has_dim_value = 1;
        dimension->dim_value = size;
    }
    return dimension;
}

static Onnx__ValueInfoProto *make_value(struct onnx_file *file, const char *name, int rank,
                                        const int64_t *sizes)
{
    Onnx__ValueInfoProto *value = keep(file, mem_zero(sizeof(*value)));
    Onnx__TypeProto *type = keep(file, mem_zero(sizeof(*type)));
    Onnx__TypeProto__Tensor *tensor = keep(file, mem_zero(sizeof(*tensor)));
    Onnx__TensorShapeProto *shape = keep(file, mem_zero(sizeof(*shape)));
    onnx__value_info_proto__init(value);
    onnx__type_proto__init(type);
    onnx__type_proto__tensor__init(tensor);
    onnx__tensor_shape_proto__init(shape);
    shape->n_dim = (size_t)rank;
    shape->dim = keep(file, mem_array((size_t)rank, sizeof(*shape->dim)));
    for (int i = 0; i < rank; i++)
        shape->dim[i] = make_dimension(file, sizes[i]);
    tensor->has_elem_type = 1;
    tensor->elem_type = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
    tensor->shape = shape;
    type->tensor_type = tensor;
    value->name = keep_string(file, name);
    value->type = type;
    return value;
}

void onnx_add_input(struct onnx_file *file, const char *name, int rank, const int64_t *sizes)
{
    Onnx__GraphProto *graph = &file->graph;
    graph->input = grow(graph->input, graph->n_input);
    graph->input[graph->n_input++] = make_value(file, name, rank, sizes);
}

void onnx_add_output(struct onnx_file *file, const char *name, int rank, const int64_t *sizes)
{
    Onnx__GraphProto *graph = &file->graph;
    graph->output = grow(graph->output, graph->n_output);
    graph->output[graph->n_output++] = make_value(file, name, rank, sizes);
}

void onnx_add_tensor(struct onnx_file *file, const char *name, int rank, const int64_t *sizes,
                     const float *values)
{
    Onnx__GraphProto *graph = &file->graph;
    Onnx__TensorProto *tensor = keep(file, mem_zero(sizeof(*tensor)));
    onnx__tensor_proto__init(tensor);
    size_t count = 1;
    tensor->n_dims = (size_t)rank;
    tensor->dims = keep(file, mem_array((size_t)rank, sizeof(*tensor->dims)));
    for (int i = 0; i < rank; i++) {
        tensor->dims[i] = sizes[i];
        count *= (size_t)sizes[i];
    }
    tensor->has_data_type = tensor->has_raw_data = 1;
    tensor->data_type = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
    tensor->name = keep_string(file, name);
    tensor->raw_data.len = count * sizeof(*values);
    tensor->raw_data.data = (uint8_t *)(uintptr_t)values; /* read alone: the message is packed */
    graph->initializer = grow(graph->initializer, graph->n_initializer);
    graph->initializer[graph->n_initializer++] = tensor;
}

static Onnx__AttributeProto *make_attribute(struct onnx_file *file,
                                            const struct onnx_attribute *from)
{
    Onnx__AttributeProto *attribute = keep(file, mem_zero(sizeof(*attribute)));
    onnx__attribute_proto__init(attribute);
    attribute->name = keep_string(file, from->name);
    attribute->has_type = 1;
    if (from->count == 0) {
        attribute->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT;
        attribute->has_i = 1;
        attribute->i = from->number;
        return attribute;
    }
    attribute->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS;
    attribute->n_ints = (size_t)from->count;
    attribute->ints = keep(file, mem_array((size_t)from->count, sizeof(*attribute->ints)));
    for (int i = 0; i < from->count; i++)
        attribute->ints[i] = from->ints[i];
    return attribute;
}

void onnx_add_node(struct onnx_file *file, const struct onnx_node *from)
{
    Onnx__GraphProto *graph = &file->graph;
    Onnx__NodeProto *node = keep(file, mem_zero(sizeof(*node)));
    onnx__node_proto__init(node);
    node->op_type = keep_string(file, from->op);
    node->name = keep_string(file, from->output);
    node->input = keep(file, mem_array(ONNX_INPUTS_MAX, sizeof(*node->input)));
    while (node->n_input < ONNX_INPUTS_MAX && from->inputs[node->n_input] != NULL) {
        node->input[node->n_input] = keep_string(file, from->inputs[node->n_input]);
        node->n_input++;
    }
    node->output = keep(file, mem_array(1, sizeof(*node->output)));
    node->output[0] = node->name;
    node->n_output = 1;
    node->attribute = keep(file, mem_array(ONNX_ATTRIBUTES_MAX, sizeof(Onnx__AttributeProto *)));
    while (node->n_attribute < ONNX_ATTRIBUTES_MAX &&
           from->attributes[node->n_attribute].name != NULL) {
        node->attribute[node->n_attribute] =
            make_attribute(file, &from->attributes[node->n_attribute]);
        node->n_attribute++;
    }
    graph->node = grow(graph->node, graph->n_node);
    graph->node[graph->n_node++] = node;
}

static Onnx__StringStringEntryProto *make_entry(struct onnx_file *file, const char *key,
                                                const char *value)
{
    Onnx__StringStringEntryProto *entry = keep(file, mem_zero(sizeof(*entry)));
    onnx__string_string_entry_proto__init(entry);
    entry->key = keep_string(file, key);
    entry->value = keep_string(file, value);
    return entry;
}

void onnx_add_metadata(struct onnx_file *file, const char *key, const char *value)
{
    Onnx__ModelProto *model = &file->model;
    model->metadata_props = grow(model->metadata_props, model->n_metadata_props);
    model->metadata_props[model->n_metadata_props++] = make_entry(file, key, value);
}

int onnx_node_count(const struct onnx_file *file)
{
    return (int)file->graph.n_node;
}

/* ---- save ---- */

/* What protobuf-c packs goes straight into a file. */
struct sink {
    ProtobufCBuffer base;
    FILE *stream;
    int has_failed;
};

static void sink_append(ProtobufCBuffer *base, size_t length, const uint8_t *bytes)
{
    struct sink *sink = (struct sink *)base;
    sink->has_failed |= length > 0 && fwrite(bytes, 1, length, sink->stream) != length;
}

static enum status close_stream(FILE *stream, const char *path, int has_failed)
{
    has_failed |= fflush(stream) != 0 || fsync(fileno(stream)) != 0;
    const int error = errno;
    if (fclose(stream) != 0 || has_failed)
        return fail(ERR_IO, "cannot write '%s': %s", path, strerror(error));
    return OK;
}

static enum status write_model(const struct onnx_file *file, const char *path)
{
    struct sink sink = {.base = {.append = sink_append}, .stream = fopen(path, "wbe")};
    if (sink.stream == NULL)
        return fail(ERR_IO, "cannot create '%s': %s", path, strerror(errno));
    onnx__model_proto__pack_to_buffer(&file->model, &sink.base);
    return close_stream(sink.stream, path, sink.has_failed);
}

/* Moves a tensor's values into the stream, at `at`, and says so in the message. */
static int move_out(struct onnx_file *file, Onnx__TensorProto *tensor, const char *location,
                    FILE *stream, uint64_t *at)
{
    static const uint8_t zeros[DATA_ALIGN];
    char offset[24], length[24];
    const size_t padding = (size_t)(-*at & (DATA_ALIGN - 1));
    const size_t bytes = tensor->raw_data.len;
    if (fwrite(zeros, 1, padding, stream) != padding ||
        fwrite(tensor->raw_data.data, 1, bytes, stream) != bytes)
        return 0;
    *at += padding;
    snprintf(offset, sizeof(offset), "%" PRIu64, *at);
    snprintf(length, sizeof(length), "%zu", bytes);
    *at += bytes;
    tensor->external_data = keep(file, mem_array(3, sizeof(*tensor->external_data)));
    tensor->n_external_data = 3;
    tensor->external_data[0] = make_entry(file, "location", location);
    tensor->external_data[1] = make_entry(file, "offset", offset);
    tensor->external_data[2] = make_entry(file, "length", length);
    tensor->has_raw_data = 0;
    tensor->has_data_location = 1;
    tensor->data_location = ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
    return 1;
}

/* location: as the message calls the file, which it must lie beside. */
static enum status write_data(struct onnx_file *file, const char *path, const char *location)
{
    FILE *stream = fopen(path, "wbe");
    uint64_t at = 0;
    int is_good = 1;
    if (stream == NULL)
        return fail(ERR_IO, "cannot create '%s': %s", path, strerror(errno));
    for (size_t i = 0; i < file->graph.n_initializer && is_good; i++)
        is_good = move_out(file, file->graph.initializer[i], location, stream, &at);
    return close_stream(stream, path, !is_good);
}

static enum status save_data(struct onnx_file *file, const char *path)
{
    const char *slash = strrchr(path, '/');
    char *target = mem_format("%s" ONNX_DATA_SUFFIX, path);
    char *temporary = mem_format("%s.tmp.%d", target, (int)getpid());
    char *location = mem_format("%s" ONNX_DATA_SUFFIX, slash != NULL ? slash + 1 : path);
    enum status status = write_data(file, temporary, location);
    /* No older graph may be found beside newer data. */
    if (status == OK && unlink(path) != 0 && errno != ENOENT)
        status = fail(ERR_IO, "cannot remove '%s': %s", path, strerror(errno));
    if (status == OK)
        status = fs_rename(temporary, target);
    if (status != OK)
        unlink(temporary);
    mem_free(location);
    mem_free(temporary);
    mem_free(target);
    return status;
}

enum status onnx_save(struct onnx_file *file, const char *path, int is_external,
                      int *ret_is_external)
{
    if (onnx__model_proto__get_packed_size(&file->model) > INT32_MAX)
        is_external = 1;
    if (is_external)
        TRY(save_data(file, path));
    char *temporary = mem_format("%s.tmp.%d", path, (int)getpid());
    enum status status = write_model(file, temporary);
    if (status == OK)
        status = fs_rename(temporary, path);
    if (status != OK)
        unlink(temporary);
    mem_free(temporary);
    if (status == OK)
        *ret_is_external = is_external;
    return status;
}
