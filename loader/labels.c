/* labels.c - an append-only list of names. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "loader/labels.h"

#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "common/fs.h"
#include "common/mem.h"
#include "loader/record.h"

enum { LABELS_BYTES_MAX = 64 << 20 };

void labels_init(struct labels *labels)
{
    *labels = (struct labels){0};
}

void labels_done(struct labels *labels)
{
    for (uint32_t i = 0; i < labels->count; i++)
        mem_free(labels->names[i]);
    mem_free(labels->names);
    *labels = (struct labels){0};
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

enum status labels_add(struct labels *labels, const char *name)
{
    if (strchr(name, '\n') != NULL || labels->count == LABELS_MAX)
        return fail(ERR_INPUT, "cannot use folder '%s' as a label: %s", name,
                    labels->count == LABELS_MAX ? "there are too many labels"
                                                : "its name has a line break");
    for (uint32_t i = 0; i < labels->count; i++) {
        if (strcmp(labels->names[i], name) == 0)
            return OK;
    }
    if (labels->count == labels->capacity) {
        labels->capacity = labels->capacity == 0 ? 64 : labels->capacity * 2;
        labels->names = mem_resize(labels->names, labels->capacity * sizeof(*labels->names));
    }
    labels->names[labels->count++] = mem_string(name);
    return OK;
}

void labels_settle(struct labels *labels)
{
    if (labels->count > labels->known)
        qsort(labels->names + labels->known, labels->count - labels->known, sizeof(*labels->names),
              by_name);
    labels->known = labels->count;
}

int32_t labels_find(const struct labels *labels, const char *name)
{
    for (uint32_t i = 0; i < labels->known; i++) {
        if (strcmp(labels->names[i], name) == 0)
            return (int32_t)i;
    }
    return LABEL_NONE;
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
