/* test_kernels.c - every operation of a device, the CPU's on every instruction set, against a
 * reference.
 *
 * One table: an operation, the shapes it runs on. Shapes are those where kernels go wrong: group
 * widths 8, 16, 24, 56, channels that fill no vector, odd sizes at stride 2, one row, one pixel,
 * more pixels than a block and more channels than a span of the kernels, more of either than a
 * GPU's thread sums in fp32. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/kernels/cases.h"

struct operation {
    const char *name;
    void (*run)(struct fixture *fixture, const struct case_shape *shape);
    const struct case_shape *shapes; /* end with rows 0 */
};

/* rows, height, width, in, out, kernel, stride, groups */
static const struct case_shape conv_shapes[] = {
    {2, 9, 7, 3, 32, 3, 2, 1},
    {1, 16, 16, 3, 8, 3, 1, 1},
    {2, 7, 7, 48, 48, 3, 2, 6},
    {1, 8, 8, 104, 104, 3, 2, 13},
    {2, 7, 7, 24, 24, 3, 1, 3},
    {1, 7, 7, 48, 48, 3, 1, 3},
    {2, 5, 5, 32, 32, 3, 2, 2},
    {1, 7, 7, 48, 48, 3, 2, 2},
    {1, 6, 6, 72, 72, 3, 1, 3},
    {1, 5, 7, 112, 112, 3, 1, 2},
    {1, 7, 7, 112, 112, 3, 2, 2},
    {2, 7, 7, 24, 56, 1, 1, 1},
    {1, 1, 1, 440, 16, 1, 1, 1},
    {2, 7, 7, 32, 48, 1, 2, 1},
    {3, 4, 4, 13, 26, 1, 1, 1},
    {2, 3, 3, 15, 15, 3, 1, 3},
    {1, 1, 1, 8, 8, 3, 2, 1},
    /* a ResNet's stem */ {1, 17, 22, 3, 64, 7, 2, 1},
    {2, 9, 8, 3, 16, 7, 1, 1},
    /* RegNetY-256GF's width, which devices pad */ {1, 2, 3, 746, 746, 3, 1, 2},
    /* every tile and band of the kernels for groups of eight */ {1, 7, 15, 16, 16, 3, 1, 2},
    {2, 6, 6, 24, 24, 3, 1, 3},
    {1, 3, 14, 40, 40, 3, 2, 5},
    {1, 30, 12, 16, 16, 3, 2, 2},
    {3, 3, 3, 24, 24, 3, 1, 3},
    {2, 40, 31, 8, 8, 3, 1, 1},
    {1, 5, 1, 8, 8, 3, 2, 1},
    /* every span of the products of minimal filtering, more tiles than a block, odd edges */
    {2, 17, 15, 16, 16, 3, 1, 1},
    {1, 6, 7, 48, 48, 3, 1, 2},
    {1, 7, 6, 32, 32, 3, 1, 1},
    {1, 6, 6, 40, 40, 3, 1, 1},
    {1, 8, 9, 48, 48, 3, 1, 1},
    {3, 11, 9, 112, 112, 3, 1, 2},
    {1, 6, 6, 64, 64, 3, 1, 1},
    {1, 13, 12, 72, 72, 3, 1, 1},
    {1, 6, 6, 104, 104, 3, 1, 1},
    {1, 6, 6, 256, 256, 3, 1, 1},
    {1, 11, 12, 48, 48, 3, 2, 1},
    {3, 14, 25, 112, 112, 3, 2, 2},
    {1, 12, 13, 64, 64, 3, 2, 1},
    {1, 11, 11, 128, 128, 3, 2, 1},
    /* every span of 1x1 products, the fewest pixels, blocks with little left */
    {1, 2, 3, 8, 16, 1, 1, 1},
    {1, 7, 1, 24, 40, 1, 1, 1},
    {1, 13, 10, 48, 56, 1, 1, 1},
    {2, 9, 15, 64, 32, 1, 1, 1},
    {1, 6, 6, 440, 440, 1, 1, 1},
    {3, 11, 10, 72, 48, 1, 2, 1},
    {5, 13, 11, 16, 104, 1, 2, 1},
    {0},
};

static const struct case_shape stem_shapes[] = {
    {2, 9, 7, 3, 32, 3, 2, 1},
    {1, 16, 31, 3, 32, 3, 2, 1},
    {3, 8, 12, 3, 24, 3, 1, 1},
    {2, 23, 18, 3, 64, 7, 2, 1},
    {1, 2, 2, 3, 16, 3, 2, 1},
    {1, 6, 4, 3, 13, 3, 2, 1},
    {0},
};

/* Of several bands, with and without kernels of our own that can. */
static const struct case_shape rows_shapes[] = {
    {4, 28, 28, 104, 104, 1, 1, 1}, {3, 28, 27, 104, 104, 3, 1, 13},
    {4, 29, 28, 48, 48, 3, 2, 6},   {6, 33, 31, 48, 104, 1, 2, 1},
    {5, 30, 30, 61, 30, 1, 1, 1},   {3, 28, 28, 64, 64, 3, 1, 4},
    {2, 2, 2, 16, 16, 3, 1, 2},     {0},
};

/* m, -, -, n, k */
static const struct case_shape gemm_shapes[] = {
    {1, 0, 0, 1, 1, 0, 0, 0},
    {3, 0, 0, 17, 5, 0, 0, 0},
    {16, 0, 0, 30, 104, 0, 0, 0},
    {65, 0, 0, 33, 70, 0, 0, 0},
    {0},
};

/* rows, height, width, channels */
static const struct case_shape pixel_shapes[] = {
    {.rows = 1, .height = 1, .width = 1, .channels = 1},
    {.rows = 2, .height = 3, .width = 3, .channels = 7},
    {.rows = 3, .height = 7, .width = 7, .channels = 24},
    {.rows = 1, .height = 9, .width = 15, .channels = 104},
    {.rows = 2, .height = 4, .width = 4, .channels = 61},
    {.rows = 1, .height = 2, .width = 1, .channels = 1048},
    {.rows = 2, .height = 41, .width = 40, .channels = 8},
    {0},
};

/* rows, columns */
static const struct case_shape row_shapes[] = {
    {.rows = 1, .channels = 1},     {.rows = 4, .channels = 3},
    {.rows = 70, .channels = 24},   {.rows = 5, .channels = 104},
    {.rows = 130, .channels = 131}, {.rows = 3, .channels = 3000},
    {.rows = 1, .channels = 20000}, {0},
};

static const struct case_shape one_shape[] = {{.rows = 1}, {0}};

static const struct operation operations[] = {
    {"conv", case_conv, conv_shapes},
    {"stem", case_stem, stem_shapes},
    {"operations by rows", case_rows, rows_shapes},
    {"gemm", case_gemm, gemm_shapes},
    {"bn_sums", case_bn_sums, pixel_shapes},
    {"bn_finalize", case_bn_finalize, pixel_shapes},
    {"bn_apply", case_bn_apply, pixel_shapes},
    {"bn_backward", case_bn_backward, pixel_shapes},
    {"row_scale_backward", case_row_scale_backward, pixel_shapes},
    {"running_update", case_running_update, pixel_shapes},
    {"images_normalize", case_images, pixel_shapes},
    {"copy", case_copy, row_shapes},
    {"multiply", case_multiply, row_shapes},
    {"wide_add and wide_round", case_wide, row_shapes},
    {"wide_add of numbers that are none", case_wide_not_finite, one_shape},
    {"max_pool", case_max_pool, pixel_shapes},
    {"bias_activation", case_bias_activation, row_shapes},
    {"normalize_rows", case_normalize, row_shapes},
    {"sinkhorn", case_sinkhorn, row_shapes},
    {"sinkhorn golden values", case_sinkhorn_golden, one_shape},
    {"swav_loss", case_swav_loss, row_shapes},
    {"swav_loss golden values", case_swav_loss_golden, one_shape},
    {"every operation that could hide a NaN", case_nan, one_shape},
    {"optimizer", case_optimizer, row_shapes},
    {"optimizer in halves", case_optimizer_halves, row_shapes},
    {"LARC golden values", case_larc_golden, one_shape},
};
enum {
    OPERATION_COUNT = sizeof(operations) / sizeof(*operations),
    ENTRY_MAX = OPERATION_COUNT * TARGET_MAX
};

struct entry {
    const struct operation *operation;
    const struct target *target;
    char name[96];
};

static uint64_t seed = 1;

static void operation_agrees_with_its_reference_on_every_shape(void **state)
{
    const struct entry *entry = *state;
    struct fixture fixture;
    fixture_open(&fixture, entry->target, seed);
    for (const struct case_shape *s = entry->operation->shapes; s->rows > 0; s++) {
        fixture_begin(&fixture, "%s rows=%d %dx%d channels=%d->%d kernel=%d stride=%d groups=%d",
                      entry->operation->name, s->rows, s->height, s->width, s->channels,
                      s->out_channels, s->kernel, s->stride, s->groups);
        /* The result of a few values of size 1 may be small by chance, its rounding is not. */
        fixture.least = s->channels > 0 && s->rows * s->channels <= 12 ? 1 : 0;
        entry->operation->run(&fixture, s);
    }
    fixture_close(&fixture);
}

/* test_kernels [--device NAME] [SEED] */
int main(int argc, char **argv)
{
    static struct entry entries[ENTRY_MAX];
    static struct CMUnitTest tests[ENTRY_MAX];
    struct target targets[TARGET_MAX];
    const int target_count = target_list(&argc, argv, targets);
    size_t count = 0;
    if (argc > 1)
        seed = strtoull(argv[1], NULL, 10);
    printf("seed=%llu\n", (unsigned long long)seed);
    for (int t = 0; t < target_count; t++)
        for (int i = 0; i < OPERATION_COUNT; i++, count++) {
            struct entry *entry = &entries[count];
            entry->operation = &operations[i];
            entry->target = &targets[t];
            snprintf(entry->name, sizeof(entry->name), "%s agrees with its reference (%s)",
                     operations[i].name, targets[t].name);
            tests[count] = (struct CMUnitTest){
                entry->name, operation_agrees_with_its_reference_on_every_shape, NULL, NULL, entry};
        }
    return _cmocka_run_group_tests("kernels", tests, count, NULL, NULL);
}
