/* hub_card.c - section after section, in the order that the hub's template has. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/export/hub_card.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "common/mem.h"
#include "common/model_cost.h"
#include "worker/export/hub.h"

enum { LINE_BYTES_MAX = 1 << 16 };

struct card {
    const struct saved_state *saved;
    const struct config *config;
    const struct architecture *architecture;
    int is_timm;
    char *run; /* the run's folder; NULL: the snapshot lies in none */
    struct buf *out;
};

static const char *family_name(const struct architecture *architecture)
{
    if (architecture->family == FAMILY_REGNETY)
        return "RegNetY";
    return architecture->blocks[0].groups > 1 ? "ResNeXt" : "ResNet";
}

static enum status write_front(const struct card *card)
{
    return buf_format(card->out,
                      "---\nlibrary_name: %s\npipeline_tag: image-feature-extraction\n"
                      "tags:\n- self-supervised-learning\n- swav\n- seer\n- %s\n---\n",
                      card->is_timm ? "timm" : "transformers",
                      card->architecture->family == FAMILY_REGNETY ? "regnet" : "resnet");
}

static enum status write_stages(const struct card *card)
{
    TRY(buf_format(card->out, "- Blocks and widths of its stages:"));
    for (int i = 0; i < card->architecture->block_count; i++) {
        const struct architecture_block *block = &card->architecture->blocks[i];
        if (i + 1 == card->architecture->block_count || block[1].stage != block->stage)
            TRY(buf_format(card->out, " %d of %d channels%s", block->index + 1, block->out_width,
                           i + 1 == card->architecture->block_count ? ".\n" : ","));
    }
    return OK;
}

static enum status write_model(const struct card *card)
{
    const struct config *config = card->config;
    const int size = (int)config->crops[0].size;
    TRY(buf_format(card->out,
                   "\n# %s, step %" PRIu64 "\n\nA %s trunk whose features were learned without "
                   "labels, by SwAV (Caron et al. 2020) as in SEER (Goyal et al. 2021), with "
                   "everseer %s.\n\n## Model\n\n",
                   config->run.name, card->saved->step, family_name(card->architecture),
                   EVERSEER_VERSION));
    TRY(buf_format(card->out,
                   "- Parameters: %" PRId64 " (trunk alone; there is no classifier).\n"
                   "- Features: %d numbers an image, after the average pool.\n"
                   "- Multiplications: %.3g billion an image of %dx%d pixels.\n",
                   architecture_parameter_count(card->architecture),
                   architecture_width(card->architecture),
                   architecture_multiplications(card->architecture, size) / 1e9, size, size));
    TRY(write_stages(card));
    return buf_format(card->out,
                      "- Input: RGB, shorter side %d, centre %dx%d, bilinear; from 0 to 1, less "
                      "(%g, %g, %g), divided by (%g, %g, %g).\n",
                      (int)(size * 8 / 7), size, size, config->augment.mean[0],
                      config->augment.mean[1], config->augment.mean[2], config->augment.std[0],
                      config->augment.std[1], config->augment.std[2]);
}

static enum status write_start(const struct card *card)
{
    if (card->is_timm)
        return buf_format(card->out,
                          "\n## How to get started\n\n```python\nimport timm\n"
                          "model = timm.create_model(\"local-dir:FOLDER\", pretrained=True)  "
                          "# or \"hf-hub:NAME\"; older: %s with checkpoint_path\n"
                          "features = model.eval()(images)  # [batch, %d]\n```\n",
                          hub_timm_name(card->architecture),
                          architecture_width(card->architecture));
    return buf_format(card->out,
                      "\n## How to get started\n\n```python\nfrom transformers import "
                      "AutoImageProcessor, AutoModel\n"
                      "processor = AutoImageProcessor.from_pretrained(\"FOLDER\")\n"
                      "model = AutoModel.from_pretrained(\"FOLDER\").eval()\n"
                      "features = model(**processor(image, return_tensors=\"pt\"))"
                      ".pooler_output.flatten(1)  # [batch, %d]\n```\n",
                      architecture_width(card->architecture));
}

static enum status write_data(const struct card *card)
{
    const struct config *config = card->config;
    return buf_format(card->out,
                      "\n## Training data\n\n"
                      "- Images without labels, of a stream that may have changed while it was "
                      "trained on: %" PRIu64 " seen in %" PRIu64 " steps of %" PRId64
                      ", each once in every pass.\n"
                      "- What they show, where they come from and under which terms is to be "
                      "filled in by whoever publishes this.\n",
                      card->saved->step * (uint64_t)config->train.batch_images, card->saved->step,
                      config->train.batch_images);
}

/* And what is done to them. */
static enum status write_crops(const struct card *card)
{
    TRY(buf_format(card->out, "- Crops of an image:"));
    for (int64_t i = 0; i < card->config->crop_count; i++) {
        const struct config_crop *crop = &card->config->crops[i];
        TRY(buf_format(card->out, "%s %" PRId64 " of %" PRId64 " pixels (area %g to %g)",
                       i > 0 ? "," : "", crop->count, crop->size, crop->scale_min,
                       crop->scale_max));
    }
    const struct {
        double probability;
        const char *name;
    } changes[] = {{card->config->augment.flip, "flip"},
                   {card->config->augment.jitter, "colour jitter"},
                   {card->config->augment.gray, "grey"},
                   {card->config->augment.blur, "blur"}};
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++)
        if (changes[i].probability > 0)
            TRY(buf_format(card->out, ", %s", changes[i].name));
    return buf_format(card->out, ".\n");
}

static enum status write_training(const struct card *card)
{
    static const char *const schedules[] = {"plateau", "cosine", "constant", "multi-step"};
    const struct config *config = card->config;
    struct model_cost cost;
    TRY(model_cost_make(config, &cost));
    const char *origin = safetensors_find_metadata(&card->saved->file.header, "everseer.origin");
    TRY(buf_format(card->out, "\n## Training procedure\n\n"));
    if (origin != NULL || config->model.init[0] != 0)
        TRY(buf_format(card->out, "- Begun with weights that were imported, not at random.\n"));
    TRY(write_crops(card));
    TRY(buf_format(card->out,
                   "- SwAV: %" PRId64 " prototypes, temperature %g, epsilon %g, %" PRId64
                   " Sinkhorn iterations, queue of %" PRId64 " images.\n",
                   config_prototypes(config), config->swav.temperature, config->swav.epsilon,
                   config->swav.sinkhorn_iterations, config->swav.queue_images));
    TRY(buf_format(card->out,
                   "- %s, momentum %g, weight decay %g; learning rate %g at its peak, %s schedule, "
                   "warm-up of %" PRId64 " steps.\n",
                   config->optimizer.kind == OPTIMIZER_LARC ? "LARC over SGD" : "SGD",
                   config->optimizer.momentum, config->optimizer.weight_decay,
                   config->schedule.lr_peak, schedules[config->schedule.kind],
                   config->schedule.warmup_steps));
    return buf_format(card->out, "- About %.3g floating-point operations in all.\n",
                      cost.train_operations * (double)card->saved->step *
                          (double)config->train.batch_images);
}

/* ---- what the run's folder has ---- */

/* The loss of the last step before the snapshot, of its own history. NaN: unknown. */
static double find_loss(const struct card *card)
{
    char *path = mem_format("%s/metrics.jsonl", card->run);
    char *line = mem_alloc(LINE_BYTES_MAX);
    FILE *file = fopen(path, "re");
    const char *text = safetensors_find_metadata(&card->saved->file.header, "everseer.lineage");
    const json_int_t lineage = text != NULL ? strtoll(text, NULL, 10) : 0;
    double loss = NAN;
    while (file != NULL && fgets(line, LINE_BYTES_MAX, file) != NULL) {
        json_t *step = json_loads(line, 0, NULL);
        const json_int_t number = json_integer_value(json_object_get(step, "step"));
        const int is_own = json_integer_value(json_object_get(step, "lineage")) <= lineage;
        if (step != NULL && (uint64_t)number + 1 == card->saved->step && is_own)
            loss = json_number_value(json_object_get(step, "loss"));
        json_decref(step);
    }
    if (file != NULL)
        fclose(file);
    mem_free(line);
    mem_free(path);
    return loss;
}

static enum status write_loss(const struct card *card)
{
    const double loss = card->run != NULL ? find_loss(card) : NAN;
    if (isnan(loss))
        return OK;
    return buf_format(card->out, "- Loss at this step: %.4f (ln %.4g = %.4f is chance).\n", loss,
                      exp(config_uniform_loss(card->config)), config_uniform_loss(card->config));
}

static enum status write_layers(const struct card *card, const json_t *evaluation)
{
    size_t index;
    json_t *layer;
    TRY(buf_format(card->out,
                   "\n## Evaluation\n\nLinear classifiers on frozen features: %" PRId64
                   " training and %" PRId64 " test images of %" PRId64
                   " classes.\n\n| layer | top-1 |\n|---|---|\n",
                   (int64_t)json_integer_value(json_object_get(evaluation, "train_images")),
                   (int64_t)json_integer_value(json_object_get(evaluation, "test_images")),
                   (int64_t)json_integer_value(json_object_get(evaluation, "classes"))));
    json_array_foreach(json_object_get(evaluation, "layers"), index, layer)
    {
        const char *name = json_string_value(json_object_get(layer, "layer"));
        TRY(buf_format(card->out, "| %s | %.2f %% |\n", name != NULL ? name : "?",
                       json_number_value(json_object_get(layer, "top1"))));
    }
    return OK;
}

static enum status write_evaluation(const struct card *card)
{
    if (card->run == NULL)
        return OK;
    char *path =
        mem_format("%s/evals/linear-step-%09" PRIu64 ".json", card->run, card->saved->step);
    json_t *evaluation = json_load_file(path, 0, NULL);
    mem_free(path);
    if (evaluation == NULL)
        return OK;
    enum status status = write_layers(card, evaluation);
    json_decref(evaluation);
    return status;
}

static enum status write_all(const struct card *card)
{
    TRY(write_front(card));
    TRY(write_model(card));
    TRY(write_start(card));
    TRY(write_data(card));
    TRY(write_training(card));
    TRY(write_loss(card));
    TRY(write_evaluation(card));
    return buf_format(card->out, "\nThe whole configuration is in the metadata of "
                                 "model.safetensors (`everseer.config`).\n");
}

enum status hub_card_write(const struct saved_state *saved, enum keymap_layout layout,
                           const struct architecture *architecture, struct buf *out)
{
    struct card card = {
        .saved = saved,
        .config = &saved->config,
        .architecture = architecture,
        .is_timm = layout == KEYMAP_TIMM,
        .run = saved_state_run(saved->path),
        .out = out,
    };
    enum status status = write_all(&card);
    mem_free(card.run);
    return status;
}
