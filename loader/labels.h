/* labels.h - names of classes and their indices; line i of STORE/labels.txt names label i.
 *
 * Names once given keep their index; new ones are appended in sorted order, so the first ingest of
 * a folder numbers its classes as torchvision's ImageFolder does. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef LOADER_LABELS_H
#define LOADER_LABELS_H

#include <stddef.h>
#include <stdint.h>

#include "common/status.h"

enum { LABELS_MAX = 1 << 20 };

/* Open addressing by the hash of the name: looking up costs the same with 2 classes and 21,000. */
struct label_slot {
    const char *name; /* borrowed from names; NULL: free */
    uint32_t index;   /* in names; of a name that awaits labels_settle, only for now */
};

struct labels {
    uint32_t count;
    uint32_t known; /* how many of them are numbered for good; the rest awaits labels_settle */
    uint32_t capacity;
    char **names;             /* owned */
    size_t slot_count;        /* a power of two, or 0 */
    struct label_slot *slots; /* owned */
};

void labels_init(struct labels *labels);
void labels_done(struct labels *labels);
/* Reads STORE/labels.txt; none is fine. */
enum status labels_load(struct labels *labels, const char *store);
/* Writes it, complete or not at all. */
enum status labels_save(const struct labels *labels, const char *store);
/* Notes a name (copied); again is fine. ERR_INPUT: too many, or a name with a line break. */
enum status labels_add(struct labels *labels, const char *name);
/* Sorts the names added since the last settle and numbers them. */
void labels_settle(struct labels *labels);
/* The index of a settled name, or LABEL_NONE (-1). */
int32_t labels_find(const struct labels *labels, const char *name);

#endif
