/* lowshot_report.c - what a low-shot evaluation says: a table, and JSON. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/eval/lowshot.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "common/json.h"

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
    json_object_set_new(json, "is_finetuned", json_boolean(shots->request->is_finetuned));
    if (shots->request->is_finetuned)
        finetune_request_tell(&shots->rule, json);
    else
        json_object_set_new(json, "steps", json_integer(shots->request->steps));
    json_object_set_new(json, "test_images", json_integer(shots->test_images));
    json_object_set_new(json, "skipped_images", json_integer(shots->skipped_images));
    return json;
}

static void print_table(const struct shots *shots)
{
    const int64_t seeds = shots->request->seeds;
    printf("low-shot top-1 of step %" PRIu64 ", %s, %" PRId64
           " test images, mean and deviation of %" PRId64 " draws\n",
           shots->trial.saved.step, shots->request->is_finetuned ? "finetuned" : "frozen features",
           shots->test_images, seeds);
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

void lowshot_report(const struct shots *shots)
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
