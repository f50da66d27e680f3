/* fuzz_source.c - any file as a source of pictures: an archive, an IDX file, an LMDB, a picture.
 *
 * Every item has a name, and bytes or a reason. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/check.h"
#include "common/fs.h"
#include "common/mem.h"
#include "loader/record.h"
#include "loader/source.h"

enum { ITEMS_MAX = 2000 /* a compressed file may hold millions */ };

static const struct source_options options = {.rule = LABEL_RULE_AUTO};
static char folder[] = "/dev/shm/everseer-fuzz-XXXXXX";

static void check_item(const struct source_item *item)
{
    CHECK(item->name != NULL && item->length <= RECORD_BYTES_MAX);
    CHECK((item->bytes != NULL) == (item->reason == IMAGE_REASON_NONE));
    volatile uint8_t last = item->length > 0 ? item->bytes[item->length - 1] : 0;
    (void)last;
}

static void read_source(const char *path)
{
    struct source *source;
    struct source_item item;
    if (source_open(path, &options, &source) != OK)
        return;
    for (int i = 0; i < ITEMS_MAX && source_next(source, &item) == OK; i++) {
        check_item(&item);
        CHECK(source_progress(source) >= 0);
        source_item_done(&item);
    }
    source_close(source);
}

static void remove_folder(void)
{
    rmdir(folder);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    static const char *const names[] = {"file", "file.mdb"}; /* an LMDB is told by its name */
    static int has_folder;
    if (!has_folder) {
        CHECK(mkdtemp(folder) != NULL);
        atexit(remove_folder);
        has_folder = 1;
    }
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char *path = mem_format("%s/%s", folder, names[i]);
        CHECK(fs_write_file(path, bytes, length) == OK);
        read_source(path);
        unlink(path);
        mem_free(path);
    }
    return 0;
}
