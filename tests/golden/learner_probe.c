/* learner_probe.c - runs the learner on given crops and writes what it did, for learner.py.
 *
 * learner_probe trunk CONFIG DIR        forward, then backward from DIR/features_grad.f32
 * learner_probe train CONFIG DIR STEPS LR   steps on the images of DIR, then features in eval mode
 * learner_probe finetune CONFIG DIR STEPS LR CLASSIFIER_LR NESTEROV   steps of a classifier on the
 *                                   first resolution, labels of its rows in DIR/labels.f32
 *
 * DIR/crops.u8 holds the rows of all resolutions, one step after another (repeated when it ends).
 * Out: tensors.txt, initial.f32 (the state's block), and per mode what its function says. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/fs.h"
#include "common/mem.h"
#include "worker/eval/finetune.h"
#include "worker/eval/parameter_groups.h"
#include "worker/model/image_classifier.h"
#include "worker/model/inference.h"
#include "worker/model/model.h"
#include "worker/step.h"

struct probe {
    struct config config;
    const char *directory;
    struct device *device;
    struct state *state;
    struct collective *collective;
    struct buf crops;
    struct batch batch;
};

static enum status write_floats(const struct probe *probe, const char *name, const float *floats,
                                size_t count)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", probe->directory, name);
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(floats, sizeof(*floats), count, file) != count || fclose(file) != 0)
        return fail(ERR_IO, "%s: cannot write", path);
    return OK;
}

static enum status read_file(const struct probe *probe, const char *name, struct buf *buf)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", probe->directory, name);
    buf_init(buf, (size_t)1 << 30);
    return fs_read_file(path, buf);
}

static enum status write_tensors(const struct probe *probe)
{
    static const char *const kinds[] = {"parameter", "statistic", "momentum", "queue"};
    char path[512];
    snprintf(path, sizeof(path), "%s/tensors.txt", probe->directory);
    FILE *file = fopen(path, "w");
    if (file == NULL)
        return fail(ERR_IO, "%s: cannot write", path);
    for (int i = 0; i < probe->state->layout.tensor_count; i++) {
        const struct state_tensor *tensor = &probe->state->layout.tensors[i];
        fprintf(file, "%s %s %zu", tensor->name, kinds[tensor->kind], tensor->offset);
        for (int d = 0; d < tensor->rank; d++)
            fprintf(file, " %" PRId64, tensor->shape[d]);
        fprintf(file, "\n");
    }
    fclose(file);
    return write_floats(probe, "initial.f32", probe->state->block,
                        probe->state->layout.total_floats);
}

/* As the run's config is, with a classifier as wide as its head. */
static void become_classifier(struct config *config)
{
    const struct config run = *config;
    const struct finetune_rule rule = {
        .class_count = (int)run.model.head[run.model.head_count - 1],
        .batch = (int)run.train.batch_images,
        .slot_images = (int)run.train.slot_images,
    };
    finetune_config(&run, &rule, config);
}

static enum status start(struct probe *probe, const char *config_path, int is_classifier)
{
    config_init(&probe->config);
    TRY(config_load(config_path, &probe->config));
    if (is_classifier)
        become_classifier(&probe->config);
    TRY(device_open("cpu", 1, &probe->device));
    TRY(state_create(&probe->config, probe->device, &probe->state));
    state_reset(probe->state, (uint64_t)probe->config.run.seed);
    const struct collective_group group = {
        .engine = COLLECTIVE_SELF,
        .size = 1,
        .region = probe->state->block,
        .region_bytes = probe->state->bytes,
        .region_fd = -1,
        .listen_fd = -1,
        .form_timeout_ms = 1000,
        .timeout_ms = 1000,
    };
    TRY(collective_form(&group, &probe->collective));
    TRY(read_file(probe, "crops.u8", &probe->crops));
    const uint32_t slots = (uint32_t)config_slots(&probe->config);
    probe->batch = (struct batch){
        .slot_count = slots,
        .slot_images = (uint32_t)probe->config.train.slot_images,
        .slots = mem_array(slots, sizeof(uint32_t)),
        .group_count = (int)probe->config.crop_count,
    };
    for (uint32_t i = 0; i < slots; i++)
        probe->batch.slots[i] = i;
    return write_tensors(probe);
}

/* The crops of that step. */
static void take_batch(struct probe *probe, uint64_t number)
{
    size_t bytes[CONFIG_CROPS_MAX], step = 0;
    for (int g = 0; g < probe->batch.group_count; g++) {
        const struct config_crop *crop = &probe->config.crops[g];
        bytes[g] =
            (size_t)(probe->config.train.batch_images * crop->count * crop->size * crop->size * 3);
        step += bytes[g];
    }
    size_t at = (size_t)(number % (probe->crops.length / step)) * step;
    for (int g = 0; g < probe->batch.group_count; at += bytes[g++])
        probe->batch.crops[g] = probe->crops.bytes + at;
}

/* features.f32, grads.f32, after.f32 (the block with moved statistics). */
static enum status run_trunk(struct probe *probe)
{
    struct model *model = NULL;
    struct buckets buckets;
    struct buf upstream;
    TRY(model_create(&probe->config, probe->state, (int)probe->batch.slot_count, 0, &model));
    struct trunk *trunk = &model->trunk;
    const size_t width = (size_t)architecture_width(&trunk->architecture);
    take_batch(probe, 0);
    TRY(model_load(model, probe->collective, &probe->batch));
    trunk_load_weights(trunk);
    TRY(trunk_forward(trunk));
    TRY(write_floats(probe, "features.f32", trunk->features,
                     (size_t)rows_total(&model->team.rows) * width));

    TRY(read_file(probe, "features_grad.f32", &upstream));
    float *grad = (float *)(void *)upstream.bytes;
    for (int r = 0; r < model->team.rows.resolution_count; r++)
        for (size_t i = 0; i < (size_t)rows_count(&model->team.rows, r) * width; i++)
            grad[(size_t)rows_first(&model->team.rows, r) * width + i] /=
                (float)trunk_last_pixels(trunk, r);
    buckets_init(&buckets, &model->team, &probe->config);
    TRY(buckets_begin(&buckets, 0, NULL, 0));
    buckets_expect(&buckets);
    TRY(trunk_backward(trunk, grad, &buckets));
    TRY(buckets_finish(&buckets));
    TRY(write_floats(probe, "grads.f32", probe->state->grads,
                     probe->state->layout.parameter_floats));
    model_move_statistics(model, (float)probe->config.model.bn_momentum);
    TRY(write_floats(probe, "after.f32", probe->state->block, probe->state->layout.total_floats));
    buf_done(&upstream);
    model_destroy(model);
    return OK;
}

/* eval.f32: of step 0's first resolution, in evaluation mode. */
static enum status write_features(struct probe *probe)
{
    struct inference *inference = NULL;
    const struct config_crop *crop = &probe->config.crops[0];
    const int rows = (int)(probe->config.train.batch_images * crop->count);
    TRY(inference_create(&probe->config, probe->state, (int)crop->size, &inference));
    const size_t count = (size_t)rows * (size_t)inference_width(inference);
    float *features = mem_array(count, sizeof(*features));
    take_batch(probe, 0);
    enum status status = inference_run(inference, probe->batch.crops[0], rows, features);
    if (status == OK)
        status = write_floats(probe, "eval.f32", features, count);
    mem_free(features);
    inference_destroy(inference);
    return status;
}

/* losses.txt, grads.f32 of step 0, after1.f32, after.f32, eval.f32 (features of step 0's first
 * resolution). */
static enum status run_train(struct probe *probe, uint64_t steps, double lr)
{
    struct step *step = NULL;
    char path[512];
    snprintf(path, sizeof(path), "%s/losses.txt", probe->directory);
    FILE *losses = fopen(path, "w");
    TRY(step_create(&probe->config, probe->state, &step));
    for (uint64_t number = 0; number < steps; number++) {
        struct step_result result;
        take_batch(probe, number);
        TRY(step_compute(step, probe->collective, number, &probe->batch, &result));
        fprintf(losses, "%.9g %.9g\n", result.loss, result.grad_norm);
        if (number == 0)
            TRY(write_floats(probe, "grads.f32", probe->state->grads,
                             probe->state->layout.parameter_floats));
        TRY(step_apply(step, number, lr));
        if (number == 0)
            TRY(write_floats(probe, "after1.f32", probe->state->block,
                             probe->state->layout.total_floats));
    }
    fclose(losses);
    step_destroy(step);
    TRY(write_floats(probe, "after.f32", probe->state->block, probe->state->layout.total_floats));
    return write_features(probe);
}

/* The labels of that step's rows. */
static void take_labels(const struct probe *probe, const struct buf *all, uint64_t number,
                        int32_t *ret_labels)
{
    const size_t rows = (size_t)probe->config.train.batch_images;
    const float *labels = (const float *)(const void *)all->bytes;
    const size_t steps = all->length / sizeof(*labels) / rows;
    for (size_t row = 0; row < rows; row++)
        ret_labels[row] = (int32_t)labels[number % steps * rows + row];
}

static enum status finetune(struct probe *probe, struct image_classifier *classifier,
                            struct parameter_groups *groups, uint64_t steps,
                            const struct parameter_rates *rates)
{
    char path[512];
    struct buf all;
    int32_t *labels = mem_array((size_t)probe->config.train.batch_images, sizeof(*labels));
    snprintf(path, sizeof(path), "%s/losses.txt", probe->directory);
    FILE *losses = fopen(path, "w");
    TRY(read_file(probe, "labels.f32", &all));
    for (uint64_t number = 0; number < steps; number++) {
        double loss = 0;
        take_batch(probe, number);
        take_labels(probe, &all, number, labels);
        TRY(image_classifier_compute(classifier, probe->collective, number, &probe->batch, labels,
                                     &loss));
        fprintf(losses, "%.9g\n", loss);
        parameter_groups_update(groups, rates);
        image_classifier_move_statistics(classifier, (float)probe->config.model.bn_momentum);
    }
    fclose(losses);
    buf_done(&all);
    mem_free(labels);
    return OK;
}

/* losses.txt, after.f32. */
static enum status run_finetune(struct probe *probe, char **argv)
{
    struct image_classifier *classifier = NULL;
    struct parameter_groups groups;
    const struct parameter_rates rates = {
        .trunk = strtod(argv[5], NULL),
        .classifier = strtod(argv[6], NULL),
        .momentum = 0.9,
        .weight_decay = 0.5,
        .is_nesterov = strcmp(argv[7], "1") == 0,
    };
    TRY(image_classifier_create(&probe->config, probe->state, (int)probe->batch.slot_count,
                                &classifier));
    TRY(parameter_groups_init(&groups, probe->state));
    TRY(finetune(probe, classifier, &groups, strtoull(argv[4], NULL, 10), &rates));
    parameter_groups_done(&groups);
    image_classifier_destroy(classifier);
    return write_floats(probe, "after.f32", probe->state->block, probe->state->layout.total_floats);
}

static enum status run(struct probe *probe, int argc, char **argv)
{
    if (argc < 4)
        return fail(ERR_INPUT, "usage: learner_probe trunk|train|finetune CONFIG DIR ...");
    probe->directory = argv[3];
    TRY(start(probe, argv[2], strcmp(argv[1], "finetune") == 0));
    if (strcmp(argv[1], "trunk") == 0)
        return run_trunk(probe);
    if (strcmp(argv[1], "finetune") == 0)
        return argc < 8 ? fail(ERR_INPUT, "finetune needs STEPS LR CLASSIFIER_LR NESTEROV")
                        : run_finetune(probe, argv);
    if (argc < 6)
        return fail(ERR_INPUT, "train needs STEPS and LR");
    return run_train(probe, strtoull(argv[4], NULL, 10), strtod(argv[5], NULL));
}

int main(int argc, char **argv)
{
    struct probe probe = {0};
    enum status status = run(&probe, argc, argv);
    if (status != OK)
        fprintf(stderr, "learner_probe: %s\n", fail_message());
    mem_free(probe.batch.slots);
    buf_done(&probe.crops);
    collective_destroy(probe.collective);
    state_destroy(probe.state);
    device_close(probe.device);
    return status_exit_code(status);
}
