/* learning.c - is it learning? What samples of a few steps say of prototypes and embeddings. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/learning.h"

#include <math.h>
#include <string.h>

#include "common/mem.h"
#include "worker/eigenvalues.h"

enum {
    ASSIGNMENTS_EACH = 10, /* a prototype that gets its share is missed once in 20,000 windows */
    EMBEDDINGS_EACH = 8,
    EMBEDDINGS_LEAST = 2, /* fewer for each number, and the rank is that of the sample */
};

void learning_init(struct learning *learning, int prototypes, int embedding)
{
    const int has_rank = embedding <= LEARNING_EMBEDDING_MAX;
    const size_t width = has_rank ? (size_t)embedding : 0, k = (size_t)prototypes;
    *learning = (struct learning){
        .prototypes = prototypes,
        .embedding = (int)width,
        .last = mem_zero(k * sizeof(*learning->last)),
        .share = mem_zero(k * sizeof(*learning->share)),
        .sum = mem_zero((width + 1) * sizeof(*learning->sum)),
        .moments = mem_zero((width * width + 1) * sizeof(*learning->moments)),
    };
}

void learning_done(struct learning *learning)
{
    mem_free(learning->last);
    mem_free(learning->share);
    mem_free(learning->sum);
    mem_free(learning->moments);
    *learning = (struct learning){0};
}

void learning_sample_destroy(struct learning_sample *sample)
{
    if (sample == NULL)
        return;
    mem_free(sample->codes);
    mem_free(sample->embeddings);
    mem_free(sample);
}

static double entropy_term(double p)
{
    return p > 0 ? -p * log(p) : 0;
}

static void fade(double *values, size_t count, double keep)
{
    for (size_t i = 0; i < count; i++)
        values[i] *= keep;
}

/* ---- prototypes ---- */

/* Its prototype; adds the entropy of the row. */
static int assign(const float *codes, int prototypes, double *entropy)
{
    int best = 0;
    for (int k = 0; k < prototypes; k++) {
        *entropy += entropy_term((double)codes[k]);
        if (codes[k] > codes[best])
            best = k;
    }
    return best;
}

static void add_codes(struct learning *learning, const struct learning_sample *sample,
                      struct message_learning *figures)
{
    const int k = learning->prototypes;
    const double window = (double)ASSIGNMENTS_EACH * k;
    const double keep = fmax(0, 1 - sample->rows / window);
    double entropy = 0;
    fade(learning->share, (size_t)k, keep);
    for (int row = 0; row < sample->rows; row++) {
        const int best = assign(sample->codes + (size_t)row * (size_t)k, k, &entropy);
        learning->last[best] = ++learning->assignments;
        learning->share[best]++;
    }
    learning->faded = learning->faded * keep + sample->rows;
    figures->codes_entropy = entropy / sample->rows / log(k);
}

static void tell_prototypes(const struct learning *learning, struct message_learning *figures)
{
    const uint64_t window = (uint64_t)ASSIGNMENTS_EACH * (uint64_t)learning->prototypes;
    const uint64_t seen = learning->assignments < window ? learning->assignments : window;
    const uint64_t oldest = learning->assignments - seen;
    double entropy = 0;
    figures->assignments = seen;
    for (int k = 0; k < learning->prototypes; k++) {
        figures->prototypes_used += learning->last[k] > oldest;
        entropy += entropy_term(learning->share[k] / learning->faded);
    }
    /* So few assignments cannot be spread over more prototypes. */
    const double most = log(fmin(learning->prototypes, learning->faded));
    figures->usage_entropy = most > 0 ? fmin(entropy / most, 1) : 0;
}

/* ---- embeddings ---- */

static void add_embeddings(struct learning *learning, const struct learning_sample *sample)
{
    const size_t d = (size_t)learning->embedding;
    const double keep = fmax(0, 1 - sample->rows / ((double)EMBEDDINGS_EACH * (double)d));
    fade(learning->sum, d, keep);
    fade(learning->moments, d * d, keep);
    for (int row = 0; row < sample->rows; row++) {
        const float *x = sample->embeddings + (size_t)row * d;
        for (size_t i = 0; i < d; i++) {
            const double xi = (double)x[i];
            double *moments = learning->moments + i * d;
            learning->sum[i] += xi;
            for (size_t j = 0; j <= i; j++)
                moments[j] += xi * (double)x[j];
        }
    }
    learning->samples = learning->samples * keep + sample->rows;
}

/* RankMe (Garrido et al. 2023, equation 1): the exponential of the entropy of the singular values'
 * shares. Those of the embeddings are the roots of their moments' eigenvalues. */
static double effective_rank(const struct learning *learning)
{
    const size_t d = (size_t)learning->embedding;
    double *matrix = mem_array(d * d + d, sizeof(*matrix)), *values = matrix + d * d;
    double total = 0, entropy = 0;
    memcpy(matrix, learning->moments, d * d * sizeof(*matrix));
    eigenvalues_symmetric(matrix, (int)d, values);
    for (size_t i = 0; i < d; i++) {
        values[i] = values[i] > 0 ? sqrt(values[i]) : 0;
        total += values[i];
    }
    for (size_t i = 0; i < d && total > 0; i++)
        entropy += entropy_term(values[i] / total);
    mem_free(matrix);
    return exp(entropy);
}

/* Root of the summed variances: 1 if embeddings lie all around, 0 if all are one. */
static double spread(const struct learning *learning)
{
    const size_t d = (size_t)learning->embedding;
    double variance = 0;
    for (size_t i = 0; i < d; i++) {
        const double mean = learning->sum[i] / learning->samples;
        variance += learning->moments[i * d + i] / learning->samples - mean * mean;
    }
    return sqrt(fmax(variance, 0));
}

void learning_add(struct learning *learning, const struct learning_sample *sample,
                  struct message_learning *ret_figures)
{
    *ret_figures = (struct message_learning){
        .step = sample->step,
        .prototypes = (uint32_t)sample->prototypes,
        .embedding = (uint64_t)sample->embedding,
        .weight_norm = sample->weight_norm,
        .trust_least = sample->trust_least,
        .trust_median = sample->trust_median,
    };
    add_codes(learning, sample, ret_figures);
    tell_prototypes(learning, ret_figures);
    if (learning->embedding == 0)
        return;
    add_embeddings(learning, sample);
    ret_figures->embedding_spread = spread(learning);
    if (learning->samples >= (double)EMBEDDINGS_LEAST * learning->embedding)
        ret_figures->embedding_rank = effective_rank(learning);
}
