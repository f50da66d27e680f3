/* shard_check.c - a bounded walk over the pages of an LMDB 0.9 file.
 *
 * The layout is that of mdb.c (MDB_DATA_VERSION 1) on 64-bit machines, little-endian: page header
 * of 16 bytes, two meta pages, node headers of 8 bytes. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "loader/shard_check.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loader/shard_fault.h"

enum {
    META_MAGIC = (int)0xBEEFC0DE,
    META_VERSION = 1,
    META_BYTES = 136, /* the whole MDB_meta */
    META_FIXED_MAP = 0x01,
    PAGE_HEADER_BYTES = 16,
    NODE_HEADER_BYTES = 8,
    PAGE_BRANCH = 0x01,
    PAGE_LEAF = 0x02,
    PAGE_OVERFLOW = 0x04,
    NODE_LARGE = 0x01, /* the value is a page number */
    PAGE_BYTES_MIN = 512,
    PAGE_BYTES_MAX = 65536, /* LMDB's own bound is 32 KiB; 64 KiB machines exist */
    DEPTH_MAX = 32,         /* CURSOR_STACK of mdb.c */
};

static const uint64_t NO_PAGE = UINT64_MAX;

struct walk {
    const char *file;
    const uint8_t *bytes;
    uint64_t page_bytes;
    uint64_t page_count;
    uint64_t visited; /* a tree visits no page twice, so this bounds damaged ones */
    uint64_t records;
};

struct meta {
    uint16_t flags;
    uint16_t main_flags;
    uint16_t depth;
    uint64_t entries;
    uint64_t root;
    uint64_t last_page;
    uint64_t transaction;
};

static uint16_t load_16(const uint8_t *at)
{
    uint16_t value;
    memcpy(&value, at, sizeof(value));
    return value;
}

static uint32_t load_32(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof(value));
    return value;
}

static uint64_t load_64(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof(value));
    return value;
}

static enum status damaged(const struct walk *walk, uint64_t page, const char *what)
{
    return fail(ERR_CORRUPT,
                "shard '%s' is damaged at page %llu: %s; remove it and ingest its images again",
                walk->file, (unsigned long long)page, what);
}

/* A value on pages of its own. */
static enum status check_large(struct walk *walk, uint64_t page, uint64_t at, uint32_t bytes)
{
    uint64_t pages =
        (PAGE_HEADER_BYTES + (uint64_t)bytes + walk->page_bytes - 1) / walk->page_bytes;
    if (at < 2 || at >= walk->page_count || pages > walk->page_count - at)
        return damaged(walk, page, "a large value lies outside of the file");
    const uint8_t *header = walk->bytes + at * walk->page_bytes;
    if ((load_16(header + 10) & PAGE_OVERFLOW) == 0 || load_32(header + 12) < pages)
        return damaged(walk, at, "it should start a large value");
    return OK;
}

static enum status check_leaf_node(struct walk *walk, uint64_t page, const uint8_t *node,
                                   uint64_t room)
{
    uint32_t bytes = load_16(node) | (uint32_t)load_16(node + 2) << 16;
    uint16_t flags = load_16(node + 4);
    uint64_t key_bytes = load_16(node + 6);
    if (flags & ~NODE_LARGE)
        return damaged(walk, page, "a record has several values");
    uint64_t here = flags & NODE_LARGE ? sizeof(uint64_t) : bytes;
    if (key_bytes == 0 || NODE_HEADER_BYTES + key_bytes + here > room)
        return damaged(walk, page, "a record reaches beyond its page");
    if (flags & NODE_LARGE)
        TRY(check_large(walk, page, load_64(node + NODE_HEADER_BYTES + key_bytes), bytes));
    walk->records++;
    return OK;
}

static enum status check_page(struct walk *walk, uint64_t page, int depth);

static enum status check_branch_node(struct walk *walk, uint64_t page, const uint8_t *node,
                                     uint64_t room, int depth)
{
    uint64_t key_bytes = load_16(node + 6);
    if (NODE_HEADER_BYTES + key_bytes > room)
        return damaged(walk, page, "a key reaches beyond its page");
    uint64_t child =
        load_16(node) | (uint64_t)load_16(node + 2) << 16 | (uint64_t)load_16(node + 4) << 32;
    return check_page(walk, child, depth - 1);
}

static enum status check_header(struct walk *walk, uint64_t page, int depth)
{
    const uint8_t *bytes = walk->bytes + page * walk->page_bytes;
    uint16_t flags = load_16(bytes + 10);
    uint64_t lower = load_16(bytes + 12), upper = load_16(bytes + 14);
    if (load_64(bytes) != page || flags != (depth > 1 ? PAGE_BRANCH : PAGE_LEAF))
        return damaged(walk, page, "its header is that of another page");
    if (lower <= PAGE_HEADER_BYTES || lower % 2 != 0 || lower > upper || upper > walk->page_bytes)
        return damaged(walk, page, "its bounds are impossible");
    return OK;
}

/* depth: levels from this page down to the leaves, itself included. */
static enum status check_page(struct walk *walk, uint64_t page, int depth)
{
    if (page < 2 || page >= walk->page_count || ++walk->visited > walk->page_count)
        return damaged(walk, page, "the tree leads there, outside of the file or in a circle");
    TRY(check_header(walk, page, depth));
    const uint8_t *bytes = walk->bytes + page * walk->page_bytes;
    uint64_t lower = load_16(bytes + 12), upper = load_16(bytes + 14);
    for (uint64_t at = PAGE_HEADER_BYTES; at < lower; at += 2) {
        uint64_t offset = load_16(bytes + at);
        if (offset < upper || offset + NODE_HEADER_BYTES > walk->page_bytes || offset % 2 != 0)
            return damaged(walk, page, "an entry lies outside of it");
        uint64_t room = walk->page_bytes - offset;
        if (depth > 1)
            TRY(check_branch_node(walk, page, bytes + offset, room, depth));
        else
            TRY(check_leaf_node(walk, page, bytes + offset, room));
    }
    return OK;
}

static void load_meta(const uint8_t *page, struct meta *ret_meta)
{
    const uint8_t *meta = page + PAGE_HEADER_BYTES;
    const uint8_t *main_db = meta + 24 + 48;
    *ret_meta = (struct meta){
        .flags = load_16(meta + 24 + 4),
        .main_flags = load_16(main_db + 4),
        .depth = load_16(main_db + 6),
        .entries = load_64(main_db + 32),
        .root = load_64(main_db + 40),
        .last_page = load_64(meta + 24 + 96),
        .transaction = load_64(meta + 24 + 104),
    };
}

/* Both meta pages must make sense, since LMDB reads both; the younger one counts. */
static enum status check_meta(struct walk *walk, uint64_t file_bytes, struct meta *ret_meta)
{
    const uint8_t *first = walk->bytes + PAGE_HEADER_BYTES;
    if (load_32(first) != (uint32_t)META_MAGIC)
        return fail(ERR_INPUT, "'%s' is not an LMDB file", walk->file);
    if (load_32(first + 4) != META_VERSION)
        return fail(ERR_INPUT, "'%s' has LMDB format %u; this program reads format %d", walk->file,
                    load_32(first + 4), META_VERSION);
    uint64_t page_bytes = load_32(first + 24);
    if (page_bytes < PAGE_BYTES_MIN || page_bytes > PAGE_BYTES_MAX ||
        (page_bytes & (page_bytes - 1)) != 0)
        return damaged(walk, 0, "the page size is impossible");
    walk->page_bytes = page_bytes;
    walk->page_count = file_bytes / page_bytes;
    if (walk->page_count < 2)
        return damaged(walk, 1, "the file ends before it");
    struct meta metas[2];
    load_meta(walk->bytes, &metas[0]);
    load_meta(walk->bytes + page_bytes, &metas[1]);
    const uint8_t *second = walk->bytes + page_bytes + PAGE_HEADER_BYTES;
    if (load_32(second) != (uint32_t)META_MAGIC || load_32(second + 4) != META_VERSION ||
        load_32(second + 24) != page_bytes || (metas[0].flags | metas[1].flags) & META_FIXED_MAP)
        return damaged(walk, 1, "the two headers do not agree");
    *ret_meta = metas[metas[1].transaction > metas[0].transaction];
    return OK;
}

static enum status check_tree(struct walk *walk, uint64_t file_bytes)
{
    struct meta meta = {0};
    TRY(check_meta(walk, file_bytes, &meta));
    if (meta.last_page >= walk->page_count)
        return fail(ERR_CORRUPT,
                    "shard '%s' is cut off: it has %llu of %llu pages; remove it and ingest its "
                    "images again, or copy it anew",
                    walk->file, (unsigned long long)walk->page_count,
                    (unsigned long long)meta.last_page + 1);
    if (meta.main_flags != 0)
        return fail(ERR_INPUT,
                    "'%s' has sorted duplicates or other key kinds (flags 0x%x): it "
                    "is no store of images",
                    walk->file, meta.main_flags);
    if (meta.root == NO_PAGE && meta.entries == 0)
        return OK;
    if (meta.depth < 1 || meta.depth > DEPTH_MAX)
        return damaged(walk, 0, "the tree's depth is impossible");
    TRY(check_page(walk, meta.root, meta.depth));
    if (walk->records != meta.entries)
        return damaged(walk, meta.root, "the tree does not hold as many records as it says");
    return OK;
}

static enum status check_file(const char *path, int file, uint64_t *ret_record_count)
{
    struct stat info;
    if (fstat(file, &info) != 0)
        return fail(ERR_IO, "cannot ask for the size of '%s': %s", path, strerror(errno));
    if (!S_ISREG(info.st_mode) || info.st_size < PAGE_HEADER_BYTES + META_BYTES)
        return fail(ERR_CORRUPT,
                    "shard '%s' is cut off: it has %lld bytes; remove it and ingest "
                    "its images again, or copy it anew",
                    path, (long long)info.st_size);
    size_t length = (size_t)info.st_size;
    void *bytes = mmap(NULL, length, PROT_READ, MAP_SHARED, file, 0);
    if (bytes == MAP_FAILED)
        return fail(status_of_errno(errno), "cannot map '%s': %s", path, strerror(errno));
    struct walk walk = {.file = path, .bytes = bytes};
    atomic_int is_faulty = 0; /* it may be cut off, or its disk fail, while it is walked */
    shard_fault_take();
    shard_fault_guard(&is_faulty);
    enum status status = check_tree(&walk, length);
    shard_fault_guard(NULL);
    munmap(bytes, length);
    if (atomic_load(&is_faulty))
        status = fail(ERR_IO, "cannot read '%s': its bytes went while it was read", path);
    if (status == OK)
        *ret_record_count = walk.records;
    return status;
}

enum status shard_check(const char *file, uint64_t *ret_record_count)
{
    int descriptor = open(file, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0)
        return fail(status_of_errno(errno), "cannot open shard '%s': %s", file, strerror(errno));
    enum status status = check_file(file, descriptor, ret_record_count);
    close(descriptor);
    return status;
}
