/* import_command.c - `seer import`. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/export/import.h"

#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "common/json.h"
#include "common/mem.h"

struct request {
    const char *config, *layout, *part, *prefix, *to, *output;
    struct option_list overrides;
};

static enum status read_wish(const struct request *request, struct match_wish *ret_wish)
{
    static const char *const parts[] = {
        [MATCH_PRESENT] = "present", [MATCH_TRUNK] = "trunk", [MATCH_ALL] = "all"};
    enum { PART_COUNT = sizeof(parts) / sizeof(parts[0]) };
    enum keymap_layout layout;
    int part = 0;
    ret_wish->prefix = request->prefix;
    ret_wish->layout = -1;
    if (strcmp(request->layout, "auto") != 0) {
        TRY(keymap_layout_find(request->layout, &layout));
        ret_wish->layout = (int)layout;
    }
    while (part < PART_COUNT && strcmp(request->part, parts[part]) != 0)
        part++;
    if (part == PART_COUNT)
        return options_unknown("part", request->part, parts, PART_COUNT);
    ret_wish->part = (enum match_part)part;
    return OK;
}

static enum status load_config(const struct request *request, struct config *config)
{
    config_init(config);
    if (request->config == NULL)
        return fail(ERR_INPUT, "--config FILE is missing: what the run will train");
    TRY(config_load(request->config, config));
    for (int i = 0; i < request->overrides.count; i++)
        TRY(config_set(config, request->overrides.items[i]));
    return config_check(config);
}

static const char *source(int count)
{
    return count > 0 ? "file" : "seed";
}

static void print_json(const struct request *request, const struct weights *weights,
                       const struct weights_match *match)
{
    json_t *root =
        json_pack("{s:i, s:o, s:o, s:s, s:o, s:i, s:s, s:s, s:i, s:i}", "schema_version", 1, "from",
                  json_text(weights->path), "to", json_text(request->to), "layout",
                  keymap_layout_name(match->layout), "prefix", json_text(match->trunk_prefix),
                  "trunk_tensors", match->trunk_count, "head", source(match->head_count),
                  "prototypes", source(match->prototypes_count), "classifier_tensors_dropped",
                  match->classifier_count, "other_tensors_left", match->aside_count);
    json_print(root);
    json_decref(root);
}

static void print_result(const struct request *request, const struct weights *weights,
                         const struct weights_match *match)
{
    if (options_is_json(request->output)) {
        print_json(request, weights, match);
        return;
    }
    printf("trunk       %d tensors of '%s', %s names%s%s%s\n", match->trunk_count, weights->path,
           keymap_layout_name(match->layout), match->trunk_prefix[0] ? " behind '" : "",
           match->trunk_prefix, match->trunk_prefix[0] ? "'" : "");
    printf("head        %s\n", match->head_count > 0 ? "of the file" : "random, from run.seed");
    printf("prototypes  %s\n",
           match->prototypes_count > 0 ? "of the file" : "random, from run.seed");
    if (match->classifier_count > 0)
        printf("dropped     %d tensors of a classifier ('%s'): nothing is classified here\n",
               match->classifier_count, match->classifier);
    if (match->aside_count > 0)
        printf("left        %d tensors that are not of the model\n", match->aside_count);
    printf("A run begins with it by --set model.init=%s\n", request->to);
}

static enum status run(const struct request *request, const struct match_wish *wish,
                       const char *path)
{
    struct config *config = mem_zero(sizeof(*config));
    struct weights weights = {0};
    struct weights_match match = {0};
    enum status status = OK;
    TRY_OUT(load_config(request, config));
    TRY_OUT(weights_open(path, &weights));
    TRY_OUT(import_save(config, &weights, wish, request->to, &match));
    print_result(request, &weights, &match);
out:
    weights_match_done(&match);
    weights_close(&weights);
    mem_free(config);
    return status;
}

static int import_run(int argc, char **argv)
{
    struct request request = {.layout = "auto", .part = "present", .prefix = ""};
    const struct option_row rows[] = {
        {"config", 'c', OPTION_STRING, &request.config, "FILE", "what the run will train"},
        {"set", 0, OPTION_LIST, &request.overrides, "KEY=VALUE", "override a key of the config"},
        {"to", 0, OPTION_STRING, &request.to, "SNAPSHOT", "where to write, for model.init"},
        {"layout", 'l', OPTION_STRING, &request.layout, "NAMES",
         "names of auto (default), torchvision, timm, vissl or huggingface"},
        {"part", 'p', OPTION_STRING, &request.part, "PART",
         "present (default): the trunk, and head and prototypes if they are there; trunk; all"},
        {"prefix", 0, OPTION_STRING, &request.prefix, "TEXT",
         "look only at names that begin so, where a file holds several models"},
        {"output", 'o', OPTION_STRING, &request.output, "FORMAT", "table (default) or json"},
        {0},
    };
    const struct usage usage = {
        .program = "seer import",
        .synopsis = "FILE --config FILE --to SNAPSHOT [options]",
        .summary =
            "Makes a snapshot that a run begins with from published weights: safetensors or what\n"
            "torch.save wrote, of torchvision, timm, VISSL, SwAV or Hugging Face, or a snapshot "
            "of\n"
            "another run. Nothing in the file is executed.",
        .examples = "  seer import swav_800ep_pretrain.pth.tar --part trunk \\\n"
                    "      --config configs/paper/resnet50.yaml --to start.safetensors\n"
                    "  deploy/local_cluster.sh --config configs/paper/resnet50.yaml \\\n"
                    "      --set model.init=start.safetensors --store store --run run --workers 2",
        .options = rows,
    };
    int first;
    struct match_wish wish;
    enum status status = options_parse(&usage, argc, argv, &first);
    if (status == OK && first != argc - 1)
        status = fail(ERR_INPUT, "name one FILE of weights");
    if (status == OK && request.to == NULL)
        status = fail(ERR_INPUT, "--to SNAPSHOT is missing");
    if (status == OK)
        status = options_check_output(request.output);
    if (status == OK)
        status = read_wish(&request, &wish);
    if (status != OK)
        return options_exit(&usage, status);
    return command_exit(usage.program, run(&request, &wish, argv[first]));
}

const struct command import_command = {"import", "begin with published weights", import_run};
