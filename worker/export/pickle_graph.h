/* pickle_graph.h - what a pickle comes to: plain values, and calls that nobody has made.
 *
 * Values are numbered; the graph may share values and contain itself, so whoever walks it bounds
 * his walk. unpickle.h makes it. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_EXPORT_PICKLE_GRAPH_H
#define WORKER_EXPORT_PICKLE_GRAPH_H

#include <stddef.h>
#include <stdint.h>

enum { PICKLE_VALUES_MAX = 1 << 22 };

enum pickle_kind {
    PICKLE_OPAQUE, /* None, a float, bytes, a number beyond 64 bits: of no use here */
    PICKLE_NUMBER, /* whole, or a truth value */
    PICKLE_TEXT,
    PICKLE_NAME,       /* a class or function: text is "module\nname"; NULL: the texts of the values
                          callable and argument */
    PICKLE_SEQUENCE,   /* list, tuple or set: parts are its items */
    PICKLE_DICTIONARY, /* parts are key, value, key, value ... */
    PICKLE_CALL,       /* parts as a dictionary's, of what was put into its result */
    PICKLE_PERSISTENT, /* an object outside the pickle, by its id */
};

struct pickle_value {
    enum pickle_kind kind;
    int64_t number;
    const char *text; /* into the bytes; not terminated */
    size_t text_length;
    uint32_t callable, argument; /* of a call; a persistent's id is argument */
    uint32_t part_count, part_capacity;
    uint32_t *parts; /* owned; indices of values */
};

struct pickle {
    uint32_t value_count, value_capacity;
    struct pickle_value *values; /* owned */
    uint32_t root;
    size_t taken; /* bytes, up to the end of this pickle */
};

void pickle_done(struct pickle *pickle);

/* Is it this text, or the name "module name"? */
int pickle_is_text(const struct pickle *pickle, uint32_t value, const char *text);
int pickle_is_name(const struct pickle *pickle, uint32_t value, const char *name);
/* The n-th item of a sequence. 0 if it has none. */
int pickle_item(const struct pickle *pickle, uint32_t value, uint32_t n, uint32_t *ret_item);
/* 0 if it is no number. */
int pickle_number(const struct pickle *pickle, uint32_t value, int64_t *ret_number);

#endif
