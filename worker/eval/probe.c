/* probe.c - linear classifiers on frozen features, one on each layer, trained side by side. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/eval/probe.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "common/mem.h"
#include "common/random.h"
#include "worker/eval/standard.h"
#include "worker/eval/top1.h"
#include "worker/model/arena.h"
#include "worker/optim/tensor_table.h"

enum {
    SCORE_ROWS = 256, /* scored at once */
    RATE_BATCH = 256, /* what learning rates are said for */
};

/* Parameters of all classifiers together. */
#define PROBE_FLOATS_MAX (INT64_C(1) << 32)

struct classifier {
    struct layer layer;
    struct standard standard;
    size_t weight, bias; /* first elements, [classes][width] and [classes] */
};

struct probe {
    struct device *device;
    const struct device_ops *ops;
    struct probe_rule rule;
    int count;
    struct classifier classifiers[LAYERS_MAX];
    uint64_t step, losses_from;

    struct arena arena; /* all that follows, but for what is said to be on the host */
    size_t float_count;
    struct optimizer_tensors tensors;
    float *x;       /* [rows][widest layer] */
    float *logits;  /* [rows][classes] */
    float *grad;    /* [rows][classes] */
    float *targets; /* [rows][classes] one-hot */
    double *losses; /* [LAYERS_MAX] sums */
    float *host;    /* [rows][widest layer or classes]; owned */
    float *one_hot; /* on the host: [rows][classes]; owned */
};

double probe_rate(const struct probe_rule *rule, uint64_t step)
{
    double rate = rule->lr * rule->batch / RATE_BATCH;
    for (uint64_t passed = 8; passed <= 24; passed += 8)
        if (step * 28 >= rule->steps * passed)
            rate /= 10;
    return rate;
}

static int rows_of(const struct probe *probe)
{
    return probe->rule.batch > SCORE_ROWS ? probe->rule.batch : SCORE_ROWS;
}

static size_t widest(const struct probe *probe)
{
    size_t most = (size_t)probe->rule.class_count;
    for (int i = 0; i < probe->count; i++) {
        const size_t width = (size_t)probe->classifiers[i].layer.width;
        most = width > most ? width : most;
    }
    return most;
}

static void place_classifiers(struct probe *probe, const struct layer *layers)
{
    const size_t classes = (size_t)probe->rule.class_count;
    for (int i = 0; i < probe->count; i++) {
        struct classifier *classifier = &probe->classifiers[i];
        classifier->layer = layers[i];
        standard_init(&classifier->standard, layers[i].channels,
                      layers[i].rows * layers[i].columns);
        classifier->weight = probe->float_count;
        classifier->bias = classifier->weight + classes * (size_t)layers[i].width;
        probe->float_count = classifier->bias + classes;
    }
}

/* Two tensors a classifier. */
static enum status place_tensors(struct probe *probe)
{
    struct tensor_place places[2 * LAYERS_MAX];
    for (int i = 0; i < probe->count; i++) {
        const struct classifier *classifier = &probe->classifiers[i];
        const size_t weights = classifier->bias - classifier->weight;
        places[2 * i] = (struct tensor_place){classifier->weight, weights};
        places[2 * i + 1] =
            (struct tensor_place){classifier->bias, (size_t)probe->rule.class_count};
    }
    return tensor_table_init(&probe->tensors, &probe->arena, places, 2 * probe->count);
}

static enum status take_memory(struct probe *probe)
{
    struct arena *arena = &probe->arena;
    const size_t rows = (size_t)rows_of(probe), classes = (size_t)probe->rule.class_count;
    probe->tensors = (struct optimizer_tensors){
        .weights = arena_floats(arena, probe->float_count),
        .grads = arena_floats(arena, probe->float_count),
        .momentum = arena_floats(arena, probe->float_count),
    };
    probe->x = arena_floats(arena, rows * widest(probe));
    probe->logits = arena_floats(arena, rows * classes);
    probe->grad = arena_floats(arena, rows * classes);
    probe->targets = arena_floats(arena, rows * classes);
    probe->losses = arena_take(arena, LAYERS_MAX * sizeof(*probe->losses));
    probe->host = mem_array(rows * widest(probe), sizeof(*probe->host));
    probe->one_hot = mem_array(rows * classes, sizeof(*probe->one_hot));
    return arena_check(arena);
}

static void reset_weights(struct probe *probe)
{
    float *weights = mem_array(probe->float_count, sizeof(*weights));
    for (int i = 0; i < probe->count; i++) {
        struct random random;
        random_init(&random, probe->rule.seed, RANDOM_STREAM_INIT, (uint64_t)i, 0);
        for (size_t j = probe->classifiers[i].weight; j < probe->classifiers[i].bias; j++)
            weights[j] = (float)(0.01 * random_normal(&random));
    }
    probe->ops->upload(probe->device, probe->tensors.weights, weights,
                       probe->float_count * sizeof(*weights));
    mem_free(weights);
}

enum status probe_create(struct device *device, const struct layer *layers, int layer_count,
                         const struct probe_rule *rule, struct probe **ret_probe)
{
    enum status status = OK;
    int64_t floats = 0;
    for (int i = 0; i < layer_count; i++)
        floats += (int64_t)rule->class_count * (layers[i].width + 1);
    if (floats > PROBE_FLOATS_MAX)
        return fail(ERR_INPUT,
                    "classifiers of %d classes on these layers have %" PRId64 " parameters; take "
                    "fewer layers, or coarser grids",
                    rule->class_count, floats);
    struct probe *probe = mem_zero(sizeof(*probe));
    *probe =
        (struct probe){.device = device, .ops = device->ops, .rule = *rule, .count = layer_count};
    arena_init(&probe->arena, device);
    place_classifiers(probe, layers);
    TRY_OUT(take_memory(probe));
    TRY_OUT(place_tensors(probe));
    reset_weights(probe);
    *ret_probe = probe;
    probe = NULL; /* given to the caller */
out:
    probe_destroy(probe);
    return status;
}

void probe_destroy(struct probe *probe)
{
    if (probe == NULL)
        return;
    for (int i = 0; i < probe->count; i++)
        standard_done(&probe->classifiers[i].standard);
    arena_done(&probe->arena);
    mem_free(probe->host);
    mem_free(probe->one_hot);
    mem_free(probe);
}

void probe_standardise(struct probe *probe, const struct feature_set *set,
                       const struct subset *rows)
{
    for (int i = 0; i < probe->count; i++)
        standard_fit(&probe->classifiers[i].standard, set->values[i], rows->items,
                     (int64_t)rows->count);
}

/* features [rows][width] -> probe->x and probe->logits. */
static void classify(struct probe *probe, struct classifier *classifier, const float *features,
                     int rows, int is_training)
{
    const struct device_ops *ops = probe->ops;
    const int width = classifier->layer.width, classes = probe->rule.class_count;
    standard_apply(&classifier->standard, features, rows, is_training, probe->host);
    ops->upload(probe->device, probe->x, probe->host, (size_t)rows * (size_t)width * sizeof(float));
    ops->gemm(probe->device, 0, 1, rows, classes, width, 1, probe->x,
              probe->tensors.weights + classifier->weight, 0, probe->logits);
    ops->bias_activation(probe->device, probe->logits, probe->tensors.weights + classifier->bias,
                         rows, classes, ACTIVATION_NONE, probe->logits);
}

/* Cross-entropy is SwAV's loss with codes of one class and a temperature of 1. */
static void find_gradients(struct probe *probe, int index)
{
    const struct device_ops *ops = probe->ops;
    const struct classifier *classifier = &probe->classifiers[index];
    const int rows = probe->rule.batch, classes = probe->rule.class_count;
    ops->swav_loss(probe->device, probe->logits, probe->targets, 1, rows, classes, 1,
                   1.0f / (float)rows, probe->losses + index, probe->grad);
    ops->gemm(probe->device, 1, 0, classes, classifier->layer.width, rows, 1, probe->grad, probe->x,
              0, probe->tensors.grads + classifier->weight);
    ops->bias_activation_backward(probe->device, probe->grad, NULL, rows, classes, ACTIVATION_NONE,
                                  probe->grad, probe->tensors.grads + classifier->bias, 0);
}

static void upload_targets(struct probe *probe, const int32_t *labels)
{
    const size_t rows = (size_t)probe->rule.batch, classes = (size_t)probe->rule.class_count;
    memset(probe->one_hot, 0, rows * classes * sizeof(*probe->one_hot));
    for (size_t row = 0; row < rows; row++)
        probe->one_hot[row * classes + (size_t)labels[row]] = 1;
    probe->ops->upload(probe->device, probe->targets, probe->one_hot,
                       rows * classes * sizeof(*probe->one_hot));
}

void probe_learn(struct probe *probe, const float *const *features, const int32_t *labels)
{
    const struct optimizer_rule rule = {
        .lr = (float)probe_rate(&probe->rule, probe->step),
        .momentum = (float)probe->rule.momentum,
        .weight_decay = (float)probe->rule.weight_decay,
        .is_nesterov = 1,
    };
    upload_targets(probe, labels);
    for (int i = 0; i < probe->count; i++) {
        classify(probe, &probe->classifiers[i], features[i], probe->rule.batch, 1);
        find_gradients(probe, i);
    }
    probe->ops->optimizer_rule(probe->device, &rule);
    probe->ops->optimizer_update(probe->device, &probe->tensors);
    probe->step++;
}

enum status probe_learn_set(struct probe *probe, const struct feature_set *set,
                            const struct subset *rows)
{
    const int batch = probe->rule.batch;
    float *features[LAYERS_MAX] = {0};
    int32_t *labels = mem_array((size_t)batch, sizeof(*labels));
    for (int i = 0; i < probe->count; i++)
        features[i] = mem_array((size_t)batch * (size_t)set->width[i], sizeof(float));
    while (probe->step < probe->rule.steps) {
        for (int at = 0; at < batch; at++) {
            const uint64_t position = probe->step * (uint64_t)batch + (uint64_t)at;
            const uint64_t row = subset_at(rows, probe->rule.seed, position);
            labels[at] = set->labels[row];
            for (int i = 0; i < probe->count; i++) {
                const size_t width = (size_t)set->width[i];
                memcpy(features[i] + (size_t)at * width, set->values[i] + row * width,
                       width * sizeof(float));
            }
        }
        probe_learn(probe, (const float *const *)features, labels);
    }
    for (int i = 0; i < probe->count; i++)
        mem_free(features[i]);
    mem_free(labels);
    return probe->ops->synchronize(probe->device);
}

uint64_t probe_step(const struct probe *probe)
{
    return probe->step;
}

enum status probe_losses(struct probe *probe, double ret_losses[LAYERS_MAX])
{
    const double rows = (double)(probe->step - probe->losses_from) * (double)probe->rule.batch;
    probe->ops->download(probe->device, ret_losses, probe->losses, LAYERS_MAX * sizeof(double));
    TRY(probe->ops->synchronize(probe->device));
    probe->ops->zero(probe->device, probe->losses, LAYERS_MAX * sizeof(double));
    probe->losses_from = probe->step;
    for (int i = 0; i < probe->count; i++) {
        ret_losses[i] = rows > 0 ? ret_losses[i] / rows : 0;
        if (!isfinite(ret_losses[i]))
            return fail(ERR_INPUT, "the classifier on %s diverged; take a smaller --lr",
                        probe->classifiers[i].layer.name);
    }
    return OK;
}

static int64_t count_right(struct probe *probe, int index, const struct feature_set *set)
{
    const int classes = probe->rule.class_count, width = set->width[index];
    int64_t right = 0;
    for (int64_t first = 0; first < set->count; first += SCORE_ROWS) {
        const int64_t left = set->count - first;
        const int rows = left < SCORE_ROWS ? (int)left : SCORE_ROWS;
        classify(probe, &probe->classifiers[index], set->values[index] + first * width, rows, 0);
        probe->ops->download(probe->device, probe->host, probe->logits,
                             (size_t)rows * (size_t)classes * sizeof(float));
        right += top1_count(probe->host, rows, classes, set->labels + first);
    }
    return right;
}

enum status probe_score(struct probe *probe, const struct feature_set *set,
                        double ret_top1[LAYERS_MAX])
{
    for (int i = 0; i < probe->count; i++)
        ret_top1[i] = 100.0 * (double)count_right(probe, i, set) / (double)set->count;
    return probe->ops->synchronize(probe->device);
}
