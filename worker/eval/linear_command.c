/* linear_command.c - `seer eval linear`: the paper's linear classifiers on frozen features. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/json.h"
#include "common/mem.h"
#include "loader/progress.h"
#include "worker/eval/eval_command.h"
#include "worker/eval/trial.h"
#include "worker/eval/views.h"

struct request {
    struct trial_request trial;
    int64_t epochs;
    int is_cached, has_baselines;
};

struct result {
    double top1[LAYERS_MAX];
    int64_t test_images, skipped;
    double pixels_top1, random_top1; /* of no meaning without --baselines */
};

/* Pictures that random weights are normalised with. */
enum { CALIBRATION_PICTURES = 2048 };

static enum status check_request(const struct request *request)
{
    TRY(trial_request_check(&request->trial));
    if (request->epochs < 1 || request->epochs > 100000)
        return fail(ERR_INPUT, "--epochs must be 1 to 100000");
    return OK;
}

static int best_of(const double *top1, int count)
{
    int best = 0;
    for (int i = 1; i < count; i++)
        if (top1[i] > top1[best])
            best = i;
    return best;
}

static struct probe_rule rule_of(const struct trial *trial, const struct request *request)
{
    const uint64_t batch = (uint64_t)request->trial.batch;
    const uint64_t images = (uint64_t)request->epochs * trial->items.count;
    return trial_rule(trial, (images + batch - 1) / batch);
}

/* Each picture once, as testing sees it. */
static enum status learn_cached(const struct request *request, struct trial *trial,
                                struct features *features, struct probe *probe,
                                struct result *result)
{
    struct feature_set train;
    struct subset chosen = {0}, rows;
    subset_unite(&chosen, &trial->items);
    enum status status =
        feature_set_load(features, request->trial.train, trial->size, &chosen, &train);
    subset_done(&chosen);
    TRY(status);
    subset_sample((uint64_t)train.count, 0, &rows);
    probe_standardise(probe, &train, &rows);
    status = probe_learn_set(probe, &train, &rows);
    result->skipped += train.skipped;
    subset_done(&rows);
    feature_set_done(&train);
    return status;
}

/* Steps until steps_until, one batch of views each. */
static enum status learn_pass(struct views *views, struct features *features, struct probe *probe,
                              float *const *values, uint64_t steps_until)
{
    while (probe_step(probe) < steps_until) {
        const struct batch *batch;
        const int32_t *labels;
        TRY(views_next(views, &batch, &labels));
        TRY(features_of_layers(features, batch->crops[0], views_batch(views), values));
        probe_learn(probe, (const float *const *)values, labels);
    }
    return OK;
}

/* Portions of a hundredth, so that a classifier that diverges is noticed. */
static enum status learn_portions(struct views *views, struct features *features,
                                  struct probe *probe, float *const *values, uint64_t steps)
{
    enum { PORTIONS = 100 };
    double losses[LAYERS_MAX];
    enum status status = OK;
    struct progress progress;
    progress_start(&progress, "training", 0);
    for (uint64_t portion = 1; portion <= PORTIONS && status == OK; portion++) {
        status = learn_pass(views, features, probe, values, steps * portion / PORTIONS);
        if (status == OK)
            status = probe_losses(probe, losses);
        progress_show(&progress, (double)portion / PORTIONS,
                      probe_step(probe) * (uint64_t)views_batch(views), views_replaced(views), 0);
    }
    progress_stop(&progress);
    return status;
}

static enum status learn_views(const struct request *request, struct trial *trial,
                               struct features *features, struct probe *probe,
                               struct result *result)
{
    struct views *views;
    float *values[LAYERS_MAX] = {0};
    const struct views_rule rule = {
        .size = trial->size,
        .batch = (int)request->trial.batch,
        .threads = (int)request->trial.threads,
        .max_pixels = trial->saved.config.data.max_pixels,
        .seed = (uint64_t)request->trial.seed,
    };
    TRY(views_open(&trial->train, &trial->items, &rule, &views));
    for (int i = 0; i < features_layer_count(features); i++)
        values[i] = mem_array((size_t)rule.batch * (size_t)features_layer(features, i)->width,
                              sizeof(float));
    enum status status =
        learn_portions(views, features, probe, values, rule_of(trial, request).steps);
    result->skipped += (int64_t)views_replaced(views);
    for (int i = 0; i < LAYERS_MAX; i++)
        mem_free(values[i]);
    views_close(views);
    return status;
}

/* Trains and tests a classifier on each layer of features. */
static enum status measure(const struct request *request, struct trial *trial,
                           struct features *features, struct result *result)
{
    struct probe *probe;
    struct feature_set test;
    double losses[LAYERS_MAX];
    const struct probe_rule rule = rule_of(trial, request);
    TRY(probe_create(trial->device, features_layer(features, 0), features_layer_count(features),
                     &rule, &probe));
    enum status status = request->is_cached ? learn_cached(request, trial, features, probe, result)
                                            : learn_views(request, trial, features, probe, result);
    if (status == OK)
        status = probe_losses(probe, losses);
    if (status == OK)
        status = trial_test_set(trial, features, &test);
    if (status == OK) {
        result->test_images = test.count;
        result->skipped += test.skipped;
        status = probe_score(probe, &test, result->top1);
        feature_set_done(&test);
    }
    probe_destroy(probe);
    return status;
}

static enum status open_random(const struct request *request, struct trial *trial,
                               struct features **ret_features)
{
    struct pictures pictures;
    struct features *features;
    TRY(pictures_load(request->trial.train, trial->size, CALIBRATION_PICTURES, &pictures));
    enum status status =
        features_open_random(&trial->saved.config, &pictures, trial->device, &features);
    pictures_done(&pictures);
    TRY(status);
    status = features_set_layers(features, trial->layers, trial->layer_count);
    if (status == OK)
        *ret_features = features;
    else
        features_close(features);
    return status;
}

/* The best classifier on features that were not learned; takes them over. */
static enum status measure_baseline(const struct request *request, struct trial *trial,
                                    struct features *features, double *ret_top1)
{
    struct result other = {0};
    enum status status = measure(request, trial, features, &other);
    if (status == OK)
        *ret_top1 = other.top1[best_of(other.top1, features_layer_count(features))];
    features_close(features);
    return status;
}

static enum status measure_baselines(const struct request *request, struct trial *trial,
                                     struct result *result)
{
    struct features *features;
    TRY(open_random(request, trial, &features));
    TRY(measure_baseline(request, trial, features, &result->random_top1));
    TRY(features_open_pixels(&trial->saved.config, &features));
    return measure_baseline(request, trial, features, &result->pixels_top1);
}

static json_t *result_json(const struct request *request, const struct trial *trial,
                           const struct result *result)
{
    const int best = best_of(result->top1, trial->layer_count);
    json_t *json = trial_json(trial, "linear"), *layers = json_array();
    for (int i = 0; i < trial->layer_count; i++) {
        const struct layer *layer = &trial->layers[i];
        json_array_append_new(layers, json_pack("{s:s, s:[i, i], s:i, s:f}", "layer", layer->name,
                                                "grid", layer->rows, layer->columns, "features",
                                                layer->width, "top1", result->top1[i]));
    }
    json_object_set_new(json, "top1", json_real(result->top1[best]));
    json_object_set_new(json, "best_layer", json_string(trial->layers[best].name));
    json_object_set_new(json, "layers", layers);
    json_object_set_new(json, "epochs", json_integer(request->epochs));
    json_object_set_new(json, "views", json_string(request->is_cached ? "cached" : "crops"));
    json_object_set_new(json, "train_images", json_integer((json_int_t)trial->items.count));
    json_object_set_new(json, "test_images", json_integer(result->test_images));
    json_object_set_new(json, "skipped_images", json_integer(result->skipped));
    if (request->has_baselines) {
        json_object_set_new(json, "baseline_pixels_top1", json_real(result->pixels_top1));
        json_object_set_new(json, "baseline_random_init_top1", json_real(result->random_top1));
    }
    return json;
}

static void print_table(const struct request *request, const struct trial *trial,
                        const struct result *result)
{
    printf("linear top-1 of step %" PRIu64 ", %" PRId64 " epochs of %" PRIu64
           " train images, %" PRId64 " test images\n",
           trial->saved.step, request->epochs, trial->items.count, result->test_images);
    for (int i = 0; i < trial->layer_count; i++)
        printf("  %-14s %6.2f %%   %dx%d, %d features%s\n", trial->layers[i].name, result->top1[i],
               trial->layers[i].rows, trial->layers[i].columns, trial->layers[i].width,
               i == best_of(result->top1, trial->layer_count) ? ", best" : "");
    if (request->has_baselines)
        printf("  raw pixels     %6.2f %%\n  random weights %6.2f %%\n", result->pixels_top1,
               result->random_top1);
}

static enum status run_linear(const struct request *request)
{
    struct features *features = NULL;
    struct result result = {0};
    struct trial *trial = mem_zero(sizeof(*trial));
    enum status status = trial_open(&request->trial, trial);
    if (status == OK)
        status = trial_features(trial, &features);
    if (status == OK)
        status = measure(request, trial, features, &result);
    features_close(features);
    if (status == OK && request->has_baselines)
        status = measure_baselines(request, trial, &result);
    if (status == OK) {
        json_t *json = result_json(request, trial, &result);
        trial_keep(request->trial.snapshot, trial->saved.step, "linear", json);
        if (options_is_json(request->trial.output))
            json_print(json);
        else
            print_table(request, trial, &result);
        json_decref(json);
    }
    trial_close(trial);
    mem_free(trial);
    return status;
}

static int linear_run(int argc, char **argv)
{
    struct request request = {.trial = trial_request_usual(), .epochs = 28};
    struct trial_request *trial = &request.trial;
    const struct option_row rows[] = {
        TRIAL_ROWS_STORES(trial),
        {"layers", 'l', OPTION_STRING, &trial->layers, "LAYERS",
         "such as res4:2x1,res5,avgpool (the last two stages and avgpool)"},
        {"epochs", 'e', OPTION_INT, &request.epochs, "N", "passes over the training images (28)"},
        {"batch", 'b', OPTION_INT, &trial->batch, "N", "images of a step (256)"},
        {"lr", 0, OPTION_DOUBLE, &trial->lr, "X", "learning rate of a batch of 256 (0.01)"},
        {"weight-decay", 0, OPTION_DOUBLE, &trial->weight_decay, "X", "(0.0005)"},
        {"cached", 0, OPTION_FLAG, &request.is_cached, NULL,
         "look at each training image once, uncropped, and keep its features in memory"},
        {"baselines", 0, OPTION_FLAG, &request.has_baselines, NULL,
         "the same with random weights and with raw pixels"},
        {"seed", 0, OPTION_INT, &trial->seed, "N", "of order, crops and weights (0)"},
        {"train-limit", 0, OPTION_INT, &trial->train_limit, "N",
         "a random sample of the training images; 0, the default, is all"},
        {"test-limit", 0, OPTION_INT, &trial->test_limit, "N", "likewise of the test images"},
        TRIAL_ROWS_MEANS(trial),
        {0},
    };
    const struct usage usage = {
        .program = "seer eval linear",
        .synopsis = "--snapshot FILE --train STORE --test STORE [options]",
        .summary = "Trains linear classifiers on frozen features of several layers, as the paper "
                   "does, and\n"
                   "says what each gets right of the test images.",
        .examples = "  seer eval linear --snapshot run/snapshots/step-000000500.safetensors "
                    "--train a --test b",
        .options = rows,
    };
    enum status status = options_parse_all(&usage, argc, argv);
    if (status == OK)
        status = options_check_output(trial->output);
    if (status == OK)
        status = check_request(&request);
    if (status != OK)
        return options_exit(&usage, status);
    return command_exit(usage.program, run_linear(&request));
}

const struct command linear_command = {"linear", "train linear classifiers on frozen features",
                                       linear_run};
