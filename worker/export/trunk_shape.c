/* trunk_shape.c - depths and widths as a file has them, beside those of the config. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/export/trunk_shape.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/architecture.h"

enum { WORDS_BYTES = 96 };

struct trunk_shape {
    int64_t stage_count; /* as wide as the rest, so that shapes can be compared whole */
    int64_t depths[CONFIG_STAGES_MAX], widths[CONFIG_STAGES_MAX], group_widths[CONFIG_STAGES_MAX];
};

static const struct weights_tensor *find(const struct weights *weights, enum keymap_layout layout,
                                         const char *prefix, const struct architecture_block *block,
                                         enum architecture_module module)
{
    char ours[ARCHITECTURE_NAME_BYTES], name[ARCHITECTURE_NAME_BYTES + 8];
    char theirs[WEIGHTS_NAME_BYTES + KEYMAP_NAME_BYTES];
    struct keymap_target target;
    architecture_module_name(block, module, ours);
    snprintf(name, sizeof(name), "%s.weight", ours);
    if (keymap_translate(layout, name, &target) != OK)
        return NULL;
    snprintf(theirs, sizeof(theirs), "%s%s", prefix, target.name);
    const struct weights_tensor *tensor = weights_find(weights, theirs);
    return tensor != NULL && tensor->rank == 4 ? tensor : NULL;
}

static void look(const struct weights *weights, enum keymap_layout layout, const char *prefix,
                 enum family family, struct trunk_shape *ret_shape)
{
    struct trunk_shape shape = {0};
    for (int stage = 1; stage <= CONFIG_STAGES_MAX; stage++) {
        struct architecture_block block = {.family = family, .stage = stage};
        const struct weights_tensor *last, *grouped;
        last = find(weights, layout, prefix, &block, MODULE_C_CONV);
        grouped = find(weights, layout, prefix, &block, MODULE_B_CONV);
        if (last == NULL || grouped == NULL)
            break;
        shape.widths[stage - 1] = last->shape[0];
        shape.group_widths[stage - 1] = grouped->shape[1];
        while (find(weights, layout, prefix, &block, MODULE_C_CONV) != NULL)
            block.index++;
        shape.depths[stage - 1] = block.index;
        shape.stage_count = stage;
    }
    *ret_shape = shape;
}

static void look_at_config(const struct config *config, struct trunk_shape *ret_shape)
{
    struct architecture architecture;
    struct trunk_shape shape = {0};
    if (architecture_init(&architecture, config) != OK)
        architecture.block_count = 0;
    for (int i = 0; i < architecture.block_count; i++) {
        const struct architecture_block *block = &architecture.blocks[i];
        if (block->stage > CONFIG_STAGES_MAX)
            break;
        shape.stage_count = block->stage;
        shape.depths[block->stage - 1]++;
        shape.widths[block->stage - 1] = block->out_width;
        shape.group_widths[block->stage - 1] = block->inner_width / block->groups;
    }
    *ret_shape = shape;
}

static int is_equal(const struct trunk_shape *a, const struct trunk_shape *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

static void print_list(const int64_t *numbers, int64_t count, char words[WORDS_BYTES])
{
    size_t used = 0;
    words[0] = 0;
    for (int i = 0; i < count && used < WORDS_BYTES; i++)
        used += (size_t)snprintf(words + used, WORDS_BYTES - used, "%s%" PRId64, i ? "," : "",
                                 numbers[i]);
}

static void describe(const struct trunk_shape *shape, char words[3 * WORDS_BYTES])
{
    char depths[WORDS_BYTES], widths[WORDS_BYTES], groups[WORDS_BYTES];
    print_list(shape->depths, shape->stage_count, depths);
    print_list(shape->widths, shape->stage_count, widths);
    print_list(shape->group_widths, shape->stage_count, groups);
    snprintf(words, 3 * WORDS_BYTES, "blocks %.40s of widths %.60s in groups of %.60s", depths,
             widths, groups);
}

void trunk_shape_advise(const struct weights *weights, enum keymap_layout layout,
                        const char *prefix, const struct config *config,
                        char ret_advice[TRUNK_ADVICE_BYTES])
{
    struct trunk_shape theirs, ours, other;
    struct config turned = *config;
    char their_words[3 * WORDS_BYTES], our_words[3 * WORDS_BYTES];
    ret_advice[0] = 0;
    look(weights, layout, prefix, (enum family)config->model.family, &theirs);
    look_at_config(config, &ours);
    if (theirs.stage_count == 0 || is_equal(&theirs, &ours))
        return;
    describe(&theirs, their_words);
    describe(&ours, our_words);
    turned.model.rounding =
        config->model.rounding == ROUNDING_PYCLS ? ROUNDING_TORCHVISION : ROUNDING_PYCLS;
    look_at_config(&turned, &other);
    if (config->model.family == FAMILY_REGNETY && is_equal(&theirs, &other))
        snprintf(ret_advice, TRUNK_ADVICE_BYTES,
                 "it is this RegNetY by the other rule of rounding, another network (%s; here: "
                 "%s): set model.rounding: %s",
                 their_words, our_words,
                 turned.model.rounding == ROUNDING_TORCHVISION ? "torchvision" : "pycls");
    else
        snprintf(ret_advice, TRUNK_ADVICE_BYTES,
                 "the file's trunk has %s, the config's %s: set the keys of model: to the file's "
                 "(configs/paper/ has the known ones)",
                 their_words, our_words);
}
