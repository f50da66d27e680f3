/* trunk.c - a RegNetY or ResNet without its classifier: images in, channel means of the last block
 * out. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/model/trunk.h"

#include "common/mem.h"

enum { REUSED_BUFFERS = 4, GRADIENT_BUFFERS = 3 };

static void widen(size_t *largest, size_t values)
{
    *largest = values > *largest ? values : *largest;
}

/* Of the stem, of some block's first convolution, which works at the block's input side, or of what
 * a block puts out. */
size_t trunk_largest_row(const struct architecture *architecture, int size)
{
    size_t side = (size_t)architecture_side_after(size, architecture->stem_stride);
    size_t largest = side * side * (size_t)architecture->stem_width;
    side = (size_t)architecture_entry_side(architecture, size);
    for (int j = 0; j < architecture->block_count; j++) {
        const struct architecture_block *block = &architecture->blocks[j];
        widen(&largest, side * side * (size_t)block->inner_width);
        side = (size_t)architecture_side_after((int)side, block->stride);
        widen(&largest, side * side * (size_t)block->out_width);
    }
    return largest;
}

static int stem_side(const struct trunk *trunk, int resolution)
{
    return architecture_side_after(trunk->team->rows.size[resolution],
                                   trunk->architecture.stem_stride);
}

/* Side of what goes into the first block. */
static int entry_side(const struct trunk *trunk, int resolution)
{
    return architecture_entry_side(&trunk->architecture, trunk->team->rows.size[resolution]);
}

static enum status init_stem(struct trunk *trunk)
{
    struct team *team = trunk->team;
    int pixels[CONFIG_CROPS_MAX];
    const struct conv_shape shape = {
        .in_channels = 3,
        .out_channels = trunk->architecture.stem_width,
        .kernel = trunk->architecture.stem_kernel,
        .stride = trunk->architecture.stem_stride,
        .groups = 1,
    };
    const enum arena_part before = arena_enter(&team->arena, ARENA_IMAGES);
    for (int r = 0; r < team->rows.resolution_count; r++) {
        const size_t rows = (size_t)rows_count(&team->rows, r);
        const size_t image = (size_t)team->rows.size[r] * (size_t)team->rows.size[r] * 3;
        pixels[r] = stem_side(trunk, r) * stem_side(trunk, r);
        trunk->bytes[r] = arena_take(&team->arena, rows * image);
        trunk->images[r] = team_activations(team, rows * image);
    }
    arena_enter(&team->arena, before);
    const struct norm_place place = {
        .name = architecture_stem_name(trunk->architecture.family, 1),
        .channels = trunk->architecture.stem_width,
        .pixels = pixels,
    };
    norm_init(&trunk->stem_norm, team, &place);
    return filter_init(&trunk->stem_filter, team,
                       architecture_stem_name(trunk->architecture.family, 0), &shape,
                       team->rows.size);
}

static void take_stem_tensors(struct trunk *trunk)
{
    struct team *team = trunk->team;
    for (int r = 0; r < team->rows.resolution_count; r++) {
        const size_t rows = (size_t)rows_count(&team->rows, r);
        const size_t side = (size_t)stem_side(trunk, r);
        const size_t values = rows * side * side * (size_t)trunk->architecture.stem_width;
        const enum arena_part before = arena_enter(&team->arena, ARENA_ACTIVATIONS);
        trunk->stem_conv[r] = team_activations(team, values);
        trunk->stem[r] = team_activations(team, values);
        trunk->entry[r] = trunk->stem[r];
        if (trunk->architecture.has_stem_pool) {
            const size_t entry = (size_t)entry_side(trunk, r);
            trunk->entry[r] = team_activations(team, rows * entry * entry *
                                                         (size_t)trunk->architecture.stem_width);
        }
        arena_enter(&team->arena, ARENA_BACKWARD);
        for (int i = 0; i < GRADIENT_BUFFERS; i++)
            trunk->gradient[r].buffers[i] = team_activations(
                team, rows * trunk_largest_row(&trunk->architecture, team->rows.size[r]));
        arena_enter(&team->arena, before);
    }
}

static int is_recomputed(const struct config *config, const struct architecture_block *block)
{
    if (config->train.recompute != RECOMPUTE_STAGES)
        return config->train.recompute == RECOMPUTE_BLOCK;
    for (int i = 0; i < config->train.recompute_stage_count; i++)
        if (config->train.recompute_stages[i] == block->stage)
            return 1;
    return 0;
}

/* Values of a row's largest tensors between x and y among all blocks, or those that are recomputed;
 * outputs in the order of struct interior. */
struct interior_row {
    size_t at_input, at_output[INTERIOR_OUTPUTS];
};

static struct interior_row largest_interior(const struct trunk *trunk, const struct config *config,
                                            int resolution, int is_of_all)
{
    struct interior_row row = {0};
    int side = entry_side(trunk, resolution);
    for (int j = 0; j < trunk->architecture.block_count; j++) {
        const struct architecture_block *block = &trunk->architecture.blocks[j];
        const size_t in = (size_t)side * (size_t)side * (size_t)block->inner_width;
        side = architecture_side_after(side, block->stride);
        const size_t pixels = (size_t)side * (size_t)side;
        const size_t inner = pixels * (size_t)block->inner_width;
        const size_t out = pixels * (size_t)block->out_width;
        if (!is_of_all && !is_recomputed(config, block))
            continue;
        widen(&row.at_input, in);
        widen(&row.at_output[0], inner);
        widen(&row.at_output[1], inner);
        widen(&row.at_output[2], out);
        widen(&row.at_output[3], block->has_projection ? out : 0);
    }
    return row;
}

static void take_passing(struct trunk *trunk, const struct config *config)
{
    struct team *team = trunk->team;
    const enum arena_part before = arena_enter(&team->arena, ARENA_ACTIVATIONS);
    for (int r = 0; r < team->rows.resolution_count; r++) {
        const size_t rows = (size_t)rows_count(&team->rows, r);
        const struct interior_row row = largest_interior(trunk, config, r, 1);
        trunk->passing[r].a = team_activations(team, rows * row.at_input);
        trunk->passing[r].b_scaled = team_activations(team, rows * row.at_output[1]);
    }
    arena_enter(&team->arena, before);
}

static void take_interior(struct trunk *trunk, const struct config *config)
{
    struct team *team = trunk->team;
    const int is_passing = trunk->passing[0].a != NULL;
    const enum arena_part before = arena_enter(&team->arena, ARENA_RECOMPUTED);
    for (int r = 0; r < team->rows.resolution_count; r++) {
        const size_t rows = (size_t)rows_count(&team->rows, r);
        const struct interior_row row = largest_interior(trunk, config, r, 0);
        for (int i = 0; i < 2 - is_passing; i++)
            trunk->interior.at_input[r][i] = team_activations(team, rows * row.at_input);
        for (int i = 0; i < INTERIOR_OUTPUTS; i++)
            if (i != 1 || !is_passing)
                trunk->interior.at_output[r][i] = team_activations(team, rows * row.at_output[i]);
    }
    arena_enter(&team->arena, before);
}

static enum status init_blocks(struct trunk *trunk, const struct config *config, void **reuse)
{
    struct block_place place = {.reuse = reuse, .passing = trunk->passing};
    for (int r = 0; r < trunk->team->rows.resolution_count; r++) {
        place.side[r] = entry_side(trunk, r);
        place.x[r] = trunk->entry[r];
    }
    for (int j = 0; j < trunk->architecture.block_count; j++) {
        struct block *block = &trunk->blocks[j];
        const struct architecture_block *shape = &trunk->architecture.blocks[j];
        place.interior = reuse == NULL && is_recomputed(config, shape) ? &trunk->interior : NULL;
        TRY(block_init(block, trunk->team, shape, &place));
        for (int r = 0; r < trunk->team->rows.resolution_count; r++) {
            place.side[r] = block->out_side[r];
            place.x[r] = block->tensors[r].y;
        }
        if (reuse != NULL) { /* y took the place of reuse[1] */
            void *y = reuse[1];
            reuse[1] = reuse[0];
            reuse[0] = y;
        }
    }
    return OK;
}

enum status trunk_init(struct trunk *trunk, struct team *team, const struct config *config)
{
    void *reuse[REUSED_BUFFERS];
    *trunk = (struct trunk){.team = team};
    TRY(architecture_init(&trunk->architecture, config));
    trunk->blocks = mem_array((size_t)trunk->architecture.block_count, sizeof(*trunk->blocks));
    for (int i = 0; i < 3; i++) {
        trunk->mean[i] = (float)config->augment.mean[i];
        trunk->std[i] = (float)config->augment.std[i];
    }
    trunk->features =
        arena_floats(&team->arena, (size_t)rows_total(&team->rows) *
                                       (size_t)architecture_width(&trunk->architecture));
    TRY(init_stem(trunk));
    if (team->is_training) {
        take_stem_tensors(trunk);
        if (team->device->has_bands)
            take_passing(trunk, config);
        if (config->train.recompute != RECOMPUTE_KEEP)
            take_interior(trunk, config);
        TRY(init_blocks(trunk, config, NULL));
    } else {
        const size_t values = (size_t)rows_count(&team->rows, 0) *
                              trunk_largest_row(&trunk->architecture, team->rows.size[0]);
        for (int i = 0; i < REUSED_BUFFERS; i++)
            reuse[i] = team_activations(team, values);
        trunk->stem_conv[0] = trunk->stem[0] = trunk->entry[0] = reuse[0];
        if (trunk->architecture.has_stem_pool)
            trunk->stem_conv[0] = trunk->stem[0] = reuse[1];
        TRY(init_blocks(trunk, config, reuse));
    }
    return arena_check(&team->arena);
}

void trunk_done(struct trunk *trunk)
{
    filter_done(&trunk->stem_filter);
    for (int j = 0; j < trunk->architecture.block_count && trunk->blocks != NULL; j++)
        block_done(&trunk->blocks[j]);
    mem_free(trunk->blocks);
    trunk->blocks = NULL;
}

void trunk_load_weights(struct trunk *trunk)
{
    filter_load_weights(&trunk->stem_filter);
    if (!trunk->team->is_training)
        norm_use_running(&trunk->stem_norm);
    for (int j = 0; j < trunk->architecture.block_count; j++)
        block_load_weights(&trunk->blocks[j]);
}

static size_t pixels_of(const struct trunk *trunk, int resolution, int count)
{
    const size_t side = (size_t)trunk->team->rows.size[resolution];
    return (size_t)count * side * side;
}

int trunk_images_ahead(struct trunk *trunk, int resolution, const uint8_t *images, int count)
{
    const struct team *team = trunk->team;
    return team->ops->images_ahead(team->device, trunk->bytes[resolution], images,
                                   3 * pixels_of(trunk, resolution, count));
}

void trunk_load_images(struct trunk *trunk, int resolution, const uint8_t *images, int count)
{
    const struct team *team = trunk->team;
    const size_t pixels = pixels_of(trunk, resolution, count);
    if (images != NULL)
        team->ops->upload(team->device, trunk->bytes[resolution], images, 3 * pixels);
    team->ops->images_normalize(team->device, trunk->bytes[resolution], pixels, trunk->mean,
                                trunk->std, trunk->images[resolution]);
}

static struct max_pool stem_pool(const struct trunk *trunk, int resolution)
{
    return (struct max_pool){
        .x = trunk->stem[resolution],
        .rows = rows_count(&trunk->team->rows, resolution),
        .height = stem_side(trunk, resolution),
        .width = stem_side(trunk, resolution),
        .channels = trunk->architecture.stem_width,
        .y = trunk->entry[resolution],
    };
}

static enum status stem_forward(struct trunk *trunk)
{
    const struct team *team = trunk->team;
    for (struct piece p = {0}; rows_has(&team->rows, p); p = rows_after(&team->rows, p)) {
        void *y = trunk->stem_conv[p.resolution];
        team->ops->rows_begin(team->device, rows_of_part(&team->rows, p.resolution), NULL);
        filter_forward(&trunk->stem_filter, p, trunk->images[p.resolution], y);
        if (team->is_training)
            norm_sums(&trunk->stem_norm, p, y);
        team->ops->rows_end(team->device);
        if (team->is_training)
            norm_summed(&trunk->stem_norm, p);
    }
    if (team->is_training)
        TRY(norm_share(&trunk->stem_norm, NULL));
    for (struct piece p = {0}; rows_has(&team->rows, p); p = rows_after(&team->rows, p)) {
        const struct bn_apply args = {
            .x = trunk->stem_conv[p.resolution], .is_relu = 1, .y = trunk->stem[p.resolution]};
        norm_apply(&trunk->stem_norm, p, &args, NULL);
    }
    for (int r = 0; r < team->rows.resolution_count && trunk->architecture.has_stem_pool; r++) {
        const struct max_pool pool = stem_pool(trunk, r);
        team->ops->max_pool(team->device, &pool);
    }
    return OK;
}

static void read_taps(struct trunk *trunk, int block)
{
    const struct team *team = trunk->team;
    const struct block *from = &trunk->blocks[block];
    const size_t count = (size_t)rows_count(&team->rows, 0) * (size_t)from->out_pixels[0] *
                         (size_t)from->shape.out_width;
    for (int i = 0; i < trunk->tap_count; i++)
        if (trunk->taps[i].block == block)
            team->ops->to_float(team->device, from->tensors[0].y, count, trunk->taps[i].values);
}

enum status trunk_forward(struct trunk *trunk)
{
    TRY(stem_forward(trunk));
    block_enter(&trunk->blocks[0]);
    for (int j = 0; j < trunk->architecture.block_count; j++) {
        const int is_last = j + 1 == trunk->architecture.block_count;
        TRY(block_forward(&trunk->blocks[j], is_last ? NULL : &trunk->blocks[j + 1],
                          is_last ? trunk->features : NULL));
        read_taps(trunk, j);
    }
    return OK;
}

/* Through the stem's maximum, if it has one. */
static void pool_backward(struct trunk *trunk, int resolution)
{
    const struct team *team = trunk->team;
    struct gradient *gradient = &trunk->gradient[resolution];
    const struct max_pool pool = stem_pool(trunk, resolution);
    void *dx = gradient->buffers[2]; /* dy and dy2 are the other two */
    if (!trunk->architecture.has_stem_pool)
        return;
    team->ops->max_pool_backward(team->device, &pool, gradient->dy, gradient->dy2, dx);
    gradient->dy = dx;
    gradient->dy2 = NULL;
}

static struct bn_backward into_stem(const struct trunk *trunk, int resolution)
{
    const struct gradient *gradient = &trunk->gradient[resolution];
    return (struct bn_backward){
        .dy = gradient->dy,
        .dy2 = gradient->dy2,
        .is_relu = 1,
        .x = trunk->stem_conv[resolution],
    };
}

static enum status stem_backward(struct trunk *trunk)
{
    const struct team *team = trunk->team;
    const struct rows *rows = &team->rows;
    for (int r = 0; r < rows->resolution_count; r++)
        pool_backward(trunk, r);
    for (struct piece p = {0}; rows_has(rows, p); p = rows_after(rows, p)) {
        const struct bn_backward args = into_stem(trunk, p.resolution);
        norm_backward_sums(&trunk->stem_norm, p, &args);
        norm_backward_summed(&trunk->stem_norm, p);
    }
    TRY(norm_backward_share(&trunk->stem_norm, NULL));
    for (struct piece p = {0}; rows_has(rows, p); p = rows_after(rows, p)) {
        const struct bn_backward args = into_stem(trunk, p.resolution);
        void *const *buffers = trunk->gradient[p.resolution].buffers;
        void *dx = args.dy == buffers[2] ? buffers[0] : buffers[2];
        const size_t first = (size_t)p.part * trunk->stem_filter.out_values[p.resolution];
        const void *const passing[ROWS_PASSING_MAX] = {team_offset(team, dx, first)};
        team->ops->rows_begin(team->device, rows_of_part(rows, p.resolution), passing);
        norm_backward_apply(&trunk->stem_norm, p, &args, dx);
        filter_backward_weights(&trunk->stem_filter, p, trunk->images[p.resolution], dx);
        team->ops->rows_end(team->device);
        filter_gradient_written(&trunk->stem_filter, p);
    }
    return OK;
}

/* NULL: there is none. */
static struct block *last_recomputed(const struct trunk *trunk)
{
    for (int j = trunk->architecture.block_count - 1; j >= 0; j--)
        if (trunk->blocks[j].interior != NULL)
            return &trunk->blocks[j];
    return NULL;
}

enum status trunk_backward(struct trunk *trunk, const float *pixel_grad, struct buckets *buckets)
{
    const struct rows *rows = &trunk->team->rows;
    const size_t width = (size_t)architecture_width(&trunk->architecture);
    trunk->interior.holder = last_recomputed(trunk); /* also if forward was replayed */
    for (int r = 0; r < rows->resolution_count; r++) {
        trunk->gradient[r].dy = trunk->gradient[r].dy2 = NULL;
        trunk->gradient[r].row_add = pixel_grad + (size_t)rows_first(rows, r) * width;
    }
    block_leave(&trunk->blocks[trunk->architecture.block_count - 1], trunk->gradient);
    for (int j = trunk->architecture.block_count - 1; j >= 0; j--) {
        TRY(block_backward(&trunk->blocks[j], j > 0 ? &trunk->blocks[j - 1] : NULL,
                           trunk->gradient));
        TRY(buckets_ready(buckets, block_first_gradient(&trunk->blocks[j])));
    }
    TRY(stem_backward(trunk));
    return buckets_rest(buckets);
}

int trunk_last_pixels(const struct trunk *trunk, int resolution)
{
    return trunk->blocks[trunk->architecture.block_count - 1].out_pixels[resolution];
}
