/* safetensors_digest.c - digests in the metadata: reserved, filled in, compared. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "common/safetensors_digest.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/hash.h"
#include "common/mem.h"

/* Pieces of a tensor are hashed one after another, each seeded with the hash of those before: so
 * the size of a piece is part of the format. */
enum { DIGITS = 16, PIECE_BYTES = 1 << 20, LENGTH_BYTES = 8 };

static size_t digit_count(const struct safetensors_header *header)
{
    return ((size_t)header->tensor_count + 1) * DIGITS;
}

void safetensors_reserve_digests(struct safetensors_header *header)
{
    size_t length = digit_count(header);
    char *zeros = mem_alloc(length + 1);
    memset(zeros, '0', length);
    zeros[length] = 0;
    safetensors_add_metadata(header, SAFETENSORS_DIGESTS, zeros);
    mem_free(zeros);
}

static enum status read_at(const char *name, int file, void *bytes, size_t length, uint64_t offset)
{
    for (size_t done = 0; done < length;) {
        ssize_t count = pread(file, (char *)bytes + done, length - done, (off_t)(offset + done));
        if (count == 0)
            return fail(ERR_CORRUPT, "'%s' ends at byte %" PRIu64, name, offset + done);
        if (count > 0)
            done += (size_t)count;
        else if (errno != EINTR)
            return fail(ERR_IO, "cannot read '%s' at byte %" PRIu64 ": %s", name, offset + done,
                        strerror(errno));
    }
    return OK;
}

enum status safetensors_read_header(const char *name, int file, struct safetensors_header *header)
{
    struct stat info;
    if (fstat(file, &info) != 0)
        return fail(ERR_IO, "cannot ask for the size of '%s': %s", name, strerror(errno));
    uint64_t total = (uint64_t)info.st_size, longest = LENGTH_BYTES + SAFETENSORS_HEADER_BYTES_MAX;
    size_t length = (size_t)(total < longest ? total : longest);
    uint8_t *bytes = mem_alloc(length + 1);
    enum status status = read_at(name, file, bytes, length, 0);
    if (status == OK)
        status = safetensors_decode(name, bytes, length, total, header);
    mem_free(bytes);
    return status;
}

static enum status digest_tensor(const char *name, int file,
                                 const struct safetensors_header *header,
                                 const struct safetensors_tensor *tensor, uint64_t *ret_digest)
{
    uint8_t *piece = mem_alloc(PIECE_BYTES);
    uint64_t digest = 0;
    enum status status = OK;
    for (uint64_t at = tensor->begin; at < tensor->end && status == OK; at += PIECE_BYTES) {
        uint64_t left = tensor->end - at;
        size_t length = left < PIECE_BYTES ? (size_t)left : PIECE_BYTES;
        status = read_at(name, file, piece, length, header->data_start + at);
        digest = hash_bytes_seed(piece, length, digest);
    }
    mem_free(piece);
    if (status == OK)
        *ret_digest = digest;
    return status;
}

/* Reads what is before the data. *ret_place: where in it the digits begin; 0: nowhere. The caller
 * frees *ret_head. */
static enum status read_head(const char *name, int file, const struct safetensors_header *header,
                             char **ret_head, size_t *ret_place)
{
    static const char key[] = "\"" SAFETENSORS_DIGESTS "\":\"";
    char *head = mem_alloc(header->data_start);
    enum status status = read_at(name, file, head, header->data_start, 0);
    if (status != OK) {
        mem_free(head);
        return status;
    }
    const char *found = memmem(head, header->data_start, key, strlen(key));
    size_t place = found == NULL ? 0 : (size_t)(found - head) + strlen(key);
    *ret_place = place + digit_count(header) <= header->data_start ? place : 0;
    *ret_head = head;
    return OK;
}

static enum status digest_tensors(const char *name, int file,
                                  const struct safetensors_header *header, uint64_t *digests)
{
    for (int i = 0; i < header->tensor_count; i++)
        TRY(digest_tensor(name, file, header, &header->tensors[i], &digests[i]));
    return OK;
}

/* Of the header and of each tensor: [1 + tensor_count]; the caller frees them. *ret_place: as
 * read_head; without a place there are no digests. */
static enum status digest_all(const char *name, int file, const struct safetensors_header *header,
                              uint64_t **ret_digests, size_t *ret_place)
{
    char *head = NULL;
    size_t place = 0;
    TRY(read_head(name, file, header, &head, &place));
    uint64_t *digests = mem_array((size_t)header->tensor_count + 1, sizeof(*digests));
    enum status status = OK;
    if (place > 0) {
        memset(head + place, '0', digit_count(header));
        digests[0] = hash_bytes(head, header->data_start);
        status = digest_tensors(name, file, header, digests + 1);
    }
    mem_free(head);
    if (status != OK) {
        mem_free(digests);
        return status;
    }
    *ret_digests = digests;
    *ret_place = place;
    return OK;
}

static int is_reserved(const struct safetensors_header *header, const char *digits)
{
    size_t length = digit_count(header);
    return strlen(digits) == length && strspn(digits, "0") == length;
}

static enum status write_at(const char *name, int file, const char *bytes, size_t length,
                            uint64_t offset)
{
    for (size_t done = 0; done < length;) {
        ssize_t count = pwrite(file, bytes + done, length - done, (off_t)(offset + done));
        if (count > 0)
            done += (size_t)count;
        else if (errno != EINTR)
            return fail(ERR_IO, "cannot write the digests of '%s': %s", name, strerror(errno));
    }
    return OK;
}

enum status safetensors_write_digests(const char *name, int file,
                                      const struct safetensors_header *header)
{
    const char *reserved = safetensors_find_metadata(header, SAFETENSORS_DIGESTS);
    uint64_t *digests = NULL;
    size_t place = 0;
    if (reserved == NULL || !is_reserved(header, reserved))
        return OK;
    TRY(digest_all(name, file, header, &digests, &place));
    char *text = mem_alloc(digit_count(header) + 1);
    for (int i = 0; i <= header->tensor_count; i++)
        snprintf(text + (size_t)i * DIGITS, DIGITS + 1, "%016" PRIx64, digests[i]);
    enum status status = place == 0 ? OK : write_at(name, file, text, digit_count(header), place);
    mem_free(text);
    mem_free(digests);
    return status;
}

/* The n-th of the digests as they stand in the metadata. */
static uint64_t written_digest(const char *digits, int n)
{
    char text[DIGITS + 1];
    snprintf(text, sizeof(text), "%s", digits + (size_t)n * DIGITS);
    return strtoull(text, NULL, 16);
}

static enum status compare(const char *name, const struct safetensors_header *header,
                           const char *digits, const uint64_t *digests)
{
    if (written_digest(digits, 0) != digests[0])
        return fail(ERR_CORRUPT, "'%s': its header is damaged", name);
    for (int i = 0; i < header->tensor_count; i++)
        if (written_digest(digits, i + 1) != digests[i + 1])
            return fail(ERR_CORRUPT, "'%s': tensor '%s' is damaged", name, header->tensors[i].name);
    return OK;
}

enum status safetensors_check_digests(const char *name, int file,
                                      const struct safetensors_header *header, int *ret_has_digests)
{
    const char *digits = safetensors_find_metadata(header, SAFETENSORS_DIGESTS);
    uint64_t *digests = NULL;
    size_t place = 0;
    if (digits == NULL || is_reserved(header, digits)) {
        *ret_has_digests = 0;
        return OK;
    }
    if (strlen(digits) != digit_count(header))
        return fail(ERR_CORRUPT, "'%s': digests of %d tensors and a header are not %zu digits",
                    name, header->tensor_count, strlen(digits));
    TRY(digest_all(name, file, header, &digests, &place));
    enum status status = place == 0 ? fail(ERR_CORRUPT, "'%s': its header is damaged", name)
                                    : compare(name, header, digits, digests);
    mem_free(digests);
    if (status == OK)
        *ret_has_digests = 1;
    return status;
}
