/* conv_tuning.h - which of several engines runs a convolution: measured once, kept in a file.
 *
 * The rules and the file alone; conv_cudnn.c measures. A choice is the engine's rank in the list of
 * cuDNN's heuristic, which is the same for one version, GPU and shape; the engine's own number
 * beside it shows when it is not. The file holds one version's and one GPU's choices, a line each,
 * the last of several for one convolution counts. Lines are appended whole, so workers of a host
 * share it; one that is not understood costs a measurement. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_DEVICE_CUDA_CONV_TUNING_H
#define WORKER_DEVICE_CUDA_CONV_TUNING_H

#include "common/buf.h"
#include "worker/device/device.h"

/* CANDIDATES: behind them in the heuristic's list hardly anything is faster. KEY_BYTES: all numbers
 * of a shape. */
enum { CONV_CANDIDATES = 8, CONV_KEY_BYTES = 160 };

struct conv_choice {
    int rank;
    int64_t engine;
    int64_t time_ns; /* of one run */
};

/* Names a convolution in one direction, with its kind of values; fits CONV_KEY_BYTES. */
void conv_key(const struct conv_shape *shape, const char *direction, const char *values,
              char ret_key[CONV_KEY_BYTES]);
/* Floating-point operations of one run, in any direction. */
double conv_operations(const struct conv_shape *shape);

/* The measurements of one convolution. */
struct conv_contest {
    struct conv_choice best;
    int count;        /* measured */
    int64_t spent_ns; /* on it, warm-up included */
};

/* Adds a measurement and what it took. Who comes later in the list must be clearly faster. */
void conv_contest_add(struct conv_contest *contest, const struct conv_choice *choice,
                      int64_t spent_ns);
/* Whether another one may be measured; left_ns: of the time that the process has for measuring. */
int conv_contest_goes_on(const struct conv_contest *contest, int64_t left_ns);

/* All zero: empty, and kept nowhere. */
struct conv_cache {
    char path[1024]; /* "": nowhere */
    char header[320];
    struct conv_entry {
        char key[CONV_KEY_BYTES];
        struct conv_choice choice;
    } * entries; /* owned */
    size_t count, capacity;
};

/* Reads what there is for that library and GPU in `folder`; "" is everseer in $XDG_CACHE_HOME, or
 * in
 * ~/.cache. A file of another format is replaced. ERR_IO, and the cache works without a file. */
enum status conv_cache_open(struct conv_cache *cache, const char *folder, const char *library,
                            const char *gpu);
void conv_cache_close(struct conv_cache *cache);
/* NULL: not measured yet. Borrowed until the next keep. */
const struct conv_choice *conv_cache_find(const struct conv_cache *cache, const char *key);
/* In memory in any case. ERR_IO: not in the file. */
enum status conv_cache_keep(struct conv_cache *cache, const char *key,
                            const struct conv_choice *choice);
/* The text of a file. *ret_bad: lines that were not understood. ERR_STALE: of another format,
 * library or GPU; nothing is taken. */
enum status conv_cache_parse(struct conv_cache *cache, const char *text, size_t length,
                             size_t *ret_bad);

#endif
