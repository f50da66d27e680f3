/* config_table.h - the one table that knows every key of a config.
 *
 * Loading, --set, printing, the reference file and the fingerprint all walk these rows, so a new
 * key is one member in config.h and one row in config_table.c. Rows of one section stand together.
 * The rows of the crops have the key "crops.N.x": N stands for the number of the entry. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef COMMON_CONFIG_TABLE_H
#define COMMON_CONFIG_TABLE_H

#include "common/config.h"

enum config_type { CONFIG_INT, CONFIG_REAL, CONFIG_BOOL, CONFIG_CHOICE, CONFIG_STRING };

/* What a key means for the run, see config_fingerprint. */
enum config_role {
    CONFIG_SETTING,     /* may differ between members, or change when a run goes on */
    CONFIG_MATHEMATICS, /* shapes what is computed: all members must agree */
};

struct config_row {
    const char *key;
    enum config_type type;
    enum config_role role;
    size_t offset;              /* of the value (of entry 0) in struct config */
    size_t length_offset;       /* lists: of the int64_t that holds the length; 0: always max */
    int length_min, length_max; /* entries of a list; 0, 0: not a list */
    int is_bare;                /* a list of one entry is written as the entry itself */
    size_t bytes;               /* strings: room, the ending 0 included */
    double min, max;            /* numbers: inclusive */
    const char *const *names;   /* choices, and strings that must be one of these; NULL-ended */
    const char *fallback;       /* the default as YAML; of crops: a list over the entries */
    const char *unit;           /* NULL: a pure number or a word */
    unsigned since; /* protocol that brought the key; 0: the first. See config_print_for */
    const char *meaning;
};

enum { CONFIG_ROWS_MAX = 128 };

const struct config_row *config_rows(int *ret_count);
/* NULL = no such key. */
const struct config_row *config_row_find(const char *key);
/* "train" and "crops" are sections of "train.steps" and "crops.N.size". */
int config_is_section(const char *key);
int config_row_is_crop(const struct config_row *row);
/* How many values the row has in this config: the length of its list, the entries of crops, or 1.
 */
int config_row_length(const struct config_row *row, const struct config *config);
/* Its values stand in brackets, in this config. */
int config_row_is_list(const struct config_row *row, const struct config *config);
/* What a valid value looks like, for messages and the reference: "a whole number from 1 to 9". */
void config_row_describe(const struct config_row *row, char *ret_text, size_t bytes);

/* One value, as text, into entry `index` of the row. The message says what would be valid, without
 * the place. is_quoted: the text stood in quotes, so it is no number. ERR_INPUT. */
enum status config_row_store(const struct config_row *row, int index, const char *text,
                             int is_quoted, struct config *config);
/* One value as plain text. */
enum status config_row_text(const struct config_row *row, int index, const struct config *config,
                            struct buf *out);
/* One value as YAML. */
enum status config_row_print(const struct config_row *row, int index, const struct config *config,
                             struct buf *out);
/* All of the row's values as YAML: a word, or a list in brackets. */
enum status config_row_print_all(const struct config_row *row, const struct config *config,
                                 struct buf *out);
/* A string in YAML's double quotes. */
enum status config_quote(const char *text, struct buf *out);

#endif
