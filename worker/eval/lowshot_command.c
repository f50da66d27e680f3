/* lowshot_command.c - `seer eval lowshot`: what a few labels are enough for. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/mem.h"
#include "worker/eval/eval_command.h"
#include "worker/eval/finetune_workers.h"
#include "worker/eval/lowshot.h"

static const char program[] = "seer eval lowshot";

static enum status add_rules(struct lowshot_request *request, const char *option, const char *words,
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
        if (request->rule_count == LOWSHOT_RULES_MAX)
            return fail(ERR_INPUT, "at most %d subsets can be measured at once", LOWSHOT_RULES_MAX);
        request->rules[request->rule_count++] = (struct subset_rule){
            .percent = is_percent ? number : 0,
            .per_class = is_percent ? 0 : (uint64_t)number,
        };
        if (*end == '\0')
            return OK;
        at = end + 1;
    }
}

/* What was not said: of each way to learn its own. */
static enum status complete(struct lowshot_request *request)
{
    struct trial_request *trial = &request->trial;
    const struct trial_request usual = trial_request_usual();
    if (request->is_finetuned) {
        if (trial->layers != NULL || request->steps >= 0)
            return fail(ERR_INPUT, "--layers and --steps are of classifiers on frozen features; "
                                   "with --finetune there are --epochs");
        trial->layers = "avgpool";
        finetune_request_complete(trial);
        return finetune_request_check(&request->finetune, trial);
    }
    if (finetune_request_is_given(&request->finetune))
        return fail(ERR_INPUT, "--epochs, --milestones, --factor, --classifier-lr, --nesterov, "
                               "--workers, --state and --resume are of --finetune");
    trial->lr = isnan(trial->lr) ? usual.lr : trial->lr;
    trial->weight_decay = isnan(trial->weight_decay) ? usual.weight_decay : trial->weight_decay;
    request->steps = request->steps < 0 ? 1000 : request->steps;
    return OK;
}

static enum status check_request(struct lowshot_request *request)
{
    TRY(complete(request));
    TRY(trial_request_check(&request->trial));
    if (request->seeds < 1 || request->seeds > LOWSHOT_SEEDS_MAX)
        return fail(ERR_INPUT, "--seeds must be 1 to %d", LOWSHOT_SEEDS_MAX);
    if (!request->is_finetuned && (request->steps < 1 || request->steps > 10000000))
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
static void choose_subsets(struct shots *shots)
{
    const struct lowshot_request *request = shots->request;
    const struct trial *trial = &shots->trial;
    int32_t *labels = mem_array(trial->train.count, sizeof(*labels));
    memset(labels, -1, trial->train.count * sizeof(*labels));
    for (uint64_t i = 0; i < trial->items.count; i++)
        labels[trial->items.items[i]] = trial->train.labels[trial->items.items[i]];
    shots->subsets =
        mem_array((size_t)request->rule_count * (size_t)request->seeds, sizeof(*shots->subsets));
    for (int rule = 0; rule < request->rule_count; rule++)
        for (int64_t seed = 0; seed < request->seeds; seed++) {
            struct subset *subset = &shots->subsets[rule * request->seeds + seed];
            subset_choose(labels, trial->train.count, trial->train.class_count,
                          &request->rules[rule], (uint64_t)(request->trial.seed + seed), subset);
        }
    mem_free(labels);
}

static enum status load_features(struct shots *shots)
{
    const struct lowshot_request *request = shots->request;
    struct features *features;
    struct subset all = {0};
    TRY(trial_features(&shots->trial, &features));
    for (int64_t i = 0; i < request->rule_count * request->seeds; i++)
        subset_unite(&all, &shots->subsets[i]);
    enum status status =
        feature_set_load(features, request->trial.train, shots->trial.size, &all, &shots->train);
    if (status == OK)
        status = trial_test_set(&shots->trial, features, &shots->test);
    subset_done(&all);
    features_close(features);
    return status;
}

/* Learns from one subset. */
static enum status measure(struct shots *shots, int rule, int seed)
{
    const struct lowshot_request *request = shots->request;
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

static enum status measure_frozen(struct shots *shots)
{
    TRY(trial_open_device(&shots->trial, 0, 1));
    TRY(load_features(shots));
    for (int rule = 0; rule < shots->request->rule_count; rule++)
        for (int seed = 0; seed < shots->request->seeds; seed++)
            TRY(measure(shots, rule, seed));
    shots->test_images = shots->test.count;
    shots->skipped_images = shots->train.skipped + shots->test.skipped;
    lowshot_report(shots);
    return OK;
}

/* "1.5-percent-seed-3", what the state of a draw is named by; the caller's. */
static char *name_draw(const struct shots *shots, int rule, int seed)
{
    const struct subset_rule *of = &shots->request->rules[rule];
    const int64_t number = shots->request->trial.seed + seed;
    if (of->per_class > 0)
        return mem_format("%" PRIu64 "-per-class-seed-%" PRId64, of->per_class, number);
    return mem_format("%g-percent-seed-%" PRId64, of->percent, number);
}

static enum status state_of_draw(const struct shots *shots, int rule, int seed, char **ret_path)
{
    char *name = name_draw(shots, rule, seed);
    const enum status status =
        finetune_request_state(&shots->request->finetune, &shots->trial, "lowshot", name, ret_path);
    mem_free(name);
    return status;
}

static enum status finetune_draw(struct shots *shots, struct finetune *finetune, int rule, int seed)
{
    const struct lowshot_request *request = shots->request;
    struct outcome *outcome = &shots->outcomes[rule];
    struct finetune_progress progress = {0};
    char *name = name_draw(shots, rule, seed), *path = NULL;
    enum status status = state_of_draw(shots, rule, seed, &path);
    if (status == OK) {
        const struct finetune_task task = {
            .items = &shots->subsets[rule * request->seeds + seed],
            .seed = (uint64_t)(request->trial.seed + seed),
            .state_path = path,
            .is_resumed = request->finetune.is_resumed,
            .name = name,
        };
        status = finetune_run(finetune, &task, &progress);
        outcome->images += (double)task.items->count / (double)request->seeds;
    }
    if (status == OK) {
        outcome->top1[0][seed] = 100.0 * (double)progress.right / (double)progress.tested;
        shots->test_images = progress.tested;
        shots->skipped_images += progress.replaced + progress.untested;
    }
    finetune_progress_done(&progress);
    mem_free(path);
    mem_free(name);
    return status;
}

/* What was kept of each draw, once all are told. */
static void remove_states(const struct shots *shots)
{
    for (int rule = 0; rule < shots->request->rule_count; rule++)
        for (int seed = 0; seed < shots->request->seeds; seed++) {
            char *path = NULL;
            if (state_of_draw(shots, rule, seed, &path) == OK && path != NULL)
                unlink(path);
            mem_free(path);
        }
}

static enum status measure_finetuned(struct finetune *finetune, void *argument)
{
    struct shots *shots = argument;
    for (int rule = 0; rule < shots->request->rule_count; rule++)
        for (int seed = 0; seed < shots->request->seeds; seed++)
            TRY(finetune_draw(shots, finetune, rule, seed));
    if (!finetune_is_first(finetune))
        return OK;
    lowshot_report(shots);
    remove_states(shots);
    return OK;
}

static int finetune_all(struct shots *shots)
{
    shots->rule = finetune_request_rule(&shots->request->finetune, &shots->trial);
    const struct finetune_work work = {
        .program = program,
        .trial = &shots->trial,
        .rule = &shots->rule,
        .workers = (int)shots->request->finetune.workers,
        .run = measure_finetuned,
        .argument = shots,
    };
    return finetune_work_run(&work);
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

static int run_lowshot(const struct lowshot_request *request)
{
    struct shots *shots = mem_zero(sizeof(*shots));
    int code = 0;
    shots->request = request;
    shots->outcomes = mem_array((size_t)request->rule_count, sizeof(*shots->outcomes));
    enum status status = trial_open_stores(&request->trial, &shots->trial);
    if (status == OK)
        choose_subsets(shots);
    if (status == OK && request->is_finetuned)
        code = finetune_all(shots);
    else if (status == OK)
        status = measure_frozen(shots);
    if (status != OK)
        code = command_exit(program, status);
    done(shots);
    return code;
}

static int lowshot_run(int argc, char **argv)
{
    struct lowshot_request request = {
        .trial = trial_request_usual(),
        .finetune = finetune_request_usual(),
        .seeds = 5,
        .steps = -1,
    };
    struct trial_request *trial = &request.trial;
    trial->lr = trial->weight_decay = NAN;
    const struct option_row rows[] = {
        TRIAL_ROWS_STORES(trial),
        {"percent", 'p', OPTION_STRING, &request.percent, "LIST",
         "of each class (1,10, unless --per-class is given)"},
        {"per-class", 'n', OPTION_STRING, &request.per_class, "LIST", "images of each class"},
        {"seeds", 0, OPTION_INT, &request.seeds, "N", "draws of each subset (5)"},
        {"seed", 0, OPTION_INT, &trial->seed, "N", "the first of them (0)"},
        {"layers", 'l', OPTION_STRING, &trial->layers, "LAYERS",
         "such as res4:2x1,res5,avgpool (the last two stages and avgpool)"},
        {"steps", 0, OPTION_INT, &request.steps, "N", "of training (1000)"},
        {"batch", 'b', OPTION_INT, &trial->batch, "N", "images of a step (256)"},
        {"lr", 0, OPTION_DOUBLE, &trial->lr, "X",
         "learning rate of a batch of 256 (0.01, finetuned 0.0125)"},
        {"weight-decay", 0, OPTION_DOUBLE, &trial->weight_decay, "X", "(0.0005, finetuned 0.0001)"},
        {"train-limit", 0, OPTION_INT, &trial->train_limit, "N",
         "draw from a random sample of the training images; 0, the default, is all"},
        {"test-limit", 0, OPTION_INT, &trial->test_limit, "N",
         "a random sample of the test images"},
        {"finetune", 'f', OPTION_FLAG, &request.is_finetuned, NULL,
         "train the whole network on each subset, by:"},
        FINETUNE_ROWS(&request.finetune),
        TRIAL_ROWS_MEANS(trial),
        {0},
    };
    const struct usage usage = {
        .program = program,
        .synopsis = "--snapshot FILE --train STORE --test STORE [options]",
        .summary = "Trains linear classifiers on frozen features, or the whole network, on a few "
                   "labelled\n"
                   "images, of several draws, and says what they get right of the test images.",
        .examples = "  seer eval lowshot --snapshot run/snapshots/step-000000500.safetensors "
                    "--train a --test b\n"
                    "  seer eval lowshot -s x.safetensors --train a --test b --per-class 1,5,10\n"
                    "  seer eval lowshot -s x.safetensors --train a --test b --finetune --seeds 3",
        .options = rows,
    };
    enum status status = options_parse_all(&usage, argc, argv);
    if (status == OK)
        status = options_check_output(trial->output);
    if (status == OK)
        status = check_request(&request);
    if (status != OK)
        return options_exit(&usage, status);
    return run_lowshot(&request);
}

const struct command lowshot_command = {"lowshot", "train them on a few labels, several times",
                                        lowshot_run};
