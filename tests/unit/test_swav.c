/* test_swav.c - codes, loss and gradients against values worked out in fp64 (4 images, 3
 * prototypes, crops S0 and S1 assigned, S2 only predicting). */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include <math.h>

#include "tests/unit/virtual_team.h"
#include "worker/swav/swav.h"

enum { IMAGES = 4, PROTOTYPES = 3, CROP = IMAGES * PROTOTYPES };

static const float scores[3 * CROP] = {
    0.9F, 0.1F, -0.3F, 0.8F, 0.2F, 0.0F, 0.7F, -0.1F, 0.4F, -0.2F, 0.5F, 0.3F,
    0.6F, 0.3F, -0.2F, 0.9F, 0.0F, 0.1F, 0.2F, -0.3F, 0.8F, 0.1F,  0.4F, 0.2F,
    0.5F, 0.2F, 0.0F,  0.4F, 0.4F, 0.1F, 0.3F, 0.1F,  0.2F, 0.0F,  0.6F, -0.1F,
};

static const double codes_1[CROP] = {0.9996133865, 0.0003857691, 0.0000008444, 0.9769551692,
                                     0.0205848631, 0.0024599677, 0.0177107431, 0.0000068349,
                                     0.9822824220, 0.0000000002, 0.8932529500, 0.1067470497};
static const double codes_3[CROP] = {0.9982692510, 0.0017279662, 0.0000027828, 0.9067686853,
                                     0.0856962857, 0.0075350290, 0.0054337092, 0.0000094055,
                                     0.9945568852, 0.0000000000, 0.9191792048, 0.0808207951};
static const double codes_10[CROP] = {0.9824903640, 0.0174624742, 0.0000471618, 0.4731480925,
                                      0.4591477902, 0.0677041174, 0.0003171736, 0.0000056373,
                                      0.9996771891, 0.0000000000, 0.8714930772, 0.1285069227};
static const double loss_3 = 1.225707672898;
static const double gradient[3 * CROP] = {
    0.58060692,  -0.58061072, 0.00000380,  -0.00170292, 0.00149439,  0.00020852,
    0.59516815,  0.00019954,  -0.59536769, 0.00050129,  -0.07492639, 0.07442510,
    -0.02874964, 0.02855172,  0.00019792,  0.05798291,  -0.05348308, -0.00449983,
    -0.00185070, 0.00000453,  0.00184617,  0.02625629,  -0.04711529, 0.02085900,
    0.51502597,  -0.52299602, 0.00797005,  -0.58185996, 0.55620878,  0.02565118,
    0.82815464,  0.11253222,  -0.94068686, 0.00308768,  0.04630625,  -0.04939393};

struct fixture {
    struct config config;
    struct virtual_team *virtual_team;
    struct device *device;
    struct state *state;
    struct team team;
    struct head head;
    struct swav swav;
};

static void open_fixture(struct fixture *fixture, int64_t iterations, int64_t slot_images,
                         int heads)
{
    struct rows rows;
    struct config *config = &fixture->config;
    const uint32_t slots[] = {0, 1, 2, 3};
    *fixture = (struct fixture){0};
    config_init(config);
    config->crop_count = 2;
    config->crops[0].count = 2;
    config->crops[1].count = 1;
    config->model.prototype_heads = heads;
    for (int i = 0; i < heads; i++)
        config->model.prototypes[i] = PROTOTYPES;
    config->swav.temperature = 0.1;
    config->swav.epsilon = 0.05;
    config->swav.sinkhorn_iterations = iterations;
    config->train.batch_images = IMAGES;
    config->train.slot_images = slot_images;
    fixture->virtual_team = virtual_team_create(1);
    assert_ok(device_open("cpu", 1, &fixture->device));
    assert_ok(state_create(config, fixture->device, &fixture->state));
    rows_init(&rows, config, (int)(IMAGES / slot_images));
    team_init(&fixture->team, config, fixture->state, &rows, 1, 0);
    assert_ok(rows_assign(&fixture->team.rows, slots));
    fixture->team.collective = virtual_team_member(fixture->virtual_team, 0);
    fixture->head.team = &fixture->team;
    fixture->head.prototype_heads = heads;
    for (int i = 0; i < heads; i++) {
        struct prototypes *prototypes = &fixture->head.prototypes[i];
        prototypes->count = PROTOTYPES;
        prototypes->scores = arena_floats(&fixture->team.arena, 3 * CROP);
        prototypes->scores_grad = arena_floats(&fixture->team.arena, 3 * CROP);
    }
    swav_init(&fixture->swav, &fixture->team, &fixture->head, config, 1);
    assert_ok(arena_check(&fixture->team.arena));
}

static void close_fixture(struct fixture *fixture)
{
    team_done(&fixture->team);
    state_destroy(fixture->state);
    device_close(fixture->device);
    virtual_team_destroy(fixture->virtual_team);
}

/* Row of the learner's order [resolution][slot][crop][image] that holds (crop of all, image). */
static int row_of(const struct fixture *fixture, int crop, int image)
{
    const int images = (int)fixture->config.train.slot_images;
    const int slot = image / images, resolution = crop / 2;
    const int crops = resolution == 0 ? 2 : 1, first = resolution == 0 ? 0 : 2 * IMAGES;
    return first + (slot * crops + crop % 2) * images + image % images;
}

static void put_scores(struct fixture *fixture, int head)
{
    for (int crop = 0; crop < 3; crop++)
        for (int image = 0; image < IMAGES; image++)
            memcpy(fixture->head.prototypes[head].scores +
                       row_of(fixture, crop, image) * PROTOTYPES,
                   scores + crop * CROP + image * PROTOTYPES, PROTOTYPES * sizeof(float));
}

static void assert_near(double ours, double expected, double tolerance)
{
    if (!(ours - expected <= tolerance && expected - ours <= tolerance))
        fail_msg("%.9g, expected %.9g to within %g", ours, expected, tolerance);
}

static void codes_match_the_worked_values(void **state)
{
    (void)state;
    const int64_t iterations[] = {1, 3, 10};
    const double *const expected[] = {codes_1, codes_3, codes_10};
    for (int i = 0; i < 3; i++) {
        struct fixture fixture;
        open_fixture(&fixture, iterations[i], IMAGES, 1);
        put_scores(&fixture, 0);
        assert_ok(swav_codes(&fixture.swav, 0));
        for (int j = 0; j < CROP; j++)
            assert_near((double)fixture.swav.codes.sets[0].q[j], expected[i][j], 2e-6);
        close_fixture(&fixture);
    }
}

static void loss_and_gradients_match_for_any_size_of_slot(void **state)
{
    (void)state;
    for (int64_t slot_images = 1; slot_images <= IMAGES; slot_images *= 2) {
        struct fixture fixture;
        const uint32_t slots[] = {0, 1, 2, 3};
        open_fixture(&fixture, 3, slot_images, 1);
        put_scores(&fixture, 0);
        assert_ok(swav_codes(&fixture.swav, 0));
        swav_loss(&fixture.swav);
        swav_place(&fixture.swav, slots);
        assert_near(swav_loss_of_all(&fixture.swav), loss_3, 2e-6);
        for (int crop = 0; crop < 3; crop++)
            for (int i = 0; i < CROP; i++) {
                const int row = row_of(&fixture, crop, i / PROTOTYPES);
                assert_near((double)fixture.head.prototypes[0]
                                .scores_grad[row * PROTOTYPES + i % PROTOTYPES],
                            gradient[crop * CROP + i], 5e-6);
            }
        close_fixture(&fixture);
    }
}

/* The second head sees every image as every other, so its loss is ln 3 and its gradient 0. */
static void the_loss_of_several_heads_is_their_mean(void **state)
{
    (void)state;
    struct fixture fixture;
    const uint32_t slots[] = {0, 1, 2, 3};
    open_fixture(&fixture, 3, 2, 2);
    put_scores(&fixture, 0);
    assert_ok(swav_codes(&fixture.swav, 0));
    swav_loss(&fixture.swav);
    swav_place(&fixture.swav, slots);
    assert_near(swav_loss_of_all(&fixture.swav), (loss_3 + log(3)) / 2, 2e-6);
    for (int crop = 0; crop < 3; crop++)
        for (int i = 0; i < CROP; i++) {
            const int at = row_of(&fixture, crop, i / PROTOTYPES) * PROTOTYPES + i % PROTOTYPES;
            assert_near((double)fixture.head.prototypes[0].scores_grad[at],
                        gradient[crop * CROP + i] / 2, 5e-6);
            assert_near((double)fixture.head.prototypes[1].scores_grad[at], 0, 1e-6);
        }
    close_fixture(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codes_match_the_worked_values),
        cmocka_unit_test(loss_and_gradients_match_for_any_size_of_slot),
        cmocka_unit_test(the_loss_of_several_heads_is_their_mean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
