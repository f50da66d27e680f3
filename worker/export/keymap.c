/* keymap.c - what other people's code calls our tensors. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/export/keymap.h"

#include <stdio.h>
#include <string.h>

#include "common/options.h"

static const char *const layout_names[] = {"torchvision", "timm", "vissl"};

enum { LAYOUT_COUNT = sizeof(layout_names) / sizeof(layout_names[0]) };

/* Modules of the stem and of a block, by layout. */
static const char *const stem_modules[][LAYOUT_COUNT] = {
    {"stem.0", "stem.conv", "_feature_blocks.conv1.stem.0"},
    {"stem.1", "stem.bn", "_feature_blocks.conv1.stem.1"},
};
static const char *const block_modules[][LAYOUT_COUNT] = {
    {"proj.0", "downsample.conv", "proj"},
    {"proj.1", "downsample.bn", "bn"},
    {"f.a.0", "conv1.conv", "f.a.0"},
    {"f.a.1", "conv1.bn", "f.a.1"},
    {"f.b.0", "conv2.conv", "f.b.0"},
    {"f.b.1", "conv2.bn", "f.b.1"},
    {"f.se.fc1", "se.fc1", "f.se.excitation.0"},
    {"f.se.fc2", "se.fc2", "f.se.excitation.2"},
    {"f.c.0", "conv3.conv", "f.c"},
    {"f.c.1", "conv3.bn", "f.final_bn"},
};

enum status keymap_layout_find(const char *word, enum keymap_layout *ret_layout)
{
    for (int i = 0; i < LAYOUT_COUNT; i++) {
        if (strcmp(word, layout_names[i]) == 0) {
            *ret_layout = (enum keymap_layout)i;
            return OK;
        }
    }
    const char *nearest = options_nearest(word, layout_names, LAYOUT_COUNT);
    return fail(ERR_INPUT, "unknown layout '%s'%s%s%s: there are torchvision, timm and vissl", word,
                nearest ? " (did you mean '" : "", nearest ? nearest : "", nearest ? "'?)" : "");
}

/* "f.a.0.weight" -> the layout's "f.a.0" and ".weight". */
static enum status translate_module(enum keymap_layout layout,
                                    const char *const (*modules)[LAYOUT_COUNT], size_t count,
                                    const char *name, const char *prefix,
                                    struct keymap_target *ret_target)
{
    for (size_t i = 0; i < count; i++) {
        size_t length = strlen(modules[i][KEYMAP_TORCHVISION]);
        if (strncmp(name, modules[i][KEYMAP_TORCHVISION], length) != 0 || name[length] != '.')
            continue;
        snprintf(ret_target->name, sizeof(ret_target->name), "%s%s%s", prefix, modules[i][layout],
                 name + length);
        return OK;
    }
    return fail(ERR_INPUT, "'%s' is no tensor of a trunk", name);
}

/* A ResNet's modules have the same names everywhere; VISSL puts them behind its own. */
static int translate_resnet(enum keymap_layout layout, const char *name,
                            struct keymap_target *ret_target)
{
    static const char *const starts[] = {"conv1.", "bn1.", "layer"};
    for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
        if (strncmp(name, starts[i], strlen(starts[i])) != 0)
            continue;
        snprintf(ret_target->name, sizeof(ret_target->name), "%s%s",
                 layout == KEYMAP_VISSL ? "_feature_blocks." : "", name);
        return 1;
    }
    return 0;
}

static enum status translate_trunk(enum keymap_layout layout, const char *name,
                                   struct keymap_target *ret_target)
{
    int stage, stage_again, block, used = 0;
    char prefix[KEYMAP_GROUP_BYTES];
    if (translate_resnet(layout, name, ret_target))
        return OK;
    if (sscanf(name, "trunk_output.block%d.block%d-%d.%n", &stage, &stage_again, &block, &used) !=
            3 ||
        used == 0)
        return translate_module(layout, stem_modules,
                                sizeof(stem_modules) / sizeof(stem_modules[0]), name, "",
                                ret_target);
    if (layout == KEYMAP_TORCHVISION)
        snprintf(prefix, sizeof(prefix), "%.*s", used, name);
    else if (layout == KEYMAP_TIMM)
        snprintf(prefix, sizeof(prefix), "s%d.b%d.", stage, block + 1);
    else
        snprintf(prefix, sizeof(prefix), "_feature_blocks.res%d.block%d-%d.", stage + 1, stage,
                 block);
    return translate_module(layout, block_modules, sizeof(block_modules) / sizeof(block_modules[0]),
                            name + used, prefix, ret_target);
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
