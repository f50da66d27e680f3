/* knn.c - accuracy of the weighted nearest-neighbour vote. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/eval/knn.h"

#include <math.h>
#include <string.h>

#include "common/mem.h"

enum {
    TEST_ROWS = 128, /* compared with all of train at once */
    LABEL_MAX = 1 << 22,
};

static const double temperature = 0.07;

struct neighbour {
    float similarity;
    int32_t label;
};

/* Memory of one evaluation. */
struct search {
    struct device *device;
    const struct knn_set *train, *test;
    int k;
    float *train_values; /* on the device: [train][width] */
    float *test_values;  /* on the device: [TEST_ROWS][width] */
    float *products;     /* on the device: [TEST_ROWS][train] */
    size_t train_bytes, test_bytes, products_bytes;
    float *similarities;          /* [TEST_ROWS][train] */
    struct neighbour *neighbours; /* [k], best first */
    double *votes;                /* [labels], zero between uses */
};

static void mean_of(const struct knn_set *set, double *ret_mean)
{
    memset(ret_mean, 0, (size_t)set->width * sizeof(*ret_mean));
    for (int64_t i = 0; i < set->count; i++) {
        for (int j = 0; j < set->width; j++)
            ret_mean[j] += (double)set->values[i * set->width + j];
    }
    for (int j = 0; j < set->width; j++)
        ret_mean[j] /= (double)set->count;
}

static void centre_and_normalise(struct knn_set *set, const double *mean)
{
    for (int64_t i = 0; i < set->count; i++) {
        float *row = set->values + i * set->width;
        double square = 0;
        for (int j = 0; j < set->width; j++) {
            row[j] = (float)((double)row[j] - mean[j]);
            square += (double)row[j] * (double)row[j];
        }
        /* A picture that equals the mean has no direction: it stays zero and near to nothing. */
        float scale = (float)(square > 0 ? 1 / sqrt(square) : 0);
        for (int j = 0; j < set->width; j++)
            row[j] *= scale;
    }
}

static void find_neighbours(struct search *search, const float *similarities)
{
    int found = 0;
    for (int64_t i = 0; i < search->train->count; i++) {
        if (found == search->k && !(similarities[i] > search->neighbours[found - 1].similarity))
            continue;
        int at = found < search->k ? found++ : found - 1;
        while (at > 0 && search->neighbours[at - 1].similarity < similarities[i]) {
            search->neighbours[at] = search->neighbours[at - 1];
            at--;
        }
        search->neighbours[at] = (struct neighbour){similarities[i], search->train->labels[i]};
    }
}

static int32_t vote(struct search *search)
{
    int32_t winner = search->neighbours[0].label;
    for (int i = 0; i < search->k; i++)
        search->votes[search->neighbours[i].label] +=
            exp((double)search->neighbours[i].similarity / temperature);
    for (int i = 0; i < search->k; i++) {
        int32_t label = search->neighbours[i].label;
        double ahead = search->votes[label] - search->votes[winner];
        if (ahead > 0 || (ahead == 0 && label < winner))
            winner = label;
    }
    for (int i = 0; i < search->k; i++)
        search->votes[search->neighbours[i].label] = 0;
    return winner;
}

static int64_t count_right(struct search *search, int64_t first, int rows)
{
    const struct device_ops *ops = search->device->ops;
    const int64_t train_count = search->train->count;
    int width = search->train->width;
    int64_t right = 0;
    ops->upload(search->device, search->test_values, search->test->values + first * width,
                (size_t)rows * (size_t)width * sizeof(float));
    ops->gemm(search->device, 0, 1, rows, (int)train_count, width, 1, search->test_values,
              search->train_values, 0, search->products);
    ops->download(search->device, search->similarities, search->products,
                  (size_t)rows * (size_t)train_count * sizeof(float));
    for (int row = 0; row < rows; row++) {
        find_neighbours(search, search->similarities + (size_t)row * (size_t)train_count);
        right += vote(search) == search->test->labels[first + row];
    }
    return right;
}

static enum status search_all(struct search *search, double *ret_top1_percent)
{
    const struct device_ops *ops = search->device->ops;
    int64_t right = 0;
    void *memory;
    TRY(ops->allocate(search->device, search->train_bytes, NULL, &memory));
    search->train_values = memory;
    TRY(ops->allocate(search->device, search->test_bytes, NULL, &memory));
    search->test_values = memory;
    TRY(ops->allocate(search->device, search->products_bytes, NULL, &memory));
    search->products = memory;
    ops->upload(search->device, search->train_values, search->train->values, search->train_bytes);
    for (int64_t first = 0; first < search->test->count; first += TEST_ROWS) {
        int64_t left = search->test->count - first;
        right += count_right(search, first, left < TEST_ROWS ? (int)left : TEST_ROWS);
    }
    TRY(ops->synchronize(search->device));
    *ret_top1_percent = 100.0 * (double)right / (double)search->test->count;
    return OK;
}

static void release(struct search *search, float *memory, size_t bytes)
{
    if (memory != NULL)
        search->device->ops->release(search->device, memory, bytes, -1);
}

static enum status check(const struct knn_set *train, const struct knn_set *test, int k,
                         int32_t *ret_label_max)
{
    int32_t label_max = 0;
    if (train->count < 1 || test->count < 1 || train->count > INT32_MAX)
        return fail(ERR_INPUT, "knn: %lld images to learn from and %lld to test",
                    (long long)train->count, (long long)test->count);
    if (train->width != test->width)
        return fail(ERR_INPUT, "knn: features of %d and of %d numbers", train->width, test->width);
    if (k < 1 || k > KNN_K_MAX)
        return fail(ERR_INPUT, "knn: k is %d; it must be 1 to %d", k, KNN_K_MAX);
    for (int64_t i = 0; i < train->count; i++) {
        if (train->labels[i] < 0 || train->labels[i] > LABEL_MAX)
            return fail(ERR_INPUT, "knn: label %d of image %lld is not from 0 to %d",
                        train->labels[i], (long long)i, LABEL_MAX);
        if (train->labels[i] > label_max)
            label_max = train->labels[i];
    }
    *ret_label_max = label_max;
    return OK;
}

enum status knn_top1(struct device *device, struct knn_set *train, struct knn_set *test, int k,
                     double *ret_top1_percent)
{
    int32_t label_max = 0;
    TRY(check(train, test, k, &label_max));
    size_t row_bytes = (size_t)train->width * sizeof(float);
    size_t similarities = TEST_ROWS * (size_t)train->count;
    struct search search = {
        .device = device,
        .train = train,
        .test = test,
        .k = k < train->count ? k : (int)train->count,
        .train_bytes = (size_t)train->count * row_bytes,
        .test_bytes = TEST_ROWS * row_bytes,
        .products_bytes = similarities * sizeof(float),
    };
    double *mean = mem_array((size_t)train->width, sizeof(*mean));
    mean_of(train, mean);
    centre_and_normalise(train, mean);
    centre_and_normalise(test, mean);
    search.similarities = mem_array(similarities, sizeof(float));
    search.neighbours = mem_array((size_t)search.k, sizeof(*search.neighbours));
    search.votes = mem_array((size_t)label_max + 1, sizeof(*search.votes));

    enum status status = search_all(&search, ret_top1_percent);
    release(&search, search.products, search.products_bytes);
    release(&search, search.test_values, search.test_bytes);
    release(&search, search.train_values, search.train_bytes);
    mem_free(search.votes);
    mem_free(search.neighbours);
    mem_free(search.similarities);
    mem_free(mean);
    return status;
}
