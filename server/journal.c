/* journal.c - records in LMDB: synchronous commits, one owner; before them the newest in a file. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/journal.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <lmdb.h>

#include "common/fs.h"
#include "common/mem.h"
#include "server/journal_codec.h"
#include "server/journal_tail.h"

/* Address space, not memory or disk: some 10^8 steps. Fixed, because growing a map that others
 * read is where LMDB's users get hurt (MDB_MAP_RESIZED). */
#define MAP_BYTES (UINT64_C(64) << 30)

/* The end of a process that was killed takes moments, longer on a busy machine: who starts the next
 * server right away must not be told that the last one runs. */
enum { OWNER_END_MS = 2000 };

/* A reader that meets a tail half-way through its microseconds of being written looks again. */
enum { TAIL_LOOKS = 3 };

static const char banner[] = "everseer journal";

struct banner_value {
    char text[sizeof(banner)];
    uint32_t format; /* little-endian */
};

struct journal {
    char *path;
    int lock; /* open and locked by the owner; -1: reader */
    MDB_env *env;
    MDB_dbi table;
    uint64_t count; /* records in LMDB so far, as this process knows */
    struct journal_tail tail;
    int is_pending;     /* record count + 1 is written, and not settled */
    struct buf pending; /* its bytes */
};

static enum status lmdb_fail(const struct journal *journal, const char *what, int error)
{
    if (error == ENOSPC)
        return fail(ERR_IO, "journal '%s': cannot %s: no space left: free some, then start again",
                    journal->path, what);
    if (error == MDB_MAP_FULL)
        return fail(ERR_IO,
                    "journal '%s': cannot %s: it has its greatest size, %d GiB: begin a new run in "
                    "an empty folder with this one's newest snapshot (seer import, model.init)",
                    journal->path, what, (int)(MAP_BYTES >> 30));
    enum status status = error == MDB_CORRUPTED || error == MDB_PAGE_NOTFOUND ||
                                 error == MDB_INVALID || error == MDB_VERSION_MISMATCH
                             ? ERR_CORRUPT
                             : ERR_IO;
    return fail(status, "journal '%s': cannot %s: %s", journal->path, what, mdb_strerror(error));
}

/* 0: it has not written it yet. */
static pid_t owner_of(const struct journal *journal)
{
    char text[32];
    ssize_t length = pread(journal->lock, text, sizeof(text) - 1, 0);
    text[length > 0 ? length : 0] = 0;
    return (pid_t)strtol(text, NULL, 10);
}

static enum status fail_owned(const struct journal *journal)
{
    return fail(ERR_INPUT,
                "journal '%s' belongs to a server that runs (pid %d): stop it, or choose another "
                "run directory",
                journal->path, (int)owner_of(journal));
}

static void await_owner_end(const struct journal *journal)
{
    int process = (int)syscall(SYS_pidfd_open, owner_of(journal), 0);
    if (process < 0)
        return; /* it has ended meanwhile */
    struct pollfd polled = {.fd = process, .events = POLLIN};
    poll(&polled, 1, OWNER_END_MS);
    close(process);
}

/* flock(2) goes with the process, however it dies. Says in errno why not. */
static int take_lock(const struct journal *journal)
{
    if (flock(journal->lock, LOCK_EX | LOCK_NB) == 0)
        return 1;
    if (errno != EWOULDBLOCK)
        return 0;
    await_owner_end(journal);
    return flock(journal->lock, LOCK_EX | LOCK_NB) == 0;
}

static enum status lock_owner(struct journal *journal)
{
    char *path = mem_format("%s/owner", journal->path);
    enum status status = OK;
    journal->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (journal->lock < 0)
        status = fail(ERR_IO, "cannot open '%s': %s", path, strerror(errno));
    else if (!take_lock(journal))
        status = errno == EWOULDBLOCK ? fail_owned(journal)
                                      : fail(ERR_IO, "cannot lock '%s': %s", path, strerror(errno));
    else if (ftruncate(journal->lock, 0) != 0 || dprintf(journal->lock, "%d", getpid()) < 0)
        status = fail(ERR_IO, "cannot write '%s': %s", path, strerror(errno));
    mem_free(path);
    return status;
}

static enum status open_env(struct journal *journal, unsigned flags)
{
    int error = mdb_env_create(&journal->env);
    if (error == 0)
        error = mdb_env_set_mapsize(journal->env, MAP_BYTES);
    if (error == 0)
        error = mdb_env_open(journal->env, journal->path, flags, 0666);
    return error == 0 ? OK : lmdb_fail(journal, "open it", error);
}

static MDB_val key_of(uint64_t *big_endian, uint64_t number)
{
    *big_endian = htobe64(number);
    return (MDB_val){sizeof(*big_endian), big_endian};
}

static enum status check_banner(const struct journal *journal, const MDB_val *value)
{
    struct banner_value found;
    if (value->mv_size != sizeof(found) || memcmp(value->mv_data, banner, sizeof(banner)) != 0)
        return fail(ERR_INPUT, "'%s' holds an LMDB database that is no journal of ours",
                    journal->path);
    memcpy(&found, value->mv_data, sizeof(found));
    if (le32toh(found.format) != JOURNAL_FORMAT)
        return fail(ERR_INPUT,
                    "journal '%s' has format %u, this program reads %d: use the version of "
                    "everseer that wrote it",
                    journal->path, le32toh(found.format), JOURNAL_FORMAT);
    return OK;
}

static int put(struct journal *journal, MDB_txn *txn, uint64_t number, MDB_val value)
{
    uint64_t number_key;
    MDB_val key = key_of(&number_key, number);
    return mdb_put(txn, journal->table, &key, &value, MDB_APPEND);
}

static int put_banner(struct journal *journal, MDB_txn *txn)
{
    struct banner_value value = {.format = htole32(JOURNAL_FORMAT)};
    memcpy(value.text, banner, sizeof(banner));
    return put(journal, txn, 0, (MDB_val){sizeof(value), &value});
}

/* Reads or, in an empty journal of an owner, writes what this is; finds the last number. */
static enum status enter(struct journal *journal, MDB_txn *txn)
{
    uint64_t number;
    MDB_val key = key_of(&number, 0), value;
    MDB_stat stat;
    MDB_cursor *cursor = NULL;
    int error = mdb_dbi_open(txn, NULL, 0, &journal->table);
    if (error == 0)
        error = mdb_stat(txn, journal->table, &stat);
    if (error != 0)
        return lmdb_fail(journal, "read it", error);
    if (stat.ms_entries == 0) {
        if (journal->lock < 0)
            return fail(ERR_INPUT, "journal '%s' is empty: no server has started here yet",
                        journal->path);
        error = put_banner(journal, txn);
        return error == 0 ? OK : lmdb_fail(journal, "begin it", error);
    }
    error = mdb_get(txn, journal->table, &key, &value);
    if (error == MDB_NOTFOUND)
        value = (MDB_val){0, NULL};
    else if (error != 0)
        return lmdb_fail(journal, "read it", error);
    TRY(check_banner(journal, &value));
    error = mdb_cursor_open(txn, journal->table, &cursor);
    if (error == 0)
        error = mdb_cursor_get(cursor, &key, &value, MDB_LAST);
    if (cursor != NULL)
        mdb_cursor_close(cursor);
    if (error != 0)
        return lmdb_fail(journal, "find its end", error);
    if (key.mv_size != sizeof(number))
        return fail(ERR_CORRUPT, "journal '%s': a key of %zu bytes", journal->path, key.mv_size);
    memcpy(&number, key.mv_data, sizeof(number));
    journal->count = be64toh(number);
    return OK;
}

static enum status begin(struct journal *journal, unsigned flags)
{
    TRY(open_env(journal, flags));
    int dead = 0;
    mdb_reader_check(journal->env, &dead); /* slots of readers that were killed */
    MDB_txn *txn = NULL;
    int error = mdb_txn_begin(journal->env, NULL, flags & MDB_RDONLY, &txn);
    if (error != 0)
        return lmdb_fail(journal, "read it", error);
    enum status status = enter(journal, txn);
    if (status != OK) {
        mdb_txn_abort(txn);
        return status;
    }
    error = mdb_txn_commit(txn);
    return error == 0 ? OK : lmdb_fail(journal, "begin it", error);
}

static enum status append_bytes(struct journal *journal, const struct buf *bytes)
{
    MDB_txn *txn = NULL;
    int error = mdb_txn_begin(journal->env, NULL, 0, &txn);
    if (error != 0)
        return lmdb_fail(journal, "append to it", error);
    error = put(journal, txn, journal->count + 1, (MDB_val){bytes->length, bytes->bytes});
    if (error != 0) {
        mdb_txn_abort(txn);
        return lmdb_fail(journal, "append to it", error);
    }
    error = mdb_txn_commit(txn);
    if (error != 0)
        return lmdb_fail(journal, "append to it", error);
    journal->count++;
    return OK;
}

/* What the owner before wrote and had no time to settle. */
static enum status take_tail(struct journal *journal)
{
    uint64_t number;
    TRY(journal_tail_open(journal->path, 1, &journal->tail));
    TRY(journal_tail_read(&journal->tail, &journal->pending, &number));
    if (number > journal->count + 1)
        return fail(ERR_CORRUPT,
                    "journal '%s' ends at record %" PRIu64 ", but record %" PRIu64
                    " was written: records are missing; if data.mdb is a copy of an earlier day, "
                    "remove the file 'tail' beside it",
                    journal->path, journal->count, number);
    journal->is_pending = number == journal->count + 1;
    return journal_settle(journal);
}

static enum status open_owner(struct journal *journal)
{
    TRY(fs_make_directory(journal->path));
    TRY(fs_require_local(journal->path));
    TRY(lock_owner(journal));
    TRY(begin(journal, 0));
    TRY(take_tail(journal));
    return fs_sync(journal->path);
}

static enum status open_reader(struct journal *journal)
{
    char *file = mem_format("%s/data.mdb", journal->path);
    int exists = fs_exists(file);
    mem_free(file);
    if (!exists)
        return fail(ERR_INPUT, "'%s' has no journal: is it the state of a run?", journal->path);
    TRY(begin(journal, MDB_RDONLY | MDB_NOTLS));
    return journal_tail_open(journal->path, 0, &journal->tail);
}

static enum status finish_open(struct journal *journal, enum status status,
                               struct journal **ret_journal)
{
    if (status == OK)
        *ret_journal = journal;
    else
        journal_close(journal);
    return status;
}

static struct journal *journal_create(const char *path)
{
    struct journal *journal = mem_zero(sizeof(*journal));
    journal->path = mem_string(path);
    journal->lock = -1;
    journal->tail.file = -1;
    buf_init(&journal->pending, JOURNAL_RECORD_BYTES_MAX);
    return journal;
}

enum status journal_open(const char *path, struct journal **ret_journal)
{
    struct journal *journal = journal_create(path);
    return finish_open(journal, open_owner(journal), ret_journal);
}

enum status journal_open_reader(const char *path, struct journal **ret_journal)
{
    struct journal *journal = journal_create(path);
    return finish_open(journal, open_reader(journal), ret_journal);
}

void journal_close(struct journal *journal)
{
    if (journal == NULL)
        return;
    if (journal->env != NULL)
        mdb_env_close(journal->env);
    if (journal->lock >= 0)
        close(journal->lock);
    journal_tail_close(&journal->tail);
    buf_done(&journal->pending);
    mem_free(journal->path);
    mem_free(journal);
}

uint64_t journal_count(const struct journal *journal)
{
    return journal->count + (uint64_t)journal->is_pending;
}

enum status journal_settle(struct journal *journal)
{
    if (journal->is_pending)
        TRY(append_bytes(journal, &journal->pending));
    journal->is_pending = 0;
    return OK;
}

enum status journal_write(struct journal *journal, const struct journal_record *record)
{
    TRY(journal_settle(journal));
    buf_clear(&journal->pending);
    TRY(journal_encode(record, &journal->pending));
    TRY(journal_tail_write(&journal->tail, journal->count + 1, &journal->pending));
    journal->is_pending = 1;
    return OK;
}

enum status journal_append(struct journal *journal, const struct journal_record *record)
{
    struct buf bytes;
    TRY(journal_settle(journal));
    buf_init(&bytes, JOURNAL_RECORD_BYTES_MAX);
    enum status status = journal_encode(record, &bytes);
    if (status == OK)
        status = append_bytes(journal, &bytes);
    buf_done(&bytes);
    return status;
}

/* Who is called for each record. */
struct visitor {
    enum status (*visit)(void *context, const struct journal_record *record);
    void *context;
    uint64_t next; /* the number of the record to come */
};

static enum status visit_value(const struct journal *journal, const void *bytes, size_t length,
                               struct visitor *visitor)
{
    struct journal_record record;
    enum status status = journal_decode(bytes, length, &record);
    if (status != OK)
        return fail_add(status, "journal '%s': record %" PRIu64, journal->path, visitor->next);
    status = visitor->visit(visitor->context, &record);
    journal_record_done(&record);
    visitor->next++;
    return status;
}

/* From the next one to the last of this transaction. */
static enum status visit_table(const struct journal *journal, MDB_cursor *cursor,
                               struct visitor *visitor)
{
    uint64_t before;
    MDB_val key = key_of(&before, visitor->next - 1), value;
    int error = mdb_cursor_get(cursor, &key, &value, MDB_SET);
    while (error == 0) {
        uint64_t number;
        error = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
        if (error != 0)
            break;
        if (key.mv_size == sizeof(number))
            memcpy(&number, key.mv_data, sizeof(number));
        if (key.mv_size != sizeof(number) || be64toh(number) != visitor->next)
            return fail(ERR_CORRUPT, "journal '%s': record %" PRIu64 " is missing", journal->path,
                        visitor->next);
        TRY(visit_value(journal, value.mv_data, value.mv_size, visitor));
    }
    return error == MDB_NOTFOUND ? OK : lmdb_fail(journal, "read it", error);
}

static enum status visit_settled(const struct journal *journal, struct visitor *visitor)
{
    MDB_txn *txn = NULL;
    MDB_cursor *cursor = NULL;
    int error = mdb_txn_begin(journal->env, NULL, MDB_RDONLY, &txn);
    if (error == 0)
        error = mdb_cursor_open(txn, journal->table, &cursor);
    enum status status =
        error == 0 ? visit_table(journal, cursor, visitor) : lmdb_fail(journal, "read", error);
    if (cursor != NULL)
        mdb_cursor_close(cursor);
    if (txn != NULL)
        mdb_txn_abort(txn);
    return status;
}

/* The record that follows, if it is written and not settled. `ret_is_late`: the owner has gone on
 * meanwhile, or is writing just now. */
static enum status visit_tail(const struct journal *journal, struct visitor *visitor,
                              int *ret_is_late)
{
    struct buf record;
    uint64_t number;
    buf_init(&record, JOURNAL_RECORD_BYTES_MAX);
    enum status status = journal_tail_read(&journal->tail, &record, &number);
    if (status == OK && number == visitor->next)
        status = visit_value(journal, record.bytes, record.length, visitor);
    *ret_is_late = number == 0 || number > visitor->next;
    buf_done(&record);
    return status;
}

enum status journal_each(struct journal *journal,
                         enum status (*visit)(void *context, const struct journal_record *record),
                         void *context)
{
    struct visitor visitor = {visit, context, 1};
    int is_late = 1;
    for (int i = 0; i < TAIL_LOOKS && is_late; i++) {
        TRY(visit_settled(journal, &visitor));
        TRY(visit_tail(journal, &visitor, &is_late));
    }
    return OK;
}
