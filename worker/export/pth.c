/* pth.c - files that torch.load reads, written without torch: the zip around the pickle.
 *
 * Field layouts: PKWARE APPNOTE 6.3, sections 4.3.7 (local header), 4.3.12 (central directory) and
 * 4.3.16 (its end). Nothing is compressed, so every size is known before it is written. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/export/pth.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <zlib.h>

#include "common/fs.h"
#include "common/mem.h"
#include "worker/export/pickle.h"

enum {
    PICKLE_BYTES_MAX = 64 << 20,
    DIRECTORY_BYTES_MAX = 64 << 20,
    ALIGNMENT = 64, /* of data in the file, as torch does, so that it can be mapped */
    LOCAL_HEADER_BYTES = 30,
    ENTRY_NAME_BYTES = 32,
    VERSION_NEEDED = 20,
};

#define ZIP_BYTES_MAX UINT64_C(0xfffffffe)

struct zip {
    FILE *file;
    const char *path;
    uint64_t offset;
    int entry_count;
    struct buf directory; /* the central directory so far */
};

static enum status put16(struct buf *out, uint32_t value)
{
    const uint8_t bytes[] = {(uint8_t)value, (uint8_t)(value >> 8)};
    return buf_append(out, bytes, sizeof(bytes));
}

static enum status put32(struct buf *out, uint64_t value)
{
    TRY(put16(out, (uint32_t)value & 0xffff));
    return put16(out, (uint32_t)(value >> 16) & 0xffff);
}

static enum status zip_write(struct zip *zip, const void *bytes, size_t length)
{
    if (length > 0 && fwrite(bytes, 1, length, zip->file) != length)
        return fail(ERR_IO, "cannot write '%s': %s", zip->path, strerror(errno));
    zip->offset += length;
    return OK;
}

/* What local header and directory have in common: version to extra length. */
static enum status put_common(struct buf *out, uint32_t crc, uint64_t length, size_t name_length,
                              size_t extra_length)
{
    TRY(put16(out, VERSION_NEEDED));
    TRY(put16(out, 0));          /* flags */
    TRY(put16(out, 0));          /* stored */
    TRY(put16(out, 0));          /* time: none, so that equal tensors give equal files */
    TRY(put16(out, 1 << 5 | 1)); /* date: 1980-01-01 */
    TRY(put32(out, crc));
    TRY(put32(out, length));
    TRY(put32(out, length));
    TRY(put16(out, (uint32_t)name_length));
    return put16(out, (uint32_t)extra_length);
}

/* An extra field that does nothing but fill the header up, so that the data is aligned. */
static enum status put_padding(struct buf *out, uint64_t offset)
{
    enum { EXTRA_HEADER_BYTES = 4, EXTRA_ID = 0x4246 /* "FB", as torch */ };
    uint64_t start = offset + out->length + EXTRA_HEADER_BYTES;
    uint32_t padding = (uint32_t)(-start & (ALIGNMENT - 1));
    TRY(put16(out, EXTRA_ID));
    TRY(put16(out, padding));
    for (uint32_t i = 0; i < padding; i++)
        TRY(buf_append(out, "Z", 1));
    return OK;
}

static enum status put_local_header(struct buf *out, uint64_t offset, const char *name,
                                    uint32_t crc, uint64_t length)
{
    size_t name_length = strlen(name);
    TRY(put32(out, 0x04034b50));
    TRY(put_common(out, crc, length, name_length, 0));
    TRY(buf_append(out, name, name_length));
    TRY(put_padding(out, offset));
    size_t extra_length = out->length - LOCAL_HEADER_BYTES - name_length;
    out->bytes[LOCAL_HEADER_BYTES - 2] = (uint8_t)extra_length;
    out->bytes[LOCAL_HEADER_BYTES - 1] = (uint8_t)(extra_length >> 8);
    return OK;
}

static enum status put_directory_entry(struct buf *out, uint64_t offset, const char *name,
                                       uint32_t crc, uint64_t length)
{
    TRY(put32(out, 0x02014b50));
    TRY(put16(out, VERSION_NEEDED)); /* made by */
    TRY(put_common(out, crc, length, strlen(name), 0));
    TRY(put16(out, 0)); /* comment */
    TRY(put16(out, 0)); /* disk */
    TRY(put16(out, 0)); /* attributes, internal and external */
    TRY(put32(out, 0));
    TRY(put32(out, offset));
    return buf_append(out, name, strlen(name));
}

static enum status zip_add(struct zip *zip, const char *name, const void *bytes, uint64_t length)
{
    struct buf header;
    uint32_t crc = (uint32_t)crc32_z(0, bytes, length);
    if (length > ZIP_BYTES_MAX || zip->offset > ZIP_BYTES_MAX - length)
        return fail(ERR_INPUT, "'%s' would pass 4 GiB, where .pth ends: use --format safetensors",
                    zip->path);
    buf_init(&header, 1024);
    enum status status = put_local_header(&header, zip->offset, name, crc, length);
    if (status == OK)
        status = put_directory_entry(&zip->directory, zip->offset, name, crc, length);
    if (status == OK)
        status = zip_write(zip, header.bytes, header.length);
    if (status == OK)
        status = zip_write(zip, bytes, (size_t)length);
    zip->entry_count++;
    buf_done(&header);
    return status;
}

static enum status zip_finish(struct zip *zip)
{
    enum { ENTRIES_MAX = 0xfffe };
    uint64_t start = zip->offset;
    size_t length = zip->directory.length;
    if (zip->entry_count > ENTRIES_MAX || start + length > ZIP_BYTES_MAX)
        return fail(ERR_INPUT, "'%s' would be too large for .pth: use --format safetensors",
                    zip->path);
    TRY(put32(&zip->directory, 0x06054b50));
    TRY(put32(&zip->directory, 0)); /* numbers of disks */
    TRY(put16(&zip->directory, (uint32_t)zip->entry_count));
    TRY(put16(&zip->directory, (uint32_t)zip->entry_count));
    TRY(put32(&zip->directory, length));
    TRY(put32(&zip->directory, start));
    TRY(put16(&zip->directory, 0)); /* comment */
    TRY(zip_write(zip, zip->directory.bytes, zip->directory.length));
    if (fflush(zip->file) != 0 || fsync(fileno(zip->file)) != 0)
        return fail(ERR_IO, "cannot flush '%s': %s", zip->path, strerror(errno));
    return OK;
}

static enum status write_archive(struct zip *zip, const struct pth_tensor *tensors, int count)
{
    struct buf pickle;
    buf_init(&pickle, PICKLE_BYTES_MAX);
    enum status status = pickle_tensors(tensors, count, &pickle);
    if (status == OK)
        status = zip_add(zip, "archive/data.pkl", pickle.bytes, pickle.length);
    for (int i = 0; i < count && status == OK; i++) {
        const struct safetensors_tensor *tensor = tensors[i].tensor;
        char name[ENTRY_NAME_BYTES];
        snprintf(name, sizeof(name), "archive/data/%d", i);
        status = zip_add(zip, name, tensor->data, tensor->end - tensor->begin);
    }
    if (status == OK)
        status = zip_add(zip, "archive/version", "3\n", 2);
    if (status == OK)
        status = zip_finish(zip);
    buf_done(&pickle);
    return status;
}

static enum status write_file(const char *path, const struct pth_tensor *tensors, int count)
{
    struct zip zip = {.file = fopen(path, "wbe"), .path = path};
    if (zip.file == NULL)
        return fail(ERR_IO, "cannot create '%s': %s", path, strerror(errno));
    buf_init(&zip.directory, DIRECTORY_BYTES_MAX);
    enum status status = write_archive(&zip, tensors, count);
    if (fclose(zip.file) != 0 && status == OK)
        status = fail(ERR_IO, "cannot close '%s': %s", path, strerror(errno));
    buf_done(&zip.directory);
    return status;
}

enum status pth_save(const char *path, const struct pth_tensor *tensors, int count)
{
    for (int i = 0; i < count; i++) {
        enum safetensors_type type = tensors[i].tensor->type;
        if (type != SAFETENSORS_F32 && type != SAFETENSORS_I64)
            return fail(ERR_INPUT, "tensor '%s': only F32 and I64 go into a .pth", tensors[i].name);
    }
    char *temporary = mem_format("%s.tmp.%d", path, (int)getpid());
    enum status status = write_file(temporary, tensors, count);
    if (status == OK)
        status = fs_rename(temporary, path);
    if (status != OK)
        unlink(temporary);
    mem_free(temporary);
    return status;
}
