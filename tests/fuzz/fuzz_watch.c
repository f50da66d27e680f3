/* fuzz_watch.c - any sequence of what people do in a watched folder, with a spool beside it.
 *
 * Each file that is written has a number of its own in it. Whatever is written, renamed, removed
 * and made in between: the spool loses no number, and once it has released all, nothing that is
 * complete is left in the folder but what belongs to somebody else (dot files, x.part, labels
 * without a picture). */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/fuzz/fuzz.h"

#include <fcntl.h>
#include <fts.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/check.h"
#include "common/fs.h"
#include "common/mem.h"
#include "loader/source.h"
#include "loader/source_file.h"
#include "loader/spool.h"

enum {
    STEPS_MAX = 256,
    NUMBERS_MAX = 2 * STEPS_MAX + 8, /* files written, with the last one of each drain */
    HANDLES = 3,                     /* files that are open for writing */
    NUMBER_BYTES = 9,
    PATH_BYTES = 128,
};

static const char *const folders[] = {"in", "in/a", "in/b", "in/a/c"};
static const char *const files[] = {"0", "1", "x.png", "x.cls", ".dot", "y.part"};
enum { FOLDERS = sizeof(folders) / sizeof(folders[0]), FILES = sizeof(files) / sizeof(files[0]) };

static char home[] = "/dev/shm/everseer-fuzz-XXXXXX";
static const struct source_options options = {
    .rule = LABEL_RULE_AUTO, .is_watching = 1, .wake = -1};

struct play {
    struct source *source;
    struct spool spool;
    uint32_t count; /* numbers given out */
    int handles[HANDLES];
};

/* ---- what people do ---- */

static void write_number(struct play *play, int file)
{
    char text[NUMBER_BYTES + 1];
    snprintf(text, sizeof(text), "n%08u", play->count++);
    CHECK(write(file, text, NUMBER_BYTES) == NUMBER_BYTES);
}

/* -1: it cannot be, as when its folder is not there. */
static int create(const char *path)
{
    return open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
}

static void write_file(struct play *play, const char *path)
{
    int file = create(path);
    if (file < 0)
        return;
    write_number(play, file);
    close(file);
}

static void bring(struct play *play, const char *path)
{
    write_file(play, "outside");
    if (rename("outside", path) != 0)
        unlink("outside");
}

static void close_handle(struct play *play, int i)
{
    if (play->handles[i] < 0)
        return;
    write_number(play, play->handles[i]);
    close(play->handles[i]);
    play->handles[i] = -1;
}

static void open_handle(struct play *play, int i, const char *path)
{
    close_handle(play, i);
    play->handles[i] = create(path);
}

/* ---- what the program does ---- */

static uint32_t number_in(const char *text, size_t length)
{
    unsigned number = 0;
    return length == NUMBER_BYTES && sscanf(text, "n%8u", &number) == 1 ? number : UINT32_MAX;
}

/* Of every third file nothing is kept. */
static uint32_t take(struct play *play)
{
    struct source_item item;
    CHECK(source_next(play->source, &item) == OK);
    uint32_t number = number_in((const char *)item.bytes, item.length);
    CHECK(number < play->count || number == UINT32_MAX);
    if (item.reason == IMAGE_REASON_NONE && number % 3 == 0)
        source_item_refuse(&item, IMAGE_REASON_NOT_AN_IMAGE, "%s", "it is a number");
    CHECK(spool_judge(&play->spool, &item) == OK);
    source_item_done(&item);
    return number;
}

/* Which numbers there are, in either tree. */
static void find(uint8_t found[NUMBERS_MAX])
{
    char *roots[] = {"in", "spool", NULL};
    FTS *walk = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    memset(found, 0, NUMBERS_MAX);
    for (FTSENT *entry; (entry = fts_read(walk)) != NULL;) {
        struct buf text;
        buf_init(&text, PATH_BYTES);
        if (entry->fts_info == FTS_F && fs_read_file(entry->fts_path, &text) == OK) {
            uint32_t number = number_in((const char *)text.bytes, text.length);
            if (number < NUMBERS_MAX)
                found[number] = 1;
        }
        buf_done(&text);
    }
    fts_close(walk);
}

/* Takes all there is: a last file is told of behind the others. One of a name of its own, since an
 * older event of the same name would bring it early. */
static void drain(struct play *play, int is_released)
{
    static uint8_t before[NUMBERS_MAX], after[NUMBERS_MAX];
    char path[PATH_BYTES];
    uint32_t last = play->count;
    snprintf(path, sizeof(path), "in/last-%u", last);
    bring(play, path);
    find(before);
    while (take(play) != last)
        ;
    if (is_released)
        CHECK(spool_release(&play->spool) == OK);
    find(after);
    CHECK(memcmp(before, after, sizeof(before)) == 0);
}

/* ---- one input ---- */

static void step(struct play *play, uint8_t what, uint8_t which)
{
    char path[PATH_BYTES], other[PATH_BYTES];
    const char *folder = folders[which % FOLDERS], *to = folders[which / FOLDERS % FOLDERS];
    snprintf(path, sizeof(path), "%s/%s", folder, files[which / FOLDERS % FILES]);
    snprintf(other, sizeof(other), "%s/%s", to, files[which % FILES]);
    switch (what % 10) {
    case 0:
        write_file(play, path);
        break;
    case 1:
        bring(play, path);
        break;
    case 2:
        open_handle(play, which % HANDLES, path);
        break;
    case 3:
        close_handle(play, which % HANDLES);
        break;
    case 4:
        rename(path, other);
        break;
    case 5:
        unlink(path);
        break;
    case 6:
        mkdir(folder, 0700);
        break;
    case 7:
        if (which % FOLDERS != 0 && to != folders[0]) /* the root stays */
            rename(folder, to);
        break;
    case 8:
        if (which % FOLDERS != 0)
            rmdir(folder);
        break;
    default:
        drain(play, which & 1);
    }
}

static int is_for_the_spool(const FTSENT *entry)
{
    return entry->fts_info == FTS_F && !source_file_ends(entry->fts_name, ".cls") &&
           !source_file_is_ignored(entry->fts_name, entry->fts_namelen);
}

/* Told of, taken, released: it is in the spool. */
static void check_end(void)
{
    char *roots[] = {"in", NULL};
    FTS *walk = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    for (FTSENT *entry; (entry = fts_read(walk)) != NULL;)
        CHECK(!is_for_the_spool(entry));
    fts_close(walk);
}

static void remove_home(void)
{
    fs_remove_tree(home);
}

static void make_home(void)
{
    static int has_home;
    if (!has_home) {
        CHECK(mkdtemp(home) != NULL && chdir(home) == 0);
        atexit(remove_home);
        has_home = 1;
    }
    CHECK(fs_remove_tree("in") == OK && fs_remove_tree("spool") == OK);
    CHECK(fs_make_directory("in/a") == OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct play play = {.handles = {-1, -1, -1}};
    make_home();
    CHECK(source_watch_open("in", &options, &play.source) == OK);
    CHECK(spool_open(&play.spool, "spool", "in") == OK);
    drain(&play, 0); /* the walk through all, which might come upon the last file first, is over */
    for (size_t i = 0; i + 1 < length && i / 2 < STEPS_MAX; i += 2)
        step(&play, bytes[i], bytes[i + 1]);
    for (int i = 0; i < HANDLES; i++)
        close_handle(&play, i);
    drain(&play, 1);
    check_end();
    spool_done(&play.spool);
    source_close(play.source);
    return 0;
}
