/* test_advice.c - figures of learning in a picture, and the words said about them. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include <math.h>

#include "common/buf.h"
#include "server/watch/advice.h"
#include "server/watch/metrics.h"
#include "server/watch/picture_json.h"

static const struct message_learning healthy = {.step = 1000,
                                                .prototypes = 3000,
                                                .prototypes_used = 2800,
                                                .assignments = 30000,
                                                .usage_entropy = 0.9,
                                                .codes_entropy = 0.2,
                                                .embedding = 128,
                                                .embedding_rank = 60,
                                                .embedding_spread = .9,
                                                .weight_norm = 300,
                                                .trust_least = 0.0009765625,
                                                .trust_median = 0.25};

static int make_picture(void **state)
{
    struct picture *picture = picture_create();
    picture->fixed.prototypes = 3000;
    picture->has_status = picture->has_step = 1;
    picture->last.loss = 5;
    picture->loss_smooth = 5;
    picture->server.step = 1000;
    *state = picture;
    return 0;
}

static int drop_picture(void **state)
{
    picture_destroy(*state);
    return 0;
}

static void assert_advice(const struct picture *picture, const char *name, int is_bad)
{
    struct advice advice[ADVICE_MAX];
    assert_int_equal(advice_of(picture, advice), 1);
    assert_string_equal(advice[0].name, name);
    assert_int_equal(advice[0].is_bad, is_bad);
    assert_true(strlen(advice[0].text) > 40 && strlen(advice[0].text) < ADVICE_BYTES - 1);
}

static void a_healthy_run_needs_no_advice(void **state)
{
    struct picture *picture = *state;
    struct advice advice[ADVICE_MAX];
    assert_int_equal(advice_of(picture, advice), 0);
    picture_learning(picture, 0, &healthy);
    assert_int_equal(advice_of(picture, advice), 0);
}

static void each_sign_of_a_collapse_has_its_words(void **state)
{
    static const struct {
        const char *name;
        int is_bad;
        struct message_learning change;
    } cases[] = {
        {"prototypes_collapsed", 1, {.usage_entropy = 0.1}},
        {"prototypes_dead", 0, {.prototypes_used = 900}},
        {"codes_flat", 0, {.codes_entropy = 0.99}},
        {"embeddings_flat", 0, {.embedding_rank = 3}},
        {"embeddings_alike", 1, {.embedding_spread = 0.01}},
    };
    struct picture *picture = *state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct message_learning *change = &cases[i].change;
        struct message_learning figures = healthy;
        figures.step = 1000 + i;
        if (change->usage_entropy > 0)
            figures.usage_entropy = change->usage_entropy;
        if (change->prototypes_used > 0)
            figures.prototypes_used = change->prototypes_used;
        if (change->codes_entropy > 0)
            figures.codes_entropy = change->codes_entropy;
        if (change->embedding_rank > 0)
            figures.embedding_rank = change->embedding_rank;
        if (change->embedding_spread > 0)
            figures.embedding_spread = change->embedding_spread;
        assert_true(picture_learning(picture, 0, &figures));
        assert_advice(picture, cases[i].name, cases[i].is_bad);
    }
}

static void a_loss_at_or_above_ln_k_or_none_at_all_is_told(void **state)
{
    struct picture *picture = *state;
    picture->loss_smooth = log(3000);
    assert_advice(picture, "loss_stuck", 1);
    picture->loss_smooth = 1.1 * log(3000);
    assert_advice(picture, "loss_grows", 1);
    picture->loss_smooth = 5;
    picture->last.loss = (double)NAN;
    assert_advice(picture, "loss_not_finite", 1);
}

static void a_young_run_or_a_small_sample_is_left_alone(void **state)
{
    struct picture *picture = *state;
    struct advice advice[ADVICE_MAX];
    struct message_learning figures = healthy;
    figures.prototypes_used = 10;
    figures.usage_entropy = 0.1;
    figures.assignments = 640;
    picture_learning(picture, 0, &figures);
    assert_int_equal(advice_of(picture, advice), 0);
    figures.assignments = 30000;
    figures.step = 100;
    picture_learning(picture, 1, &figures);
    picture->server.step = 100;
    picture->loss_smooth = log(3000);
    assert_int_equal(advice_of(picture, advice), 0);
}

static void figures_of_any_length_of_time_fit_and_rollbacks_void_them(void **state)
{
    struct picture *picture = *state;
    struct message_learning figures = healthy;
    for (uint64_t step = 0; step < 5 * PICTURE_LEARNINGS; step++) {
        figures.step = step;
        assert_true(picture_learning(picture, 0, &figures));
    }
    assert_true(picture->learning_count <= PICTURE_LEARNINGS);
    assert_int_equal(picture->learnings[0].figures.step, 0);
    assert_int_equal(picture_learning_last(picture)->figures.step, 5 * PICTURE_LEARNINGS - 1);
    figures.step = 7;
    assert_false(picture_learning(picture, 0, &figures)); /* known */
    assert_true(picture_learning(picture, 1, &figures));
    assert_int_equal(picture_learning_last(picture)->figures.step, 7);
    for (uint32_t i = 1; i < picture->learning_count; i++)
        assert_true(picture->learnings[i - 1].figures.step < picture->learnings[i].figures.step);
}

static void figures_and_advice_are_in_json_and_metrics(void **state)
{
    struct picture *picture = *state;
    struct message_learning figures = healthy;
    struct metrics_self self = {1, 0, 0};
    struct buf text;
    figures.usage_entropy = 0.25;
    picture_learning(picture, 0, &figures);
    json_t *object = picture_json(picture, 1, "");
    assert_int_equal(json_array_size(json_object_get(object, "learnings")), 1);
    assert_int_equal(json_array_size(json_object_get(object, "advice")), 1);
    assert_true(json_real_value(
                    json_object_get(json_object_get(object, "learning"), "usage_entropy")) == 0.25);
    json_decref(object);
    buf_init(&text, 1 << 20);
    assert_ok(metrics_write(picture, &self, &text));
    assert_ok(buf_append(&text, "", 1));
    const char *metrics = (const char *)text.bytes;
    assert_non_null(strstr(metrics, "\nseer_prototypes_used 2800\n"));
    assert_non_null(strstr(metrics, "\nseer_prototype_usage_entropy_ratio 0.25\n"));
    assert_non_null(strstr(metrics, "\nseer_embedding_rank 60\n"));
    assert_non_null(strstr(metrics, "\nseer_trust_ratio{of=\"least\"} 0.0009765625\n"));
    assert_non_null(strstr(metrics, "\nseer_learning_findings 1\n"));
    buf_done(&text);
}

#define WITH_PICTURE(test) cmocka_unit_test_setup_teardown(test, make_picture, drop_picture)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_PICTURE(a_healthy_run_needs_no_advice),
        WITH_PICTURE(each_sign_of_a_collapse_has_its_words),
        WITH_PICTURE(a_loss_at_or_above_ln_k_or_none_at_all_is_told),
        WITH_PICTURE(a_young_run_or_a_small_sample_is_left_alone),
        WITH_PICTURE(figures_of_any_length_of_time_fit_and_rollbacks_void_them),
        WITH_PICTURE(figures_and_advice_are_in_json_and_metrics),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
