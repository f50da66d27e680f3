/* labels.c - an append-only list of names. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "loader/labels.h"

#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "common/fs.h"
#include "common/hash.h"
#include "common/mem.h"
#include "loader/record.h"

enum { LABELS_BYTES_MAX = 64 << 20, SLOTS_FIRST = 128 };

void labels_init(struct labels *labels)
{
    *labels = (struct labels){0};
}

void labels_done(struct labels *labels)
{
    for (uint32_t i = 0; i < labels->count; i++)
        mem_free(labels->names[i]);
    mem_free(labels->names);
    mem_free(labels->slots);
    *labels = (struct labels){0};
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The slot of this name, or the free one where it belongs; there is always one. */
static struct label_slot *find_slot(const struct labels *labels, const char *name)
{
    size_t mask = labels->slot_count - 1;
    size_t at = (size_t)hash_bytes(name, strlen(name)) & mask;
    while (labels->slots[at].name != NULL && strcmp(labels->slots[at].name, name) != 0)
        at = (at + 1) & mask;
    return &labels->slots[at];
}

/* Slots are kept at most half full. */
static void reserve_slots(struct labels *labels)
{
    if (labels->count * 2 < labels->slot_count)
        return;
    mem_free(labels->slots);
    labels->slot_count = labels->slot_count == 0 ? SLOTS_FIRST : labels->slot_count * 2;
    labels->slots = mem_array(labels->slot_count, sizeof(*labels->slots));
    for (uint32_t i = 0; i < labels->count; i++)
        *find_slot(labels, labels->names[i]) = (struct label_slot){labels->names[i], i};
}

enum status labels_add(struct labels *labels, const char *name)
{
    if (strchr(name, '\n') != NULL || labels->count == LABELS_MAX)
        return fail(ERR_INPUT, "cannot use folder '%s' as a label: %s", name,
                    labels->count == LABELS_MAX ? "there are too many labels"
                                                : "its name has a line break");
    reserve_slots(labels);
    struct label_slot *slot = find_slot(labels, name);
    if (slot->name != NULL)
        return OK;
    if (labels->count == labels->capacity) {
        labels->capacity = labels->capacity == 0 ? 64 : labels->capacity * 2;
        labels->names = mem_resize(labels->names, labels->capacity * sizeof(*labels->names));
    }
    char *copy = mem_string(name);
    *slot = (struct label_slot){copy, labels->count};
    labels->names[labels->count++] = copy;
    return OK;
}

void labels_settle(struct labels *labels)
{
    if (labels->count > labels->known)
        qsort(labels->names + labels->known, labels->count - labels->known, sizeof(*labels->names),
              by_name);
    for (uint32_t i = labels->known; i < labels->count; i++)
        find_slot(labels, labels->names[i])->index = i;
    labels->known = labels->count;
}

int32_t labels_find(const struct labels *labels, const char *name)
{
    if (labels->slot_count == 0)
        return LABEL_NONE;
    const struct label_slot *slot = find_slot(labels, name);
    return slot->name != NULL && slot->index < labels->known ? (int32_t)slot->index : LABEL_NONE;
}

enum status labels_load(struct labels *labels, const char *store)
{
    enum status status = OK;
    struct buf text;
    buf_init(&text, LABELS_BYTES_MAX);
    char *path = mem_format("%s/labels.txt", store);
    if (!fs_exists(path))
        goto out;
    TRY_OUT(fs_read_file(path, &text));
    char *rest = (char *)text.bytes;
    for (char *line; rest != NULL && (line = strsep(&rest, "\n")) != NULL && status == OK;) {
        if (*line != '\0')
            status = labels_add(labels, line);
    }
    labels->known = labels->count;
out:
    mem_free(path);
    buf_done(&text);
    return status;
}

enum status labels_save(const struct labels *labels, const char *store)
{
    struct buf text;
    buf_init(&text, LABELS_BYTES_MAX);
    char *path = mem_format("%s/labels.txt", store);
    enum status status = OK;
    for (uint32_t i = 0; i < labels->known && status == OK; i++)
        status = buf_format(&text, "%s\n", labels->names[i]);
    if (status == OK && text.length > 0)
        status = fs_write_file(path, text.bytes, text.length);
    mem_free(path);
    buf_done(&text);
    return status;
}
