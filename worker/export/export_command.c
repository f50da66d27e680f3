/* export_command.c - `seer export`. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/export/export.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/mem.h"

struct request {
    const char *format, *layout, *part, *output, *encoding;
};

static enum status read_plan(const struct request *request, struct export_plan *ret_plan)
{
    if (request->output == NULL)
        return fail(ERR_INPUT, "seer export: --output FILE is missing");
    if (strcmp(request->format, "safetensors") != 0 && strcmp(request->format, "pth") != 0)
        return fail(ERR_INPUT, "seer export: unknown format '%s': there are safetensors and pth",
                    request->format);
    if (strcmp(request->part, "trunk") != 0 && strcmp(request->part, "all") != 0)
        return fail(ERR_INPUT, "seer export: unknown part '%s': there are trunk and all",
                    request->part);
    if (request->encoding != NULL && strcmp(request->encoding, "json") != 0)
        return fail(ERR_INPUT, "seer export: -o knows json, not '%s'", request->encoding);
    ret_plan->format = request->format[0] == 'p' ? EXPORT_PTH : EXPORT_SAFETENSORS;
    ret_plan->has_head = request->part[0] == 'a';
    return keymap_layout_find(request->layout, &ret_plan->layout);
}

static void print_result(const struct request *request, const struct saved_state *saved, int count)
{
    if (request->encoding != NULL)
        printf("{\"schema_version\": 1, \"step\": %" PRIu64
               ", \"tensors\": %d, \"format\": \"%s\", "
               "\"layout\": \"%s\", \"part\": \"%s\"}\n",
               saved->step, count, request->format, request->layout, request->part);
    else
        printf("%s: %d tensors of step %" PRIu64 ", %s names\n", request->output, count,
               saved->step, request->layout);
}

static enum status run(const struct request *request, const char *path)
{
    struct export_plan plan;
    int count;
    TRY(read_plan(request, &plan));
    struct saved_state *saved = mem_zero(sizeof(*saved));
    enum status status = saved_state_open(path, saved);
    if (status == OK) {
        status = export_save(saved, &plan, request->output, &count);
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
        {"output", 0, OPTION_STRING, &request.output, "FILE", "where to write"},
        {"print", 'o', OPTION_STRING, &request.encoding, "json", "print the result for scripts"},
        {0},
    };
    const struct usage usage = {
        "seer export",
        "SNAPSHOT --output FILE [options]",
        "Takes the model out of a snapshot, into one file that PyTorch code loads.",
        "  seer export run/snapshots/000500.safetensors --format pth --output trunk.pth\n"
        "  seer export run/snapshots/000500.safetensors --layout timm --output timm.safetensors",
        rows,
    };
    int first;
    enum status status = options_parse(&usage, argc, argv, &first);
    if (status == OK && first != argc - 1)
        status = fail(ERR_INPUT, "seer export: name one snapshot");
    if (status == OK)
        status = run(&request, argv[first]);
    return status == OK ? 0 : options_exit(&usage, status);
}

const struct command export_command = {"export", "take a model out into PyTorch", export_run};
