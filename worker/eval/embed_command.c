/* embed_command.c - `seer embed`: features of every picture of a store, in a file. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/fs.h"
#include "common/mem.h"
#include "worker/eval/eval_command.h"
#include "worker/eval/features.h"
#include "worker/eval/npy.h"
#include "worker/eval/picture_reader.h"

struct request {
    const char *snapshot, *store, *format, *path, *output, *device, *layer;
    int64_t threads;
};

/* A file that grows by rows of features. */
struct sink {
    FILE *file;
    const char *path;
    int is_csv;
    int width;
    uint64_t rows;
};

/* The pictures of one call of the network. */
struct chunk {
    int rows;
    uint8_t *pixels; /* [FEATURES_ROWS_MAX][size][size][3] */
    float *features; /* [FEATURES_ROWS_MAX][width] */
    struct {
        char shard[128];
        uint32_t record;
        int32_t label;
    } origins[FEATURES_ROWS_MAX];
};

static enum status sink_start(struct sink *sink)
{
    if (!sink->is_csv)
        return npy_write_header(sink->file, sink->path, sink->rows, sink->width);
    fprintf(sink->file, "shard,record,label");
    for (int i = 0; i < sink->width; i++)
        fprintf(sink->file, ",embedding_%d", i);
    fprintf(sink->file, "\n");
    return OK;
}

static enum status sink_write(struct sink *sink, const struct chunk *chunk)
{
    for (int row = 0; row < chunk->rows; row++) {
        const float *values = chunk->features + (size_t)row * (size_t)sink->width;
        if (!sink->is_csv) {
            fwrite(values, sizeof(*values), (size_t)sink->width, sink->file);
            continue;
        }
        fprintf(sink->file, "%s,%" PRIu32 ",%" PRId32, chunk->origins[row].shard,
                chunk->origins[row].record, chunk->origins[row].label);
        for (int i = 0; i < sink->width; i++)
            fprintf(sink->file, ",%.9g", (double)values[i]);
        fprintf(sink->file, "\n");
    }
    sink->rows += (uint64_t)chunk->rows;
    return ferror(sink->file) ? fail(ERR_IO, "cannot write '%s': %s", sink->path, strerror(errno))
                              : OK;
}

/* Only now is the number of rows known, which a .npy says at its start. */
static enum status sink_finish(struct sink *sink)
{
    if (!sink->is_csv) {
        if (fseek(sink->file, 0, SEEK_SET) != 0)
            return fail(ERR_IO, "cannot go back in '%s': %s", sink->path, strerror(errno));
        TRY(npy_write_header(sink->file, sink->path, sink->rows, sink->width));
    }
    if (fflush(sink->file) != 0 || ferror(sink->file) || fsync(fileno(sink->file)) != 0)
        return fail(ERR_IO, "cannot write '%s': %s", sink->path, strerror(errno));
    return OK;
}

/* ERR_END with the rows that were left. */
static enum status fill_chunk(struct picture_reader *reader, size_t picture_bytes,
                              struct chunk *chunk)
{
    chunk->rows = 0;
    while (chunk->rows < FEATURES_ROWS_MAX) {
        struct picture picture;
        TRY(picture_reader_next(reader, &picture));
        memcpy(chunk->pixels + picture_bytes * (size_t)chunk->rows, picture.pixels, picture_bytes);
        snprintf(chunk->origins[chunk->rows].shard, sizeof(chunk->origins[0].shard), "%s",
                 picture.shard);
        chunk->origins[chunk->rows].record = picture.record;
        chunk->origins[chunk->rows].label = picture.label;
        chunk->rows++;
    }
    return OK;
}

static enum status embed_all(struct features *features, struct picture_reader *reader, int size,
                             struct sink *sink)
{
    size_t picture_bytes = (size_t)size * (size_t)size * 3;
    struct chunk *chunk = mem_zero(sizeof(*chunk));
    enum status status = sink_start(sink);
    int is_last = 0;
    chunk->pixels = mem_alloc(FEATURES_ROWS_MAX * picture_bytes);
    chunk->features = mem_array(FEATURES_ROWS_MAX, (size_t)sink->width * sizeof(float));
    while (status == OK && !is_last) {
        status = fill_chunk(reader, picture_bytes, chunk);
        is_last = status == ERR_END;
        if (is_last)
            status = OK;
        if (status == OK && chunk->rows > 0)
            status = features_of_layers(features, chunk->pixels, chunk->rows, &chunk->features);
        if (status == OK)
            status = sink_write(sink, chunk);
    }
    if (status == OK)
        status = sink_finish(sink);
    mem_free(chunk->features);
    mem_free(chunk->pixels);
    mem_free(chunk);
    return status;
}

static void print_result(const struct request *request, const struct sink *sink, uint64_t skipped)
{
    if (options_is_json(request->output))
        printf("{\"schema_version\": 1, \"images\": %" PRIu64 ", \"features\": %d"
               ", \"skipped_images\": %" PRIu64 "}\n",
               sink->rows, sink->width, skipped);
    else
        printf("%s: %" PRIu64 " images, %d numbers each, %" PRIu64 " skipped\n", request->path,
               sink->rows, sink->width, skipped);
}

static enum status embed_to(const struct request *request, struct features *features,
                            struct picture_reader *reader, int size)
{
    char *temporary = mem_format("%s.tmp.%d", request->path, (int)getpid());
    struct sink sink = {
        .path = temporary,
        .is_csv = request->format[0] == 'c',
        .width = features_layer(features, 0)->width,
    };
    enum status status = OK;
    sink.file = fopen(temporary, "wbe");
    if (sink.file == NULL)
        status = fail(ERR_IO, "cannot create '%s': %s", temporary, strerror(errno));
    if (status == OK)
        status = embed_all(features, reader, size, &sink);
    if (sink.file != NULL && fclose(sink.file) != 0 && status == OK)
        status = fail(ERR_IO, "cannot close '%s': %s", temporary, strerror(errno));
    if (status == OK)
        status = fs_rename(temporary, request->path);
    if (status != OK)
        unlink(temporary);
    else
        print_result(request, &sink, picture_reader_skipped(reader));
    mem_free(temporary);
    return status;
}

static enum status check_request(const struct request *request)
{
    if (request->snapshot == NULL || request->store == NULL || request->path == NULL)
        return fail(ERR_INPUT, "--snapshot, --store and --to are needed");
    if (strcmp(request->format, "npy") != 0 && strcmp(request->format, "csv") != 0)
        return fail(ERR_INPUT, "unknown format '%s': there are npy and csv", request->format);
    if (request->threads < 1 || request->threads > 1024)
        return fail(ERR_INPUT, "--threads must be 1 to 1024");
    return OK;
}

static enum status open_features(const struct request *request, const struct saved_state *saved,
                                 struct device *device, struct features **ret_features)
{
    struct layer layers[LAYERS_MAX];
    struct features *features;
    int count;
    TRY(layers_parse(request->layer, &saved->config, features_picture_size(&saved->config), layers,
                     &count));
    if (count != 1)
        return fail(ERR_INPUT, "--layer takes one layer, such as res4:3x3");
    TRY(features_open(saved, device, &features));
    enum status status = features_set_layers(features, layers, count);
    if (status == OK)
        *ret_features = features;
    else
        features_close(features);
    return status;
}

static enum status run(const struct request *request)
{
    struct saved_state *saved = mem_zero(sizeof(*saved));
    struct device *device = NULL;
    struct features *features = NULL;
    struct picture_reader *reader = NULL;
    int size = 0;
    enum status status = saved_state_open(request->snapshot, saved);
    if (status == OK)
        status = device_open(request->device, (int)request->threads, &device);
    if (status == OK)
        status = open_features(request, saved, device, &features);
    if (status == OK) {
        size = features_picture_size(&saved->config);
        status = picture_reader_open(request->store, size, 0, &reader);
    }
    if (status == OK)
        status = embed_to(request, features, reader, size);
    picture_reader_close(reader);
    features_close(features);
    if (device != NULL)
        device_close(device);
    saved_state_close(saved);
    mem_free(saved);
    return status;
}

static int embed_run(int argc, char **argv)
{
    struct request request = {
        .format = "npy",
        .device = "cpu",
        .layer = "avgpool",
        .threads = sysconf(_SC_NPROCESSORS_ONLN),
    };
    const struct option_row rows[] = {
        {"snapshot", 's', OPTION_STRING, &request.snapshot, "FILE", "whose features"},
        {"store", 0, OPTION_STRING, &request.store, "DIR", "whose images"},
        {"layer", 'l', OPTION_STRING, &request.layer, "LAYER",
         "avgpool (default), or res2 and up, on a grid: res4:3x3"},
        {"format", 'f', OPTION_STRING, &request.format, "FORMAT",
         "npy (default; [images][features] of float32) or csv (shard, record, label, features)"},
        {"to", 0, OPTION_STRING, &request.path, "FILE", "where to write"},
        {"device", 0, OPTION_STRING, &request.device, "NAME", "cpu (default) or cuda:N"},
        {"threads", 0, OPTION_INT, &request.threads, "N", "of the cpu (all cores)"},
        {"output", 'o', OPTION_STRING, &request.output, "FORMAT", "table (default) or json"},
        {0},
    };
    const struct usage usage = {
        .program = "seer embed",
        .synopsis = "--snapshot FILE --store DIR --to FILE [options]",
        .summary =
            "Writes the features of every image of a store, in the order of shards and records.",
        .examples =
            "  seer embed --snapshot run/snapshots/step-000000500.safetensors --store s --to f.npy",
        .options = rows,
    };
    enum status status = options_parse_all(&usage, argc, argv);
    if (status == OK)
        status = options_check_output(request.output);
    if (status == OK)
        status = check_request(&request);
    if (status != OK)
        return options_exit(&usage, status);
    return command_exit(usage.program, run(&request));
}

const struct command embed_command = {"embed", "write the features of every image", embed_run};
