/* features.c - a trunk that looks at pictures: of a snapshot, with random weights, or none at all.
 */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/eval/features.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "common/mem.h"
#include "worker/collective/collective.h"
#include "worker/eval/saved_tensors.h"
#include "worker/model/inference.h"
#include "worker/state.h"
#include "worker/step.h"

struct features {
    struct config config;
    struct device *device;       /* borrowed */
    struct state *state;         /* owned, unless */
    int is_borrowed;             /* it is somebody else's */
    struct step *step;           /* while random weights are normalised */
    struct inference *inference; /* NULL: raw pixels */
    int layer_count;
    struct layer layers[LAYERS_MAX];
};

enum {
    /* Pixels of a batch that random weights are normalised with: activations of a training step
     * take about a hundred times as much memory. */
    CALIBRATION_PIXELS = 1 << 19,
    CALIBRATION_ROWS_MIN = 32,
    CALIBRATION_ROWS_MAX = 512,
    CALIBRATION_BATCHES = 4,
};

int features_picture_size(const struct config *config)
{
    return (int)config->crops[0].size;
}

static int64_t calibration_rows(const struct config *config)
{
    int64_t size = features_picture_size(config);
    int64_t rows = CALIBRATION_PIXELS / (size * size) / 2 * 2;
    return rows < CALIBRATION_ROWS_MIN   ? CALIBRATION_ROWS_MIN
           : rows > CALIBRATION_ROWS_MAX ? CALIBRATION_ROWS_MAX
                                         : rows;
}

/* The same network in a step of one slot whose rows are whole pictures, two "crops" of each half;
 * with a momentum of 1, its running statistics are those of its last batch. */
static void make_config(const struct config *from, int64_t rows, struct config *ret_config)
{
    *ret_config = *from;
    ret_config->crop_count = 1;
    ret_config->crops[0].count = 2;
    ret_config->train.batch_images = rows / 2;
    ret_config->train.slot_images = rows / 2;
    ret_config->train.bn_group_slots = 0;
    ret_config->swav.queue_images = 0;
    ret_config->model.bn_momentum = 1;
    ret_config->optimizer.kind = OPTIMIZER_SGD;
    ret_config->optimizer.sharded = 0; /* there is nobody to share with */
}

static enum status create(const struct config *config, int64_t rows, struct device *device,
                          struct features **ret_features)
{
    struct features *features = mem_zero(sizeof(*features));
    features->device = device;
    make_config(config, rows, &features->config);
    enum status status = state_create(&features->config, device, &features->state);
    if (status != OK) {
        features_close(features);
        return status;
    }
    state_reset(features->state, (uint64_t)config->run.seed);
    *ret_features = features;
    return OK;
}

void features_close(struct features *features)
{
    if (features == NULL)
        return;
    inference_destroy(features->inference);
    step_destroy(features->step);
    if (!features->is_borrowed)
        state_destroy(features->state);
    mem_free(features);
}

static enum status look(struct features *features)
{
    return inference_create(&features->config, features->state,
                            features_picture_size(&features->config), &features->inference);
}

enum status features_open(const struct saved_state *saved, struct device *device,
                          struct features **ret_features)
{
    enum { ROWS = 2 }; /* it never takes a training step */
    struct features *features;
    TRY(create(&saved->config, ROWS, device, &features));
    enum status status =
        saved_tensors_load(saved->path, &saved->file.header, "", 0, features->state);
    if (status == OK)
        status = look(features);
    if (status != OK) {
        features_close(features);
        return status;
    }
    *ret_features = features;
    return OK;
}

enum status features_open_state(const struct config *config, struct state *state,
                                const struct layer *layers, int layer_count,
                                struct features **ret_features)
{
    struct features *features = mem_zero(sizeof(*features));
    features->config = *config;
    features->device = state->device;
    features->state = state;
    features->is_borrowed = 1;
    enum status status = look(features);
    if (status == OK)
        status = features_set_layers(features, layers, layer_count);
    if (status == OK)
        *ret_features = features;
    else
        features_close(features);
    return status;
}

/* One training step that changes nothing but the running statistics: its learning rate is 0. */
static enum status take_statistics(struct features *features, struct collective *collective,
                                   uint64_t number, uint8_t *pixels)
{
    uint32_t slot = 0;
    struct step_result result;
    struct batch batch = {
        .step = number,
        .slot_count = 1,
        .slot_images = (uint32_t)features->config.train.slot_images,
        .slots = &slot,
        .group_count = 1,
        .crops = {pixels},
    };
    TRY(step_compute(features->step, collective, number, &batch, &result));
    return step_apply(features->step, number, 0);
}

static enum status average_statistics(struct features *features, struct collective *collective,
                                      const struct pictures *pictures, int batches)
{
    struct state *state = features->state;
    const struct device_ops *ops = features->device->ops;
    size_t count = state->layout.statistic_floats;
    size_t picture_bytes = (size_t)pictures->size * (size_t)pictures->size * 3;
    int64_t rows = 2 * features->config.train.slot_images;
    float *one = mem_array(count, sizeof(*one)), *mean = mem_array(count, sizeof(*mean));
    uint8_t *pixels = mem_alloc((size_t)rows * picture_bytes);
    enum status status = OK;
    for (int batch = 0; batch < batches && status == OK; batch++) {
        /* Spread over the whole set, which may be sorted by class. */
        for (int64_t row = 0; row < rows; row++) {
            int64_t at = (row * batches + batch) * pictures->count / (rows * batches);
            memcpy(pixels + (size_t)row * picture_bytes, pictures_at(pictures, at), picture_bytes);
        }
        status = take_statistics(features, collective, (uint64_t)batch, pixels);
        ops->download(features->device, one, state->statistics, count * sizeof(*one));
        for (size_t i = 0; i < count; i++)
            mean[i] += one[i] / (float)batches;
    }
    ops->upload(features->device, state->statistics, mean, count * sizeof(*mean));
    mem_free(pixels);
    mem_free(mean);
    mem_free(one);
    return status;
}

static enum status calibrate(struct features *features, const struct pictures *pictures)
{
    struct collective *collective;
    const struct collective_group group = {
        .engine = COLLECTIVE_SELF,
        .size = 1,
        .region = features->state->block,
        .region_bytes = features->state->bytes,
        .region_fd = -1,
        .form_timeout_ms = 1000,
        .timeout_ms = 1000,
    };
    TRY(collective_form(&group, &collective));
    enum status status = average_statistics(features, collective, pictures, CALIBRATION_BATCHES);
    collective_destroy(collective);
    return status;
}

enum status features_open_random(const struct config *config, const struct pictures *pictures,
                                 struct device *device, struct features **ret_features)
{
    struct features *features;
    TRY(create(config, calibration_rows(config), device, &features));
    enum status status = step_create(&features->config, features->state, &features->step);
    if (status == OK)
        status = calibrate(features, pictures);
    step_destroy(features->step);
    features->step = NULL;
    if (status == OK)
        status = look(features);
    if (status != OK) {
        features_close(features);
        return status;
    }
    *ret_features = features;
    return OK;
}

enum status features_open_pixels(const struct config *config, struct features **ret_features)
{
    struct features *features = mem_zero(sizeof(*features));
    features->config = *config;
    const int width = pictures_pixel_width(features_picture_size(config));
    features->layer_count = 1;
    features->layers[0] = (struct layer){
        .name = "pixels", .rows = 1, .columns = 1, .channels = width, .width = width};
    *ret_features = features;
    return OK;
}

enum status features_set_layers(struct features *features, const struct layer *layers, int count)
{
    struct inference_tap taps[LAYERS_MAX];
    for (int i = 0; i < count; i++) {
        features->layers[i] = layers[i];
        taps[i] = (struct inference_tap){layers[i].block, layers[i].rows, layers[i].columns};
    }
    features->layer_count = count;
    return inference_tap(features->inference, taps, count);
}

int features_layer_count(const struct features *features)
{
    return features->layer_count;
}

const struct layer *features_layer(const struct features *features, int index)
{
    return &features->layers[index];
}

int features_width(const struct features *features)
{
    return inference_width(features->inference);
}

static enum status check_finite(const float *values, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        if (!isfinite(values[i]))
            return fail(ERR_INPUT, "the features are not finite: the run that wrote the snapshot "
                                   "diverged; take an earlier one");
    }
    return OK;
}

enum status features_of(struct features *features, const uint8_t *pixels, int rows, float *ret)
{
    TRY(inference_run(features->inference, pixels, rows, ret));
    return check_finite(ret, (int64_t)rows * features_width(features));
}

enum status features_of_layers(struct features *features, const uint8_t *pixels, int rows,
                               float *const *ret)
{
    if (features->inference == NULL) {
        pictures_pixels_of(pixels, features_picture_size(&features->config), rows, ret[0]);
        return OK;
    }
    TRY(inference_run_taps(features->inference, pixels, rows, ret));
    for (int i = 0; i < features->layer_count; i++)
        TRY(check_finite(ret[i], (int64_t)rows * features->layers[i].width));
    return OK;
}

enum status features_of_all(struct features *features, const struct pictures *pictures,
                            struct knn_set *ret_set)
{
    int width = features_width(features);
    float *values = mem_array((size_t)pictures->count * (size_t)width, sizeof(*values));
    for (int64_t first = 0; first < pictures->count; first += FEATURES_ROWS_MAX) {
        int64_t left = pictures->count - first;
        int rows = left < FEATURES_ROWS_MAX ? (int)left : FEATURES_ROWS_MAX;
        enum status status =
            features_of(features, pictures_at(pictures, first), rows, values + first * width);
        if (status != OK) {
            mem_free(values);
            return status;
        }
    }
    *ret_set = (struct knn_set){pictures->count, width, values, pictures->labels};
    return OK;
}
