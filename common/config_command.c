/* config_command.c - `seer config`: show what a run would be told, check a file. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "common/config_command.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "common/config.h"
#include "common/config_table.h"
#include "common/json.h"

enum { TEXT_BYTES_MAX = 1 << 20 };

struct request {
    struct option_list sets;
    const char *output;
    int is_reference;
    const char *path; /* NULL: defaults */
};

static json_t *json_value(const struct config_row *row, int index, const struct config *config)
{
    struct buf text;
    buf_init(&text, TEXT_BYTES_MAX);
    json_t *value = NULL;
    if (config_row_text(row, index, config, &text) == OK) {
        const char *words = (const char *)text.bytes;
        value = row->type == CONFIG_STRING || row->type == CONFIG_CHOICE
                    ? json_string(words)
                    : json_loadb(words, text.length, JSON_DECODE_ANY, NULL);
    }
    buf_done(&text);
    return value;
}

/* The object `name` inside parent, made when it is not there. */
static json_t *json_section(json_t *parent, const char *name)
{
    json_t *section = json_object_get(parent, name);
    if (section == NULL) {
        section = json_object();
        json_object_set_new(parent, name, section);
    }
    return section;
}

static void json_add_crop_row(json_t *root, const struct config_row *row,
                              const struct config *config)
{
    json_t *crops = json_object_get(root, "crops");
    if (crops == NULL) {
        crops = json_array();
        json_object_set_new(root, "crops", crops);
    }
    for (int i = 0; i < config->crop_count; i++) {
        if ((size_t)i == json_array_size(crops))
            json_array_append_new(crops, json_object());
        json_object_set_new(json_array_get(crops, (size_t)i), strrchr(row->key, '.') + 1,
                            json_value(row, i, config));
    }
}

static void json_add_row(json_t *root, const struct config_row *row, const struct config *config)
{
    char section[CONFIG_NAME_BYTES];
    snprintf(section, sizeof(section), "%.*s", (int)strcspn(row->key, "."), row->key);
    json_t *value;
    if (!config_row_is_list(row, config)) {
        value = json_value(row, 0, config);
    } else {
        value = json_array();
        for (int i = 0; i < config_row_length(row, config); i++)
            json_array_append_new(value, json_value(row, i, config));
    }
    json_object_set_new(json_section(root, section), strrchr(row->key, '.') + 1, value);
}

static void print_json(const struct request *request, const struct config *config, int has_values)
{
    char fingerprint[32];
    snprintf(fingerprint, sizeof(fingerprint), "%016" PRIx64, config_fingerprint(config));
    json_t *root = json_pack("{s:i, s:s?, s:s}", "schema_version", 1, "file", request->path,
                             "fingerprint", fingerprint);
    json_t *values = json_object();
    int count;
    const struct config_row *rows = config_rows(&count);
    for (int i = 0; has_values && i < count; i++) {
        if (config_row_is_crop(&rows[i]))
            json_add_crop_row(values, &rows[i], config);
        else
            json_add_row(values, &rows[i], config);
    }
    if (has_values)
        json_object_set(root, "config", values);
    json_decref(values);
    json_print(root);
    json_decref(root);
}

static enum status print_yaml(const struct request *request, const struct config *config)
{
    struct buf text;
    buf_init(&text, TEXT_BYTES_MAX);
    enum status status =
        request->is_reference ? config_print_reference(&text) : config_print(config, &text);
    if (status == OK)
        fwrite(text.bytes, 1, text.length, stdout);
    buf_done(&text);
    return status;
}

static enum status load(const struct request *request, struct config *config)
{
    config_init(config);
    if (request->path != NULL)
        TRY(config_load(request->path, config));
    for (int i = 0; i < request->sets.count; i++)
        TRY(config_set(config, request->sets.items[i]));
    return config_check(config);
}

static enum status end_output(void)
{
    return fflush(stdout) == 0 ? OK : fail(ERR_IO, "cannot write the output");
}

static enum status show(const void *argument, int count, char **words)
{
    struct request request = *(const struct request *)argument;
    struct config config;
    request.path = count > 0 ? words[0] : NULL;
    if (request.is_reference && (options_is_json(request.output) || request.path != NULL))
        return fail(ERR_INPUT, "--reference goes with show alone");
    TRY(load(&request, &config));
    if (options_is_json(request.output))
        print_json(&request, &config, 1);
    else
        TRY(print_yaml(&request, &config));
    return end_output();
}

static enum status check(const void *argument, int count, char **words)
{
    struct request request = *(const struct request *)argument;
    struct config config;
    (void)count;
    request.path = words[0];
    if (request.is_reference)
        return fail(ERR_INPUT, "--reference goes with show alone");
    TRY(load(&request, &config));
    if (options_is_json(request.output))
        print_json(&request, &config, 0);
    else
        printf("%s: ok, fingerprint %016" PRIx64 "\n", request.path, config_fingerprint(&config));
    return end_output();
}

static const struct verb verbs[] = {
    {"show", "[FILE]", 0, 1, show, "the whole config that a file and overrides make"},
    {"check", "FILE", 1, 1, check, "say whether it is one"}};

enum { VERB_COUNT = sizeof(verbs) / sizeof(verbs[0]) };

static int config_run(int argc, char **argv)
{
    struct request request = {0};
    const struct option_row rows[] = {
        {"set", 0, OPTION_LIST, &request.sets, "KEY=VALUE", "override a key; may be repeated"},
        {"reference", 0, OPTION_FLAG, &request.is_reference, NULL,
         "with show: every key with meaning, unit, range and default"},
        {"output", 'o', OPTION_STRING, &request.output, "FORMAT", "table (default: YAML) or json"},
        {0},
    };
    const struct usage usage = {
        .program = "seer config",
        .synopsis = "show [FILE] | check FILE  [options]",
        .summary = "Shows the whole config that a file and overrides make, or checks a file.",
        .examples = "  seer config check demo.yaml\n"
                    "  seer config show demo.yaml --set train.batch_images=64\n"
                    "  seer config show --reference",
        .options = rows,
        .verbs = verbs,
        .verb_count = VERB_COUNT,
    };
    return verbs_run(&usage, &request.output, &request, argc, argv);
}

const struct command config_command = {"config", "show or check a config", config_run};
