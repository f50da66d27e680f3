/* config_reader.c - YAML events into a config, guided by the table of keys.
 *
 * libyaml's events are walked directly, because a message must name file, line and nearest key;
 * libcyaml, which binds schemas to the same events, logs its errors without the file and knows no
 * nearest key. The walk follows the table, so its depth is bounded by it whatever the file holds;
 * aliases, anchors and tags are refused. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "common/config_reader.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <yaml.h>

#include "common/buf.h"
#include "common/config_table.h"
#include "common/fs.h"
#include "common/mem.h"
#include "common/options.h"

enum {
    KEY_BYTES = 128,
    TEXT_BYTES = 1024,
    SECTIONS_MAX = 32,
    FILE_BYTES_MAX = 1 << 20,
};

enum token_kind { TOKEN_SCALAR, TOKEN_LIST, TOKEN_LIST_END, TOKEN_MAP, TOKEN_MAP_END, TOKEN_END };

struct token {
    enum token_kind kind;
    int line;
    int is_quoted;
    char text[TEXT_BYTES]; /* of a scalar */
};

struct reader {
    yaml_parser_t parser;
    const char *name;
    int has_lines;
    int is_file, depth; /* of bases that led here */
    int key_count;      /* read so far, sections' too */
    struct config *config;
    uint8_t seen[CONFIG_ROWS_MAX][CONFIG_CROPS_MAX];
    int section_count;
    char sections[SECTIONS_MAX][KEY_BYTES];
};

/* fail() with the place in front of the words. */
static enum status fail_at(const struct reader *reader, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static enum status fail_at(const struct reader *reader, int line, const char *format, ...)
{
    char words[TEXT_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(words, sizeof(words), format, args);
    va_end(args);
    if (reader->has_lines)
        return fail(ERR_INPUT, "%s:%d: %s", reader->name, line, words);
    return fail(ERR_INPUT, "%s: %s", reader->name, words);
}

static enum status scalar_token(const struct reader *reader, const yaml_event_t *event,
                                struct token *ret_token)
{
    size_t length = event->data.scalar.length;
    if (length >= TEXT_BYTES)
        return fail_at(reader, ret_token->line, "a value of %zu bytes is too long (limit %d)",
                       length, TEXT_BYTES - 1);
    if (memchr(event->data.scalar.value, 0, length) != NULL)
        return fail_at(reader, ret_token->line, "a value contains a zero byte");
    memcpy(ret_token->text, event->data.scalar.value, length);
    ret_token->text[length] = '\0';
    ret_token->is_quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    return OK;
}

static enum status event_token(const struct reader *reader, const yaml_event_t *event,
                               struct token *ret_token)
{
    const void *anchor = NULL, *tag = NULL;
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        ret_token->kind = TOKEN_SCALAR;
        anchor = event->data.scalar.anchor;
        tag = event->data.scalar.tag;
        TRY(scalar_token(reader, event, ret_token));
        break;
    case YAML_SEQUENCE_START_EVENT:
        ret_token->kind = TOKEN_LIST;
        anchor = event->data.sequence_start.anchor;
        tag = event->data.sequence_start.tag;
        break;
    case YAML_MAPPING_START_EVENT:
        ret_token->kind = TOKEN_MAP;
        anchor = event->data.mapping_start.anchor;
        tag = event->data.mapping_start.tag;
        break;
    case YAML_SEQUENCE_END_EVENT:
        ret_token->kind = TOKEN_LIST_END;
        break;
    case YAML_MAPPING_END_EVENT:
        ret_token->kind = TOKEN_MAP_END;
        break;
    case YAML_ALIAS_EVENT:
        anchor = event;
        break;
    default:
        ret_token->kind = TOKEN_END;
    }
    if (anchor != NULL)
        return fail_at(reader, ret_token->line,
                       "anchors and aliases are not allowed; write the "
                       "value out");
    if (tag != NULL)
        return fail_at(reader, ret_token->line, "tags are not allowed; write the bare value");
    return OK;
}

static enum status token_next(struct reader *reader, struct token *ret_token)
{
    for (;;) {
        yaml_event_t event;
        if (!yaml_parser_parse(&reader->parser, &event)) {
            const char *problem = reader->parser.problem;
            return fail_at(reader, (int)reader->parser.problem_mark.line + 1, "not YAML: %s",
                           problem != NULL ? problem : "cannot be parsed");
        }
        int is_value = event.type != YAML_STREAM_START_EVENT &&
                       event.type != YAML_DOCUMENT_START_EVENT &&
                       event.type != YAML_DOCUMENT_END_EVENT;
        ret_token->line = (int)event.start_mark.line + 1;
        enum status status = is_value ? event_token(reader, &event, ret_token) : OK;
        yaml_event_delete(&event);
        if (status != OK || is_value)
            return status;
    }
}

static enum status unknown_key(const struct reader *reader, int line, const char *key)
{
    const char *keys[CONFIG_ROWS_MAX];
    int count;
    const struct config_row *rows = config_rows(&count);
    for (int i = 0; i < count; i++)
        keys[i] = rows[i].key;
    const char *nearest = options_nearest(key, keys, count);
    if (nearest == NULL)
        return fail_at(reader, line, "unknown key '%s'; see 'seer config show --reference'", key);
    return fail_at(reader, line, "unknown key '%s'; did you mean '%s'?", key, nearest);
}

static enum status mark_seen(struct reader *reader, int line, const struct config_row *row,
                             int index)
{
    int count;
    uint8_t *seen = &reader->seen[row - config_rows(&count)][index];
    if (*seen != 0)
        return fail_at(reader, line, "'%s' is given twice", row->key);
    *seen = 1;
    return OK;
}

static enum status store(struct reader *reader, const struct config_row *row, int index,
                         const struct token *token)
{
    if (config_row_store(row, index, token->text, token->is_quoted, reader->config) != OK)
        return fail_at(reader, token->line, "%s", fail_message());
    return OK;
}

static enum status wrong_shape(const struct reader *reader, int line, const struct config_row *row)
{
    char valid[256];
    config_row_describe(row, valid, sizeof(valid));
    return fail_at(reader, line, "%s must be %s", row->key, valid);
}

static enum status read_list(struct reader *reader, const struct config_row *row, int line)
{
    struct token token;
    int length = 0;
    for (;;) {
        TRY(token_next(reader, &token));
        if (token.kind == TOKEN_LIST_END)
            break;
        if (token.kind != TOKEN_SCALAR || length == row->length_max)
            return wrong_shape(reader, token.line, row);
        TRY(store(reader, row, length, &token));
        length++;
    }
    if (length < row->length_min)
        return wrong_shape(reader, line, row);
    if (row->length_offset != 0)
        *(int64_t *)((char *)reader->config + row->length_offset) = length;
    return OK;
}

static enum status read_row(struct reader *reader, const struct config_row *row, int index,
                            const struct token *token)
{
    TRY(mark_seen(reader, token->line, row, index));
    if (row->length_max > 0 && token->kind == TOKEN_LIST)
        return read_list(reader, row, token->line);
    if ((row->length_max > 0 && !row->is_bare) || token->kind != TOKEN_SCALAR)
        return wrong_shape(reader, token->line, row);
    if (row->length_offset != 0)
        *(int64_t *)((char *)reader->config + row->length_offset) = 1;
    return store(reader, row, index, token);
}

static enum status read_value(struct reader *reader, const char *key, int index,
                              const struct token *token);

static enum status read_file(const char *path, int depth, struct config *config);

static enum status read_base(struct reader *reader, const struct token *token)
{
    char path[CONFIG_PATH_BYTES];
    if (token->kind != TOKEN_SCALAR || token->text[0] == '\0')
        return fail_at(reader, token->line, "base must be a file or a list of files");
    if (reader->depth == CONFIG_BASES_DEEP)
        return fail_at(reader, token->line, "bases are more than %d deep: does one name itself?",
                       CONFIG_BASES_DEEP);
    const char *slash = strrchr(reader->name, '/');
    int folder = slash == NULL || token->text[0] == '/' ? 0 : (int)(slash - reader->name) + 1;
    int length = snprintf(path, sizeof(path), "%.*s%s", folder, reader->name, token->text);
    if (length >= (int)sizeof(path))
        return fail_at(reader, token->line, "base: a path of %d bytes is too long", length);
    return read_file(path, reader->depth + 1, reader->config);
}

/* What is read later counts more, so bases come before all else. */
static enum status read_bases(struct reader *reader)
{
    struct token token;
    TRY(token_next(reader, &token));
    if (!reader->is_file)
        return fail_at(reader, token.line, "base: only a file has a folder to find others from");
    if (reader->key_count > 1)
        return fail_at(reader, token.line, "base must be the first key and stand once");
    if (token.kind != TOKEN_LIST)
        return read_base(reader, &token);
    for (;;) {
        TRY(token_next(reader, &token));
        if (token.kind == TOKEN_LIST_END)
            return OK;
        TRY(read_base(reader, &token));
    }
}

static enum status read_map(struct reader *reader, const char *section, int index,
                            const struct token *start)
{
    if (start->kind != TOKEN_MAP)
        return fail_at(reader, start->line, "%s must hold keys, such as '%s'",
                       *section ? section : "a config", *section ? "key: value" : "train:");
    for (;;) {
        struct token token;
        char key[KEY_BYTES];
        TRY(token_next(reader, &token));
        if (token.kind == TOKEN_MAP_END)
            return OK;
        if (token.kind != TOKEN_SCALAR)
            return fail_at(reader, token.line, "a key must be a word");
        int length = snprintf(key, sizeof(key), "%s%s%s", section, *section ? "." : "", token.text);
        if (length >= (int)sizeof(key))
            return fail_at(reader, token.line, "a key of %d bytes is too long", length);
        reader->key_count++;
        if (strcmp(key, "base") == 0) {
            TRY(read_bases(reader));
            continue;
        }
        if (strchr(token.text, '.') != NULL ||
            (config_row_find(key) == NULL && !config_is_section(key)))
            return unknown_key(reader, token.line, key);
        TRY(token_next(reader, &token));
        TRY(read_value(reader, key, index, &token));
    }
}

static enum status read_section(struct reader *reader, const char *section,
                                const struct token *start)
{
    for (int i = 0; i < reader->section_count; i++) {
        if (strcmp(reader->sections[i], section) == 0)
            return fail_at(reader, start->line, "'%s' is given twice", section);
    }
    if (reader->section_count < SECTIONS_MAX)
        snprintf(reader->sections[reader->section_count++], KEY_BYTES, "%s", section);
    return read_map(reader, section, 0, start);
}

static enum status require_whole_crop(struct reader *reader, int index, int line)
{
    int count;
    const struct config_row *rows = config_rows(&count);
    for (int i = 0; i < count; i++) {
        if (config_row_is_crop(&rows[i]) && !reader->seen[i][index])
            return fail_at(reader, line, "crops: entry %d lacks '%s'", index,
                           strrchr(rows[i].key, '.') + 1);
    }
    return OK;
}

/* The whole list of crops replaces the former one. */
static enum status read_crops(struct reader *reader, const struct token *start)
{
    if (start->kind != TOKEN_LIST)
        return fail_at(reader, start->line,
                       "crops must be a list of 1 to %d kinds of crop, such "
                       "as '- {count: 2, size: 224, scale_min: 0.14, scale_max: 1}'",
                       CONFIG_CROPS_MAX);
    int count = 0;
    for (;;) {
        struct token token;
        TRY(token_next(reader, &token));
        if (token.kind == TOKEN_LIST_END)
            break;
        if (count == CONFIG_CROPS_MAX)
            return fail_at(reader, token.line, "crops has more than %d entries", CONFIG_CROPS_MAX);
        int line = token.line;
        TRY(read_map(reader, "crops.N", count, &token));
        TRY(require_whole_crop(reader, count, line));
        count++;
    }
    if (count == 0)
        return fail_at(reader, start->line, "crops must have at least one entry");
    reader->config->crop_count = count;
    return OK;
}

static enum status read_value(struct reader *reader, const char *key, int index,
                              const struct token *token)
{
    const struct config_row *row = config_row_find(key);
    if (row != NULL)
        return read_row(reader, row, index, token);
    if (strcmp(key, "crops") == 0)
        return read_crops(reader, token);
    if (strcmp(key, "crops.N") == 0)
        return read_map(reader, key, index, token);
    if (config_is_section(key))
        return read_section(reader, key, token);
    return unknown_key(reader, token->line, key);
}

/* "crops.1.size" -> "crops.N.size" and 1. */
static enum status take_crop_index(const struct reader *reader, const char *key, char *ret_key,
                                   int *ret_index)
{
    static const char prefix[] = "crops.";
    snprintf(ret_key, KEY_BYTES, "%s", key);
    *ret_index = 0;
    if (strncmp(key, prefix, strlen(prefix)) != 0)
        return OK;
    char *end = NULL;
    const char *digits = key + strlen(prefix);
    long index = strtol(digits, &end, 10);
    if (!isdigit((unsigned char)*digits) || (*end != '.' && *end != '\0'))
        return fail_at(reader, 0,
                       "unknown key '%s'; a crop is named by its number, such as "
                       "crops.0.size",
                       key);
    if (index >= reader->config->crop_count)
        return fail_at(reader, 0, "'%s': crops has %d entries, counted from 0", key,
                       (int)reader->config->crop_count);
    snprintf(ret_key, KEY_BYTES, "crops.N%s", end);
    *ret_index = (int)index;
    return OK;
}

static enum status read_all(struct reader *reader, const char *key)
{
    struct token token;
    char row_key[KEY_BYTES];
    int index;
    if (strlen(key) >= sizeof(row_key))
        return fail_at(reader, 1, "a key of %zu bytes is too long", strlen(key));
    TRY(take_crop_index(reader, key, row_key, &index));
    TRY(token_next(reader, &token));
    if (*key == '\0' && token.kind == TOKEN_END)
        return OK; /* an empty file: everything at its default */
    if (token.kind == TOKEN_END ||
        (*key != '\0' && token.kind == TOKEN_SCALAR && !token.is_quoted && token.text[0] == '\0'))
        return fail_at(reader, 1, "'%s' needs a value", key);
    if (*key == '\0')
        TRY(read_map(reader, "", 0, &token));
    else
        TRY(read_value(reader, row_key, index, &token));
    TRY(token_next(reader, &token));
    if (token.kind != TOKEN_END)
        return fail_at(reader, token.line, "more than one YAML document");
    return OK;
}

/* as: a reader with name and config. */
static enum status read_text(const struct reader *as, const char *key, const void *yaml,
                             size_t length)
{
    struct reader *reader = mem_zero(sizeof(*reader));
    *reader = *as;
    enum status status;
    if (yaml_parser_initialize(&reader->parser)) {
        yaml_parser_set_input_string(&reader->parser, yaml, length);
        status = read_all(reader, key);
        yaml_parser_delete(&reader->parser);
    } else {
        status = fail(ERR_IO, "%s: no memory for the YAML parser", as->name);
    }
    mem_free(reader);
    return status;
}

enum status config_read(const char *name, int has_lines, const char *key, const void *yaml,
                        size_t length, struct config *config)
{
    const struct reader as = {.name = name, .has_lines = has_lines, .config = config};
    return read_text(&as, key, yaml, length);
}

static enum status read_file(const char *path, int depth, struct config *config)
{
    const struct reader as = {
        .name = path, .has_lines = 1, .is_file = 1, .depth = depth, .config = config};
    struct buf yaml;
    buf_init(&yaml, FILE_BYTES_MAX);
    enum status status = fs_read_file(path, &yaml);
    if (status == OK)
        status = read_text(&as, "", yaml.bytes != NULL ? yaml.bytes : (uint8_t *)"", yaml.length);
    buf_done(&yaml);
    return status;
}

enum status config_read_file(const char *path, struct config *config)
{
    return read_file(path, 0, config);
}
