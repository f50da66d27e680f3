/* config_value.c - one value of a config: from text, to YAML, and in words. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "common/config_table.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/check.h"
#include "common/options.h"

enum { DESCRIPTION_BYTES = 256 };

static void *value_at(const struct config_row *row, int index, const struct config *config)
{
    size_t stride = config_row_is_crop(row)      ? sizeof(struct config_crop)
                    : row->type == CONFIG_STRING ? row->bytes
                    : row->type == CONFIG_REAL   ? sizeof(double)
                                                 : sizeof(int64_t);
    return (char *)config + row->offset + (size_t)index * stride;
}

static int name_index(const struct config_row *row, const char *text)
{
    for (int i = 0; row->names[i] != NULL; i++) {
        if (strcmp(row->names[i], text) == 0)
            return i;
    }
    return -1;
}

static void describe_names(const struct config_row *row, char *text, size_t bytes)
{
    size_t used = (size_t)snprintf(text, bytes, "one of");
    for (int i = 0; row->names[i] != NULL && used < bytes; i++)
        used +=
            (size_t)snprintf(text + used, bytes - used, "%s %s", i > 0 ? "," : "", row->names[i]);
}

static void describe_one(const struct config_row *row, char *text, size_t bytes)
{
    if (row->names != NULL)
        describe_names(row, text, bytes);
    else if (row->type == CONFIG_BOOL)
        snprintf(text, bytes, "true or false");
    else if (row->type == CONFIG_INT)
        snprintf(text, bytes, "a whole number from %.0f to %.0f", row->min, row->max);
    else if (row->type == CONFIG_REAL)
        snprintf(text, bytes, "a number from %g to %g", row->min, row->max);
    else
        snprintf(text, bytes, "text of at most %zu bytes", row->bytes - 1);
}

void config_row_describe(const struct config_row *row, char *ret_text, size_t bytes)
{
    size_t used = 0;
    if (row->is_bare) {
        describe_one(row, ret_text, bytes);
        used = strlen(ret_text);
        snprintf(ret_text + used, bytes - used, ", or a list of %d to %d such", row->length_min,
                 row->length_max);
        return;
    }
    if (row->length_max > 0 && row->length_min == row->length_max)
        used = (size_t)snprintf(ret_text, bytes, "a list of %d, each ", row->length_max);
    else if (row->length_max > 0)
        used = (size_t)snprintf(ret_text, bytes, "a list of %d to %d, each ", row->length_min,
                                row->length_max);
    CHECK(used < bytes);
    describe_one(row, ret_text + used, bytes - used);
}

static enum status refuse(const struct config_row *row, const char *text)
{
    char valid[DESCRIPTION_BYTES];
    describe_one(row, valid, sizeof(valid));
    return fail(ERR_INPUT, "%s%s must be %s%s%s%s, not '%s'", row->key,
                row->length_max > 0 && !row->is_bare ? ": each entry" : "", valid,
                row->unit ? " (" : "", row->unit ? row->unit : "", row->unit ? ")" : "", text);
}

static enum status store_number(const struct config_row *row, int index, const char *text,
                                struct config *config)
{
    char *end = NULL;
    errno = 0;
    if (row->type == CONFIG_REAL) {
        double value = strtod(text, &end);
        if (end == text || *end != '\0' || !isfinite(value) || value < row->min || value > row->max)
            return refuse(row, text);
        *(double *)value_at(row, index, config) = value;
        return OK;
    }
    long long value = strtoll(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0 || (double)value < row->min ||
        (double)value > row->max)
        return refuse(row, text);
    *(int64_t *)value_at(row, index, config) = value;
    return OK;
}

static enum status store_choice(const struct config_row *row, int index, const char *text,
                                struct config *config)
{
    int count = 0;
    while (row->names[count] != NULL)
        count++;
    int choice = name_index(row, text);
    if (choice < 0) {
        const char *nearest = options_nearest(text, row->names, count);
        enum status status = refuse(row, text);
        return nearest == NULL ? status
                               : fail(status, "%s; did you mean '%s'?", fail_message(), nearest);
    }
    if (row->type == CONFIG_CHOICE)
        *(int64_t *)value_at(row, index, config) = choice;
    else
        snprintf(value_at(row, index, config), row->bytes, "%s", text);
    return OK;
}

static enum status store_string(const struct config_row *row, int index, const char *text,
                                struct config *config)
{
    if (strlen(text) >= row->bytes)
        return refuse(row, text);
    for (const char *at = text; *at != '\0'; at++) {
        if ((unsigned char)*at < ' ')
            return fail(ERR_INPUT, "%s must not contain control characters", row->key);
    }
    /* Whole field, so that equal configs are equal bytes. */
    char *to = value_at(row, index, config);
    memset(to, 0, row->bytes);
    memcpy(to, text, strlen(text));
    return OK;
}

enum status config_row_store(const struct config_row *row, int index, const char *text,
                             int is_quoted, struct config *config)
{
    if (row->names != NULL)
        return store_choice(row, index, text, config);
    if (row->type == CONFIG_STRING)
        return store_string(row, index, text, config);
    if (is_quoted)
        return refuse(row, text);
    if (row->type == CONFIG_BOOL) {
        if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
            return refuse(row, text);
        *(int64_t *)value_at(row, index, config) = text[0] == 't';
        return OK;
    }
    return store_number(row, index, text, config);
}

enum status config_quote(const char *text, struct buf *out)
{
    TRY(buf_append(out, "\"", 1));
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\')
            TRY(buf_append(out, "\\", 1));
        TRY(buf_append(out, text, 1));
    }
    return buf_append(out, "\"", 1);
}

static enum status print_real(double value, struct buf *out)
{
    /* The shortest form that reads back to the same bits: 0.1, not 0.10000000000000001. */
    char text[32];
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    return buf_append(out, text, strlen(text));
}

enum status config_row_text(const struct config_row *row, int index, const struct config *config,
                            struct buf *out)
{
    const void *value = value_at(row, index, config);
    switch (row->type) {
    case CONFIG_INT:
        return buf_format(out, "%" PRId64, *(const int64_t *)value);
    case CONFIG_REAL:
        return print_real(*(const double *)value, out);
    case CONFIG_BOOL:
        return buf_format(out, "%s", *(const int64_t *)value ? "true" : "false");
    case CONFIG_CHOICE:
        return buf_format(out, "%s", row->names[*(const int64_t *)value]);
    case CONFIG_STRING:
        return buf_format(out, "%s", (const char *)value);
    }
    CHECK(!"a type of row without a printed form");
    return OK;
}

enum status config_row_print(const struct config_row *row, int index, const struct config *config,
                             struct buf *out)
{
    if (row->type == CONFIG_STRING && row->names == NULL)
        return config_quote(value_at(row, index, config), out);
    return config_row_text(row, index, config, out);
}

enum status config_row_print_all(const struct config_row *row, const struct config *config,
                                 struct buf *out)
{
    if (!config_row_is_list(row, config) && !config_row_is_crop(row))
        return config_row_print(row, 0, config, out);
    TRY(buf_append(out, "[", 1));
    int length = config_row_length(row, config);
    for (int i = 0; i < length; i++) {
        if (i > 0)
            TRY(buf_append(out, ", ", 2));
        TRY(config_row_print(row, i, config, out));
    }
    return buf_append(out, "]", 1);
}
