/* config.c - a config as a whole: defaults, files, overrides, printing, fingerprint. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "common/config.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/check.h"
#include "common/config_reader.h"
#include "common/config_table.h"
#include "common/hash.h"

enum {
    FILE_BYTES_MAX = 1 << 20,
    LINE_WIDTH = 96,
};

/* The default of a row of crops is a list over the kinds of crop. */
static void init_crop_row(const struct config_row *row, struct config *config)
{
    char text[64];
    snprintf(text, sizeof(text), "%s", row->fallback + 1);
    int index = 0;
    char *rest = NULL;
    for (char *word = strtok_r(text, ", ]", &rest); word != NULL;
         word = strtok_r(NULL, ", ]", &rest)) {
        CHECK(index < CONFIG_CROPS_MAX);
        CHECK(config_row_store(row, index, word, 0, config) == OK);
        index++;
    }
    config->crop_count = index;
}

static void init_row(const struct config_row *row, struct config *config)
{
    if (config_row_is_crop(row))
        init_crop_row(row, config);
    else if (row->length_max > 0)
        CHECK(config_read("default", 0, row->key, row->fallback, strlen(row->fallback), config) ==
              OK);
    else
        CHECK(config_row_store(row, 0, row->fallback, 0, config) == OK);
}

void config_init(struct config *config)
{
    int count;
    const struct config_row *rows = config_rows(&count);
    memset(config, 0, sizeof(*config));
    for (int i = 0; i < count; i++)
        init_row(&rows[i], config);
}

/* The whole is checked, since a base need not be a config by itself. */
static enum status take_loaded(const char *name, const struct config *loaded, struct config *config)
{
    if (config_check(loaded) != OK)
        return fail(ERR_INPUT, "%s: %s", name, fail_message());
    *config = *loaded;
    return OK;
}

enum status config_load_text(const char *name, const void *yaml, size_t length,
                             struct config *config)
{
    struct config loaded = *config;
    if (length > FILE_BYTES_MAX)
        return fail(ERR_INPUT, "%s: %zu bytes are too many for a config (limit %d)", name, length,
                    FILE_BYTES_MAX);
    TRY(config_read(name, 1, "", yaml, length, &loaded));
    return take_loaded(name, &loaded, config);
}

enum status config_load(const char *path, struct config *config)
{
    struct config loaded = *config;
    TRY(config_read_file(path, &loaded));
    return take_loaded(path, &loaded, config);
}

/* Text needs no quotes on a command line: whatever stands there is meant. */
static enum status set_value(const char *key, const char *value, const char *assignment,
                             struct config *config)
{
    char name[CONFIG_PATH_BYTES];
    struct buf yaml;
    const struct config_row *row = config_row_find(key);
    int is_text = row != NULL && row->type == CONFIG_STRING && row->length_max == 0;
    snprintf(name, sizeof(name), "--set %s", assignment);
    buf_init(&yaml, FILE_BYTES_MAX);
    enum status status =
        is_text ? config_quote(value, &yaml) : buf_append(&yaml, value, strlen(value));
    if (status == OK)
        status = config_read(name, 0, key, yaml.bytes, yaml.length, config);
    buf_done(&yaml);
    return status;
}

enum status config_set(struct config *config, const char *assignment)
{
    char key[CONFIG_NAME_BYTES];
    const char *equals = strchr(assignment, '=');
    if (equals == NULL || equals == assignment)
        return fail(ERR_INPUT, "--set %s: write key=value, such as train.steps=100", assignment);
    size_t length = (size_t)(equals - assignment);
    if (length >= sizeof(key))
        return fail(ERR_INPUT, "--set %s: the key is too long", assignment);
    memcpy(key, assignment, length);
    key[length] = '\0';
    struct config changed = *config;
    TRY(set_value(key, equals + 1, assignment, &changed));
    *config = changed;
    return OK;
}

/* Starts a section when the row's differs from the one before. */
static enum status print_section(const struct config_row *row, const struct config_row *before,
                                 struct buf *out)
{
    size_t length = strcspn(row->key, ".") + 1;
    if (before != NULL && strncmp(row->key, before->key, length) == 0)
        return OK;
    return buf_format(out, "%s%.*s:\n", before != NULL ? "\n" : "", (int)length - 1, row->key);
}

/* Text in comment lines of bounded width. */
static enum status print_comment(const char *text, struct buf *out)
{
    while (*text != '\0') {
        size_t length = strlen(text);
        if (length > LINE_WIDTH) {
            length = LINE_WIDTH;
            while (text[length] != ' ')
                length--;
        }
        TRY(buf_format(out, "  # %.*s\n", (int)length, text));
        text += length;
        text += strspn(text, " ");
    }
    return OK;
}

static enum status print_explanation(const struct config_row *row, const struct config *config,
                                     struct buf *out)
{
    char valid[256], line[640];
    struct buf value;
    config_row_describe(row, valid, sizeof(valid));
    buf_init(&value, sizeof(line));
    enum status status = config_row_print_all(row, config, &value);
    if (status == OK) {
        snprintf(line, sizeof(line), "%s: %s%s%s. Default: %s.",
                 config_row_is_crop(row) ? strrchr(row->key, '.') + 1 : "Range", valid,
                 row->unit ? "; unit: " : "", row->unit ? row->unit : "",
                 (const char *)value.bytes);
        status = print_comment(row->meaning, out);
    }
    if (status == OK)
        status = print_comment(line, out);
    buf_done(&value);
    return status;
}

static enum status print_crops(const struct config_row *first, int row_count,
                               const struct config *config, struct buf *out)
{
    for (int64_t crop = 0; crop < config->crop_count; crop++) {
        for (int i = 0; i < row_count; i++) {
            TRY(buf_format(out, "%s%s: ", i == 0 ? "  - {" : ", ", strrchr(first[i].key, '.') + 1));
            TRY(config_row_print(&first[i], (int)crop, config, out));
        }
        TRY(buf_format(out, "}\n"));
    }
    return OK;
}

static int is_same_in(const struct config_row *row, const struct config *config,
                      const struct config *usual)
{
    struct buf text, usual_text;
    buf_init(&text, FILE_BYTES_MAX);
    buf_init(&usual_text, FILE_BYTES_MAX);
    CHECK(config_row_print_all(row, config, &text) == OK);
    CHECK(config_row_print_all(row, usual, &usual_text) == OK);
    const int is_same =
        text.length == usual_text.length && memcmp(text.bytes, usual_text.bytes, text.length) == 0;
    buf_done(&text);
    buf_done(&usual_text);
    return is_same;
}

static enum status print(const struct config *config, int is_explained, uint32_t protocol,
                         struct buf *out)
{
    int count;
    const struct config_row *rows = config_rows(&count), *before = NULL;
    struct config usual;
    config_init(&usual);
    for (int i = 0; i < count; i++) {
        const struct config_row *row = &rows[i];
        if (row->since > protocol && is_same_in(row, config, &usual))
            continue;
        TRY(print_section(row, before, out));
        before = row;
        if (is_explained)
            TRY(print_explanation(row, config, out));
        if (!config_row_is_crop(row)) {
            TRY(buf_format(out, "  %s: ", strrchr(row->key, '.') + 1));
            TRY(config_row_print_all(row, config, out));
            TRY(buf_append(out, "\n", 1));
        } else if (i + 1 == count || !config_row_is_crop(row + 1)) {
            int first = i;
            while (first > 0 && config_row_is_crop(&rows[first - 1]))
                first--;
            TRY(print_crops(&rows[first], i - first + 1, config, out));
        }
    }
    return OK;
}

enum status config_print(const struct config *config, struct buf *out)
{
    return print(config, 0, UINT32_MAX, out);
}

enum status config_print_for(const struct config *config, uint32_t protocol, struct buf *out)
{
    return print(config, 0, protocol, out);
}

uint32_t config_since(const struct config *config)
{
    int count;
    const struct config_row *rows = config_rows(&count);
    struct config usual;
    uint32_t since = 0;
    config_init(&usual);
    for (int i = 0; i < count; i++)
        if (rows[i].since > since && !is_same_in(&rows[i], config, &usual))
            since = rows[i].since;
    return since;
}

enum status config_print_reference(struct buf *out)
{
    struct config config;
    config_init(&config);
    TRY(buf_format(out,
                   "# Every key of a config, at its default. A file needs only the keys that "
                   "differ, and\n# may begin with other files, as seen from its folder: 'base: "
                   "[recipe.yaml]' as its first key.\n# Written by 'seer config show "
                   "--reference'; a test keeps it complete.\n\n"));
    return print(&config, 1, UINT32_MAX, out);
}

uint64_t config_fingerprint(const struct config *config)
{
    int count;
    const struct config_row *rows = config_rows(&count);
    struct config usual;
    struct buf text;
    config_init(&usual);
    buf_init(&text, FILE_BYTES_MAX);
    for (int i = 0; i < count; i++) {
        /* A later key at its default computes what programs without it do. */
        if (rows[i].role != CONFIG_MATHEMATICS ||
            (rows[i].since > 0 && is_same_in(&rows[i], config, &usual)))
            continue;
        CHECK(buf_format(&text, "%s=", rows[i].key) == OK);
        CHECK(config_row_print_all(&rows[i], config, &text) == OK);
        CHECK(buf_append(&text, "\n", 1) == OK);
    }
    uint64_t fingerprint = hash_bytes(text.bytes, text.length);
    buf_done(&text);
    return fingerprint;
}

int64_t config_slots(const struct config *config)
{
    return config->train.batch_images / config->train.slot_images;
}

int64_t config_prototypes(const struct config *config)
{
    int64_t prototypes = 0;
    for (int64_t head = 0; head < config->model.prototype_heads; head++)
        prototypes += config->model.prototypes[head];
    return prototypes;
}

double config_uniform_loss(const struct config *config)
{
    double sum = 0;
    for (int64_t head = 0; head < config->model.prototype_heads; head++)
        sum += log((double)config->model.prototypes[head]);
    return sum / (double)config->model.prototype_heads;
}

int64_t config_crops_per_image(const struct config *config)
{
    int64_t crops = 0;
    for (int64_t i = 0; i < config->crop_count; i++)
        crops += config->crops[i].count;
    return crops;
}
