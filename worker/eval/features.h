/* features.h - a trunk that looks at pictures: of a snapshot, with random weights, or none at all.
 *
 * Features are those of the trunk after global average pooling, or of several layers, with BN in
 * evaluation mode. A trunk with random weights has no running statistics yet; they are taken from
 * training pictures, or its features would say more about that lack than about the architecture.
 * One thread. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_EVAL_FEATURES_H
#define WORKER_EVAL_FEATURES_H

#include "common/status.h"
#include "worker/device/device.h"
#include "worker/eval/layers.h"
#include "worker/eval/pictures.h"
#include "worker/export/saved_state.h"
#include "worker/state.h"

struct features;

enum { FEATURES_ROWS_MAX = 256 };

/* device is borrowed for the life of the result. ERR_CORRUPT: a tensor is missing or of another
 * shape; ERR_DEVICE. */
enum status features_open(const struct saved_state *saved, struct device *device,
                          struct features **ret_features);
/* The network of config with the weights that a run with its seed starts from. ERR_DEVICE. */
enum status features_open_random(const struct config *config, const struct pictures *pictures,
                                 struct device *device, struct features **ret_features);
/* The trunk of a state, as it is at each look, on these layers; state is borrowed. ERR_DEVICE. */
enum status features_open_state(const struct config *config, struct state *state,
                                const struct layer *layers, int layer_count,
                                struct features **ret_features);
/* No trunk: the pixels themselves (pictures_pixels_of) are its one layer. */
enum status features_open_pixels(const struct config *config, struct features **ret_features);
void features_close(struct features *features); /* NULL is fine */
int features_width(const struct features *features);
/* The size of pictures that it wants: that of the first kind of crop. */
int features_picture_size(const struct config *config);
/* rows (at most FEATURES_ROWS_MAX) pictures [rows][size][size][3] -> ret [rows][width].
 * ERR_DEVICE; ERR_INPUT: the features are not finite, the snapshot is of a run that diverged. */
enum status features_of(struct features *features, const uint8_t *pixels, int rows, float *ret);
/* Which layers features_of_layers gives; once, before it, and not of pixels. ERR_DEVICE. */
enum status features_set_layers(struct features *features, const struct layer *layers, int count);
int features_layer_count(const struct features *features);
const struct layer *features_layer(const struct features *features, int index);
/* As features_of, of any number of rows: ret[i] is [rows][width of layer i]. */
enum status features_of_layers(struct features *features, const uint8_t *pixels, int rows,
                               float *const *ret);
/* All pictures; values are the caller's (mem_free). */
enum status features_of_all(struct features *features, const struct pictures *pictures,
                            struct knn_set *ret_set);

#endif
