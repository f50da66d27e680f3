/* source.h - where images come from: folders, lists, archives, IDX files; one item after another.
 *
 * A source never fails half-way: what cannot be read becomes an item that says why, and the source
 * goes on or ends; a watched folder ends when it is told to, or is gone. Items come in an order
 * that depends on the data alone. Threads: one owner. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef LOADER_SOURCE_H
#define LOADER_SOURCE_H

#include <stddef.h>
#include <stdint.h>

#include "common/status.h"
#include "loader/image.h"
#include "loader/labels.h"

enum label_rule {
    LABEL_RULE_AUTO,   /* .cls members and IDX label files, where they stand beside */
    LABEL_RULE_NONE,   /* drop all */
    LABEL_RULE_FOLDER, /* index of the folder's name */
};

struct source_options {
    enum label_rule rule;
    const char *idx_labels;  /* labels of an IDX source; NULL: the matching file beside it */
    int is_zero_separated;   /* paths on stdin end with 0 instead of a new line */
    int is_archive_on_stdin; /* "-" is a tar, with or without compression, instead of a list */
    int is_watching;         /* sources are folders that keep filling up: they end when woken */
    int wake;                /* descriptor whose being readable ends a watch; borrowed */
};

/* Which state of a file was read: another one is another file. */
struct file_stamp {
    uint64_t device, inode, bytes;
    int64_t changed_ns; /* time of its last change */
};

struct source_item {
    char *name;     /* for people: path, or archive and member; owned */
    char *folder;   /* under LABEL_RULE_FOLDER the folder it is in, else NULL; owned */
    uint8_t *bytes; /* owned */
    size_t length;
    int32_t label;            /* LABEL_NONE if there is none or the folder decides */
    enum image_reason reason; /* why there are no bytes; IMAGE_REASON_NONE if there are */
    char detail[200];         /* the same in words */
    char *file;               /* of a watched folder: the file on disk it is of; owned, or NULL */
    struct file_stamp stamp;  /* of file */
    int is_last;              /* of its file */
};

void source_item_done(struct source_item *item);
/* Turns item into one that only says why it is refused. */
void source_item_refuse(struct source_item *item, enum image_reason reason, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

struct source;

/* What a kind of source can do; none is optional. */
struct source_ops {
    /* ERR_END after the last item; with words if a watch came to its end. No other failure. */
    enum status (*next)(struct source *source, struct source_item *ret_item);
    /* Adds the names of all folders that items may name; called before the first next. */
    enum status (*folders)(struct source *source, struct labels *labels);
    double (*progress)(struct source *source); /* 0 to 1; 0 where unknown */
    void (*close)(struct source *source);
};

/* The first member of every kind's own struct. */
struct source {
    const struct source_ops *ops;
};

/* path: a folder, a file, or "-" for a list of paths, or an archive, on stdin. Which kind of file
 * is told by its contents. options and path are borrowed while the source lives. ERR_INPUT: there
 * is no such thing. */
enum status source_open(const char *path, const struct source_options *options,
                        struct source **ret_source);
enum status source_next(struct source *source, struct source_item *ret_item);
enum status source_folders(struct source *source, struct labels *labels);
double source_progress(struct source *source);
void source_close(struct source *source); /* NULL is fine */

/* The kinds. Each open is ERR_STALE if the file is of another kind. */
enum status source_paths_open(const char *path, const struct source_options *options,
                              struct source **ret_source);
enum status source_archive_open(const char *path, const struct source_options *options,
                                struct source **ret_source);
enum status source_idx_open(const char *path, const struct source_options *options,
                            struct source **ret_source);
/* A folder with data.mdb in it, or a file `x.mdb`. ERR_INPUT: also on a network file system. */
enum status source_lmdb_open(const char *path, const struct source_options *options,
                             struct source **ret_source);
/* Never ERR_STALE: ERR_INPUT, ERR_IO. */
enum status source_watch_open(const char *path, const struct source_options *options,
                              struct source **ret_source);

#endif
