/* learning.h - is it learning? What samples of a few steps say of prototypes and embeddings.
 *
 * A collapse hides from the loss for long: all images go to a few prototypes, or embeddings fill a
 * line. So a worker looks at the first crop of its own images now and then: which prototype each
 * was given, how sure that was, and how many directions the embeddings fill. Every worker sees
 * another share of the same stream, so one worker's figures speak for all; none is part of what is
 * computed. Windows slide: of assignments 10 for each prototype, of embeddings 8 for each of their
 * numbers. A value of one thread; memory is K and embedding^2 numbers. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_LEARNING_H
#define WORKER_LEARNING_H

#include <stdint.h>

#include "proto/message.h"

enum {
    LEARNING_STEPS = 25,             /* between two samples */
    LEARNING_SAMPLE_BYTES = 4 << 20, /* of codes; a share with more is cut */
    LEARNING_EMBEDDING_MAX = 512,    /* of wider ones no rank is told: it would take a second */
};

/* The first crop of `rows` images of a step. */
struct learning_sample {
    uint64_t step;
    int rows, prototypes, embedding;
    float *codes;      /* [rows][prototypes], each row's sum is 1; owned */
    float *embeddings; /* [rows][embedding], of length 1; owned */
    double weight_norm, trust_least, trust_median; /* as message_learning */
};

struct learning {
    int prototypes, embedding;
    uint64_t assignments;  /* seen so far */
    uint64_t *last;        /* [prototypes] assignments when it was last given one; 0: never */
    double *share;         /* [prototypes] how often of late, fading */
    double faded, samples; /* sums of what share and moments hold */
    double *sum, *moments; /* [embedding], [embedding][embedding] fading sums of x and x x^T */
};

void learning_init(struct learning *learning, int prototypes, int embedding);
void learning_done(struct learning *learning); /* zeroed is fine */
/* Takes a sample in and tells what is known by now. Takes milliseconds. */
void learning_add(struct learning *learning, const struct learning_sample *sample,
                  struct message_learning *ret_figures);
void learning_sample_destroy(struct learning_sample *sample); /* NULL is fine */

#endif
