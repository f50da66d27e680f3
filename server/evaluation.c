/* evaluation.c - results of `seer eval` that lie beside a run. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/evaluation.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <jansson.h>

#include "common/buf.h"
#include "common/fs.h"

enum { FILE_BYTES_MAX = 1 << 20, TOP1_MAX = 100 };

static void copy(char *to, const char *text)
{
    snprintf(to, EVALUATION_NAME_BYTES, "%s", text != NULL ? text : "");
    for (char *at = to; *at != 0; at++) /* it goes into key="value" */
        if ((unsigned char)*at < ' ' || *at == '"')
            *at = '?';
}

/* One score. 0: there is none in it. */
static int read_row(const json_t *object, struct evaluation *row)
{
    const json_t *top1 = json_object_get(object, "top1");
    row->top1 = json_number_value(top1);
    row->deviation = json_number_value(json_object_get(object, "std"));
    copy(row->layer, json_string_value(json_object_get(object, "best_layer")));
    return json_is_number(top1) && row->top1 >= 0 && row->top1 <= TOP1_MAX;
}

/* "lowshot 1 %", "lowshot 5 a class". */
static void name_subset(const json_t *subset, const char *evaluation, struct evaluation *row)
{
    const json_t *percent = json_object_get(subset, "percent");
    const json_t *each = json_object_get(subset, "per_class");
    if (percent != NULL)
        snprintf(row->name, sizeof(row->name), "%.32s %g %%", evaluation,
                 json_number_value(percent));
    else
        snprintf(row->name, sizeof(row->name), "%.32s %lld a class", evaluation,
                 (long long)json_integer_value(each));
}

static int read_rows(const json_t *object, int64_t wall_ms,
                     struct evaluation rows[EVALUATION_ROWS_MAX])
{
    struct evaluation row = {.wall_ms = wall_ms};
    const json_t *subsets = json_object_get(object, "subsets");
    int count = 0;
    copy(row.name, json_string_value(json_object_get(object, "evaluation")));
    row.step = (uint64_t)json_integer_value(json_object_get(object, "step"));
    if (row.name[0] != 0 && read_row(object, &row))
        rows[count++] = row;
    for (size_t i = 0; i < json_array_size(subsets) && count < EVALUATION_ROWS_MAX; i++) {
        const json_t *subset = json_array_get(subsets, i);
        struct evaluation one = row;
        name_subset(subset, row.name, &one);
        if (row.name[0] != 0 && read_row(subset, &one))
            rows[count++] = one;
    }
    return count;
}

enum status evaluation_load(const char *path, struct evaluation ret_rows[EVALUATION_ROWS_MAX],
                            int *ret_count)
{
    struct stat facts;
    struct buf text;
    if (stat(path, &facts) != 0)
        return fail(ERR_INPUT, "no evaluation '%s'", path);
    buf_init(&text, FILE_BYTES_MAX);
    enum status status = fs_read_file(path, &text);
    json_t *object =
        status == OK ? json_loadb((const char *)text.bytes, text.length, 0, NULL) : NULL;
    buf_done(&text);
    TRY(status);
    const int count = read_rows(object, (int64_t)facts.st_mtim.tv_sec * 1000, ret_rows);
    json_decref(object);
    if (count == 0)
        return fail(ERR_INPUT, "'%s' is no result of an evaluation", path);
    *ret_count = count;
    return OK;
}

void evaluation_print(const struct evaluation *row, char ret_text[EVALUATION_TEXT_BYTES])
{
    snprintf(ret_text, EVALUATION_TEXT_BYTES,
             "evaluation=\"%s\" step=%" PRIu64 " top1=%.2f deviation=%.2f layer=\"%s\"", row->name,
             row->step, row->top1, row->deviation, row->layer);
}

/* The value behind key=, as far as it is quoted or has no space; "" if it is not there. */
static void take_word(const char *text, const char *key, char word[EVALUATION_NAME_BYTES])
{
    const char *at = strstr(text, key);
    word[0] = 0;
    if (at == NULL)
        return;
    at += strlen(key);
    const size_t length = *at == '"' ? strcspn(at + 1, "\"") : strcspn(at, " ");
    snprintf(word, EVALUATION_NAME_BYTES, "%.*s", (int)length, at + (*at == '"'));
}

int evaluation_parse(const char *text, struct evaluation *ret_row)
{
    char number[EVALUATION_NAME_BYTES];
    struct evaluation row = {0};
    take_word(text, "evaluation=", row.name);
    take_word(text, " layer=", row.layer);
    take_word(text, " step=", number);
    row.step = strtoull(number, NULL, 10);
    take_word(text, " deviation=", number);
    row.deviation = strtod(number, NULL);
    take_word(text, " top1=", number);
    row.top1 = strtod(number, NULL);
    if (row.name[0] == 0 || number[0] == 0 || !(row.top1 >= 0 && row.top1 <= TOP1_MAX))
        return 0;
    *ret_row = row;
    return 1;
}
