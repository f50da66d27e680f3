/* pictures.h - the labelled pictures of a store in memory, and their raw pixels as features. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_EVAL_PICTURES_H
#define WORKER_EVAL_PICTURES_H

#include <stddef.h>
#include <stdint.h>

#include "common/status.h"
#include "worker/eval/knn.h"

struct pictures {
    int size;
    int64_t count;
    int64_t skipped; /* records that could not be decoded */
    uint8_t *pixels; /* [count][size][size][3]; owned */
    int32_t *labels; /* [count]; owned */
};

/* ERR_INPUT: no store, a picture without a label, or more than PICTURES_BYTES_MAX. */
enum status pictures_load(const char *store, int size, uint64_t limit,
                          struct pictures *ret_pictures);
void pictures_done(struct pictures *pictures);
/* labelled_renumber of those of `pictures`, which lie in `store`. */
enum status pictures_relabel(struct pictures *pictures, const char *store, const char *reference);
static inline const uint8_t *pictures_at(const struct pictures *pictures, int64_t index)
{
    return pictures->pixels + (size_t)index * (size_t)pictures->size * (size_t)pictures->size * 3;
}

enum { PICTURES_PIXEL_SIZE_MAX = 32 };

/* Pixels as features, [count][3*s*s] with s = min(size, PICTURES_PIXEL_SIZE_MAX); their number; the
 * same of pictures [count][size][size][3] anywhere. */
int pictures_pixel_width(int size);
void pictures_pixels_of(const uint8_t *pixels, int size, int64_t count, float *ret);
void pictures_pixel_features(const struct pictures *pictures, struct knn_set *ret_set);

#endif
