/* log_json.c - a line of the log as one JSON object. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "common/log_json.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "common/mem.h"

/* Identities are 16 hex digits: one that happens to have no letter must not become a number. */
enum { NUMBER_BYTES_MAX = 15 };

/* A number as JSON writes them, or NULL. */
static json_t *number_of(const char *value)
{
    const char *digits = value + (value[0] == '-');
    if (strlen(value) > NUMBER_BYTES_MAX || !isdigit((unsigned char)digits[0]) ||
        (digits[0] == '0' && isdigit((unsigned char)digits[1])))
        return NULL;
    return json_loads(value, JSON_DECODE_ANY, NULL);
}

/* Cuts the value off that begins at text; returns what comes behind. A quote ends it if a space or
 * the end follows: reasons quote names in turn. */
static char *take_value(char *text, char **ret_value)
{
    char *end = text;
    *ret_value = text;
    if (*text != '"') {
        end = text + strcspn(text, " ");
    } else {
        *ret_value = text + 1;
        end = text + 1;
        while (*end != 0 && !(*end == '"' && (end[1] == ' ' || end[1] == 0)))
            end++;
        if (*end == '"')
            *end++ = 0;
    }
    if (*end == ' ')
        *end++ = 0;
    return end;
}

/* The length of the key if text begins with key=, else 0. */
static size_t key_length(const char *text)
{
    const size_t length = strspn(text, "abcdefghijklmnopqrstuvwxyz_0123456789");
    return text[length] == '=' ? length : 0;
}

static void put(json_t *object, const char *key, const char *value)
{
    json_t *number = value[-1] == '"' ? NULL : number_of(value);
    if (json_object_get(object, key) == NULL) /* time, level and program are ours */
        json_object_set_new(object, key, number != NULL ? number : json_text(value));
    else
        json_decref(number);
}

static void put_members(json_t *object, char *text)
{
    while (*text != 0) {
        const size_t length = key_length(text);
        char *value = NULL;
        if (length == 0) {
            json_object_set_new(object, "message", json_text(text));
            return;
        }
        text[length] = 0;
        char *rest = take_value(text + length + 1, &value);
        put(object, text, value);
        text = rest;
    }
}

size_t log_json(const char *time, const char *level, const char *program, const char *text,
                char *ret_line, size_t bytes)
{
    json_t *object = json_object();
    char *copy = mem_string(text);
    json_object_set_new(object, "time", json_string(time));
    json_object_set_new(object, "level", json_string(level));
    json_object_set_new(object, "program", json_text(program));
    put_members(object, copy);
    size_t length = json_dumpb(object, ret_line, bytes - 1, JSON_COMPACT);
    while (length >= bytes && json_object_size(object) > 3) { /* the last member goes */
        const char *last = NULL, *key;
        json_t *value;
        json_object_foreach(object, key, value) last = key;
        json_object_del(object, last);
        length = json_dumpb(object, ret_line, bytes - 1, JSON_COMPACT);
    }
    length = length < bytes ? length : 0;
    ret_line[length] = 0;
    json_decref(object);
    mem_free(copy);
    return length;
}
