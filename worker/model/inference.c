/* inference.c - the trunk in eval mode: images in, features out. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/model/inference.h"

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
    mem_free(inference);
}

int inference_size(const struct inference *inference)
{
    return inference->team.rows.size[0];
}

enum status inference_run(struct inference *inference, const uint8_t *images, int rows,
                          float *ret_features)
{
    const struct team *team = &inference->team;
    const int portion = rows_count(&team->rows, 0);
    const size_t image = (size_t)inference_size(inference) * (size_t)inference_size(inference) * 3;
    const size_t width = (size_t)architecture_width(&inference->trunk.architecture);
    trunk_load_weights(&inference->trunk);
    for (int at = 0; at < rows; at += portion) {
        const int count = rows - at < portion ? rows - at : portion;
        trunk_load_images(&inference->trunk, 0, images + (size_t)at * image, count);
        TRY(trunk_forward(&inference->trunk));
        team->ops->download(team->device, ret_features + (size_t)at * width,
                            inference->trunk.features, (size_t)count * width * sizeof(float));
    }
    return team->ops->synchronize(team->device);
}
