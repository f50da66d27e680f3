/* export_command.c - `seer export`. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/export/export.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/mem.h"

static const char *const formats[] = {[EXPORT_SAFETENSORS] = "safetensors",
                                      [EXPORT_PTH] = "pth",
                                      [EXPORT_ONNX] = "onnx",
                                      [EXPORT_HUB] = "hub"};

struct request {
    const char *format, *layout, *part, *path, *output;
    int is_external;
};

static enum status find_format(const char *word, enum export_format *ret_format)
{
    for (int i = 0; i < EXPORT_FORMAT_COUNT; i++) {
        if (strcmp(word, formats[i]) == 0) {
            *ret_format = (enum export_format)i;
            return OK;
        }
    }
    return options_unknown("format", word, formats, EXPORT_FORMAT_COUNT);
}

static enum status read_plan(const struct request *request, struct export_plan *ret_plan)
{
    static const char *const parts[] = {"trunk", "all"};
    const char *layout = request->layout;
    if (request->path == NULL)
        return fail(ERR_INPUT, "--to FILE is missing");
    TRY(find_format(request->format, &ret_plan->format));
    ret_plan->has_head = strcmp(request->part, "all") == 0;
    if (!ret_plan->has_head && strcmp(request->part, "trunk") != 0)
        return options_unknown("part", request->part, parts, 2);
    if (ret_plan->format == EXPORT_HUB && ret_plan->has_head)
        return fail(ERR_INPUT, "--format hub takes the trunk alone: its libraries have no place "
                               "for a projection head");
    if (ret_plan->format == EXPORT_ONNX && layout != NULL)
        return fail(ERR_INPUT, "--layout names tensors for other code to load; a graph of ONNX "
                               "needs none");
    ret_plan->is_external = request->is_external;
    if (ret_plan->is_external && ret_plan->format != EXPORT_ONNX)
        return fail(ERR_INPUT, "--external-data goes with --format onnx");
    if (layout == NULL)
        layout = ret_plan->format == EXPORT_HUB ? "huggingface" : "torchvision";
    return keymap_layout_find(layout, &ret_plan->layout);
}

static void print_result(const struct request *request, const struct export_plan *plan,
                         const struct saved_state *saved, int count)
{
    const char *layout = plan->format == EXPORT_ONNX ? "onnx" : keymap_layout_name(plan->layout);
    if (options_is_json(request->output))
        printf("{\"schema_version\": 1, \"step\": %" PRIu64
               ", \"tensors\": %d, \"format\": \"%s\", "
               "\"layout\": \"%s\", \"part\": \"%s\"}\n",
               saved->step, count, request->format, layout, request->part);
    else
        printf("%s: %d tensors of step %" PRIu64 ", %s names\n", request->path, count, saved->step,
               layout);
}

static enum status run(const struct request *request, const struct export_plan *plan,
                       const char *path)
{
    int count;
    struct saved_state *saved = mem_zero(sizeof(*saved));
    enum status status = saved_state_open(path, saved);
    if (status == OK) {
        status = export_save(saved, plan, request->path, &count);
        if (status == OK)
            print_result(request, plan, saved, count);
        saved_state_close(saved);
    }
    mem_free(saved);
    return status;
}

static int export_run(int argc, char **argv)
{
    struct request request = {.format = "safetensors", .part = "trunk"};
    const struct option_row rows[] = {
        {"format", 'f', OPTION_STRING, &request.format, "FORMAT",
         "safetensors (default); pth, for torch.load; onnx, a graph for inference; hub, a folder "
         "with config.json and a model card"},
        {"layout", 'l', OPTION_STRING, &request.layout, "NAMES",
         "names of torchvision (default), timm, vissl or huggingface (default of hub)"},
        {"part", 'p', OPTION_STRING, &request.part, "PART",
         "trunk (default), or all: projection head and prototypes too"},
        {"external-data", 0, OPTION_FLAG, &request.is_external, NULL,
         "onnx: values into FILE.data beside it, as always above 2 GiB"},
        {"to", 0, OPTION_STRING, &request.path, "FILE", "where to write"},
        {"output", 'o', OPTION_STRING, &request.output, "FORMAT", "table (default) or json"},
        {0},
    };
    const struct usage usage = {
        .program = "seer export",
        .synopsis = "SNAPSHOT --to FILE [options]",
        .summary = "Takes the model out of a snapshot, into what PyTorch, timm, transformers or\n"
                   "ONNX runtimes load.",
        .examples =
            "  seer export run/snapshots/step-000000500.safetensors --format pth --to trunk.pth\n"
            "  seer export run/snapshots/step-000000500.safetensors --layout timm --to "
            "timm.safetensors\n"
            "  seer export run/snapshots/step-000000500.safetensors --format onnx --to trunk.onnx\n"
            "  seer export run/snapshots/step-000000500.safetensors --format hub --to my-model",
        .options = rows,
    };
    int first;
    enum status status = options_parse(&usage, argc, argv, &first);
    struct export_plan plan;
    if (status == OK && first != argc - 1)
        status = fail(ERR_INPUT, "name one SNAPSHOT");
    if (status == OK)
        status = options_check_output(request.output);
    if (status == OK)
        status = read_plan(&request, &plan);
    if (status != OK)
        return options_exit(&usage, status);
    return command_exit(usage.program, run(&request, &plan, argv[first]));
}

const struct command export_command = {"export", "take a model out into PyTorch", export_run};
