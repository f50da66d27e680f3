/* eval_command.c - `seer eval knn`: what the features of a snapshot are worth. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/eval/eval_command.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/mem.h"
#include "worker/eval/features.h"
#include "worker/eval/trial.h"

struct request {
    const char *snapshot, *train, *test, *device, *output;
    int64_t k, train_limit, test_limit, threads;
};

struct result {
    double top1, pixels_top1, random_top1;
    int64_t train_images, test_images, skipped;
    uint64_t step;
};

/* Everything an evaluation holds, so that one place lets go of it. */
struct evaluation {
    struct saved_state saved;
    struct device *device;
    struct pictures train, test;
};

static enum status check_request(const struct request *request)
{
    if (request->snapshot == NULL || request->train == NULL || request->test == NULL)
        return fail(ERR_INPUT, "--snapshot, --train and --test are needed");
    if (request->k < 1 || request->k > KNN_K_MAX)
        return fail(ERR_INPUT, "--k must be 1 to %d", KNN_K_MAX);
    if (request->train_limit < 0 || request->test_limit < 0)
        return fail(ERR_INPUT, "a limit must not be negative; 0 takes all");
    if (request->threads < 1 || request->threads > 1024)
        return fail(ERR_INPUT, "--threads must be 1 to 1024");
    return OK;
}

static enum status prepare(const struct request *request, struct evaluation *evaluation)
{
    TRY(saved_state_open(request->snapshot, &evaluation->saved));
    TRY(device_open(request->device, (int)request->threads, &evaluation->device));
    int size = features_picture_size(&evaluation->saved.config);
    TRY(pictures_load(request->train, size, (uint64_t)request->train_limit, &evaluation->train));
    TRY(pictures_load(request->test, size, (uint64_t)request->test_limit, &evaluation->test));
    return pictures_relabel(&evaluation->test, request->test, request->train);
}

static enum status vote(struct evaluation *evaluation, int64_t k, struct features *features,
                        double *ret_top1)
{
    struct knn_set train = {0}, test = {0};
    enum status status = OK;
    if (features == NULL) {
        pictures_pixel_features(&evaluation->train, &train);
        pictures_pixel_features(&evaluation->test, &test);
    } else {
        status = features_of_all(features, &evaluation->train, &train);
        if (status == OK)
            status = features_of_all(features, &evaluation->test, &test);
    }
    if (status == OK)
        status = knn_top1(evaluation->device, &train, &test, (int)k, ret_top1);
    mem_free(train.values);
    mem_free(test.values);
    return status;
}

static enum status evaluate(const struct request *request, struct evaluation *evaluation,
                            struct result *ret_result)
{
    struct features *features = NULL;
    enum status status = features_open(&evaluation->saved, evaluation->device, &features);
    if (status == OK)
        status = vote(evaluation, request->k, features, &ret_result->top1);
    features_close(features);
    TRY(status);

    features = NULL;
    status = features_open_random(&evaluation->saved.config, &evaluation->train, evaluation->device,
                                  &features);
    if (status == OK)
        status = vote(evaluation, request->k, features, &ret_result->random_top1);
    features_close(features);
    TRY(status);
    return vote(evaluation, request->k, NULL, &ret_result->pixels_top1);
}

static void print_result(const struct request *request, const struct result *result)
{
    if (options_is_json(request->output)) {
        printf("{\"schema_version\": 1, \"top1\": %.3f, \"k\": %" PRId64
               ", \"train_images\": %" PRId64 ", \"test_images\": %" PRId64
               ", \"baseline_pixels_top1\": %.3f, \"baseline_random_init_top1\": %.3f"
               ", \"skipped_images\": %" PRId64 ", \"step\": %" PRIu64 "}\n",
               result->top1, request->k, result->train_images, result->test_images,
               result->pixels_top1, result->random_top1, result->skipped, result->step);
        return;
    }
    printf("kNN top-1 of step %" PRIu64 ", k %" PRId64 ", %" PRId64 " train and %" PRId64
           " test images\n",
           result->step, request->k, result->train_images, result->test_images);
    printf("  snapshot        %5.1f %%\n  raw pixels      %5.1f %%\n  random weights  %5.1f %%\n",
           result->top1, result->pixels_top1, result->random_top1);
}

static void keep_result(const struct request *request, const struct result *result)
{
    json_t *json =
        json_pack("{s:i, s:s, s:I, s:f, s:I, s:I, s:I, s:f, s:f}", "schema_version", 1,
                  "evaluation", "knn", "step", (json_int_t)result->step, "top1", result->top1, "k",
                  (json_int_t)request->k, "train_images", (json_int_t)result->train_images,
                  "test_images", (json_int_t)result->test_images, "baseline_pixels_top1",
                  result->pixels_top1, "baseline_random_init_top1", result->random_top1);
    trial_keep(request->snapshot, result->step, "knn", json);
    json_decref(json);
}

static enum status run_knn(const struct request *request)
{
    struct result result = {0};
    struct evaluation *evaluation = mem_zero(sizeof(*evaluation));
    enum status status = prepare(request, evaluation);
    if (status == OK)
        status = evaluate(request, evaluation, &result);
    if (status == OK) {
        result.train_images = evaluation->train.count;
        result.test_images = evaluation->test.count;
        result.skipped = evaluation->train.skipped + evaluation->test.skipped;
        result.step = evaluation->saved.step;
        print_result(request, &result);
        keep_result(request, &result);
    }
    pictures_done(&evaluation->test);
    pictures_done(&evaluation->train);
    if (evaluation->device != NULL)
        device_close(evaluation->device);
    saved_state_close(&evaluation->saved);
    mem_free(evaluation);
    return status;
}

static int knn_run(int argc, char **argv)
{
    struct request request = {
        .device = "cpu",
        .k = 20,
        .threads = sysconf(_SC_NPROCESSORS_ONLN),
    };
    const struct option_row rows[] = {
        {"snapshot", 's', OPTION_STRING, &request.snapshot, "FILE", "whose features"},
        {"train", 0, OPTION_STRING, &request.train, "STORE", "labelled images that vote"},
        {"test", 0, OPTION_STRING, &request.test, "STORE", "labelled images to classify"},
        {"k", 'k', OPTION_INT, &request.k, "N", "neighbours that vote (20)"},
        {"train-limit", 0, OPTION_INT, &request.train_limit, "N",
         "a random sample of the training images; 0, the default, is all"},
        {"test-limit", 0, OPTION_INT, &request.test_limit, "N", "likewise of the test images"},
        {"device", 0, OPTION_STRING, &request.device, "NAME", "cpu (default) or cuda:N"},
        {"threads", 0, OPTION_INT, &request.threads, "N", "of the cpu (all cores)"},
        {"output", 'o', OPTION_STRING, &request.output, "FORMAT", "table (default) or json"},
        {0},
    };
    const struct usage usage = {
        .program = "seer eval knn",
        .synopsis = "--snapshot FILE --train STORE --test STORE [options]",
        .summary = "Classifies test images by their nearest training images, in the features of a "
                   "snapshot,\n"
                   "of random weights, and in raw pixels.",
        .examples = "  seer eval knn --snapshot run/snapshots/step-000000500.safetensors --train a "
                    "--test b",
        .options = rows,
    };
    enum status status = options_parse_all(&usage, argc, argv);
    if (status == OK)
        status = options_check_output(request.output);
    if (status == OK)
        status = check_request(&request);
    if (status != OK)
        return options_exit(&usage, status);
    return command_exit(usage.program, run_knn(&request));
}

static const struct command knn_command = {
    "knn", "classify by the nearest training images, without training", knn_run};

static const struct command *const kinds[] = {&knn_command, &linear_command, &lowshot_command,
                                              &finetune_command};

static int eval_run(int argc, char **argv)
{
    const struct command_group group = {"seer eval", "Measures what the features are worth.", kinds,
                                        sizeof(kinds) / sizeof(kinds[0])};
    return command_run(&group, argc, argv);
}

const struct command eval_command = {"eval", "measure what the features are worth", eval_run};
