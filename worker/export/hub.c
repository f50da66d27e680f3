/* hub.c - what the libraries can build, and the files that tell them to. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/export/hub.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "common/fs.h"
#include "common/mem.h"
#include "worker/export/hub_card.h"

enum { STAGES = 4, CARD_BYTES_MAX = 1 << 20, PILLOW_BILINEAR = 2 };

/* Both libraries leave torch's default. */
#define TORCH_BN_EPS 1e-5
/* Of the shorter side, as seer eval looks at test images (docs/evaluation.md). */
#define CROP_SHARE 0.875

/* timm/models/regnet.py and resnet.py: names, and what they come to. groups: of a ResNeXt. */
static const struct {
    const char *name;
    enum family family;
    int depths[STAGES], widths[STAGES], group_width, groups;
} timm_models[] = {
    {"regnety_002", FAMILY_REGNETY, {1, 1, 4, 7}, {24, 56, 152, 368}, 8, 0},
    {"regnety_004", FAMILY_REGNETY, {1, 3, 6, 6}, {48, 104, 208, 440}, 8, 0},
    {"regnety_006", FAMILY_REGNETY, {1, 3, 7, 4}, {48, 112, 256, 608}, 16, 0},
    {"regnety_008", FAMILY_REGNETY, {1, 3, 8, 2}, {64, 128, 320, 768}, 16, 0},
    {"regnety_008_tv", FAMILY_REGNETY, {1, 3, 8, 2}, {64, 144, 320, 784}, 16, 0},
    {"regnety_016", FAMILY_REGNETY, {2, 6, 17, 2}, {48, 120, 336, 888}, 24, 0},
    {"regnety_032", FAMILY_REGNETY, {2, 5, 13, 1}, {72, 216, 576, 1512}, 24, 0},
    {"regnety_064", FAMILY_REGNETY, {2, 7, 14, 2}, {144, 288, 576, 1296}, 72, 0},
    {"regnety_080", FAMILY_REGNETY, {2, 4, 10, 1}, {168, 448, 896, 2016}, 56, 0},
    {"regnety_080_tv", FAMILY_REGNETY, {2, 4, 10, 1}, {224, 448, 896, 2016}, 56, 0},
    {"regnety_120", FAMILY_REGNETY, {2, 5, 11, 1}, {224, 448, 896, 2240}, 112, 0},
    {"regnety_160", FAMILY_REGNETY, {2, 4, 11, 1}, {224, 448, 1232, 3024}, 112, 0},
    {"regnety_320", FAMILY_REGNETY, {2, 5, 12, 1}, {232, 696, 1392, 3712}, 232, 0},
    {"regnety_640", FAMILY_REGNETY, {2, 5, 12, 1}, {328, 984, 1968, 4920}, 328, 0},
    {"regnety_1280", FAMILY_REGNETY, {2, 7, 17, 1}, {528, 1056, 2904, 7392}, 264, 0},
    {"regnety_2560", FAMILY_REGNETY, {2, 7, 17, 1}, {746, 1492, 4103, 10444}, 373, 0},
    {"resnet50", FAMILY_RESNET, {3, 4, 6, 3}, {256, 512, 1024, 2048}, 64, 1},
    {"resnet101", FAMILY_RESNET, {3, 4, 23, 3}, {256, 512, 1024, 2048}, 64, 1},
    {"resnext101_32x4d", FAMILY_RESNET, {3, 4, 23, 3}, {256, 512, 1024, 2048}, 4, 32},
    {"resnext101_32x8d", FAMILY_RESNET, {3, 4, 23, 3}, {256, 512, 1024, 2048}, 8, 32},
    {"resnext101_32x16d", FAMILY_RESNET, {3, 4, 23, 3}, {256, 512, 1024, 2048}, 16, 32},
};

/* Blocks and output widths by stage. */
struct stages {
    int count, depths[STAGES], widths[STAGES];
    const struct architecture_block *first;
};

static int count_stages(const struct architecture *architecture, struct stages *ret_stages)
{
    struct stages stages = {.first = &architecture->blocks[0]};
    for (int i = 0; i < architecture->block_count; i++) {
        const struct architecture_block *block = &architecture->blocks[i];
        if (block->stage > STAGES)
            return 0;
        stages.count = block->stage;
        stages.depths[block->stage - 1]++;
        stages.widths[block->stage - 1] = block->out_width;
    }
    *ret_stages = stages;
    return stages.count == STAGES;
}

static int has_usual_stem(const struct architecture *architecture)
{
    return architecture->stem_stride == 2 &&
           architecture->stem_width == (architecture->family == FAMILY_RESNET ? 64 : 32);
}

/* A quarter of what comes in, as Python rounds. */
static int has_usual_squeeze(const struct architecture *architecture)
{
    for (int i = 0; i < architecture->block_count; i++) {
        const struct architecture_block *block = &architecture->blocks[i];
        if (architecture->family == FAMILY_REGNETY &&
            block->squeeze_width != (int)rint(block->in_width / 4.0))
            return 0;
    }
    return 1;
}

const char *hub_timm_name(const struct architecture *architecture)
{
    struct stages stages;
    if (!count_stages(architecture, &stages) || !has_usual_stem(architecture) ||
        !has_usual_squeeze(architecture))
        return NULL;
    const struct architecture_block *first = stages.first;
    for (size_t i = 0; i < sizeof(timm_models) / sizeof(timm_models[0]); i++) {
        const int is_resnet = timm_models[i].family == FAMILY_RESNET;
        if (timm_models[i].family == architecture->family &&
            memcmp(timm_models[i].depths, stages.depths, sizeof(stages.depths)) == 0 &&
            memcmp(timm_models[i].widths, stages.widths, sizeof(stages.widths)) == 0 &&
            first->inner_width / first->groups == timm_models[i].group_width &&
            (!is_resnet || first->groups == timm_models[i].groups))
            return timm_models[i].name;
    }
    return NULL;
}

/* transformers: RegNetYLayer has max(1, width / groups_width) groups; ResNetBottleNeckLayer has no
 * groups, and a quarter of what goes out inside. */
static const char *transformers_obstacle(const struct architecture *architecture, int group_width)
{
    for (int i = 0; i < architecture->block_count; i++) {
        const struct architecture_block *block = &architecture->blocks[i];
        const int quotient = block->out_width / group_width;
        if (architecture->family == FAMILY_RESNET && block->groups != 1)
            return "its ResNet has no groups";
        if (architecture->family == FAMILY_RESNET && block->inner_width * 4 != block->out_width)
            return "its ResNet has a quarter of a block's width inside";
        if (architecture->family == FAMILY_REGNETY &&
            block->groups != (quotient > 1 ? quotient : 1))
            return "its RegNet has groups of one width in all stages";
    }
    if (architecture->stem_stride != 2)
        return "its stem has stride 2";
    if (architecture->family == FAMILY_RESNET && architecture->stem_width != 64)
        return "its ResNet's stem has 64 channels";
    return has_usual_squeeze(architecture) ? NULL : "its squeeze is a quarter of a block's input";
}

static enum status check(const struct saved_state *saved, enum keymap_layout layout,
                         const struct architecture *architecture)
{
    if (layout != KEYMAP_TIMM && layout != KEYMAP_HUGGINGFACE)
        return fail(ERR_INPUT, "--format hub has layouts huggingface and timm");
    if (saved->config.model.bn_eps != TORCH_BN_EPS)
        return fail(ERR_INPUT, "'%s': model.bn_eps is %g, but %s has 1e-5 and no key for another",
                    saved->path, saved->config.model.bn_eps,
                    layout == KEYMAP_TIMM ? "timm" : "transformers");
    if (layout == KEYMAP_TIMM)
        return hub_timm_name(architecture) != NULL
                   ? OK
                   : fail(ERR_INPUT, "timm has no model of this shape: use --layout huggingface");
    const char *obstacle =
        transformers_obstacle(architecture, (int)saved->config.model.group_width);
    return obstacle == NULL
               ? OK
               : fail(ERR_INPUT, "transformers cannot build this network: %s", obstacle);
}

enum status hub_check(const struct saved_state *saved, enum keymap_layout layout)
{
    struct architecture *architecture = mem_zero(sizeof(*architecture));
    enum status status = architecture_init(architecture, &saved->config);
    if (status == OK)
        status = check(saved, layout, architecture);
    mem_free(architecture);
    return status;
}

/* ---- files ---- */

static json_t *list_of_reals(const double *numbers, int count)
{
    json_t *list = json_array();
    for (int i = 0; i < count; i++)
        json_array_append_new(list, json_real(numbers[i]));
    return list;
}

static json_t *list_by_stage(const struct architecture *architecture, int is_width)
{
    json_t *list = json_array();
    for (int i = 0; i < architecture->block_count; i++) {
        const struct architecture_block *block = &architecture->blocks[i];
        if (i + 1 == architecture->block_count || block[1].stage != block->stage)
            json_array_append_new(list,
                                  json_integer(is_width ? block->out_width : block->index + 1));
    }
    return list;
}

static json_t *transformers_config(const struct saved_state *saved,
                                   const struct architecture *architecture)
{
    const int is_resnet = architecture->family == FAMILY_RESNET;
    json_t *root = json_pack(
        "{s:[s], s:s, s:i, s:i, s:o, s:o, s:s, s:s, s:s}", "architectures",
        is_resnet ? "ResNetModel" : "RegNetModel", "model_type", is_resnet ? "resnet" : "regnet",
        "num_channels", 3, "embedding_size", architecture->stem_width, "hidden_sizes",
        list_by_stage(architecture, 1), "depths", list_by_stage(architecture, 0), "layer_type",
        is_resnet ? "bottleneck" : "y", "hidden_act", "relu", "torch_dtype", "float32");
    if (is_resnet) /* the stride is the 3x3 convolution's, and the first stage has none */
        json_object_set_new(root, "downsample_in_first_stage", json_false());
    else
        json_object_set_new(root, "groups_width",
                            json_integer((json_int_t)saved->config.model.group_width));
    return root;
}

static json_t *timm_config(const struct saved_state *saved, const struct architecture *architecture)
{
    const int is_resnet = architecture->family == FAMILY_RESNET;
    const int size = (int)saved->config.crops[0].size, pool = (size + 31) / 32;
    json_t *pretrained =
        json_pack("{s:s, s:[i,i,i], s:[i,i], s:s, s:f, s:s, s:o, s:o, s:i, s:s, s:s}", "tag",
                  "everseer", "input_size", 3, size, size, "pool_size", pool, pool, "interpolation",
                  "bilinear", "crop_pct", CROP_SHARE, "crop_mode", "center", "mean",
                  list_of_reals(saved->config.augment.mean, 3), "std",
                  list_of_reals(saved->config.augment.std, 3), "num_classes", 0, "first_conv",
                  is_resnet ? "conv1" : "stem.conv", "classifier", is_resnet ? "fc" : "head.fc");
    return json_pack("{s:s, s:i, s:i, s:s, s:o}", "architecture", hub_timm_name(architecture),
                     "num_classes", 0, "num_features", architecture_width(architecture),
                     "global_pool", "avg", "pretrained_cfg", pretrained);
}

/* transformers' ConvNextImageProcessor resizes the shorter side to size / crop_pct. */
static json_t *preprocessor(const struct saved_state *saved)
{
    return json_pack("{s:s, s:b, s:{s:i}, s:f, s:i, s:b, s:f, s:b, s:o, s:o}",
                     "image_processor_type", "ConvNextImageProcessor", "do_resize", 1, "size",
                     "shortest_edge", (int)saved->config.crops[0].size, "crop_pct", CROP_SHARE,
                     "resample", PILLOW_BILINEAR, "do_rescale", 1, "rescale_factor", 1.0 / 255,
                     "do_normalize", 1, "image_mean", list_of_reals(saved->config.augment.mean, 3),
                     "image_std", list_of_reals(saved->config.augment.std, 3));
}

/* Takes the document. */
static enum status save_json(json_t *document, const char *folder, const char *name)
{
    char *path = mem_format("%s/%s", folder, name);
    char *text = json_dumps(document, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    enum status status = fs_write_file(path, text, strlen(text));
    free(text);
    mem_free(path);
    json_decref(document);
    return status;
}

static enum status save_card(const struct saved_state *saved, enum keymap_layout layout,
                             const struct architecture *architecture, const char *folder)
{
    struct buf text;
    char *path = mem_format("%s/README.md", folder);
    buf_init(&text, CARD_BYTES_MAX);
    enum status status = hub_card_write(saved, layout, architecture, &text);
    if (status == OK)
        status = fs_write_file(path, text.bytes, text.length);
    buf_done(&text);
    mem_free(path);
    return status;
}

static enum status save_all(const struct saved_state *saved, enum keymap_layout layout,
                            const struct architecture *architecture, const char *folder)
{
    json_t *config = layout == KEYMAP_TIMM ? timm_config(saved, architecture)
                                           : transformers_config(saved, architecture);
    TRY(save_json(config, folder, "config.json"));
    if (layout == KEYMAP_HUGGINGFACE)
        TRY(save_json(preprocessor(saved), folder, "preprocessor_config.json"));
    return save_card(saved, layout, architecture, folder);
}

enum status hub_save(const struct saved_state *saved, enum keymap_layout layout, const char *folder)
{
    struct architecture *architecture = mem_zero(sizeof(*architecture));
    enum status status = architecture_init(architecture, &saved->config);
    if (status == OK)
        status = save_all(saved, layout, architecture, folder);
    mem_free(architecture);
    return status;
}
