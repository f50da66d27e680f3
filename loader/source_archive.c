/* source_archive.c - tar (any compression), zip and WebDataset tars through libarchive.
 *
 * WebDataset: consecutive members that share their path up to the first dot of the name are one
 * sample; x.cls is the label of x.jpg, other side files are passed over. Members are grouped that
 * way in every archive, which does no harm where names do not repeat. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "loader/source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include <archive.h>
#include <archive_entry.h>

#include "common/mem.h"
#include "loader/record.h"

enum {
    READ_BLOCK_BYTES = 256 << 10,
    SAMPLE_MEMBERS_MAX = 16, /* a larger group is cut; its rest has no label */
    SAMPLE_BYTES_MAX = 2 * RECORD_BYTES_MAX,
};

struct reader {
    struct source base;
    const struct source_options *options; /* borrowed */
    char *path;
    uint64_t file_bytes;
    struct archive *archive;
    struct source_item sample[SAMPLE_MEMBERS_MAX]; /* names are those of members */
    int sample_count;
    int sample_at;           /* the next to hand out */
    struct source_item next; /* first member of the sample after; name NULL: none read yet */
    int is_done;
};

static int is_stdin(const char *path)
{
    return strcmp(path, "-") == 0;
}

/* NULL: it is none. *ret_first is NULL of one without a member: its header must not be asked for
 * again, which libarchive calls an error. */
static struct archive *archive_open(const char *path, struct archive_entry **ret_first)
{
    struct archive *archive = archive_read_new();
    archive_read_support_filter_all(archive);
    archive_read_support_format_tar(archive);
    archive_read_support_format_zip(archive);
    int opened = is_stdin(path) ? archive_read_open_fd(archive, STDIN_FILENO, READ_BLOCK_BYTES)
                                : archive_read_open_filename(archive, path, READ_BLOCK_BYTES);
    int result =
        opened == ARCHIVE_OK ? archive_read_next_header(archive, ret_first) : ARCHIVE_FATAL;
    if (result == ARCHIVE_EOF)
        *ret_first = NULL;
    if (result >= ARCHIVE_WARN)
        return archive;
    archive_read_free(archive);
    return NULL;
}

static const char *name_of(struct archive_entry *entry)
{
    const char *name = archive_entry_pathname(entry);
    return name == NULL ? "(unnamed)" : name;
}

/* Where the key of a member ends: the first dot of its file name. */
static size_t key_length(const char *name)
{
    const char *slash = strrchr(name, '/');
    const char *file = slash == NULL ? name : slash + 1;
    const char *dot = strchr(file, '.');
    return dot == NULL ? strlen(name) : (size_t)(dot - name);
}

static const char *extension_of(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot == NULL ? "" : dot + 1;
}

static int is_side_file(const char *name)
{
    static const char *const extensions[] = {"cls", "json", "txt", "id", "index", "npy", "pyd"};
    for (size_t i = 0; i < sizeof(extensions) / sizeof(extensions[0]); i++) {
        if (strcasecmp(extension_of(name), extensions[i]) == 0)
            return 1;
    }
    return 0;
}

static int is_visible_file(struct archive_entry *entry)
{
    const char *name = name_of(entry);
    const char *slash = strrchr(name, '/');
    return archive_entry_filetype(entry) == AE_IFREG &&
           (slash == NULL ? name : slash + 1)[0] != '.';
}

static void read_member(struct reader *reader, struct archive_entry *entry,
                        struct source_item *ret_item)
{
    *ret_item = (struct source_item){.name = mem_string(name_of(entry)), .label = LABEL_NONE};
    size_t capacity = 64 << 10;
    if (archive_entry_size_is_set(entry)) {
        if (archive_entry_size(entry) > RECORD_BYTES_MAX) {
            source_item_refuse(ret_item, IMAGE_REASON_TOO_LARGE,
                               "%lld bytes are over the limit of %d",
                               (long long)archive_entry_size(entry), RECORD_BYTES_MAX);
            return;
        }
        capacity = (size_t)archive_entry_size(entry) + 1;
    }
    ret_item->bytes = mem_alloc(capacity);
    for (;;) {
        if (ret_item->length == capacity) {
            capacity *= 2;
            ret_item->bytes = mem_resize(ret_item->bytes, capacity);
        }
        la_ssize_t count = archive_read_data(reader->archive, ret_item->bytes + ret_item->length,
                                             capacity - ret_item->length);
        if (count == 0)
            return;
        if (count < 0) {
            reader->is_done = 1; /* libarchive does not find its way back */
            source_item_refuse(ret_item, IMAGE_REASON_TRUNCATED, "the archive breaks off: %s",
                               archive_error_string(reader->archive));
            return;
        }
        ret_item->length += (size_t)count;
        if (ret_item->length > RECORD_BYTES_MAX) {
            source_item_refuse(ret_item, IMAGE_REASON_TOO_LARGE, "over the limit of %d bytes",
                               RECORD_BYTES_MAX);
            return;
        }
    }
}

/* One item under the archive's own name, and the last: it is for refusing. */
static struct source_item *last_item(struct reader *reader)
{
    reader->is_done = 1;
    reader->next = (struct source_item){.name = mem_string(""), .label = LABEL_NONE};
    return &reader->next;
}

/* Reads the next file of the archive into reader->next. */
static void read_next(struct reader *reader)
{
    struct archive_entry *entry;
    while (!reader->is_done) {
        int result = archive_read_next_header(reader->archive, &entry);
        if (result == ARCHIVE_EOF) {
            reader->is_done = 1;
        } else if (result < ARCHIVE_WARN) {
            source_item_refuse(last_item(reader), IMAGE_REASON_TRUNCATED,
                               "the archive is damaged: %s", archive_error_string(reader->archive));
        } else if (is_visible_file(entry)) {
            read_member(reader, entry, &reader->next);
            return;
        }
    }
}

static void forget_sample(struct reader *reader)
{
    for (int i = 0; i < reader->sample_count; i++)
        source_item_done(&reader->sample[i]);
    reader->sample_count = 0;
    reader->sample_at = 0;
}

static int32_t parse_label(const struct source_item *item)
{
    char text[16];
    char *end;
    size_t length = item->length < sizeof(text) ? item->length : sizeof(text) - 1;
    if (length == 0)
        return LABEL_NONE;
    memcpy(text, item->bytes, length);
    text[length] = '\0';
    long label = strtol(text, &end, 10);
    return end == text || label < 0 || label > INT32_MAX ? LABEL_NONE : (int32_t)label;
}

/* Drops the side files of a sample that has anything else, and gives the rest its label. */
static void settle_sample(struct reader *reader)
{
    int others = 0, kept = 0;
    int32_t label = LABEL_NONE;
    for (int i = 0; i < reader->sample_count; i++) {
        others += !is_side_file(reader->sample[i].name);
        if (strcasecmp(extension_of(reader->sample[i].name), "cls") == 0)
            label = parse_label(&reader->sample[i]);
    }
    for (int i = 0; i < reader->sample_count; i++) {
        if (others > 0 && is_side_file(reader->sample[i].name)) {
            source_item_done(&reader->sample[i]);
            continue;
        }
        reader->sample[kept] = reader->sample[i];
        if (reader->options->rule == LABEL_RULE_AUTO)
            reader->sample[kept].label = label;
        kept++;
    }
    reader->sample_count = kept;
}

static void read_sample(struct reader *reader)
{
    forget_sample(reader);
    size_t bytes = 0;
    while (reader->next.name != NULL && reader->sample_count < SAMPLE_MEMBERS_MAX &&
           bytes < SAMPLE_BYTES_MAX) {
        const char *name = reader->next.name;
        if (reader->sample_count > 0) {
            const char *first = reader->sample[0].name;
            size_t length = key_length(first);
            if (length != key_length(name) || memcmp(first, name, length) != 0)
                break;
        }
        bytes += reader->next.length;
        reader->sample[reader->sample_count++] = reader->next;
        reader->next = (struct source_item){0};
        read_next(reader);
    }
    settle_sample(reader);
}

static char *folder_of(const char *name)
{
    while (name[0] == '.' && name[1] == '/')
        name += 2;
    const char *slash = strchr(name, '/');
    return slash == NULL || slash == name ? NULL : mem_format("%.*s", (int)(slash - name), name);
}

static enum status reader_next(struct source *source, struct source_item *ret_item)
{
    struct reader *reader = (struct reader *)source;
    while (reader->sample_at == reader->sample_count) {
        if (reader->next.name == NULL)
            return ERR_END;
        read_sample(reader);
    }
    struct source_item item = reader->sample[reader->sample_at];
    reader->sample[reader->sample_at++] = (struct source_item){0};
    char *member = item.name;
    item.name =
        *member == '\0' ? mem_string(reader->path) : mem_format("%s:%s", reader->path, member);
    if (reader->options->rule == LABEL_RULE_FOLDER)
        item.folder = folder_of(member);
    mem_free(member);
    *ret_item = item;
    return OK;
}

/* Folders stand anywhere in an archive, so this reads all its headers; those of stdin, which can be
 * read but once, are numbered as they come. */
static enum status reader_folders(struct source *source, struct labels *labels)
{
    struct reader *reader = (struct reader *)source;
    struct archive_entry *entry;
    enum status status = OK;
    if (is_stdin(reader->path))
        return OK;
    struct archive *archive = archive_open(reader->path, &entry);
    int result = archive == NULL || entry == NULL ? ARCHIVE_EOF : ARCHIVE_OK;
    while (result >= ARCHIVE_WARN && result != ARCHIVE_EOF && status == OK) {
        char *folder = is_visible_file(entry) ? folder_of(name_of(entry)) : NULL;
        if (folder != NULL)
            status = labels_add(labels, folder);
        mem_free(folder);
        result = archive_read_next_header(archive, &entry);
    }
    if (archive != NULL)
        archive_read_free(archive);
    return status;
}

static double reader_progress(struct source *source)
{
    struct reader *reader = (struct reader *)source;
    double done = (double)archive_filter_bytes(reader->archive, -1);
    return reader->file_bytes == 0 || done < 0 ? 0 : done / (double)reader->file_bytes;
}

static void reader_close(struct source *source)
{
    struct reader *reader = (struct reader *)source;
    forget_sample(reader);
    source_item_done(&reader->next);
    if (reader->archive != NULL)
        archive_read_free(reader->archive);
    mem_free(reader->path);
    mem_free(reader);
}

static const struct source_ops reader_ops = {reader_next, reader_folders, reader_progress,
                                             reader_close};

enum status source_archive_open(const char *path, const struct source_options *options,
                                struct source **ret_source)
{
    struct archive_entry *entry;
    struct stat info;
    struct archive *archive = archive_open(path, &entry);
    if (archive == NULL)
        return fail(ERR_STALE, "'%s' is no tar or zip archive", path);
    struct reader *reader = mem_zero(sizeof(*reader));
    reader->base.ops = &reader_ops;
    reader->options = options;
    reader->path = mem_string(path);
    reader->archive = archive;
    reader->file_bytes = stat(path, &info) == 0 ? (uint64_t)info.st_size : 0;
    if (entry != NULL && is_visible_file(entry))
        read_member(reader, entry, &reader->next);
    else if (entry != NULL)
        read_next(reader);
    if (reader->next.name == NULL)
        source_item_refuse(last_item(reader), IMAGE_REASON_EMPTY, "the archive has no files in it");
    *ret_source = &reader->base;
    return OK;
}
