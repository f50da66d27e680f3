/* test_architecture.c - both families against every published model of theirs. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include <math.h>
#include <string.h>

#include "common/architecture.h"

struct expected {
    const char *name;
    int64_t rounding; /* -1: both rules agree */
    int depth, w0;
    double wa, wm;
    int group_width;
    int widths[4], depths[4];
    int64_t parameters; /* of the trunk */
    double gmac;        /* of its forward pass at 224 pixels, with 1000 classes; two decimals */
};

/* pycls configs/dds_baselines/regnety, torchvision models/architecture.py, VISSL's SEER configs. */
static const struct expected table[] = {
    {"200MF", -1, 13, 24, 36.44, 2.49, 8, {24, 56, 152, 368}, {1, 1, 4, 7}, 2793996, 0.20},
    {"400MF", -1, 16, 48, 27.89, 2.09, 8, {48, 104, 208, 440}, {1, 3, 6, 6}, 3903144, 0.40},
    {"600MF", -1, 15, 48, 32.54, 2.32, 16, {48, 112, 256, 608}, {1, 3, 7, 4}, 5446160, 0.60},
    {"800MF", 0, 14, 56, 38.84, 2.4, 16, {64, 128, 320, 768}, {1, 3, 8, 2}, 5494168, 0.80},
    {"800MF", 1, 14, 56, 38.84, 2.4, 16, {64, 144, 320, 784}, {1, 3, 8, 2}, 5647512, 0.83},
    {"1.6GF", -1, 27, 48, 20.71, 2.65, 24, {48, 120, 336, 888}, {2, 6, 17, 2}, 10313430, 1.61},
    {"3.2GF", -1, 21, 80, 42.63, 2.66, 24, {72, 216, 576, 1512}, {2, 5, 13, 1}, 17923338, 3.18},
    {"4.0GF", 0, 22, 96, 31.41, 2.24, 64, {128, 192, 512, 1088}, {2, 6, 12, 2}, 19557656, 3.97},
    {"4.0GF", 1, 22, 96, 31.41, 2.24, 64, {128, 256, 512, 1088}, {2, 6, 12, 2}, 20271224, 4.46},
    {"6.4GF", -1, 25, 112, 33.22, 2.27, 72, {144, 288, 576, 1296}, {2, 7, 14, 2}, 29286252, 6.36},
    {"8GF", 0, 17, 192, 76.82, 2.19, 56, {168, 448, 896, 2016}, {2, 4, 10, 1}, 37163068, 7.96},
    {"8GF", 1, 17, 192, 76.82, 2.19, 56, {224, 448, 896, 2016}, {2, 4, 10, 1}, 37364472, 8.47},
    {"12GF", -1, 19, 168, 73.36, 2.37, 112, {224, 448, 896, 2240}, {2, 5, 11, 1}, 49581544, 12.09},
    {"16GF",
     -1,
     18,
     200,
     106.23,
     2.48,
     112,
     {224, 448, 1232, 3024},
     {2, 4, 11, 1},
     80565140,
     15.91},
    {"16GF as misprinted",
     -1,
     18,
     200,
     160.23,
     2.48,
     112,
     {224, 448, 1232, 3024},
     {1, 3, 7, 7},
     214663636,
     17.16},
    {"32GF",
     -1,
     20,
     232,
     115.89,
     2.53,
     232,
     {232, 696, 1392, 3712},
     {2, 5, 12, 1},
     141333770,
     32.28},
    {"64GF",
     -1,
     20,
     352,
     147.48,
     2.4,
     328,
     {328, 984, 1968, 4920},
     {2, 5, 12, 1},
     276457786,
     64.07},
    {"128GF",
     -1,
     27,
     456,
     160.83,
     2.52,
     264,
     {528, 1056, 2904, 7392},
     {2, 7, 17, 1},
     637419894,
     127.52},
    {"256GF",
     -1,
     27,
     640,
     230.83,
     2.53,
     373,
     {746, 1492, 4103, 10444},
     {2, 7, 17, 1},
     1272156138,
     254.38},
    {"256GF of ClassyVision",
     -1,
     27,
     640,
     124.47,
     2.04,
     848,
     {640, 1696, 2544, 5088},
     {3, 7, 16, 1},
     821051008,
     256.90},
    {"10B",
     -1,
     27,
     1744,
     620.83,
     2.52,
     1010,
     {2020, 4040, 11110, 28280},
     {2, 7, 17, 1},
     9323934872,
     1863.31},
};

static struct config config_of(const struct expected *row, int64_t rounding)
{
    struct config config = {0};
    config.model.depth = row->depth;
    config.model.w0 = row->w0;
    config.model.wa = row->wa;
    config.model.wm = row->wm;
    config.model.group_width = row->group_width;
    config.model.se_ratio = 0.25;
    config.model.stem_width = 32;
    config.model.stem_stride = 2;
    config.model.rounding = rounding;
    return config;
}

static void assert_row(const struct expected *row, int64_t rounding)
{
    struct config config = config_of(row, rounding);
    struct architecture architecture;
    print_message("%s, rounding rule %d\n", row->name, (int)rounding);
    assert_ok(architecture_init(&architecture, &config));
    assert_int_equal(architecture.stage_count, 4);
    int depths[5] = {0}, widths[5] = {0};
    for (int j = 0; j < architecture.block_count; j++) {
        depths[architecture.blocks[j].stage]++;
        widths[architecture.blocks[j].stage] = architecture.blocks[j].out_width;
    }
    for (int stage = 0; stage < 4; stage++) {
        assert_int_equal(depths[stage + 1], row->depths[stage]);
        assert_int_equal(widths[stage + 1], row->widths[stage]);
    }
    assert_int_equal(architecture_parameter_count(&architecture), row->parameters);
    const double classifier = 1000.0 * architecture_width(&architecture);
    const double macs = architecture_multiplications(&architecture, 224) + classifier;
    assert_true(fabs(macs / 1e9 - row->gmac) <= 0.005);
}

static void published_models_come_out_of_their_numbers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (table[i].rounding != ROUNDING_TORCHVISION)
            assert_row(&table[i], ROUNDING_PYCLS);
        if (table[i].rounding != ROUNDING_PYCLS)
            assert_row(&table[i], ROUNDING_TORCHVISION);
    }
}

/* 0.25 * 746 = 186.5 becomes 186. */
static void squeeze_widths_round_half_to_even(void **state)
{
    (void)state;
    const struct expected *row = &table[18];
    struct config config = config_of(row, ROUNDING_PYCLS);
    struct architecture architecture;
    assert_ok(architecture_init(&architecture, &config));
    assert_int_equal(architecture.blocks[0].squeeze_width, 8);
    assert_int_equal(architecture.blocks[1].squeeze_width, 186);
    assert_int_equal(architecture.blocks[2].squeeze_width, 186);
    assert_int_equal(architecture.blocks[9].squeeze_width, 373);
    assert_int_equal(architecture.blocks[26].squeeze_width, 1026);
}

struct expected_resnet {
    const char *name;
    int64_t blocks[4], groups, group_width;
    int inner[4];       /* channels of the 3x3 convolutions by stage */
    int64_t parameters; /* of the trunk, torchvision's without fc */
};

static const struct expected_resnet resnets[] = {
    {"ResNet-50", {3, 4, 6, 3}, 1, 64, {64, 128, 256, 512}, 23508032},
    {"ResNet-101", {3, 4, 23, 3}, 1, 64, {64, 128, 256, 512}, 42500160},
    {"ResNeXt-101 32x4d", {3, 4, 23, 3}, 32, 4, {128, 256, 512, 1024}, 42128704},
    {"ResNeXt-101 32x8d", {3, 4, 23, 3}, 32, 8, {256, 512, 1024, 2048}, 86742336},
    {"ResNeXt-101 32x16d", {3, 4, 23, 3}, 32, 16, {512, 1024, 2048, 4096}, 191977792},
    {"ResNeXt-101 32x48d", {3, 4, 23, 3}, 32, 48, {1536, 3072, 6144, 12288}, 826362176},
};

static struct config resnet_config(const struct expected_resnet *row)
{
    struct config config = {0};
    config.model.family = FAMILY_RESNET;
    config.model.stage_count = 4;
    memcpy(config.model.stage_blocks, row->blocks, sizeof(row->blocks));
    config.model.groups = row->groups;
    config.model.group_width = row->group_width;
    config.model.stem_width = 64;
    config.model.stem_stride = 2;
    return config;
}

static void published_resnets_come_out_of_their_numbers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(resnets) / sizeof(resnets[0]); i++) {
        const struct expected_resnet *row = &resnets[i];
        struct config config = resnet_config(row);
        struct architecture architecture;
        print_message("%s\n", row->name);
        assert_ok(architecture_init(&architecture, &config));
        assert_int_equal(architecture_width(&architecture), 2048);
        assert_int_equal(architecture_parameter_count(&architecture), row->parameters);
        for (int j = 0; j < architecture.block_count; j++) {
            const struct architecture_block *block = &architecture.blocks[j];
            assert_int_equal(block->inner_width, row->inner[block->stage - 1]);
            assert_int_equal(block->stride, block->stage > 1 && block->index == 0 ? 2 : 1);
            assert_int_equal(block->has_projection, block->index == 0);
        }
    }
}

static void assert_name(const struct architecture *architecture, int block,
                        enum architecture_module module, const char *expected)
{
    char name[ARCHITECTURE_NAME_BYTES];
    architecture_module_name(&architecture->blocks[block], module, name);
    assert_string_equal(name, expected);
}

static void modules_bear_the_names_of_torchvision(void **state)
{
    (void)state;
    struct config config = config_of(&table[1], ROUNDING_PYCLS);
    struct architecture architecture;
    assert_ok(architecture_init(&architecture, &config));
    assert_string_equal(architecture_stem_name(architecture.family, 0), "trunk.stem.0");
    assert_name(&architecture, 4, MODULE_SQUEEZE_EXPAND,
                "trunk.trunk_output.block3.block3-0.f.se.fc2");
    config = resnet_config(&resnets[0]);
    assert_ok(architecture_init(&architecture, &config));
    assert_string_equal(architecture_stem_name(architecture.family, 1), "trunk.bn1");
    assert_name(&architecture, 3, MODULE_PROJ_NORM, "trunk.layer2.0.downsample.1");
    assert_name(&architecture, 15, MODULE_C_CONV, "trunk.layer4.2.conv3");
}

static void numbers_that_make_no_resnet_are_refused_with_a_reason(void **state)
{
    (void)state;
    struct config config = resnet_config(&resnets[0]);
    config.model.stage_count = 0;
    assert_fails(architecture_check(&config), ERR_INPUT, "model.stage_blocks is empty");
    config = resnet_config(&resnets[0]);
    config.model.stage_blocks[2] = 300;
    assert_fails(architecture_check(&config), ERR_INPUT, "at most 256");
    config = resnet_config(&resnets[0]);
    config.model.groups = 4096;
    assert_fails(architecture_check(&config), ERR_INPUT, "lower them");
    config = resnet_config(&resnets[0]);
    config.model.stem_width = 8;
    config.model.group_width = 4;
    assert_fails(architecture_check(&config), ERR_INPUT, "no channel in a group");
}

static void numbers_that_make_no_network_are_refused_with_a_reason(void **state)
{
    (void)state;
    struct config config = config_of(&table[1], ROUNDING_PYCLS);
    config.model.w0 = 50;
    assert_fails(architecture_check(&config), ERR_INPUT, "multiple of 8");
    config = config_of(&table[1], ROUNDING_PYCLS);
    config.model.wm = 1;
    assert_fails(architecture_check(&config), ERR_INPUT, "model.wm");
    config = config_of(&table[1], ROUNDING_PYCLS);
    config.model.wa = 1e9;
    assert_fails(architecture_check(&config), ERR_INPUT, "lower model.wa");
    config = config_of(&table[1], ROUNDING_PYCLS);
    config.model.depth = 0;
    assert_fails(architecture_check(&config), ERR_INPUT, "model.depth");
    config = config_of(&table[1], ROUNDING_PYCLS);
    config.model.se_ratio = 0.001;
    assert_fails(architecture_check(&config), ERR_INPUT, "model.se_ratio");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_models_come_out_of_their_numbers),
        cmocka_unit_test(squeeze_widths_round_half_to_even),
        cmocka_unit_test(published_resnets_come_out_of_their_numbers),
        cmocka_unit_test(modules_bear_the_names_of_torchvision),
        cmocka_unit_test(numbers_that_make_no_network_are_refused_with_a_reason),
        cmocka_unit_test(numbers_that_make_no_resnet_are_refused_with_a_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
