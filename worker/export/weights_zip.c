/* weights_zip.c - the file form of torch since 1.6: a zip of a pickle and of storages.
 *
 * FOLDER/data.pkl, FOLDER/data/KEY for each storage, FOLDER/byteorder since 2.1; FOLDER is any
 * name. libarchive reads the zip, zip64 too. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/export/weights_pth.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <archive.h>
#include <archive_entry.h>

#include "common/mem.h"
#include "worker/export/unpickle.h"

enum { READ_BLOCK_BYTES = 1 << 20 };

/* What to do with one member; it may read the data from archive. */
struct member {
    struct archive *archive;
    const char *name;
    uint64_t bytes;
};

static enum status read_member(const struct weights *weights, const struct member *member,
                               void *ret_bytes)
{
    for (uint64_t done = 0; done < member->bytes;) {
        const la_ssize_t count = archive_read_data(member->archive, (char *)ret_bytes + done,
                                                   (size_t)(member->bytes - done));
        if (count <= 0)
            return fail(ERR_CORRUPT,
                        "'%s': member '%s' ends after %" PRIu64 " bytes of %" PRIu64 "%s%s",
                        weights->path, member->name, done, member->bytes, count < 0 ? ": " : "",
                        count < 0 ? archive_error_string(member->archive) : "");
        done += (uint64_t)count;
    }
    char more;
    if (archive_read_data(member->archive, &more, 1) != 0) /* compares the checksum, too */
        return fail(ERR_CORRUPT, "'%s': member '%s' is damaged: %s", weights->path, member->name,
                    archive_error_string(member->archive));
    return OK;
}

static int ends_with(const char *name, const char *end)
{
    const size_t length = strlen(name), end_length = strlen(end);
    return length >= end_length && strcmp(name + length - end_length, end) == 0;
}

static enum status list_pickle(struct weights *weights, const struct member *member)
{
    if (weights->folder != NULL)
        return fail(ERR_CORRUPT, "'%s' has two members data.pkl", weights->path);
    if (member->bytes > WEIGHTS_PICKLE_BYTES_MAX)
        return fail(ERR_CORRUPT, "'%s': a pickle of %" PRIu64 " bytes", weights->path,
                    member->bytes);
    weights->folder =
        mem_format("%.*s", (int)(strlen(member->name) - strlen("data.pkl")), member->name);
    uint8_t *bytes = mem_alloc((size_t)member->bytes);
    struct pickle pickle;
    enum status status = read_member(weights, member, bytes);
    if (status == OK)
        status = unpickle(bytes, (size_t)member->bytes, &pickle);
    if (status == OK) {
        status = weights_pth_collect(&pickle, weights);
        pickle_done(&pickle);
    }
    mem_free(bytes);
    return status;
}

static enum status list_member(struct weights *weights, const struct member *member)
{
    static const char big[] = "big";
    char order[sizeof(big) - 1];
    if (ends_with(member->name, "/data.pkl") || strcmp(member->name, "data.pkl") == 0)
        return list_pickle(weights, member);
    if (!ends_with(member->name, "/byteorder") || member->bytes != sizeof(order))
        return OK;
    TRY(read_member(weights, member, order));
    return memcmp(order, big, sizeof(order)) != 0
               ? OK
               : fail(ERR_INPUT,
                      "'%s' was written on a big-endian machine: save it again on "
                      "another",
                      weights->path);
}

static enum status load_member(struct weights *weights, const struct member *member)
{
    const size_t folder_length = strlen(weights->folder);
    if (strncmp(member->name, weights->folder, folder_length) != 0 ||
        strncmp(member->name + folder_length, "data/", strlen("data/")) != 0)
        return OK;
    const char *key = member->name + folder_length + strlen("data/");
    for (int i = 0; i < weights->storage_count; i++) {
        struct weights_storage *storage = &weights->storages[i];
        if (strcmp(storage->key, key) != 0 || !storage->is_wanted || storage->bytes != NULL)
            continue;
        if (member->bytes != storage->elements * safetensors_type_bytes(storage->type))
            return fail(ERR_CORRUPT,
                        "'%s': storage '%s' has %" PRIu64 " bytes, not %" PRIu64 " elements",
                        weights->path, key, member->bytes, storage->elements);
        storage->bytes = storage->owned = mem_alloc((size_t)member->bytes);
        return read_member(weights, member, storage->owned);
    }
    return OK;
}

/* Data are stored, not compressed, so all members together are no larger than the file: what claims
 * to be is refused before memory is taken for it. */
static enum status
each_member(struct weights *weights, struct archive *archive, uint64_t file_bytes,
            enum status (*visit)(struct weights *weights, const struct member *member))
{
    struct archive_entry *entry;
    uint64_t left = file_bytes;
    int result;
    while ((result = archive_read_next_header(archive, &entry)) == ARCHIVE_OK ||
           result == ARCHIVE_WARN) {
        const struct member member = {.archive = archive,
                                      .name = archive_entry_pathname(entry),
                                      .bytes = (uint64_t)archive_entry_size(entry)};
        if (member.name == NULL || !archive_entry_size_is_set(entry))
            return fail(ERR_CORRUPT, "'%s': a member without name or size", weights->path);
        if (member.bytes > left)
            return fail(ERR_CORRUPT,
                        "'%s': member '%s' is compressed, or said to be larger than "
                        "the file: torch.save stores as it is",
                        weights->path, member.name);
        left -= member.bytes;
        TRY(visit(weights, &member));
    }
    if (result != ARCHIVE_EOF)
        return fail(ERR_CORRUPT, "'%s': %s", weights->path, archive_error_string(archive));
    return OK;
}

static enum status read_zip(struct weights *weights,
                            enum status (*visit)(struct weights *weights,
                                                 const struct member *member))
{
    enum status status;
    struct archive *archive = archive_read_new();
    archive_read_support_format_zip_seekable(archive);
    if (archive_read_open_filename(archive, weights->path, READ_BLOCK_BYTES) != ARCHIVE_OK)
        status = fail(ERR_CORRUPT, "'%s': %s", weights->path, archive_error_string(archive));
    else
        status = each_member(weights, archive, weights->map_bytes, visit);
    archive_read_free(archive);
    return status;
}

enum status weights_pth_list_zip(struct weights *weights)
{
    TRY(read_zip(weights, list_member));
    if (weights->folder == NULL)
        return fail(ERR_INPUT, "'%s' is a zip, but none of torch.save: it has no data.pkl",
                    weights->path);
    return OK;
}

enum status weights_pth_load_zip(struct weights *weights)
{
    TRY(read_zip(weights, load_member));
    for (int i = 0; i < weights->storage_count; i++)
        if (weights->storages[i].is_wanted && weights->storages[i].bytes == NULL)
            return fail(ERR_CORRUPT, "'%s' lacks storage '%s' (was it cut?)", weights->path,
                        weights->storages[i].key);
    return OK;
}
