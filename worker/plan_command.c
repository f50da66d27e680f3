/* plan_command.c - `seer plan`: what training a config will take of a device's memory. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/plan_command.h"

#include <jansson.h>
#include <stdio.h>

#include "common/mem.h"
#include "common/model_cost.h"
#include "worker/device/paper_gpu.h"
#include "worker/memory_plan.h"
#include "worker/plan_advice.h"

enum { THREADS_MAX = 1024, MEMBERS_MAX = 65536 };

struct request {
    const char *path, *output, *device_name;
    struct option_list overrides;
    int64_t threads, members, slots;
};

struct report {
    const struct config *config;
    struct device *device;
    int members, most_slots;
    struct device_memory memory;
    struct memory_plan plan;
    struct model_cost cost;
};

static void print_json(const struct report *report)
{
    const struct memory_plan *plan = &report->plan;
    json_t *rows = json_object();
    for (int i = 0; i < plan->row_count; i++)
        json_object_set_new(rows, plan->rows[i].name,
                            json_integer((json_int_t)plan->rows[i].bytes));
    const struct model_cost *cost = &report->cost;
    json_t *model = json_pack(
        "{s:I, s:I, s:I, s:f, s:f}", "trunk_parameters", (json_int_t)cost->trunk_parameters,
        "head_parameters", (json_int_t)cost->head_parameters, "prototype_parameters",
        (json_int_t)cost->prototype_parameters, "forward_multiplications",
        cost->forward_multiplications, "train_operations", cost->train_operations);
    json_t *object = json_pack(
        "{s:i, s:o, s:s, s:i, s:i, s:i, s:i, s:I, s:I, s:I, s:o}", "schema_version", 1, "model",
        model, "device", report->device->ops->describe(report->device), "members", report->members,
        "slots", plan->slots, "slot_images", (int)report->config->train.slot_images, "most_slots",
        report->most_slots, "state_bytes", (json_int_t)plan->state_bytes, "total_bytes",
        (json_int_t)plan->total_bytes, "free_bytes", (json_int_t)report->memory.free, "bytes",
        rows);
    json_dumpf(object, stdout, JSON_INDENT(2));
    printf("\n");
    json_decref(object);
}

static void print_table(const struct report *report)
{
    const double mib = 1 << 20;
    const struct memory_plan *plan = &report->plan;
    const int images = (int)report->config->train.slot_images;
    const struct model_cost *cost = &report->cost;
    printf("%.2f M parameters: trunk %.2f, head %.2f, prototypes %.2f\n",
           (double)(cost->trunk_parameters + cost->head_parameters + cost->prototype_parameters) /
               1e6,
           (double)cost->trunk_parameters / 1e6, (double)cost->head_parameters / 1e6,
           (double)cost->prototype_parameters / 1e6);
    printf("%.4g GFLOP an image with its %d crops to train, of which forward %.4g\n",
           cost->train_operations / 1e9, (int)config_crops_per_image(report->config),
           2 * cost->forward_multiplications / 1e9);
    printf("%d slots of %d images on %s\n", plan->slots, images,
           report->device->ops->describe(report->device));
    printf("%-20s %12s %7s\n", "part", "MiB", "share");
    for (int i = 0; i < plan->row_count; i++)
        printf("%-20s %12.1f %6.1f%%\n", plan->rows[i].name, (double)plan->rows[i].bytes / mib,
               100 * (double)plan->rows[i].bytes / (double)plan->total_bytes);
    printf("%-20s %12.1f\n", "total", (double)plan->total_bytes / mib);
    printf("%-20s %12.1f\n", "can be had",
           (double)(report->memory.free + report->memory.held) / mib);
    printf("At most %d slots (%d images) fit.\n", report->most_slots, report->most_slots * images);
}

static enum status load(const struct request *request, struct config *config)
{
    config_init(config);
    TRY(config_load(request->path, config));
    for (int i = 0; i < request->overrides.count; i++)
        TRY(config_set(config, request->overrides.items[i]));
    return config_check(config);
}

/* The share of the member that gets most. */
static int share(const struct request *request, const struct config *config)
{
    const int64_t slots = config_slots(config);
    return (int)(request->slots > 0 ? request->slots
                                    : (slots + request->members - 1) / request->members);
}

static enum status plan(const struct request *request, const struct config *config,
                        struct device *device)
{
    struct report report = {.config = config, .device = device, .members = (int)request->members};
    const int slots = share(request, config);
    if (slots > config_slots(config))
        return fail(ERR_INPUT, "--slots: %d, but a step has %d", slots, (int)config_slots(config));
    TRY(model_cost_make(config, &report.cost));
    TRY(memory_plan_make(config, device, slots, report.members, &report.plan));
    TRY(memory_plan_most_slots(config, device, report.members, 0, &report.most_slots));
    device->ops->memory(device, &report.memory);
    if (options_is_json(request->output))
        print_json(&report);
    else
        print_table(&report);
    fflush(stdout); /* before what may be said on stderr */
    if (slots <= report.most_slots)
        return OK;
    return plan_advice(config, device, report.members, slots);
}

static enum status run(const struct request *request)
{
    struct config *config = mem_zero(sizeof(*config));
    struct device *device = NULL;
    enum status status = load(request, config);
    if (status == OK)
        status = paper_gpu_is_named(request->device_name)
                     ? paper_gpu_open(request->device_name, &device)
                     : device_open(request->device_name, (int)request->threads, &device);
    if (status == OK)
        status = plan(request, config, device);
    if (device != NULL)
        device_close(device);
    mem_free(config);
    return status;
}

static enum status check(const struct request *request)
{
    if (request->path == NULL)
        return fail(ERR_INPUT, "give --config FILE and nothing else");
    if (request->threads < 1 || request->threads > THREADS_MAX || request->members < 1 ||
        request->members > MEMBERS_MAX || request->slots < 0 || request->slots > 1 << 20)
        return fail(ERR_INPUT, "threads are 1 to %d, workers 1 to %d, slots at least 1",
                    THREADS_MAX, MEMBERS_MAX);
    return options_check_output(request->output);
}

static int plan_run(int argc, char **argv)
{
    struct request request = {.device_name = "cpu", .threads = 1, .members = 1};
    const struct option_row rows[] = {
        {"config", 'c', OPTION_STRING, &request.path, "FILE", "what to train"},
        {"set", 0, OPTION_LIST, &request.overrides, "KEY=VALUE", "override a key of the config"},
        {"device", 'd', OPTION_STRING, &request.device_name, "NAME",
         "cpu (default), cpu:bf16, cuda:N, or a GPU that is not here: paper:bf16:141GB"},
        {"threads", 't', OPTION_INT, &request.threads, "N",
         "threads of the cpu device (default 1)"},
        {"workers", 'w', OPTION_INT, &request.members, "N", "that share a step evenly (default 1)"},
        {"slots", 0, OPTION_INT, &request.slots, "N", "instead: so many for this worker"},
        {"output", 'o', OPTION_STRING, &request.output, "FORMAT", "table (default) or json"},
        {NULL, 0, OPTION_FLAG, NULL, NULL, NULL},
    };
    const struct usage usage = {
        .program = "seer plan",
        .synopsis = "--config FILE [--set KEY=VALUE]... [--device NAME] [--workers N] [-o json]",
        .summary =
            "Shows parameters and arithmetic of a model, what a worker will take of its device's\n"
            "memory, part by part, without taking it, and how many slots of a step fit.\n"
            "Exit 1, with what would help, if the share does not.",
        .examples = "  seer plan --config configs/regnety_400mf.yaml --workers 4\n"
                    "  seer plan --config configs/paper/seer_regnety_256gf.yaml --workers 512 \\\n"
                    "      --device paper:bf16:32GB\n",
        .options = rows,
    };
    enum status status = options_parse_all(&usage, argc, argv);
    if (status == OK)
        status = check(&request);
    if (status != OK)
        return options_exit(&usage, status);
    return command_exit(usage.program, run(&request));
}

const struct command plan_command = {"plan", "memory that a worker will take of its device",
                                     plan_run};
