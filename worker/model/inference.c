/* inference.c - the trunk in eval mode: images in, features out, also those of blocks within. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/model/inference.h"

#include <string.h>

#include "common/check.h"
#include "common/mem.h"

/* Bytes of the largest activation of a portion: a few buffers of it fit a last-level cache or two,
 * and larger portions are no faster. */
enum { PORTION_BYTES = 32 << 20, PORTION_ROWS_MAX = 256 };

static int portion_rows(const struct config *config, const struct state *state, int size)
{
    struct architecture architecture;
    if (architecture_init(&architecture, config) != OK)
        return 1; /* trunk_init reports it */
    const size_t row =
        trunk_largest_row(&architecture, size) * state->device->ops->activation_bytes;
    const size_t rows = PORTION_BYTES / row;
    return rows < 1 ? 1 : rows > PORTION_ROWS_MAX ? PORTION_ROWS_MAX : (int)rows;
}

enum status inference_create(const struct config *config, struct state *state, int size,
                             struct inference **ret_inference)
{
    enum status status = OK;
    struct rows rows;
    struct inference *inference = mem_zero(sizeof(*inference));
    rows_init_plain(&rows, portion_rows(config, state, size), size);
    team_init(&inference->team, config, state, &rows, 0, 0);
    TRY_OUT(trunk_init(&inference->trunk, &inference->team, config));
    *ret_inference = inference;
    inference = NULL; /* given to the caller */
out:
    inference_destroy(inference);
    return status;
}

void inference_destroy(struct inference *inference)
{
    if (inference == NULL)
        return;
    trunk_done(&inference->trunk);
    team_done(&inference->team);
    mem_free(inference->pixels);
    mem_free(inference);
}

int inference_width(const struct inference *inference)
{
    return architecture_width(&inference->trunk.architecture);
}

enum status inference_tap(struct inference *inference, const struct inference_tap *taps, int count)
{
    struct team *team = &inference->team;
    struct trunk *trunk = &inference->trunk;
    size_t most = 0;
    CHECK(count <= TRUNK_TAPS_MAX && trunk->tap_count == 0);
    for (int i = 0; i < count; i++) {
        const struct block *block = &trunk->blocks[taps[i].block];
        const size_t values = (size_t)rows_count(&team->rows, 0) * (size_t)block->out_pixels[0] *
                              (size_t)block->shape.out_width;
        inference->taps[i] = taps[i];
        trunk->taps[i].block = taps[i].block;
        trunk->taps[i].values = arena_floats(&team->arena, values);
        most = values > most ? values : most;
    }
    inference->pixels = mem_array(most, sizeof(*inference->pixels));
    trunk->tap_count = count;
    return arena_check(&team->arena);
}

/* pixels [side][side][channels] -> ret [channels], over rows [y, y_end) and columns [x, x_end). */
static void average_cell(const float *pixels, int side, int channels, const int y[2],
                         const int x[2], float *ret)
{
    const float weight = 1.0f / (float)((y[1] - y[0]) * (x[1] - x[0]));
    memset(ret, 0, (size_t)channels * sizeof(*ret));
    for (int row = y[0]; row < y[1]; row++)
        for (int column = x[0]; column < x[1]; column++) {
            const float *pixel =
                pixels + ((size_t)row * (size_t)side + (size_t)column) * (size_t)channels;
            for (int c = 0; c < channels; c++)
                ret[c] += pixel[c];
        }
    for (int c = 0; c < channels; c++)
        ret[c] *= weight;
}

/* torch's bounds of cell i of n: floor(i*side/n), ceil((i+1)*side/n). */
static void cell_bounds(int i, int n, int side, int ret_bounds[2])
{
    ret_bounds[0] = i * side / n;
    ret_bounds[1] = ((i + 1) * side + n - 1) / n;
}

static void pool_tap(struct inference *inference, int index, int count, float *ret)
{
    const struct team *team = &inference->team;
    const struct inference_tap *tap = &inference->taps[index];
    const struct block *block = &inference->trunk.blocks[tap->block];
    const int side = block->out_side[0], channels = block->shape.out_width;
    const size_t image = (size_t)block->out_pixels[0] * (size_t)channels;
    team->ops->download(team->device, inference->pixels, inference->trunk.taps[index].values,
                        (size_t)count * image * sizeof(float));
    for (int i = 0; i < count; i++)
        for (int row = 0; row < tap->rows; row++)
            for (int column = 0; column < tap->columns; column++, ret += channels) {
                int y[2], x[2];
                cell_bounds(row, tap->rows, side, y);
                cell_bounds(column, tap->columns, side, x);
                average_cell(inference->pixels + (size_t)i * image, side, channels, y, x, ret);
            }
}

static size_t tap_width(const struct inference *inference, int index)
{
    const struct inference_tap *tap = &inference->taps[index];
    return (size_t)tap->rows * (size_t)tap->columns *
           (size_t)inference->trunk.blocks[tap->block].shape.out_width;
}

/* A portion's images [count] -> the trunk's own results. */
static enum status run_portion(struct inference *inference, const uint8_t *images, int count)
{
    trunk_load_images(&inference->trunk, 0, images, count);
    return trunk_forward(&inference->trunk);
}

static size_t image_bytes(const struct inference *inference)
{
    const size_t side = (size_t)inference->team.rows.size[0];
    return side * side * 3;
}

enum status inference_run(struct inference *inference, const uint8_t *images, int rows,
                          float *ret_features)
{
    const struct team *team = &inference->team;
    const int portion = rows_count(&team->rows, 0);
    const size_t width = (size_t)inference_width(inference);
    trunk_load_weights(&inference->trunk);
    for (int at = 0; at < rows; at += portion) {
        const int count = rows - at < portion ? rows - at : portion;
        TRY(run_portion(inference, images + (size_t)at * image_bytes(inference), count));
        team->ops->download(team->device, ret_features + (size_t)at * width,
                            inference->trunk.features, (size_t)count * width * sizeof(float));
    }
    return team->ops->synchronize(team->device);
}

enum status inference_run_taps(struct inference *inference, const uint8_t *images, int rows,
                               float *const *ret)
{
    const struct team *team = &inference->team;
    const int portion = rows_count(&team->rows, 0);
    trunk_load_weights(&inference->trunk);
    for (int at = 0; at < rows; at += portion) {
        const int count = rows - at < portion ? rows - at : portion;
        TRY(run_portion(inference, images + (size_t)at * image_bytes(inference), count));
        for (int i = 0; i < inference->trunk.tap_count; i++)
            pool_tap(inference, i, count, ret[i] + (size_t)at * tap_width(inference, i));
    }
    return team->ops->synchronize(team->device);
}
