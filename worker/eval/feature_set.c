/* feature_set.c - features of many pictures at several layers, kept in memory. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/eval/feature_set.h"

#include <inttypes.h>
#include <string.h>

#include "common/mem.h"
#include "loader/progress.h"
#include "worker/eval/labelled.h"
#include "worker/eval/picture_reader.h"

#define FEATURE_SET_BYTES_MAX (UINT64_C(64) << 30)

static enum status reserve(struct feature_set *set, const struct features *features,
                           const char *store, uint64_t count)
{
    uint64_t floats = 0;
    set->layer_count = features_layer_count(features);
    for (int i = 0; i < set->layer_count; i++) {
        set->width[i] = features_layer(features, i)->width;
        floats += (uint64_t)set->width[i];
    }
    if (count > FEATURE_SET_BYTES_MAX / (floats * sizeof(float)))
        return fail(ERR_INPUT,
                    "store '%s': %" PRIu64 " times %" PRIu64 " features do not fit in memory; take "
                    "fewer layers or pictures, or train on views, which are not kept",
                    store, count, floats);
    for (int i = 0; i < set->layer_count; i++)
        set->values[i] = mem_alloc(count * (size_t)set->width[i] * sizeof(float));
    set->labels = mem_array(count, sizeof(*set->labels));
    set->items = mem_array(count, sizeof(*set->items));
    return OK;
}

/* ERR_END with the last ones. */
static enum status fill_chunk(struct picture_reader *reader, const char *store, size_t bytes,
                              struct feature_set *set, uint8_t *pixels, int *ret_rows)
{
    *ret_rows = 0;
    while (*ret_rows < FEATURES_ROWS_MAX) {
        struct picture picture;
        TRY(picture_reader_next(reader, &picture));
        TRY(label_require(store, picture.shard, picture.record, picture.label));
        memcpy(pixels + bytes * (size_t)*ret_rows, picture.pixels, bytes);
        set->labels[set->count + *ret_rows] = picture.label;
        set->items[set->count + *ret_rows] = picture.index;
        ++*ret_rows;
    }
    return OK;
}

static enum status look_at(struct features *features, const uint8_t *pixels, int rows,
                           struct feature_set *set)
{
    float *to[LAYERS_MAX];
    for (int i = 0; i < set->layer_count; i++)
        to[i] = set->values[i] + set->count * set->width[i];
    set->count += rows;
    return rows == 0 ? OK : features_of_layers(features, pixels, rows, to);
}

static enum status read_all(struct features *features, struct picture_reader *reader,
                            const char *store, int size, struct feature_set *set)
{
    const size_t bytes = (size_t)size * (size_t)size * 3;
    const double total = (double)picture_reader_count(reader);
    uint8_t *pixels = mem_alloc(FEATURES_ROWS_MAX * bytes);
    enum status status = OK;
    struct progress progress;
    progress_start(&progress, "features", 0);
    for (int is_last = 0; status == OK && !is_last;) {
        int rows = 0;
        status = fill_chunk(reader, store, bytes, set, pixels, &rows);
        is_last = status == ERR_END;
        if (status == OK || is_last)
            status = look_at(features, pixels, rows, set);
        progress_show(&progress, (double)set->count / total, (uint64_t)set->count,
                      picture_reader_skipped(reader), 0);
    }
    progress_stop(&progress);
    mem_free(pixels);
    return status;
}

enum status feature_set_load(struct features *features, const char *store, int size,
                             struct subset *chosen, struct feature_set *ret_set)
{
    struct picture_reader *reader;
    struct feature_set set = {0};
    TRY(picture_reader_open_chosen(store, size, chosen, &reader));
    enum status status = reserve(&set, features, store, picture_reader_count(reader));
    if (status == OK)
        status = read_all(features, reader, store, size, &set);
    set.skipped = (int64_t)picture_reader_skipped(reader);
    if (status == OK && set.count == 0)
        status = fail(ERR_INPUT, "store '%s': no picture can be decoded", store);
    picture_reader_close(reader);
    if (status == OK)
        *ret_set = set;
    else
        feature_set_done(&set);
    return status;
}

void feature_set_done(struct feature_set *set)
{
    for (int i = 0; i < LAYERS_MAX; i++)
        mem_free(set->values[i]);
    mem_free(set->labels);
    mem_free(set->items);
    *set = (struct feature_set){0};
}

void feature_set_rows(const struct feature_set *set, const struct subset *records,
                      struct subset *ret_rows)
{
    struct subset rows = {.items = mem_array(records->count, sizeof(*rows.items))};
    int64_t row = 0;
    for (uint64_t i = 0; i < records->count; i++) {
        while (row < set->count && set->items[row] < records->items[i])
            row++;
        if (row < set->count && set->items[row] == records->items[i])
            rows.items[rows.count++] = (uint64_t)row;
    }
    *ret_rows = rows;
}
