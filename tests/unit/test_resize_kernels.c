/* test_resize_kernels.c - every instruction set that this CPU has gives the bytes of plain C. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include "common/mem.h"
#include "common/random.h"
#include "loader/resize_kernels.h"

enum { COLUMNS_MAX = 400, TAPS = 9, OUTPUTS = 37 };

static struct random random_source;

static uint8_t *random_bytes(size_t count)
{
    uint8_t *bytes = mem_alloc(count);
    for (size_t i = 0; i < count; i++)
        bytes[i] = (uint8_t)random_below(&random_source, 256);
    return bytes;
}

/* Weights of an output add up to 1; the first of every third output is all of it. */
static struct resize_taps random_taps(int inputs)
{
    struct resize_taps taps = {
        .stride = TAPS,
        .first = mem_array(OUTPUTS, sizeof(int)),
        .count = mem_array(OUTPUTS, sizeof(int)),
        .weights = mem_array((size_t)OUTPUTS * TAPS, sizeof(int32_t)),
    };
    for (int i = 0; i < OUTPUTS; i++) {
        taps.count[i] = 1 + (int)random_below(&random_source, TAPS);
        taps.first[i] = (int)random_below(&random_source, (uint32_t)(inputs - taps.count[i] + 1));
        int32_t left = 1 << RESIZE_WEIGHT_BITS;
        for (int t = 0; t < taps.count[i]; t++) {
            int is_all = i % 3 == 0 || t == taps.count[i] - 1;
            int32_t weight = is_all ? left : (int32_t)random_below(&random_source, (uint32_t)left);
            taps.weights[i * TAPS + t] = weight;
            left -= weight;
        }
    }
    return taps;
}

static void taps_done(struct resize_taps *taps)
{
    mem_free(taps->first);
    mem_free(taps->count);
    mem_free(taps->weights);
}

static void a_strip_is_transposed_and_comes_back(void **state)
{
    (void)state;
    for (const struct resize_kernels *const *kernels = resize_kernels_list(); *kernels; kernels++) {
        for (size_t count = 1; count < COLUMNS_MAX; count += count < 70 ? 1 : 41) {
            const uint8_t *rows[RESIZE_STRIP];
            uint8_t *all = random_bytes(RESIZE_STRIP * count);
            for (size_t i = 0; i < RESIZE_STRIP; i++)
                rows[i] = all + i * count;
            size_t room = (count + RESIZE_CHUNK_MAX) * RESIZE_STRIP;
            uint8_t *columns = mem_zero(room), *back = mem_zero(RESIZE_STRIP * count);
            (*kernels)->transpose(rows, count, columns);
            for (size_t i = 0; i < RESIZE_STRIP * count; i++)
                if (columns[i % count * RESIZE_STRIP + i / count] != all[i])
                    fail_msg("%s: byte %zu of %zu columns", (*kernels)->name, i, count);
            (*kernels)->restore(columns, count, back, count);
            assert_memory_equal(back, all, RESIZE_STRIP * count);
            mem_free(all);
            mem_free(columns);
            mem_free(back);
        }
    }
}

/* The definition, for one lane. */
static uint8_t weighed(const uint8_t *in, size_t stride, const struct resize_taps *taps, int output)
{
    int64_t sum = 1 << (RESIZE_WEIGHT_BITS - 1);
    for (int t = 0; t < taps->count[output]; t++)
        sum += (int64_t)in[(size_t)(taps->first[output] + t) * stride] *
               taps->weights[output * taps->stride + t];
    return (uint8_t)(sum >> RESIZE_WEIGHT_BITS);
}

static void columns_are_weighed_and_mirrored(void **state)
{
    (void)state;
    uint8_t *in = random_bytes((size_t)COLUMNS_MAX * PLANES_ROW_STEP);
    struct resize_taps taps = random_taps(COLUMNS_MAX);
    uint8_t out[3 * OUTPUTS * RESIZE_STRIP];
    for (const struct resize_kernels *const *kernels = resize_kernels_list(); *kernels; kernels++) {
        for (int is_flipped = 0; is_flipped < 2; is_flipped++) {
            (*kernels)->weigh_columns(in, &taps, OUTPUTS, is_flipped, out);
            for (int i = 0; i < 3 * OUTPUTS * RESIZE_STRIP; i++) {
                int channel = i / (OUTPUTS * RESIZE_STRIP), row = i % RESIZE_STRIP;
                int x = i / RESIZE_STRIP % OUTPUTS;
                x = is_flipped ? OUTPUTS - 1 - x : x;
                if (out[i] != weighed(in + channel * RESIZE_STRIP + row, PLANES_ROW_STEP, &taps, x))
                    fail_msg("%s: byte %d", (*kernels)->name, i);
            }
        }
    }
    taps_done(&taps);
    mem_free(in);
}

static void rows_are_weighed(void **state)
{
    (void)state;
    struct planes planes = {0};
    planes_resize(&planes, OUTPUTS);
    uint8_t *in = random_bytes((size_t)COLUMNS_MAX * planes.row_bytes);
    struct resize_taps taps = random_taps(COLUMNS_MAX);
    for (const struct resize_kernels *const *kernels = resize_kernels_list(); *kernels; kernels++) {
        (*kernels)->weigh_rows(in, &taps, &planes);
        for (int i = 0; i < 3 * OUTPUTS * OUTPUTS; i++) {
            int y = i / (3 * OUTPUTS), x = i % (3 * OUTPUTS);
            if (planes_row(&planes, y, 0)[x] != weighed(in + x, planes.row_bytes, &taps, y))
                fail_msg("%s: byte %d", (*kernels)->name, i);
        }
    }
    planes_done(&planes);
    taps_done(&taps);
    mem_free(in);
}

int main(void)
{
    random_init(&random_source, 1, RANDOM_STREAM_TEST, 0, 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_strip_is_transposed_and_comes_back),
        cmocka_unit_test(columns_are_weighed_and_mirrored),
        cmocka_unit_test(rows_are_weighed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
