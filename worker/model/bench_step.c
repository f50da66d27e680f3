/* bench_step.c - trains on synthetic images, alone, and says where the time of a step goes. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/model/bench_step.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/mem.h"
#include "common/random.h"
#include "worker/memory_plan.h"
#include "worker/step.h"

enum { STEPS_DEFAULT = 5, STEPS_MAX = 10000, WARMUP_STEPS = 2, THREADS_MAX = 1024 };

/* What is timed: the phases of step_compute, step_apply, and the CPU time that the calling thread
 * spent on the whole, which other jobs on the machine disturb less. */
enum part { PART_FORWARD, PART_LOSS, PART_BACKWARD, PART_REDUCE, PART_APPLY, PART_CPU, PART_COUNT };

static const char *const part_names[PART_COUNT] = {"forward_ms", "loss_ms",  "backward_ms",
                                                   "reduce_ms",  "apply_ms", "thread_cpu_ms"};

struct bench {
    struct config config;
    const char *config_path;
    int threads, steps;
    struct device *device;
    struct state *state;
    struct collective *collective;
    struct step *step;
    struct batch batch;
    int64_t *total_us;              /* [steps] */
    int64_t (*part_us)[PART_COUNT]; /* [steps] */
};

static void paint_batch(struct bench *bench)
{
    const struct config *config = &bench->config;
    const uint32_t slots = (uint32_t)config_slots(config);
    struct random random;
    random_init(&random, 1, RANDOM_STREAM_TEST, 0, 0);
    bench->batch = (struct batch){
        .slot_count = slots,
        .slot_images = (uint32_t)config->train.slot_images,
        .slots = mem_array(slots, sizeof(uint32_t)),
        .group_count = (int)config->crop_count,
    };
    for (uint32_t i = 0; i < slots; i++)
        bench->batch.slots[i] = i;
    for (int g = 0; g < bench->batch.group_count; g++) {
        const struct config_crop *crop = &config->crops[g];
        const size_t bytes =
            (size_t)(config->train.batch_images * crop->count * crop->size * crop->size * 3);
        bench->batch.crops[g] = mem_alloc(bytes);
        for (size_t i = 0; i < bytes; i++)
            bench->batch.crops[g][i] = (uint8_t)random_u32(&random);
    }
}

static enum status start(struct bench *bench, const char *device)
{
    TRY(device_open(device, bench->threads, &bench->device));
    TRY(state_create(&bench->config, bench->device, &bench->state));
    state_reset(bench->state, (uint64_t)bench->config.run.seed);
    TRY(state_keep_slices(bench->state, 0, 1));
    const struct collective_group group = {
        .engine = COLLECTIVE_SELF,
        .size = 1,
        .region = bench->state->block,
        .region_bytes = bench->state->bytes,
        .region_fd = -1,
        .listen_fd = -1,
        .form_timeout_ms = 1000,
        .timeout_ms = 1000,
    };
    TRY(collective_form(&group, &bench->collective));
    paint_batch(bench);
    bench->total_us = mem_array((size_t)bench->steps, sizeof(*bench->total_us));
    bench->part_us = mem_array((size_t)bench->steps, sizeof(*bench->part_us));
    return step_create(&bench->config, bench->state, &bench->step);
}

static enum status measure(struct bench *bench)
{
    for (int i = 0; i < WARMUP_STEPS + bench->steps; i++) {
        struct step_result result;
        const int64_t start_us = clock_us(), start_cpu_us = clock_thread_us();
        TRY(step_compute(bench->step, bench->collective, (uint64_t)i, &bench->batch, &result));
        const int64_t computed_us = clock_us();
        TRY(step_apply(bench->step, (uint64_t)i, 0.001));
        const int64_t end_us = clock_us(), cpu_us = clock_thread_us() - start_cpu_us;
        if (i < WARMUP_STEPS)
            continue;
        int64_t *part_us = bench->part_us[i - WARMUP_STEPS];
        bench->total_us[i - WARMUP_STEPS] = end_us - start_us;
        part_us[PART_FORWARD] = result.phase_us[PHASE_FORWARD];
        part_us[PART_LOSS] = result.phase_us[PHASE_LOSS];
        part_us[PART_BACKWARD] = result.phase_us[PHASE_BACKWARD];
        part_us[PART_REDUCE] = result.phase_us[PHASE_REDUCE];
        part_us[PART_APPLY] = end_us - computed_us;
        part_us[PART_CPU] = cpu_us;
    }
    return OK;
}

static int compare_us(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Median of a part over the steps; part PART_COUNT: the whole. */
static double median_ms(const struct bench *bench, int part, double *ret_best_ms)
{
    int64_t *sorted = mem_array((size_t)bench->steps, sizeof(*sorted));
    for (int i = 0; i < bench->steps; i++)
        sorted[i] = part == PART_COUNT ? bench->total_us[i] : bench->part_us[i][part];
    qsort(sorted, (size_t)bench->steps, sizeof(*sorted), compare_us);
    const double median = (double)sorted[bench->steps / 2] / 1000;
    *ret_best_ms = (double)sorted[0] / 1000;
    mem_free(sorted);
    return median;
}

/* Every step by itself, in order, for comparisons side by side. */
static json_t *each_step(const struct bench *bench)
{
    json_t *wall = json_array(), *cpu = json_array();
    for (int i = 0; i < bench->steps; i++) {
        json_array_append_new(wall, json_real((double)bench->total_us[i] / 1000));
        json_array_append_new(cpu, json_real((double)bench->part_us[i][PART_CPU] / 1000));
    }
    return json_pack("{s:o, s:o}", "wall_ms", wall, "thread_cpu_ms", cpu);
}

static int64_t parameter_count(const struct state_layout *layout)
{
    int64_t count = 0;
    for (int i = 0; i < layout->tensor_count; i++)
        if (layout->tensors[i].kind == STATE_PARAMETER)
            count += (int64_t)layout->tensors[i].length;
    return count;
}

/* The most that was held, and what was planned; equal, if all is well. */
static void memory_bytes(const struct bench *bench, int64_t *ret_planned, int64_t *ret_peak)
{
    struct device_memory memory;
    struct memory_plan plan = {0};
    bench->device->ops->memory(bench->device, &memory);
    *ret_peak = (int64_t)memory.peak;
    *ret_planned = memory_plan_make(&bench->config, bench->device,
                                    (int)config_slots(&bench->config), 1, &plan) == OK
                       ? (int64_t)plan.total_bytes
                       : 0;
}

static void report_json(const struct bench *bench)
{
    double best_ms, ignored;
    const double step_ms = median_ms(bench, PART_COUNT, &best_ms);
    const double images = (double)bench->config.train.batch_images;
    int64_t planned, peak;
    memory_bytes(bench, &planned, &peak);
    json_t *parts = json_object();
    for (int part = 0; part < PART_COUNT; part++)
        json_object_set_new(parts, part_names[part], json_real(median_ms(bench, part, &ignored)));
    json_t *object = json_pack(
        "{s:i, s:s, s:s, s:i, s:i, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:o, s:o}",
        "schema_version", 1, "config", bench->config_path, "device",
        bench->device->ops->describe(bench->device), "threads", bench->threads, "steps",
        bench->steps, "batch_images", (json_int_t)bench->config.train.batch_images,
        "crops_per_image", (json_int_t)config_crops_per_image(&bench->config), "parameters",
        (json_int_t)parameter_count(&bench->state->layout), "memory_planned_bytes",
        (json_int_t)planned, "memory_peak_bytes", (json_int_t)peak, "step_ms", step_ms,
        "step_best_ms", best_ms, "images_per_second", 1000 * images / step_ms,
        "images_per_second_best", 1000 * images / best_ms, "median_phase", parts, "each_step",
        each_step(bench));
    json_dumpf(object, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
    printf("\n");
    json_decref(object);
}

static void report_text(const struct bench *bench)
{
    double best_ms, ignored;
    const double step_ms = median_ms(bench, PART_COUNT, &best_ms);
    const double images = (double)bench->config.train.batch_images;
    printf("%s, %d images a step on %s\n", bench->config_path,
           (int)bench->config.train.batch_images, bench->device->ops->describe(bench->device));
    printf("%-14s %9.2f median, %.2f best of %d steps\n", "step_ms", step_ms, best_ms,
           bench->steps);
    for (int part = 0; part < PART_COUNT; part++)
        printf("%-14s %9.2f\n", part_names[part], median_ms(bench, part, &ignored));
    printf("%-14s %9.2f median, %.2f best\n", "images/s", 1000 * images / step_ms,
           1000 * images / best_ms);
}

static void stop(struct bench *bench)
{
    step_destroy(bench->step);
    for (int g = 0; g < bench->batch.group_count; g++)
        mem_free(bench->batch.crops[g]);
    mem_free(bench->batch.slots);
    mem_free(bench->total_us);
    mem_free(bench->part_us);
    collective_destroy(bench->collective);
    state_destroy(bench->state);
    device_close(bench->device);
}

static enum status load_config(struct bench *bench, const struct option_list *overrides)
{
    config_init(&bench->config);
    TRY(config_load(bench->config_path, &bench->config));
    for (int i = 0; i < overrides->count; i++)
        TRY(config_set(&bench->config, overrides->items[i]));
    return config_check(&bench->config);
}

struct request {
    const char *path, *output, *device;
    struct option_list overrides;
    int64_t threads, steps;
};

static enum status run(const struct request *request)
{
    struct bench *bench = mem_zero(sizeof(*bench));
    bench->config_path = request->path;
    bench->threads = (int)request->threads;
    bench->steps = (int)request->steps;
    enum status status = load_config(bench, &request->overrides);
    if (status == OK)
        status = start(bench, request->device);
    if (status == OK)
        status = measure(bench);
    if (status == OK && options_is_json(request->output))
        report_json(bench);
    else if (status == OK)
        report_text(bench);
    stop(bench);
    mem_free(bench);
    return status;
}

static enum status check(const struct request *request)
{
    if (request->threads < 1 || request->threads > THREADS_MAX || request->steps < 1 ||
        request->steps > STEPS_MAX)
        return fail(ERR_INPUT, "threads are 1 to %d, steps 1 to %d", THREADS_MAX, STEPS_MAX);
    return options_check_output(request->output);
}

static int bench_step_run(int argc, char **argv)
{
    struct request request = {.device = "cpu", .threads = 1, .steps = STEPS_DEFAULT};
    const struct option_row rows[] = {
        {"config", 'c', OPTION_STRING, &request.path, "FILE", "what to train"},
        {"set", 0, OPTION_LIST, &request.overrides, "KEY=VALUE", "override a key of the config"},
        {"device", 0, OPTION_STRING, &request.device, "NAME", "cpu (default), cpu:bf16 or cuda:N"},
        {"threads", 't', OPTION_INT, &request.threads, "N",
         "threads of the cpu device (default 1)"},
        {"steps", 'n', OPTION_INT, &request.steps, "N",
         "steps to time, after two more (default 5)"},
        {"output", 'o', OPTION_STRING, &request.output, "FORMAT", "table (default) or json"},
        {NULL, 0, OPTION_FLAG, NULL, NULL, NULL},
    };
    const struct usage usage = {
        .program = "seer bench step",
        .synopsis = "--config FILE [--set KEY=VALUE]... [--threads N] [--steps N] [-o json]",
        .summary = "Times training steps of one worker on synthetic images, phase by phase.",
        .examples = "  seer bench step --config configs/regnety_400mf.yaml --steps 10\n",
        .options = rows,
    };
    int first;
    enum status status = options_parse(&usage, argc, argv, &first);
    if (status == OK && (request.path == NULL || first < argc))
        status = fail(ERR_INPUT, "give --config FILE and nothing else");
    if (status == OK)
        status = check(&request);
    if (status != OK)
        return options_exit(&usage, status);

    return command_exit(usage.program, run(&request));
}

const struct command bench_step_command = {"step", "training steps of one worker, phase by phase",
                                           bench_step_run};
