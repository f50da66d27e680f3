/* source_paths.c - files one by one: a folder with all below it, a list on stdin, or a single file.
 *
 * Archives and IDX files met on the way are opened like sources of their own. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "loader/source.h"

#include <errno.h>
#include <fts.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "common/mem.h"
#include "loader/record.h"
#include "loader/source_file.h"

enum { PATH_BYTES_MAX = 4096 };

struct paths {
    struct source base;
    const struct source_options *options; /* borrowed */
    char *root;
    FTS *walk;                 /* a folder; else NULL */
    FILE *list;                /* stdin; else NULL */
    char line[PATH_BYTES_MAX]; /* of list */
    int is_done;               /* the single file has been handed out */
    struct source *inner;      /* an archive that is being read */
    uint64_t visited;
    uint64_t total; /* files below a folder; 0 where unknown */
};

static int by_name(const FTSENT **a, const FTSENT **b)
{
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

static FTS *walk_open(char *root)
{
    char *roots[] = {root, NULL};
    return fts_open(roots, FTS_LOGICAL | FTS_NOCHDIR, by_name);
}

static uint64_t count_files(char *root)
{
    uint64_t count = 0;
    FTS *walk = walk_open(root);
    for (FTSENT *entry; walk != NULL && (entry = fts_read(walk)) != NULL;)
        count += entry->fts_info == FTS_F;
    if (walk != NULL)
        fts_close(walk);
    return count;
}

/* The first folder below the root of a walk; the last folder of a listed path. */
static char *folder_of(const struct paths *paths, const char *path)
{
    const char *end;
    if (paths->walk != NULL) {
        path += strlen(paths->root);
        path += strspn(path, "/");
        end = strchr(path, '/');
    } else {
        end = strrchr(path, '/');
        for (const char *at = path; end != NULL && at < end; at++)
            path = *at == '/' ? at + 1 : path;
    }
    return end == NULL || end == path ? NULL : mem_format("%.*s", (int)(end - path), path);
}

/* ERR_END after the last. ERR_IO: this one cannot be visited; ret_path names it nevertheless. */
static enum status next_walked(struct paths *paths, const char **ret_path)
{
    for (FTSENT *entry; (entry = fts_read(paths->walk)) != NULL;) {
        *ret_path = entry->fts_path;
        if (entry->fts_level > 0 && source_file_is_ignored(entry->fts_name, entry->fts_namelen)) {
            fts_set(paths->walk, entry, FTS_SKIP);
            continue;
        }
        switch (entry->fts_info) {
        case FTS_F:
            paths->visited++;
            return OK;
        case FTS_DNR:
        case FTS_ERR:
        case FTS_NS:
        case FTS_SLNONE:
            return fail(ERR_IO, "%s", strerror(entry->fts_errno ? entry->fts_errno : ENOENT));
        case FTS_DC:
            return fail(ERR_IO, "a link that leads back to a folder above it");
        default:
            break;
        }
    }
    return ERR_END;
}

/* Reads to the end mark, which is not kept; what does not fit is read and left out. Returns the
 * whole length, or -1 at the end of the list. */
static int64_t read_line(struct paths *paths, int end)
{
    int64_t length = 0;
    int c = getc_unlocked(paths->list);
    if (c == EOF)
        return -1;
    for (; c != EOF && c != end; c = getc_unlocked(paths->list), length++) {
        if (length < PATH_BYTES_MAX - 1)
            paths->line[length] = (char)c;
    }
    paths->line[length < PATH_BYTES_MAX ? length : PATH_BYTES_MAX - 1] = '\0';
    return length;
}

static enum status next_listed(struct paths *paths, const char **ret_path)
{
    int end = paths->options->is_zero_separated ? '\0' : '\n';
    for (;;) {
        int64_t length = read_line(paths, end);
        if (length < 0)
            return ERR_END;
        *ret_path = paths->line;
        if (length >= PATH_BYTES_MAX)
            return fail(ERR_IO, "the path is too long");
        if (end == '\n' && length > 0 && paths->line[length - 1] == '\r')
            paths->line[--length] = '\0';
        if (length > 0)
            return OK;
    }
}

static enum status next_path(struct paths *paths, const char **ret_path)
{
    if (paths->walk != NULL)
        return next_walked(paths, ret_path);
    if (paths->list != NULL)
        return next_listed(paths, ret_path);
    *ret_path = paths->root;
    return paths->is_done++ == 0 ? OK : ERR_END;
}

static int enter_archive(struct paths *paths, const char *path)
{
    return (paths->walk != NULL || paths->list != NULL) &&
           source_file_enter(path, paths->options, &paths->inner);
}

static enum status paths_next(struct source *source, struct source_item *ret_item)
{
    struct paths *paths = (struct paths *)source;
    enum label_rule rule = paths->options->rule;
    for (;;) {
        if (paths->inner != NULL) {
            if (source_next(paths->inner, ret_item) == OK)
                return OK;
            source_close(paths->inner);
            paths->inner = NULL;
        }
        const char *path;
        enum status status = next_path(paths, &path);
        if (status == ERR_END)
            return ERR_END;
        if (status == OK && enter_archive(paths, path))
            continue;
        if (status == OK && rule == LABEL_RULE_AUTO && source_file_ends(path, ".cls"))
            continue;
        *ret_item = (struct source_item){.name = mem_string(path), .label = LABEL_NONE};
        if (status != OK)
            source_item_refuse(ret_item, IMAGE_REASON_IO, "%s", fail_message());
        else
            source_file_read(path, ret_item);
        if (rule == LABEL_RULE_FOLDER)
            ret_item->folder = folder_of(paths, path);
        else if (rule == LABEL_RULE_AUTO)
            ret_item->label = source_file_label(path);
        return OK;
    }
}

/* Folders of a walk only: a list on stdin can be read but once, so its folders are numbered as
 * they come. */
static enum status paths_folders(struct source *source, struct labels *labels)
{
    struct paths *paths = (struct paths *)source;
    enum status status = OK;
    if (paths->walk == NULL)
        return OK;
    FTS *walk = walk_open(paths->root);
    for (FTSENT *entry; walk != NULL && status == OK && (entry = fts_read(walk)) != NULL;) {
        if (entry->fts_info != FTS_D || entry->fts_level == 0)
            continue;
        fts_set(walk, entry, FTS_SKIP);
        if (!source_file_is_ignored(entry->fts_name, entry->fts_namelen))
            status = labels_add(labels, entry->fts_name);
    }
    if (walk != NULL)
        fts_close(walk);
    return status;
}

static double paths_progress(struct source *source)
{
    struct paths *paths = (struct paths *)source;
    return paths->total == 0 ? 0 : (double)paths->visited / (double)paths->total;
}

static void paths_close(struct source *source)
{
    struct paths *paths = (struct paths *)source;
    source_close(paths->inner);
    if (paths->walk != NULL)
        fts_close(paths->walk);
    mem_free(paths->root);
    mem_free(paths);
}

static const struct source_ops paths_ops = {paths_next, paths_folders, paths_progress, paths_close};

enum status source_paths_open(const char *path, const struct source_options *options,
                              struct source **ret_source)
{
    struct stat info;
    struct paths *paths = mem_zero(sizeof(*paths));
    paths->base.ops = &paths_ops;
    paths->options = options;
    paths->root = mem_string(path);
    for (size_t end = strlen(paths->root); end > 1 && paths->root[end - 1] == '/'; end--)
        paths->root[end - 1] = '\0';
    if (strcmp(path, "-") == 0) {
        paths->list = stdin;
    } else if (stat(path, &info) == 0 && S_ISDIR(info.st_mode)) {
        paths->walk = walk_open(paths->root);
        paths->total = count_files(paths->root);
        if (paths->walk == NULL) {
            enum status status = fail(ERR_IO, "cannot read '%s': %s", path, strerror(errno));
            paths_close(&paths->base);
            return status;
        }
    }
    *ret_source = &paths->base;
    return OK;
}
