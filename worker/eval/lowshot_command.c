/* lowshot_command.c - `seer eval lowshot`: what a few labels are enough for. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "common/mem.h"
#include "worker/eval/eval_command.h"
#include "worker/eval/trial.h"

enum { RULES_MAX = 16, SEEDS_MAX = 100 };

struct request {
    struct trial_request trial;
    const char *percent, *per_class;
    int64_t seeds, steps;
    int rule_count;
    struct subset_rule rules[RULES_MAX];
};

/* Of one rule: accuracies by layer and seed. */
struct outcome {
    double images; /* learned from, on the mean of the seeds */
    double top1[LAYERS_MAX][SEEDS_MAX];
};

struct shots {
    const struct request *request;
    struct trial trial;
    struct subset *subsets; /* [rule_count][seeds]; owned */
    struct feature_set train, test;
    struct outcome *outcomes; /* [rule_count]; owned */
};

static enum status add_rules(struct request *request, const char *option, const char *words,
                             int is_percent)
{
    const char *at = words;
    for (;;) {
        char *end;
        const double number = strtod(at, &end);
        const int is_whole = floor(number) == number;
        if (end == at || (*end != ',' && *end != '\0') || !(number > 0) ||
            (is_percent ? number > 100 : !is_whole || number > 1e9))
            return fail(ERR_INPUT, "%s takes %s with commas between, not '%s'", option,
                        is_percent ? "numbers above 0, 100 at most," : "whole numbers above 0",
                        words);
        if (request->rule_count == RULES_MAX)
            return fail(ERR_INPUT, "at most %d subsets can be measured at once", RULES_MAX);
        request->rules[request->rule_count++] = (struct subset_rule){
            .percent = is_percent ? number : 0,
            .per_class = is_percent ? 0 : (uint64_t)number,
        };
        if (*end == '\0')
            return OK;
        at = end + 1;
    }
}

static enum status check_request(struct request *request)
{
    TRY(trial_request_check(&request->trial));
    if (request->seeds < 1 || request->seeds > SEEDS_MAX)
        return fail(ERR_INPUT, "--seeds must be 1 to %d", SEEDS_MAX);
    if (request->steps < 1 || request->steps > 10000000)
        return fail(ERR_INPUT, "--steps must be 1 to 10000000");
    if (request->percent == NULL && request->per_class == NULL)
        request->percent = "1,10";
    if (request->percent != NULL)
        TRY(add_rules(request, "--percent", request->percent, 1));
    if (request->per_class != NULL)
        TRY(add_rules(request, "--per-class", request->per_class, 0));
    return OK;
}

/* Records of the store; those that the trial leaves out count as unlabelled. */
static void choose_subsets(struct shots *shots, struct subset *ret_union)
{
    const struct request *request = shots->request;
    const struct trial *trial = &shots->trial;
    int32_t *labels = mem_array(trial->train.count, sizeof(*labels));
    memset(labels, -1, trial->train.count * sizeof(*labels));
    for (uint64_t i = 0; i < trial->items.count; i++)
        labels[trial->items.items[i]] = trial->train.labels[trial->items.items[i]];
    *ret_union = (struct subset){0};
    shots->subsets =
        mem_array((size_t)request->rule_count * (size_t)request->seeds, sizeof(*shots->subsets));
    for (int rule = 0; rule < request->rule_count; rule++)
        for (int64_t seed = 0; seed < request->seeds; seed++) {
            struct subset *subset = &shots->subsets[rule * request->seeds + seed];
            subset_choose(labels, trial->train.count, trial->train.class_count,
                          &request->rules[rule], (uint64_t)(request->trial.seed + seed), subset);
            subset_unite(ret_union, subset);
        }
    mem_free(labels);
}

static enum status load_features(struct shots *shots)
{
    struct features *features;
    struct subset all;
    TRY(trial_features(&shots->trial, &features));
    choose_subsets(shots, &all);
    enum status status = feature_set_load(features, shots->request->trial.train, shots->trial.size,
                                          &all, &shots->train);
    if (status == OK)
        status = trial_test_set(&shots->trial, features, &shots->test);
    subset_done(&all);
    features_close(features);
    return status;
}

/* Learns from one subset. */
static enum status measure(struct shots *shots, int rule, int seed)
{
    const struct request *request = shots->request;
    struct outcome *outcome = &shots->outcomes[rule];
    struct probe_rule probe_rule = trial_rule(&shots->trial, (uint64_t)request->steps);
    double top1[LAYERS_MAX], losses[LAYERS_MAX];
    struct subset rows;
    struct probe *probe = NULL;
    enum status status = OK;
    probe_rule.seed += (uint64_t)seed;
    feature_set_rows(&shots->train, &shots->subsets[rule * request->seeds + seed], &rows);
    if (rows.count == 0)
        TRY_OUT(fail(ERR_INPUT, "store '%s': none of the pictures chosen can be decoded",
                     request->trial.train));
    TRY_OUT(probe_create(shots->trial.device, shots->trial.layers, shots->trial.layer_count,
                         &probe_rule, &probe));
    probe_standardise(probe, &shots->train, &rows);
    TRY_OUT(probe_learn_set(probe, &shots->train, &rows));
    TRY_OUT(probe_losses(probe, losses));
    TRY_OUT(probe_score(probe, &shots->test, top1));
    for (int i = 0; i < shots->trial.layer_count; i++)
        outcome->top1[i][seed] = top1[i];
    outcome->images += (double)rows.count / (double)request->seeds;
out:
    probe_destroy(probe);
    subset_done(&rows);
    return status;
}

static double mean_of(const double *values, int64_t count)
{
    double sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += values[i];
    return sum / (double)count;
}

/* Of a sample; 0 for one value. */
static double deviation_of(const double *values, int64_t count)
{
    const double mean = mean_of(values, count);
    double sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += (values[i] - mean) * (values[i] - mean);
    return count > 1 ? sqrt(sum / (double)(count - 1)) : 0;
}

static int best_layer(const struct shots *shots, const struct outcome *outcome)
{
    const int64_t seeds = shots->request->seeds;
    int best = 0;
    for (int i = 1; i < shots->trial.layer_count; i++)
        if (mean_of(outcome->top1[i], seeds) > mean_of(outcome->top1[best], seeds))
            best = i;
    return best;
}

static json_t *layer_json(const struct shots *shots, const struct outcome *outcome, int index)
{
    const int64_t seeds = shots->request->seeds;
    const struct layer *layer = &shots->trial.layers[index];
    json_t *all = json_array();
    for (int64_t seed = 0; seed < seeds; seed++)
        json_array_append_new(all, json_real(outcome->top1[index][seed]));
    return json_pack("{s:s, s:[i, i], s:i, s:f, s:f, s:o}", "layer", layer->name, "grid",
                     layer->rows, layer->columns, "features", layer->width, "top1",
                     mean_of(outcome->top1[index], seeds), "std",
                     deviation_of(outcome->top1[index], seeds), "top1_by_seed", all);
}

static json_t *outcome_json(const struct shots *shots, int index)
{
    const struct outcome *outcome = &shots->outcomes[index];
    const struct subset_rule *rule = &shots->request->rules[index];
    const int64_t seeds = shots->request->seeds;
    const int best = best_layer(shots, outcome);
    json_t *layers = json_array();
    for (int i = 0; i < shots->trial.layer_count; i++)
        json_array_append_new(layers, layer_json(shots, outcome, i));
    json_t *json = json_pack("{s:f, s:f, s:f, s:s, s:o}", "images", outcome->images, "top1",
                             mean_of(outcome->top1[best], seeds), "std",
                             deviation_of(outcome->top1[best], seeds), "best_layer",
                             shots->trial.layers[best].name, "layers", layers);
    if (rule->per_class > 0)
        json_object_set_new(json, "per_class", json_integer((json_int_t)rule->per_class));
    else
        json_object_set_new(json, "percent", json_real(rule->percent));
    return json;
}

static json_t *result_json(const struct shots *shots)
{
    json_t *json = trial_json(&shots->trial, "lowshot"), *subsets = json_array();
    for (int i = 0; i < shots->request->rule_count; i++)
        json_array_append_new(subsets, outcome_json(shots, i));
    json_object_set_new(json, "subsets", subsets);
    json_object_set_new(json, "seeds", json_integer(shots->request->seeds));
    json_object_set_new(json, "steps", json_integer(shots->request->steps));
    json_object_set_new(json, "test_images", json_integer(shots->test.count));
    json_object_set_new(json, "skipped_images",
                        json_integer(shots->train.skipped + shots->test.skipped));
    return json;
}

static void print_table(const struct shots *shots)
{
    const int64_t seeds = shots->request->seeds;
    printf("low-shot top-1 of step %" PRIu64 ", %" PRId64
           " test images, mean and deviation of %" PRId64 " draws\n",
           shots->trial.saved.step, shots->test.count, seeds);
    for (int i = 0; i < shots->request->rule_count; i++) {
        const struct subset_rule *rule = &shots->request->rules[i];
        const struct outcome *outcome = &shots->outcomes[i];
        if (rule->per_class > 0)
            printf("  %" PRIu64 " of each class", rule->per_class);
        else
            printf("  %g %% of the labels", rule->percent);
        printf(", %.0f images\n", outcome->images);
        for (int j = 0; j < shots->trial.layer_count; j++)
            printf("    %-14s %6.2f %% +- %.2f%s\n", shots->trial.layers[j].name,
                   mean_of(outcome->top1[j], seeds), deviation_of(outcome->top1[j], seeds),
                   j == best_layer(shots, outcome) ? "   best" : "");
    }
}

static void print_result(const struct shots *shots)
{
    const struct trial_request *request = &shots->request->trial;
    json_t *json = result_json(shots);
    trial_keep(request->snapshot, shots->trial.saved.step, "lowshot", json);
    if (options_is_json(request->output))
        json_print(json);
    else
        print_table(shots);
    json_decref(json);
}

static void done(struct shots *shots)
{
    const size_t count = (size_t)shots->request->rule_count * (size_t)shots->request->seeds;
    for (size_t i = 0; i < count && shots->subsets != NULL; i++)
        subset_done(&shots->subsets[i]);
    mem_free(shots->subsets);
    mem_free(shots->outcomes);
    feature_set_done(&shots->train);
    feature_set_done(&shots->test);
    trial_close(&shots->trial);
    mem_free(shots);
}

static enum status run_lowshot(const struct request *request)
{
    struct shots *shots = mem_zero(sizeof(*shots));
    shots->request = request;
    shots->outcomes = mem_array((size_t)request->rule_count, sizeof(*shots->outcomes));
    enum status status = trial_open(&request->trial, &shots->trial);
    if (status == OK)
        status = load_features(shots);
    for (int rule = 0; rule < request->rule_count; rule++)
        for (int seed = 0; seed < request->seeds && status == OK; seed++)
            status = measure(shots, rule, seed);
    if (status == OK)
        print_result(shots);
    done(shots);
    return status;
}

static int lowshot_run(int argc, char **argv)
{
    struct request request = {.trial = trial_request_usual(), .seeds = 5, .steps = 1000};
    struct trial_request *trial = &request.trial;
    const struct option_row rows[] = {
        {"snapshot", 's', OPTION_STRING, &trial->snapshot, "FILE", "whose features"},
        {"train", 0, OPTION_STRING, &trial->train, "STORE", "labelled images to learn from"},
        {"test", 0, OPTION_STRING, &trial->test, "STORE", "labelled images to classify"},
        {"percent", 'p', OPTION_STRING, &request.percent, "LIST",
         "of each class (1,10, unless --per-class is given)"},
        {"per-class", 'n', OPTION_STRING, &request.per_class, "LIST", "images of each class"},
        {"seeds", 0, OPTION_INT, &request.seeds, "N", "draws of each subset (5)"},
        {"seed", 0, OPTION_INT, &trial->seed, "N", "the first of them (0)"},
        {"layers", 'l', OPTION_STRING, &trial->layers, "LAYERS",
         "such as res4:2x1,res5,avgpool (the last two stages and avgpool)"},
        {"steps", 0, OPTION_INT, &request.steps, "N", "of training (1000)"},
        {"batch", 'b', OPTION_INT, &trial->batch, "N", "images of a step (256)"},
        {"lr", 0, OPTION_DOUBLE, &trial->lr, "X", "learning rate of a batch of 256 (0.01)"},
        {"weight-decay", 0, OPTION_DOUBLE, &trial->weight_decay, "X", "(0.0005)"},
        {"train-limit", 0, OPTION_INT, &trial->train_limit, "N",
         "draw from a random sample of the training images; 0, the default, is all"},
        {"test-limit", 0, OPTION_INT, &trial->test_limit, "N",
         "a random sample of the test images"},
        {"device", 0, OPTION_STRING, &trial->device, "NAME", "cpu (default) or cuda:N"},
        {"threads", 0, OPTION_INT, &trial->threads, "N", "of the cpu (all cores)"},
        {"output", 'o', OPTION_STRING, &trial->output, "FORMAT", "table (default) or json"},
        {0},
    };
    const struct usage usage = {
        .program = "seer eval lowshot",
        .synopsis = "--snapshot FILE --train STORE --test STORE [options]",
        .summary =
            "Trains linear classifiers on frozen features of a few labelled images, of several\n"
            "draws, and says what they get right of the test images.",
        .examples =
            "  seer eval lowshot --snapshot run/snapshots/000500.safetensors --train a --test b\n"
            "  seer eval lowshot -s x.safetensors --train a --test b --per-class 1,5,10",
        .options = rows,
    };
    enum status status = options_parse_all(&usage, argc, argv);
    if (status == OK)
        status = options_check_output(trial->output);
    if (status == OK)
        status = check_request(&request);
    if (status != OK)
        return options_exit(&usage, status);
    return command_exit(usage.program, run_lowshot(&request));
}

const struct command lowshot_command = {"lowshot", "train them on a few labels, several times",
                                        lowshot_run};
