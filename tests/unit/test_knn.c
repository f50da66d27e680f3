/* test_knn.c - the nearest-neighbour vote against one written the slow way, in doubles. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include <math.h>

#include "common/mem.h"
#include "common/random.h"
#include "worker/device/device.h"
#include "worker/eval/knn.h"

enum { WIDTH = 7, CLASSES = 5 };

struct sample {
    struct knn_set set;
    float *values;
    int32_t *labels;
};

static struct device *device;

/* Classes overlap, far from the origin: without centring all similarities would be near 1. */
static void sample_init(struct sample *sample, int64_t count, uint64_t index)
{
    struct random random;
    random_init(&random, 3, RANDOM_STREAM_TEST, index, 0);
    sample->values = mem_array((size_t)count * WIDTH, sizeof(float));
    sample->labels = mem_array((size_t)count, sizeof(int32_t));
    for (int64_t i = 0; i < count; i++) {
        sample->labels[i] = (int32_t)random_below(&random, CLASSES);
        for (int j = 0; j < WIDTH; j++)
            sample->values[i * WIDTH + j] =
                (float)(50 + random_normal(&random) + (j == sample->labels[i] ? 1.5 : 0));
    }
    sample->set = (struct knn_set){count, WIDTH, sample->values, sample->labels};
}

static void sample_done(struct sample *sample)
{
    mem_free(sample->values);
    mem_free(sample->labels);
}

/* Rows centred on train's mean and of length 1, in doubles. */
static double *directions(const struct sample *train, const struct sample *sample)
{
    double *rows = mem_array((size_t)sample->set.count * WIDTH, sizeof(double));
    for (int j = 0; j < WIDTH; j++) {
        double mean = 0;
        for (int64_t i = 0; i < train->set.count; i++)
            mean += (double)train->values[i * WIDTH + j] / (double)train->set.count;
        for (int64_t i = 0; i < sample->set.count; i++)
            rows[i * WIDTH + j] = (double)sample->values[i * WIDTH + j] - mean;
    }
    for (int64_t i = 0; i < sample->set.count; i++) {
        double square = 0;
        for (int j = 0; j < WIDTH; j++)
            square += rows[i * WIDTH + j] * rows[i * WIDTH + j];
        for (int j = 0; j < WIDTH; j++)
            rows[i * WIDTH + j] /= sqrt(square);
    }
    return rows;
}

static int32_t slow_vote(const struct sample *train, const double *bank, const double *row, int k)
{
    double votes[CLASSES] = {0};
    int32_t winner = 0;
    uint8_t *is_used = mem_zero((size_t)train->set.count);
    for (int round = 0; round < k; round++) {
        int64_t best = -1;
        double best_similarity = -2;
        for (int64_t i = 0; i < train->set.count; i++) {
            double similarity = 0;
            for (int j = 0; j < WIDTH; j++)
                similarity += bank[i * WIDTH + j] * row[j];
            if (!is_used[i] && similarity > best_similarity) {
                best = i;
                best_similarity = similarity;
            }
        }
        is_used[best] = 1;
        votes[train->labels[best]] += exp(best_similarity / 0.07);
    }
    for (int32_t label = 1; label < CLASSES; label++) {
        if (votes[label] > votes[winner])
            winner = label;
    }
    mem_free(is_used);
    return winner;
}

static double slow_top1(const struct sample *train, const struct sample *test, int k)
{
    double *bank = directions(train, train), *rows = directions(train, test);
    int right = 0;
    for (int64_t i = 0; i < test->set.count; i++)
        right += slow_vote(train, bank, rows + i * WIDTH, k) == test->labels[i];
    mem_free(rows);
    mem_free(bank);
    return 100.0 * right / (double)test->set.count;
}

static void the_vote_agrees_with_one_written_the_slow_way(void **state)
{
    (void)state;
    /* 300 test rows: two whole blocks and a part of a third. */
    static const int ks[] = {1, 5, 20};
    for (size_t i = 0; i < sizeof(ks) / sizeof(ks[0]); i++) {
        struct sample train, test;
        double top1;
        sample_init(&train, 400, 1);
        sample_init(&test, 300, 2);
        double expected = slow_top1(&train, &test, ks[i]);
        assert_ok(knn_top1(device, &train.set, &test.set, ks[i], &top1));
        assert_float_equal(top1, expected, 1e-9);
        assert_true(expected > 35 && expected < 90); /* neither chance nor certainty */
        sample_done(&test);
        sample_done(&train);
    }
}

static void more_neighbours_than_images_all_vote(void **state)
{
    (void)state;
    struct sample train, test;
    double top1;
    sample_init(&train, 9, 3);
    sample_init(&test, 50, 4);
    double expected = slow_top1(&train, &test, 9);
    assert_ok(knn_top1(device, &train.set, &test.set, 20, &top1));
    assert_float_equal(top1, expected, 1e-9);
    sample_done(&test);
    sample_done(&train);
}

static void a_set_finds_itself_and_an_unknown_class_is_never_right(void **state)
{
    (void)state;
    struct sample train, test;
    double top1;
    sample_init(&train, 200, 5);
    sample_init(&test, 200, 5);
    assert_ok(knn_top1(device, &train.set, &test.set, 1, &top1));
    assert_float_equal(top1, 100, 0);
    for (int i = 0; i < 200; i += 2)
        test.labels[i] = -1;
    assert_ok(knn_top1(device, &train.set, &test.set, 1, &top1));
    assert_float_equal(top1, 50, 0);
    sample_done(&test);
    sample_done(&train);
}

static void impossible_questions_are_refused(void **state)
{
    (void)state;
    struct sample train, test;
    double top1;
    sample_init(&train, 10, 6);
    sample_init(&test, 10, 7);
    struct knn_set empty = {0, WIDTH, NULL, NULL};
    assert_fails(knn_top1(device, &empty, &test.set, 1, &top1), ERR_INPUT, "0 images");
    assert_fails(knn_top1(device, &train.set, &test.set, 0, &top1), ERR_INPUT, "k is 0");
    struct knn_set narrow = test.set;
    narrow.width = WIDTH - 1;
    assert_fails(knn_top1(device, &train.set, &narrow, 1, &top1), ERR_INPUT, "of 7 and of 6");
    train.labels[3] = -1;
    assert_fails(knn_top1(device, &train.set, &test.set, 1, &top1), ERR_INPUT,
                 "label -1 of image 3");
    train.labels[3] = INT32_MAX;
    assert_fails(knn_top1(device, &train.set, &test.set, 1, &top1), ERR_INPUT, "label 2147483647");
    sample_done(&test);
    sample_done(&train);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_vote_agrees_with_one_written_the_slow_way),
        cmocka_unit_test(more_neighbours_than_images_all_vote),
        cmocka_unit_test(a_set_finds_itself_and_an_unknown_class_is_never_right),
        cmocka_unit_test(impossible_questions_are_refused),
    };
    if (device_open("cpu", 1, &device) != OK)
        test_skip(fail_message());
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    device_close(device);
    return failed;
}
