/* test_learning.c - figures of learning tell a healthy run from a collapsed one. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include <math.h>

#include "common/mem.h"
#include "worker/eigenvalues.h"
#include "worker/learning_watch.h"

enum { K = 24, D = 16, ROWS = 48 };

static uint64_t drawn;

static double draw(void)
{
    drawn = drawn * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (double)(drawn >> 11) / (double)(UINT64_C(1) << 53);
}

static double draw_normal(void)
{
    return sqrt(-2 * log(1 - draw())) * cos(2 * M_PI * draw());
}

static struct learning_sample *sample_create(uint64_t step)
{
    struct learning_sample *sample = mem_zero(sizeof(*sample));
    sample->step = step;
    sample->rows = ROWS;
    sample->prototypes = K;
    sample->embedding = D;
    sample->codes = mem_zero(sizeof(float) * ROWS * K);
    sample->embeddings = mem_zero(sizeof(float) * ROWS * D);
    return sample;
}

/* Embeddings that fill the first `axes` directions evenly. */
static void embed(struct learning_sample *sample, int axes)
{
    for (int row = 0; row < ROWS; row++) {
        float *x = sample->embeddings + row * D;
        double square = 0;
        for (int i = 0; i < axes; i++) {
            x[i] = (float)draw_normal();
            square += (double)(x[i] * x[i]);
        }
        for (int i = 0; i < axes; i++)
            x[i] = (float)((double)x[i] / sqrt(square));
    }
}

/* All of an image's code is `share` on one of `used` prototypes, the rest is spread evenly. */
static void assign(struct learning_sample *sample, int used, double share)
{
    for (int row = 0; row < ROWS; row++)
        for (int k = 0; k < K; k++)
            sample->codes[row * K + k] = (float)((1 - share) / K + (k == row % used ? share : 0));
}

static struct message_learning figures_of(int axes, int used, double share)
{
    struct learning learning;
    struct message_learning figures = {0};
    learning_init(&learning, K, D);
    for (uint64_t step = 0; step < 40; step++) {
        struct learning_sample *sample = sample_create(step);
        embed(sample, axes);
        assign(sample, used, share);
        learning_add(&learning, sample, &figures);
        learning_sample_destroy(sample);
    }
    learning_done(&learning);
    return figures;
}

static void a_healthy_run_uses_all_prototypes_and_directions(void **state)
{
    (void)state;
    const struct message_learning figures = figures_of(D, K, 1);
    assert_int_equal(figures.step, 39);
    assert_int_equal(figures.prototypes_used, K);
    assert_int_equal(figures.assignments, 10 * K);
    assert_true(figures.usage_entropy > 0.999);
    assert_true(figures.codes_entropy < 1e-6);
    assert_true(figures.embedding_rank > 0.95 * D && figures.embedding_rank <= D);
    assert_true(figures.embedding_spread > 0.95 && figures.embedding_spread <= 1);
}

static void a_collapsed_run_uses_one_of_each(void **state)
{
    (void)state;
    const struct message_learning figures = figures_of(1, 1, 1);
    assert_int_equal(figures.prototypes_used, 1);
    assert_true(figures.usage_entropy < 1e-9);
    assert_true(figures.embedding_rank < 1.001);
}

static void embeddings_in_some_directions_have_their_number_for_rank(void **state)
{
    (void)state;
    const struct message_learning figures = figures_of(5, 7, 1);
    assert_int_equal(figures.prototypes_used, 7);
    assert_true(fabs(figures.embedding_rank - 5) < 0.2);
}

static void codes_that_say_nothing_have_entropy_one(void **state)
{
    (void)state;
    assert_true(figures_of(D, K, 0).codes_entropy > 0.9999);
    const double middle = figures_of(D, K, 0.5).codes_entropy;
    assert_true(middle > 0.3 && middle < 0.9);
}

static void a_prototype_that_is_given_no_image_any_more_dies(void **state)
{
    (void)state;
    struct learning learning;
    struct message_learning figures = {0};
    learning_init(&learning, K, D);
    for (uint64_t step = 0; step < 40; step++) {
        struct learning_sample *sample = sample_create(step);
        embed(sample, D);
        assign(sample, step < 20 ? K : 2, 1);
        learning_add(&learning, sample, &figures);
        assert_int_equal(figures.prototypes_used, step < 24 ? K : 2);
        learning_sample_destroy(sample);
    }
    learning_done(&learning);
}

static void no_rank_is_told_of_too_few_or_too_wide_embeddings(void **state)
{
    (void)state;
    struct learning learning;
    struct message_learning figures = {0};
    struct learning_sample *sample = sample_create(0);
    embed(sample, D);
    assign(sample, K, 1);
    sample->rows = D;
    learning_init(&learning, K, D);
    learning_add(&learning, sample, &figures);
    assert_true(figures.embedding_rank == 0);
    learning_done(&learning);
    learning_init(&learning, K, LEARNING_EMBEDDING_MAX + 1);
    learning_add(&learning, sample, &figures);
    assert_true(figures.embedding_rank == 0 && figures.prototypes_used == D);
    learning_done(&learning);
    learning_sample_destroy(sample);
}

/* The second difference on n points: 2 - 2 cos(k pi / (n + 1)), turned by reflections, which
 * leave eigenvalues as they are and fill the matrix. */
static void eigenvalues_of_a_turned_matrix_are_those_of_theory(void **state)
{
    (void)state;
    enum { N = 37 };
    double matrix[N][N] = {{0}}, values[N], u[N], w[N];
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++)
            matrix[i][j] = i == j ? 2 : abs(i - j) == 1 ? -1 : 0;
    for (int turn = 0; turn < 3; turn++) {
        double square = 0, inner = 0;
        for (int i = 0; i < N; i++) {
            u[i] = draw_normal();
            square += u[i] * u[i];
        }
        for (int i = 0; i < N; i++) {
            w[i] = 0;
            for (int j = 0; j < N; j++)
                w[i] += 2 / square * matrix[i][j] * u[j];
            inner += w[i] * u[i];
        }
        for (int i = 0; i < N; i++)
            for (int j = 0; j < N; j++)
                matrix[i][j] += -u[i] * w[j] - w[i] * u[j] + 2 / square * inner * u[i] * u[j];
    }
    eigenvalues_symmetric(&matrix[0][0], N, values);
    for (int k = 0; k < N; k++)
        assert_true(fabs(values[k] - (2 - 2 * cos((k + 1) * M_PI / (N + 1)))) < 1e-10);
}

static void eigenvalues_of_simple_matrices_are_exact(void **state)
{
    (void)state;
    double zero[4] = {0}, one[1] = {-3}, same[9] = {5, 0, 0, 0, 5, 0, 0, 0, 5};
    double ones[4] = {1, 1, 1, 1}, values[3];
    eigenvalues_symmetric(zero, 2, values);
    assert_true(values[0] == 0 && values[1] == 0);
    eigenvalues_symmetric(one, 1, values);
    assert_true(fabs(values[0] + 3) < 1e-12);
    eigenvalues_symmetric(same, 3, values);
    assert_true(fabs(values[0] - 5) < 1e-11 && fabs(values[2] - 5) < 1e-11);
    eigenvalues_symmetric(ones, 2, values);
    assert_true(fabs(values[0]) < 1e-12 && fabs(values[1] - 2) < 1e-12);
}

static void a_thread_of_its_own_makes_figures_of_the_samples_it_is_given(void **state)
{
    (void)state;
    struct learning_watch watch;
    struct message_learning figures = {0};
    learning_watch_start(&watch);
    assert_false(learning_watch_read(&watch, &figures));
    for (uint64_t step = 0; step < 5; step++) {
        struct learning_sample *sample = sample_create(25 * step);
        void *item = sample;
        embed(sample, D);
        assign(sample, 7, 1);
        assert_ok(queue_push(watch.samples, &item, -1));
    }
    while (!learning_watch_read(&watch, &figures) || figures.step < 100)
        test_rest(); /* ctest has a deadline */
    assert_int_equal(figures.prototypes_used, 7);
    void *late = sample_create(125);
    assert_ok(queue_push(watch.samples, &late, -1));
    learning_watch_stop(&watch);
    learning_watch_stop(&watch); /* again is fine */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_healthy_run_uses_all_prototypes_and_directions),
        cmocka_unit_test(a_collapsed_run_uses_one_of_each),
        cmocka_unit_test(embeddings_in_some_directions_have_their_number_for_rank),
        cmocka_unit_test(codes_that_say_nothing_have_entropy_one),
        cmocka_unit_test(a_prototype_that_is_given_no_image_any_more_dies),
        cmocka_unit_test(no_rank_is_told_of_too_few_or_too_wide_embeddings),
        cmocka_unit_test(eigenvalues_of_a_turned_matrix_are_those_of_theory),
        cmocka_unit_test(eigenvalues_of_simple_matrices_are_exact),
        cmocka_unit_test(a_thread_of_its_own_makes_figures_of_the_samples_it_is_given),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
