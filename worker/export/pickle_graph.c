/* pickle_graph.c - questions to values. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/export/pickle_graph.h"

#include <string.h>

#include "common/mem.h"

void pickle_done(struct pickle *pickle)
{
    for (uint32_t i = 0; i < pickle->value_count; i++)
        mem_free(pickle->values[i].parts);
    mem_free(pickle->values);
    *pickle = (struct pickle){0};
}

static int is_equal(const struct pickle_value *part, const char *words, size_t length)
{
    return part->kind == PICKLE_TEXT && part->text_length == length &&
           memcmp(part->text, words, length) == 0;
}

int pickle_is_text(const struct pickle *pickle, uint32_t value, const char *text)
{
    return is_equal(&pickle->values[value], text, strlen(text));
}

int pickle_is_name(const struct pickle *pickle, uint32_t value, const char *name)
{
    const struct pickle_value *v = &pickle->values[value];
    const size_t module_length = strcspn(name, " "), length = strlen(name);
    if (v->kind != PICKLE_NAME)
        return 0;
    if (v->text == NULL)
        return is_equal(&pickle->values[v->callable], name, module_length) &&
               is_equal(&pickle->values[v->argument], name + module_length + 1,
                        length - module_length - 1);
    return v->text_length == length && memcmp(v->text, name, module_length) == 0 &&
           v->text[module_length] == '\n' &&
           memcmp(v->text + module_length + 1, name + module_length + 1,
                  length - module_length - 1) == 0;
}

int pickle_item(const struct pickle *pickle, uint32_t value, uint32_t n, uint32_t *ret_item)
{
    const struct pickle_value *v = &pickle->values[value];
    if (v->kind != PICKLE_SEQUENCE || n >= v->part_count)
        return 0;
    *ret_item = v->parts[n];
    return 1;
}

int pickle_number(const struct pickle *pickle, uint32_t value, int64_t *ret_number)
{
    *ret_number = pickle->values[value].number;
    return pickle->values[value].kind == PICKLE_NUMBER;
}
