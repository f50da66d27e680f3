/* journal_tail.c - a head that tells whether the rest is whole, and the rest. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/journal_tail.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/hash.h"
#include "common/mem.h"
#include "server/journal_codec.h"

/* Little-endian, at the beginning of the file. */
struct tail_head {
    uint64_t checksum; /* hash_bytes_seed of the record, by its number */
    uint64_t number;
    uint64_t length; /* bytes of the record, which follow */
};

enum status journal_tail_open(const char *directory, int is_owner, struct journal_tail *ret_tail)
{
    char *path = mem_format("%s/tail", directory);
    enum status status = OK;
    int file = open(path, O_CLOEXEC | (is_owner ? O_RDWR | O_CREAT : O_RDONLY), 0666);
    if (file < 0 && (is_owner || errno != ENOENT))
        status = fail(ERR_IO, "cannot open '%s': %s", path, strerror(errno));
    else
        ret_tail->file = file;
    mem_free(path);
    return status;
}

void journal_tail_close(struct journal_tail *tail)
{
    if (tail->file >= 0)
        close(tail->file);
    tail->file = -1;
}

enum status journal_tail_write(const struct journal_tail *tail, uint64_t number,
                               const struct buf *record)
{
    const struct tail_head head = {
        .checksum = htole64(hash_bytes_seed(record->bytes, record->length, number)),
        .number = htole64(number),
        .length = htole64(record->length),
    };
    const struct iovec parts[] = {{(void *)(uintptr_t)&head, sizeof(head)},
                                  {record->bytes, record->length}};
    ssize_t written = pwritev(tail->file, parts, sizeof(parts) / sizeof(parts[0]), 0);
    if (written != (ssize_t)(sizeof(head) + record->length))
        return fail(ERR_IO, "cannot write the journal's newest record: %s",
                    written < 0 ? strerror(errno) : "no space left: free some, then start again");
    return OK;
}

enum status journal_tail_read(const struct journal_tail *tail, struct buf *record,
                              uint64_t *ret_number)
{
    struct tail_head head;
    *ret_number = 0;
    if (tail->file < 0)
        return OK;
    ssize_t count = pread(tail->file, &head, sizeof(head), 0);
    if (count < 0)
        return fail(ERR_IO, "cannot read the journal's newest record: %s", strerror(errno));
    uint64_t length = le64toh(head.length), number = le64toh(head.number);
    if (count != sizeof(head) || length > JOURNAL_RECORD_BYTES_MAX)
        return OK;
    TRY(buf_reserve(record, length));
    count = pread(tail->file, record->bytes + record->length, length, sizeof(head));
    if (count < 0)
        return fail(ERR_IO, "cannot read the journal's newest record: %s", strerror(errno));
    if ((uint64_t)count != length ||
        le64toh(head.checksum) != hash_bytes_seed(record->bytes + record->length, length, number))
        return OK;
    record->length += length;
    *ret_number = number;
    return OK;
}
