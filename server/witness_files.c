/* witness_files.c - names say whose a file is and which of his; the first record says it again. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/witness_files.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/fs.h"
#include "common/mem.h"

enum { FILE_BYTES_MAX = WITNESS_SEGMENT_BYTES + 2 * WITNESS_BYTES_MAX, NAME_BYTES = 64 };

/* The files of one process as they are read. */
struct reading {
    struct hearing *hearing;
    uint64_t run;
    int has_begun; /* the hearing knows whose turn it is */
    const struct witness_file *before;
};

static void add_file(struct witness_files *files, const char *folder, const char *name)
{
    struct stat info;
    char expected[NAME_BYTES];
    struct witness_file file = {0};
    if (sscanf(name, "%16" SCNx64 "-%9" SCNu32 ".journal", &file.worker, &file.segment) != 2)
        return;
    snprintf(expected, sizeof(expected), "%016" PRIx64 "-%06" PRIu32 ".journal", file.worker,
             file.segment);
    if (strcmp(name, expected) != 0)
        return;
    file.path = mem_format("%s/%s", folder, name);
    if (stat(file.path, &info) != 0) {
        mem_free(file.path); /* its worker has just made room */
        return;
    }
    file.bytes = (uint64_t)info.st_size;
    if (files->count == files->capacity) {
        files->capacity = files->capacity * 2 + 64;
        files->items = mem_resize(files->items, files->capacity * sizeof(*files->items));
    }
    files->items[files->count++] = file;
}

enum status witness_files_add(struct witness_files *files, const char *folder)
{
    DIR *directory = opendir(folder);
    if (directory == NULL)
        return fail(errno == ENOENT ? ERR_INPUT : ERR_IO, "cannot list '%s': %s", folder,
                    strerror(errno));
    const struct dirent *entry;
    while ((entry = readdir(directory)) != NULL)
        add_file(files, folder, entry->d_name);
    closedir(directory);
    return OK;
}

void witness_files_done(struct witness_files *files)
{
    for (size_t i = 0; i < files->count; i++)
        mem_free(files->items[i].path);
    mem_free(files->items);
    *files = (struct witness_files){0};
}

static void damage(struct reading *reading, const struct witness_file *file, size_t at,
                   const char *what)
{
    if (!reading->has_begun)
        hearing_begin(reading->hearing, file->worker, "worker");
    reading->has_begun = 1;
    char *words = mem_format("'%s', byte %zu: %s", file->path, at, what);
    hearing_damage(reading->hearing, words);
    mem_free(words);
}

/* A file that is missing was the oldest when its room was needed; then the one before it is gone
 * too by now. Anything else is a hole. */
static void check_segment(struct reading *reading, const struct witness_file *file)
{
    const struct witness_file *before = reading->before;
    int is_next = before != NULL && file->segment == before->segment + 1;
    if (is_next || file->segment == 0)
        return;
    if (before != NULL && fs_exists(before->path))
        damage(reading, file, 0, "the file before it is missing");
    else if (reading->has_begun)
        hearing_pass(reading->hearing);
}

/* Returns 1 if what follows is of this run. */
static int hear_begin(struct reading *reading, const struct witness_file *file,
                      const struct witness *witness)
{
    const struct witness_begin *begin = &witness->begin;
    if (witness->kind != WITNESS_BEGIN || begin->worker != file->worker ||
        begin->segment != file->segment) {
        damage(reading, file, 0, "does not begin as its name says");
        return 0;
    }
    if (begin->run != reading->run)
        return 0;
    if (!reading->has_begun)
        hearing_begin(reading->hearing, file->worker, begin->name);
    reading->has_begun = 1;
    check_segment(reading, file);
    return 1;
}

/* Returns 1 if what follows is to be heard. */
static int hear_witness(struct reading *reading, const struct witness_file *file, size_t at,
                        const struct witness *witness)
{
    if (at == 0)
        return hear_begin(reading, file, witness);
    if (witness->kind == WITNESS_BEGIN)
        damage(reading, file, at, "begins a second time");
    else
        hearing_take(reading->hearing, witness);
    return 1;
}

static void hear_bytes(struct reading *reading, const struct witness_file *file,
                       const uint8_t *bytes, size_t length)
{
    struct witness witness;
    size_t at = 0, taken;
    enum status status;
    while ((status = witness_decode(bytes + at, length - at, &witness, &taken)) == OK) {
        int goes_on = hear_witness(reading, file, at, &witness);
        witness_done(&witness);
        if (!goes_on)
            return;
        at += taken;
    }
    if (status != ERR_END)
        damage(reading, file, at, fail_message());
}

static enum status hear_file(struct reading *reading, const struct witness_file *file)
{
    struct buf bytes;
    buf_init(&bytes, FILE_BYTES_MAX);
    enum status status = fs_read_file(file->path, &bytes);
    if (status == OK)
        hear_bytes(reading, file, bytes.bytes,
                   bytes.length < file->bytes ? bytes.length : (size_t)file->bytes);
    else if (status == ERR_INPUT && fs_exists(file->path))
        damage(reading, file, 0, fail_message()); /* larger than any that we write */
    else if (status == ERR_INPUT && reading->has_begun)
        hearing_pass(reading->hearing); /* removed since it was listed */
    buf_done(&bytes);
    return status == ERR_IO ? status : OK;
}

static int by_worker(const void *left, const void *right)
{
    const struct witness_file *a = left, *b = right;
    if (a->worker != b->worker)
        return a->worker < b->worker ? -1 : 1;
    return (a->segment > b->segment) - (a->segment < b->segment);
}

enum status witness_files_hear(struct witness_files *files, uint64_t run, struct hearing *hearing)
{
    struct reading reading = {.hearing = hearing, .run = run};
    if (files->count > 0)
        qsort(files->items, files->count, sizeof(*files->items), by_worker);
    for (size_t i = 0; i < files->count; i++) {
        const struct witness_file *file = &files->items[i];
        if (i > 0 && file->worker != files->items[i - 1].worker)
            reading = (struct reading){.hearing = hearing, .run = run};
        TRY(hear_file(&reading, file));
        reading.before = file;
    }
    return OK;
}
