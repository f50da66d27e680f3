/* worker_journal.c - a queue of records, a thread that writes them, files that are rotated. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/worker_journal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fs.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/queue.h"
#include "common/thread.h"

enum {
    ENTRIES_MAX = 256, /* some seconds of the fastest training: longer the disk need not stand */
    RECORDS_BYTES_MAX = WITNESS_BYTES_MAX + 4096,
};

static const char suffix[] = ".journal";

struct entry {
    uint64_t run, worker;
    struct witness witness; /* owned */
};

struct worker_journal {
    struct queue *entries; /* struct entry, training thread to writer */
    struct thread thread;

    /* The training thread's. */
    uint64_t run, worker;
    uint32_t dropped; /* entries that found the queue full, since the last that did not */
    int has_state;
    uint32_t lineage;
    uint64_t step; /* committed steps in the state that the records so far lead to */

    /* The writer's. */
    char *folder, *name;
    uint64_t segment_bytes, folder_bytes;
    int file; /* -1: none is open */
    uint64_t length;
    uint32_t segments; /* files begun */
    uint32_t missed;   /* records that could not be written, since the last that could */
    struct buf bytes;
};

/* ---- the writer ---- */

struct old_file {
    char *path;
    uint64_t bytes;
    struct timespec changed;
};

struct old_files {
    size_t count, capacity;
    struct old_file *items;
    uint64_t bytes; /* of all */
};

static int by_age(const void *left, const void *right)
{
    const struct timespec *a = &((const struct old_file *)left)->changed;
    const struct timespec *b = &((const struct old_file *)right)->changed;
    if (a->tv_sec != b->tv_sec)
        return a->tv_sec < b->tv_sec ? -1 : 1;
    return (a->tv_nsec > b->tv_nsec) - (a->tv_nsec < b->tv_nsec);
}

static int is_journal(const char *file_name)
{
    size_t length = strlen(file_name), tail = sizeof(suffix) - 1;
    return length > tail && strcmp(file_name + length - tail, suffix) == 0;
}

static void note_file(struct old_files *files, char *path)
{
    struct stat info;
    if (stat(path, &info) != 0) {
        mem_free(path); /* another worker has just removed it */
        return;
    }
    if (files->count == files->capacity) {
        files->capacity = files->capacity * 2 + 64;
        files->items = mem_resize(files->items, files->capacity * sizeof(*files->items));
    }
    files->items[files->count++] = (struct old_file){path, (uint64_t)info.st_size, info.st_mtim};
    files->bytes += (uint64_t)info.st_size;
}

static enum status list_files(const char *folder, struct old_files *files)
{
    DIR *directory = opendir(folder);
    if (directory == NULL)
        return fail(ERR_IO, "cannot list '%s': %s", folder, strerror(errno));
    const struct dirent *entry;
    while ((entry = readdir(directory)) != NULL)
        if (is_journal(entry->d_name))
            note_file(files, mem_format("%s/%s", folder, entry->d_name));
    closedir(directory);
    return OK;
}

/* Whoever writes a file holds its lock. */
static int remove_unless_written(const char *path)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return 0;
    int is_removed = flock(file, LOCK_EX | LOCK_NB) == 0 && unlink(path) == 0;
    close(file);
    return is_removed;
}

static void make_room(const struct worker_journal *journal)
{
    struct old_files files = {0};
    if (list_files(journal->folder, &files) != OK)
        log_warn("event=journal_room reason=\"%s\"", fail_message());
    if (files.count > 0)
        qsort(files.items, files.count, sizeof(*files.items), by_age);
    for (size_t i = 0; i < files.count; i++) {
        if (files.bytes + journal->segment_bytes > journal->folder_bytes &&
            remove_unless_written(files.items[i].path))
            files.bytes -= files.items[i].bytes;
        mem_free(files.items[i].path);
    }
    mem_free(files.items);
}

static void end_file(struct worker_journal *journal)
{
    if (journal->file < 0)
        return;
    fdatasync(journal->file); /* as much as can be had; nobody waits for it */
    close(journal->file);
    journal->file = -1;
}

static enum status write_bytes(struct worker_journal *journal)
{
    size_t done = 0;
    while (done < journal->bytes.length) {
        ssize_t count =
            write(journal->file, journal->bytes.bytes + done, journal->bytes.length - done);
        if (count > 0) {
            done += (size_t)count;
        } else if (count < 0 && errno != EINTR) {
            enum status status = fail(ERR_IO, "cannot write: %s", strerror(errno));
            if (done > 0 && ftruncate(journal->file, (off_t)journal->length) != 0)
                end_file(journal); /* it keeps half a record: nothing may follow it */
            return status;
        }
    }
    journal->length += done;
    return OK;
}

static enum status write_witness(struct worker_journal *journal, const struct witness *witness)
{
    buf_clear(&journal->bytes);
    TRY(witness_encode(witness, &journal->bytes));
    return write_bytes(journal);
}

static enum status begin_file(struct worker_journal *journal, const struct entry *entry)
{
    struct witness begin = {.kind = WITNESS_BEGIN,
                            .begin = {.format = WITNESS_FORMAT,
                                      .run = entry->run,
                                      .worker = entry->worker,
                                      .segment = journal->segments,
                                      .name = journal->name}};
    enum status status = OK;
    int is_created = 0;
    char *path = mem_format("%s/%016" PRIx64 "-%06u%s", journal->folder, entry->worker,
                            journal->segments, suffix);
    make_room(journal);
    journal->length = 0;
    journal->file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0666);
    is_created = journal->file >= 0;
    if (!is_created)
        status = fail(ERR_IO, "cannot create '%s': %s", path, strerror(errno));
    else if (flock(journal->file, LOCK_EX | LOCK_NB) != 0)
        status = fail(ERR_IO, "cannot lock '%s': %s", path, strerror(errno));
    else
        status = write_witness(journal, &begin);
    if (status == OK) {
        journal->segments++;
    } else if (is_created) {
        unlink(path);
        end_file(journal);
    }
    mem_free(path);
    return status;
}

static enum status write_entry(struct worker_journal *journal, struct entry *entry)
{
    struct witness *witness = &entry->witness;
    if (journal->file >= 0 && journal->length > journal->segment_bytes)
        end_file(journal);
    if (journal->file < 0)
        TRY(begin_file(journal, entry));
    return write_witness(journal, witness);
}

static void entry_destroy(void *item)
{
    struct entry *entry = item;
    witness_done(&entry->witness);
    mem_free(entry);
}

static void writer_run(void *argument)
{
    struct worker_journal *journal = argument;
    void *item = NULL;
    while (queue_pop(journal->entries, -1, &item) == OK) {
        struct entry *entry = item;
        entry->witness.missed += journal->missed;
        if (write_entry(journal, entry) == OK) {
            if (journal->missed > 0)
                log_info("event=journal_goes_on folder='%s' missed=%u", journal->folder,
                         journal->missed);
            journal->missed = 0;
        } else {
            if (journal->missed == 0)
                log_error("event=journal_failed folder='%s' reason=\"%s\" action=\"training goes "
                          "on, the audit will miss this\"",
                          journal->folder, fail_message());
            journal->missed = entry->witness.missed + 1;
        }
        entry_destroy(entry);
    }
    end_file(journal);
}

/* ---- the training thread ---- */

enum status worker_journal_open(const struct worker_journal_setup *setup,
                                struct worker_journal **ret_journal)
{
    enum status status = OK;
    struct worker_journal *journal = mem_zero(sizeof(*journal));
    journal->folder = mem_string(setup->folder);
    journal->name = mem_string(setup->name);
    journal->segment_bytes = setup->segment_bytes;
    journal->folder_bytes = setup->folder_bytes;
    journal->file = -1;
    journal->entries = queue_create(ENTRIES_MAX);
    buf_init(&journal->bytes, RECORDS_BYTES_MAX);
    if (fs_make_directory(journal->folder) != OK)
        status = fail_add(ERR_INPUT, "the worker's journal");
    else if (access(journal->folder, W_OK | X_OK) != 0)
        status = fail(ERR_INPUT, "the worker's journal: cannot write in '%s': %s", journal->folder,
                      strerror(errno));
    if (status != OK)
        goto out;
    TRY_OUT(thread_start(&journal->thread, "journal", writer_run, journal));
    *ret_journal = journal;
    journal = NULL; /* given to the caller */
out:
    worker_journal_close(journal);
    return status;
}

void worker_journal_close(struct worker_journal *journal)
{
    if (journal == NULL)
        return;
    queue_close(journal->entries);
    thread_stop(&journal->thread);
    queue_destroy(journal->entries, entry_destroy);
    buf_done(&journal->bytes);
    mem_free(journal->folder);
    mem_free(journal->name);
    mem_free(journal);
}

/* Takes what the witness points to. */
static void push(struct worker_journal *journal, const struct witness *witness)
{
    struct entry *entry = mem_alloc(sizeof(*entry));
    *entry = (struct entry){journal->run, journal->worker, *witness};
    entry->witness.missed = journal->dropped;
    void *item = entry;
    if (queue_push(journal->entries, &item, 0) == OK) {
        journal->dropped = 0;
    } else {
        journal->dropped++;
        entry_destroy(entry);
    }
}

void worker_journal_state(struct worker_journal *journal, uint64_t run, uint64_t worker,
                          const struct witness_state *state)
{
    if (journal == NULL)
        return;
    struct witness witness = {.kind = WITNESS_STATE, .state = *state};
    witness.state.is_own =
        journal->has_state && journal->lineage == state->lineage && journal->step == state->step;
    journal->run = run;
    journal->worker = worker;
    journal->has_state = 1;
    journal->lineage = state->lineage;
    journal->step = state->step;
    push(journal, &witness);
}

void worker_journal_step(struct worker_journal *journal, struct witness_step *step)
{
    struct witness witness = {.kind = WITNESS_STEP, .step = *step};
    *step = (struct witness_step){0};
    if (journal == NULL) {
        witness_done(&witness);
        return;
    }
    journal->step = witness.step.step + 1;
    push(journal, &witness);
}
