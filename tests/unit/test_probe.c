/* test_probe.c - linear classifiers against gradient descent written the slow way, in doubles. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include <math.h>

#include "common/mem.h"
#include "common/random.h"
#include "worker/eval/probe.h"
#include "worker/eval/standard.h"

enum { WIDTH = 6, CHANNELS = 3, CLASSES = 3, BATCH = 20, STEPS = 28 };

static struct device *device;
static const struct layer layer = {
    .name = "res4:1x2", .rows = 1, .columns = 2, .channels = CHANNELS, .width = WIDTH};
static const struct probe_rule usual = {.class_count = CLASSES,
                                        .batch = BATCH,
                                        .lr = 0.5,
                                        .momentum = 0.9,
                                        .weight_decay = 0.01,
                                        .steps = STEPS,
                                        .seed = 5};

/* count images whose class shows in some of the features, far from the origin. */
static struct feature_set make_set(int64_t count, uint64_t index, double distance)
{
    struct random random;
    struct feature_set set = {.count = count, .layer_count = 1, .width = {WIDTH}};
    random_init(&random, 3, RANDOM_STREAM_TEST, index, 0);
    set.values[0] = mem_array((size_t)count * WIDTH, sizeof(float));
    set.labels = mem_array((size_t)count, sizeof(int32_t));
    for (int64_t i = 0; i < count; i++) {
        set.labels[i] = (int32_t)random_below(&random, CLASSES);
        for (int j = 0; j < WIDTH; j++)
            set.values[0][i * WIDTH + j] =
                (float)(10 + (j + 1) * random_normal(&random) +
                        (j % CLASSES == set.labels[i] ? distance * (j + 1) : 0));
    }
    return set;
}

static struct subset all_of(const struct feature_set *set)
{
    struct subset all;
    subset_sample((uint64_t)set->count, 0, &all);
    return all;
}

/* Of the values that channel c has in rows [first, first + count). */
static void statistics(const struct feature_set *set, int64_t first, int64_t count, int c,
                       double *ret_mean, double *ret_var)
{
    double sum = 0, square = 0, n = 0;
    for (int64_t i = first; i < first + count; i++)
        for (int j = c; j < WIDTH; j += CHANNELS, n++)
            sum += (double)set->values[0][i * WIDTH + j];
    for (int64_t i = first; i < first + count; i++)
        for (int j = c; j < WIDTH; j += CHANNELS)
            square += pow((double)set->values[0][i * WIDTH + j] - sum / n, 2);
    *ret_mean = sum / n;
    *ret_var = square / n;
}

static void batches_are_normalised_by_channel_and_running_statistics_follow(void **state)
{
    (void)state;
    struct feature_set set = make_set(2 * BATCH, 1, 1);
    struct standard standard;
    float y[BATCH * WIDTH], later[BATCH * WIDTH];
    standard_init(&standard, CHANNELS, WIDTH / CHANNELS);
    standard_apply(&standard, set.values[0], BATCH, 1, y);
    for (int c = 0; c < CHANNELS; c++) {
        const double n = BATCH * WIDTH / CHANNELS;
        double mean, var;
        statistics(&set, 0, BATCH, c, &mean, &var);
        for (int i = c; i < BATCH * WIDTH; i += CHANNELS)
            assert_float_equal(y[i], ((double)set.values[0][i] - mean) / sqrt(var + 1e-5), 1e-5);
        assert_float_equal(standard.mean[c], 0.1 * mean, 1e-9);
        assert_float_equal(standard.var[c], 0.9 + 0.1 * var * n / (n - 1), 1e-9);
    }
    standard_apply(&standard, set.values[0], BATCH, 0, later);
    for (int i = 0; i < BATCH * WIDTH; i++)
        assert_float_equal(later[i],
                           ((double)set.values[0][i] - standard.mean[i % CHANNELS]) /
                               sqrt(standard.var[i % CHANNELS] + 1e-5),
                           1e-5);
    standard_done(&standard);
    feature_set_done(&set);
}

static void statistics_of_a_set_are_of_the_rows_chosen_and_stay(void **state)
{
    (void)state;
    struct feature_set set = make_set(2 * BATCH, 2, 1);
    struct standard standard;
    uint64_t rows[BATCH];
    float y[BATCH * WIDTH];
    for (uint64_t i = 0; i < BATCH; i++)
        rows[i] = BATCH + i;
    standard_init(&standard, CHANNELS, WIDTH / CHANNELS);
    standard_fit(&standard, set.values[0], rows, BATCH);
    standard_apply(&standard, set.values[0], BATCH, 1, y);
    for (int c = 0; c < CHANNELS; c++) {
        double mean, var;
        statistics(&set, BATCH, BATCH, c, &mean, &var);
        assert_float_equal(standard.mean[c], mean, 1e-9);
        assert_float_equal(y[c], ((double)set.values[0][c] - mean) / sqrt(var + 1e-5), 1e-5);
    }
    standard_done(&standard);
    feature_set_done(&set);
}

/* A classifier in doubles: torch's SGD with nesterov. */
struct slow {
    double w[CLASSES][WIDTH + 1], v[CLASSES][WIDTH + 1];
};

static void slow_init(struct slow *slow)
{
    struct random random;
    *slow = (struct slow){0};
    random_init(&random, usual.seed, RANDOM_STREAM_INIT, 0, 0);
    for (int c = 0; c < CLASSES; c++)
        for (int j = 0; j < WIDTH; j++)
            slow->w[c][j] = (double)(float)(0.01 * random_normal(&random));
}

/* Adds the gradient of one row; returns its loss. */
static double slow_row(const struct slow *slow, const double *x, int32_t label,
                       double grad[CLASSES][WIDTH + 1])
{
    double logits[CLASSES], sum = 0;
    for (int c = 0; c < CLASSES; c++) {
        logits[c] = 0;
        for (int j = 0; j <= WIDTH; j++)
            logits[c] += slow->w[c][j] * x[j];
        sum += exp(logits[c]);
    }
    for (int c = 0; c < CLASSES; c++)
        for (int j = 0; j <= WIDTH; j++)
            grad[c][j] += (exp(logits[c]) / sum - (c == label)) * x[j] / BATCH;
    return log(sum) - logits[label];
}

static double slow_step(struct slow *slow, const struct feature_set *set, double rate)
{
    double grad[CLASSES][WIDTH + 1] = {0}, loss = 0, mean[CHANNELS], var[CHANNELS];
    for (int c = 0; c < CHANNELS; c++)
        statistics(set, 0, BATCH, c, &mean[c], &var[c]);
    for (int row = 0; row < BATCH; row++) {
        double x[WIDTH + 1];
        for (int j = 0; j < WIDTH; j++)
            x[j] = ((double)set->values[0][row * WIDTH + j] - mean[j % CHANNELS]) /
                   sqrt(var[j % CHANNELS] + 1e-5);
        x[WIDTH] = 1;
        loss += slow_row(slow, x, set->labels[row], grad) / BATCH;
    }
    for (int c = 0; c < CLASSES; c++)
        for (int j = 0; j <= WIDTH; j++) {
            const double g = grad[c][j] + usual.weight_decay * slow->w[c][j];
            slow->v[c][j] = usual.momentum * slow->v[c][j] + g;
            slow->w[c][j] -= rate * (g + usual.momentum * slow->v[c][j]);
        }
    return loss;
}

static void losses_follow_torchs_sgd_with_nesterov_written_the_slow_way(void **state)
{
    (void)state;
    struct feature_set set = make_set(BATCH, 4, 0.5);
    struct probe *probe;
    struct slow slow;
    slow_init(&slow);
    assert_ok(probe_create(device, &layer, 1, &usual, &probe));
    double first = 0, last = 0;
    for (uint64_t step = 0; step < STEPS; step++) {
        double losses[LAYERS_MAX];
        const float *features[1] = {set.values[0]};
        probe_learn(probe, features, set.labels);
        assert_ok(probe_losses(probe, losses));
        last = slow_step(&slow, &set, probe_rate(&usual, step));
        assert_float_equal(losses[0], last, 1e-5);
        first = step == 0 ? last : first;
    }
    assert_true(last < 0.9 * first);
    probe_destroy(probe);
    feature_set_done(&set);
}

static void the_rate_scales_with_the_batch_and_falls_as_in_the_paper(void **state)
{
    (void)state;
    const struct probe_rule rule = {.lr = 0.01, .batch = 512, .steps = 2800};
    static const struct {
        uint64_t step;
        double rate;
    } expected[] = {{0, 0.02},    {799, 0.02},  {800, 0.002}, {1599, 0.002},
                    {1600, 2e-4}, {2399, 2e-4}, {2400, 2e-5}, {2799, 2e-5}};
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
        assert_float_equal(probe_rate(&rule, expected[i].step), expected[i].rate, 1e-12);
}

static void classes_that_lie_apart_are_told_apart_and_unknown_ones_are_never_right(void **state)
{
    (void)state;
    struct feature_set train = make_set(300, 5, 6), test = make_set(700, 6, 6);
    struct subset rows = all_of(&train);
    struct probe_rule rule = usual;
    struct probe *probe;
    double top1[LAYERS_MAX];
    rule.steps = 200;
    assert_ok(probe_create(device, &layer, 1, &rule, &probe));
    probe_standardise(probe, &train, &rows);
    assert_ok(probe_learn_set(probe, &train, &rows));
    assert_int_equal(probe_step(probe), 200);
    assert_ok(probe_score(probe, &test, top1));
    assert_true(top1[0] > 99);
    for (int i = 0; i < 350; i++)
        test.labels[i] = -1;
    assert_ok(probe_score(probe, &test, top1));
    assert_true(top1[0] > 49 && top1[0] <= 50);
    probe_destroy(probe);
    subset_done(&rows);
    feature_set_done(&test);
    feature_set_done(&train);
}

static void a_classifier_that_diverges_says_so(void **state)
{
    (void)state;
    struct feature_set set = make_set(BATCH, 7, 1);
    const float *features[1] = {set.values[0]};
    struct probe_rule rule = usual;
    struct probe *probe;
    double losses[LAYERS_MAX];
    rule.lr = 1e30;
    rule.weight_decay = 1;
    assert_ok(probe_create(device, &layer, 1, &rule, &probe));
    for (int step = 0; step < 4; step++)
        probe_learn(probe, features, set.labels);
    assert_fails(probe_losses(probe, losses), ERR_INPUT, "res4:1x2 diverged");
    probe_destroy(probe);
    rule.class_count = 1 << 30;
    assert_fails(probe_create(device, &layer, 1, &rule, &probe), ERR_INPUT, "coarser grids");
    feature_set_done(&set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batches_are_normalised_by_channel_and_running_statistics_follow),
        cmocka_unit_test(statistics_of_a_set_are_of_the_rows_chosen_and_stay),
        cmocka_unit_test(losses_follow_torchs_sgd_with_nesterov_written_the_slow_way),
        cmocka_unit_test(the_rate_scales_with_the_batch_and_falls_as_in_the_paper),
        cmocka_unit_test(classes_that_lie_apart_are_told_apart_and_unknown_ones_are_never_right),
        cmocka_unit_test(a_classifier_that_diverges_says_so),
    };
    if (device_open("cpu", 1, &device) != OK)
        test_skip(fail_message());
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    device_close(device);
    return failed;
}
