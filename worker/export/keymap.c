/* keymap.c - what other people's code calls our tensors. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/export/keymap.h"

#include <stdio.h>
#include <string.h>

#include "common/options.h"

static const char *const layout_names[] = {"torchvision", "timm", "vissl", "huggingface"};

/* Modules of the stem and of a block, by layout. */
static const char *const stem_modules[][KEYMAP_COUNT] = {
    {"stem.0", "stem.conv", "_feature_blocks.conv1.stem.0", "embedder.embedder.convolution"},
    {"stem.1", "stem.bn", "_feature_blocks.conv1.stem.1", "embedder.embedder.normalization"},
};
static const char *const block_modules[][KEYMAP_COUNT] = {
    {"proj.0", "downsample.conv", "proj", "shortcut.convolution"},
    {"proj.1", "downsample.bn", "bn", "shortcut.normalization"},
    {"f.a.0", "conv1.conv", "f.a.0", "layer.0.convolution"},
    {"f.a.1", "conv1.bn", "f.a.1", "layer.0.normalization"},
    {"f.b.0", "conv2.conv", "f.b.0", "layer.1.convolution"},
    {"f.b.1", "conv2.bn", "f.b.1", "layer.1.normalization"},
    {"f.se.fc1", "se.fc1", "f.se.excitation.0", "layer.2.attention.0"},
    {"f.se.fc2", "se.fc2", "f.se.excitation.2", "layer.2.attention.2"},
    {"f.c.0", "conv3.conv", "f.c", "layer.3.convolution"},
    {"f.c.1", "conv3.bn", "f.final_bn", "layer.3.normalization"},
};
/* Of a ResNet, as all call them, and as Hugging Face does. */
static const char *const resnet_stem_modules[][2] = {
    {"conv1", "embedder.embedder.convolution"},
    {"bn1", "embedder.embedder.normalization"},
};
static const char *const resnet_block_modules[][2] = {
    {"downsample.0", "shortcut.convolution"}, {"downsample.1", "shortcut.normalization"},
    {"conv1", "layer.0.convolution"},         {"bn1", "layer.0.normalization"},
    {"conv2", "layer.1.convolution"},         {"bn2", "layer.1.normalization"},
    {"conv3", "layer.2.convolution"},         {"bn3", "layer.2.normalization"},
};

enum status keymap_layout_find(const char *word, enum keymap_layout *ret_layout)
{
    for (int i = 0; i < KEYMAP_COUNT; i++) {
        if (strcmp(word, layout_names[i]) == 0) {
            *ret_layout = (enum keymap_layout)i;
            return OK;
        }
    }
    const char *nearest = options_nearest(word, layout_names, KEYMAP_COUNT);
    return fail(
        ERR_INPUT, "unknown layout '%s'%s%s%s: there are torchvision, timm, vissl and huggingface",
        word, nearest ? " (did you mean '" : "", nearest ? nearest : "", nearest ? "'?)" : "");
}

const char *keymap_layout_name(enum keymap_layout layout)
{
    return layout_names[layout];
}

/* modules: [count][width]; "f.a.0.weight" -> the column's "f.a.0" behind the prefix, and ".weight".
 */
static enum status translate_module(const char *const *modules, size_t count, size_t width,
                                    size_t column, const char *name, const char *prefix,
                                    struct keymap_target *ret_target)
{
    for (size_t i = 0; i < count; i++) {
        const char *const *row = &modules[i * width];
        size_t length = strlen(row[0]);
        if (strncmp(name, row[0], length) != 0 || name[length] != '.')
            continue;
        snprintf(ret_target->name, sizeof(ret_target->name), "%s%s%s", prefix, row[column],
                 name + length);
        return OK;
    }
    return fail(ERR_INPUT, "'%s' is no tensor of a trunk", name);
}

#define TRANSLATE(modules, column, name, prefix, ret_target)                                       \
    translate_module(&(modules)[0][0], sizeof(modules) / sizeof((modules)[0]),                     \
                     sizeof((modules)[0]) / sizeof((modules)[0][0]), column, name, prefix,         \
                     ret_target)

static int is_resnet(const char *name)
{
    static const char *const starts[] = {"conv1.", "bn1.", "layer"};
    for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++)
        if (strncmp(name, starts[i], strlen(starts[i])) == 0)
            return 1;
    return 0;
}

/* A ResNet's modules have the same names everywhere but at Hugging Face; VISSL puts them behind its
 * own. */
static enum status translate_resnet(enum keymap_layout layout, const char *name,
                                    struct keymap_target *ret_target)
{
    int stage, block, used = 0;
    char prefix[KEYMAP_GROUP_BYTES];
    if (layout != KEYMAP_HUGGINGFACE) {
        snprintf(ret_target->name, sizeof(ret_target->name), "%s%s",
                 layout == KEYMAP_VISSL ? "_feature_blocks." : "", name);
        return OK;
    }
    if (sscanf(name, "layer%d.%d.%n", &stage, &block, &used) != 2 || used == 0)
        return TRANSLATE(resnet_stem_modules, 1, name, "", ret_target);
    snprintf(prefix, sizeof(prefix), "encoder.stages.%d.layers.%d.", stage - 1, block);
    return TRANSLATE(resnet_block_modules, 1, name + used, prefix, ret_target);
}

static void block_prefix(enum keymap_layout layout, int stage, int block,
                         char ret_prefix[KEYMAP_GROUP_BYTES])
{
    if (layout == KEYMAP_TORCHVISION)
        snprintf(ret_prefix, KEYMAP_GROUP_BYTES, "trunk_output.block%d.block%d-%d.", stage, stage,
                 block);
    else if (layout == KEYMAP_TIMM)
        snprintf(ret_prefix, KEYMAP_GROUP_BYTES, "s%d.b%d.", stage, block + 1);
    else if (layout == KEYMAP_VISSL)
        snprintf(ret_prefix, KEYMAP_GROUP_BYTES, "_feature_blocks.res%d.block%d-%d.", stage + 1,
                 stage, block);
    else
        snprintf(ret_prefix, KEYMAP_GROUP_BYTES, "encoder.stages.%d.layers.%d.", stage - 1, block);
}

static enum status translate_trunk(enum keymap_layout layout, const char *name,
                                   struct keymap_target *ret_target)
{
    int stage, stage_again, block, used = 0;
    char prefix[KEYMAP_GROUP_BYTES];
    if (is_resnet(name))
        return translate_resnet(layout, name, ret_target);
    if (sscanf(name, "trunk_output.block%d.block%d-%d.%n", &stage, &stage_again, &block, &used) !=
            3 ||
        used == 0)
        return TRANSLATE(stem_modules, layout, name, "", ret_target);
    block_prefix(layout, stage, block, prefix);
    return TRANSLATE(block_modules, layout, name + used, prefix, ret_target);
}

enum status keymap_translate(enum keymap_layout layout, const char *name,
                             struct keymap_target *ret_target)
{
    static const char trunk[] = "trunk.", head[] = "head.", prototypes[] = "prototypes";
    int is_vissl = layout == KEYMAP_VISSL;
    int is_trunk = strncmp(name, trunk, strlen(trunk)) == 0;
    snprintf(ret_target->group, sizeof(ret_target->group), "%s",
             !is_vissl  ? ""
             : is_trunk ? "classy_state_dict/base_model/model/trunk"
                        : "classy_state_dict/base_model/model/heads");
    if (is_trunk)
        return translate_trunk(layout, name + strlen(trunk), ret_target);
    if (strncmp(name, head, strlen(head)) == 0) {
        snprintf(ret_target->name, sizeof(ret_target->name), "%sprojection_head.%s",
                 is_vissl ? "0." : "", name + strlen(head));
        return OK;
    }
    /* Of one head, or of the N-th. */
    const int is_prototypes = strncmp(name, prototypes, strlen(prototypes)) == 0;
    const char *rest = is_prototypes ? name + strlen(prototypes) : name;
    if (is_prototypes && rest[strspn(rest, "0123456789")] == '.') {
        snprintf(ret_target->name, sizeof(ret_target->name), "%s%s%s%s", is_vissl ? "0." : "",
                 prototypes, is_vissl && *rest == '.' ? "0" : "", rest);
        return OK;
    }
    return fail(ERR_INPUT, "'%s' is no tensor of a model", name);
}
