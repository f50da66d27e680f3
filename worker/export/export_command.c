/* export_command.c - `seer export`. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/export/export.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/mem.h"

struct request {
    const char *format, *layout, *part, *path, *output;
};

static enum status read_plan(const struct request *request, struct export_plan *ret_plan)
{
    if (request->path == NULL)
        return fail(ERR_INPUT, "--to FILE is missing");
    if (strcmp(request->format, "safetensors") != 0 && strcmp(request->format, "pth") != 0)
        return fail(ERR_INPUT, "unknown format '%s': there are safetensors and pth",
                    request->format);
    if (strcmp(request->part, "trunk") != 0 && strcmp(request->part, "all") != 0)
        return fail(ERR_INPUT, "unknown part '%s': there are trunk and all", request->part);
    ret_plan->format = request->format[0] == 'p' ? EXPORT_PTH : EXPORT_SAFETENSORS;
    ret_plan->has_head = request->part[0] == 'a';
    return keymap_layout_find(request->layout, &ret_plan->layout);
}

static void print_result(const struct request *request, const struct saved_state *saved, int count)
{
    if (options_is_json(request->output))
        printf("{\"schema_version\": 1, \"step\": %" PRIu64
               ", \"tensors\": %d, \"format\": \"%s\", "
               "\"layout\": \"%s\", \"part\": \"%s\"}\n",
               saved->step, count, request->format, request->layout, request->part);
    else
        printf("%s: %d tensors of step %" PRIu64 ", %s names\n", request->path, count, saved->step,
               request->layout);
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
            print_result(request, saved, count);
        saved_state_close(saved);
    }
    mem_free(saved);
    return status;
}

static int export_run(int argc, char **argv)
{
    struct request request = {.format = "safetensors", .layout = "torchvision", .part = "trunk"};
    const struct option_row rows[] = {
        {"format", 'f', OPTION_STRING, &request.format, "FORMAT",
         "safetensors (default) or pth, for torch.load"},
        {"layout", 'l', OPTION_STRING, &request.layout, "NAMES",
         "names of torchvision (default), timm or vissl"},
        {"part", 'p', OPTION_STRING, &request.part, "PART",
         "trunk (default), or all: projection head and prototypes too"},
        {"to", 0, OPTION_STRING, &request.path, "FILE", "where to write"},
        {"output", 'o', OPTION_STRING, &request.output, "FORMAT", "table (default) or json"},
        {0},
    };
    const struct usage usage = {
        .program = "seer export",
        .synopsis = "SNAPSHOT --to FILE [options]",
        .summary = "Takes the model out of a snapshot, into one file that PyTorch code loads.",
        .examples =
            "  seer export run/snapshots/000500.safetensors --format pth --to trunk.pth\n"
            "  seer export run/snapshots/000500.safetensors --layout timm --to timm.safetensors",
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
