/* conv_tuning.c - which of several engines runs a convolution: measured once, kept in a file. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/cuda/conv_tuning.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/fs.h"
#include "common/mem.h"

/* CONTEST_NS: of one convolution in one direction; a model has a few hundred. FILE_BYTES: some ten
 * thousand lines. LEAD: a challenger that is faster by less than so many thousandths may be noise.
 */
enum { CONTEST_NS = 100000000, FILE_BYTES = 4 << 20, LEAD = 30, RANK_MAX = 1000 };

void conv_key(const struct conv_shape *s, const char *direction, const char *values,
              char ret_key[CONV_KEY_BYTES])
{
    snprintf(ret_key, CONV_KEY_BYTES,
             "%s %s rows=%d size=%dx%d channels=%d->%d kernel=%d stride=%d groups=%d", direction,
             values, s->rows, s->height, s->width, s->in_channels, s->out_channels, s->kernel,
             s->stride, s->groups);
}

double conv_operations(const struct conv_shape *s)
{
    const double height = (s->height + s->stride - 1) / s->stride;
    const double width = (s->width + s->stride - 1) / s->stride;
    return 2.0 * s->rows * height * width * s->out_channels * (s->in_channels / s->groups) *
           (s->kernel * s->kernel);
}

void conv_contest_add(struct conv_contest *contest, const struct conv_choice *choice,
                      int64_t spent_ns)
{
    const int64_t best = contest->best.time_ns;
    if (contest->count == 0 || choice->time_ns < best - best / 1000 * LEAD)
        contest->best = *choice;
    contest->count++;
    contest->spent_ns += spent_ns;
}

int conv_contest_goes_on(const struct conv_contest *contest, int64_t left_ns)
{
    return contest->count < CONV_CANDIDATES && contest->spent_ns < CONTEST_NS &&
           contest->spent_ns < left_ns;
}

static struct conv_entry *find(const struct conv_cache *cache, const char *key)
{
    for (size_t i = 0; i < cache->count; i++)
        if (strcmp(cache->entries[i].key, key) == 0)
            return &cache->entries[i];
    return NULL;
}

const struct conv_choice *conv_cache_find(const struct conv_cache *cache, const char *key)
{
    const struct conv_entry *entry = find(cache, key);
    return entry == NULL ? NULL : &entry->choice;
}

static void put(struct conv_cache *cache, const char *key, const struct conv_choice *choice)
{
    struct conv_entry *entry = find(cache, key);
    if (entry == NULL) {
        if (cache->count == cache->capacity) {
            cache->capacity = cache->capacity == 0 ? 64 : 2 * cache->capacity;
            cache->entries = mem_resize(cache->entries, cache->capacity * sizeof(*cache->entries));
        }
        entry = &cache->entries[cache->count++];
        snprintf(entry->key, sizeof(entry->key), "%s", key);
    }
    entry->choice = *choice;
}

/* KEY, tab, rank, engine and time with blanks between. */
static int parse_line(char *line, char **ret_key, struct conv_choice *ret_choice)
{
    char *tab = strchr(line, '\t'), *end = NULL;
    if (tab == NULL || tab == line || tab - line >= CONV_KEY_BYTES)
        return 0;
    *tab = '\0';
    const long rank = strtol(tab + 1, &end, 10);
    const long long engine = strtoll(end, &end, 10), time = strtoll(end, &end, 10);
    *ret_key = line;
    *ret_choice = (struct conv_choice){.rank = (int)rank, .engine = engine, .time_ns = time};
    return *end == '\0' && rank >= 0 && rank <= RANK_MAX && engine >= 0 && time > 0;
}

static void parse_lines(struct conv_cache *cache, char *at, char *end, size_t *ret_bad)
{
    while (at < end) {
        char *line_end = memchr(at, '\n', (size_t)(end - at)), *key = NULL;
        struct conv_choice choice;
        if (line_end != NULL)
            *line_end = '\0';
        if (line_end != NULL && parse_line(at, &key, &choice))
            put(cache, key, &choice);
        else
            ++*ret_bad;
        at = line_end == NULL ? end : line_end + 1;
    }
}

enum status conv_cache_parse(struct conv_cache *cache, const char *text, size_t length,
                             size_t *ret_bad)
{
    const size_t header = strlen(cache->header);
    *ret_bad = 0;
    if (length < header || memcmp(text, cache->header, header) != 0)
        return fail(ERR_STALE, "'%s' does not begin with '%.*s'", cache->path, (int)header - 1,
                    cache->header);
    char *copy = mem_alloc(length + 1);
    memcpy(copy, text, length);
    copy[length] = '\0';
    parse_lines(cache, copy + header, copy + length, ret_bad);
    mem_free(copy);
    return OK;
}

static enum status name_file(struct conv_cache *cache, const char *folder, const char *library,
                             const char *gpu)
{
    const char *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    char own[sizeof(cache->path)];
    int length;
    if (folder[0] == '\0' && xdg != NULL && xdg[0] == '/')
        length = snprintf(own, sizeof(own), "%s/everseer", xdg);
    else if (folder[0] == '\0')
        length = snprintf(own, sizeof(own), "%s/.cache/everseer", home == NULL ? "" : home);
    else
        length = snprintf(own, sizeof(own), "%s", folder);
    if (length < 0 || (size_t)length >= sizeof(own) || own[0] != '/')
        return fail(ERR_IO,
                    "'%s' is no folder for what is measured: set train.tuning_folder, "
                    "$XDG_CACHE_HOME or $HOME",
                    own);
    TRY(fs_make_directory(own));
    length = snprintf(cache->path, sizeof(cache->path), "%s/convolutions %s %s", own, library, gpu);
    if (length < 0 || (size_t)length >= sizeof(cache->path)) {
        cache->path[0] = '\0';
        return fail(ERR_IO, "'%s': the path is too long", own);
    }
    for (char *c = cache->path + strlen(own) + 1; *c != '\0'; c++)
        if (strchr(" /\t\n", *c) != NULL)
            *c = '-';
    return OK;
}

enum status conv_cache_open(struct conv_cache *cache, const char *folder, const char *library,
                            const char *gpu)
{
    struct buf text;
    size_t bad = 0;
    *cache = (struct conv_cache){0};
    snprintf(cache->header, sizeof(cache->header), "everseer convolutions 1, %s, %.200s\n", library,
             gpu);
    TRY(name_file(cache, folder, library, gpu));
    buf_init(&text, FILE_BYTES);
    enum status status = OK;
    const int is_there = fs_exists(cache->path);
    if (is_there)
        status = fs_read_file(cache->path, &text);
    if (!is_there || status != OK ||
        conv_cache_parse(cache, (const char *)text.bytes, text.length, &bad) != OK)
        status = fs_write_file(cache->path, cache->header, strlen(cache->header));
    buf_done(&text);
    if (status != OK)
        cache->path[0] = '\0';
    return status;
}

void conv_cache_close(struct conv_cache *cache)
{
    mem_free(cache->entries);
    *cache = (struct conv_cache){0};
}

enum status conv_cache_keep(struct conv_cache *cache, const char *key,
                            const struct conv_choice *choice)
{
    char line[CONV_KEY_BYTES + 80];
    put(cache, key, choice);
    if (cache->path[0] == '\0')
        return OK;
    const int length = snprintf(line, sizeof(line), "%s\t%d %" PRId64 " %" PRId64 "\n", key,
                                choice->rank, choice->engine, choice->time_ns);
    const int fd = open(cache->path, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (fd < 0)
        return fail(ERR_IO, "'%s': %s", cache->path, strerror(errno));
    const ssize_t written = write(fd, line, (size_t)length);
    const int error = errno;
    close(fd);
    return written == length ? OK
                             : fail(ERR_IO, "'%s': %s", cache->path,
                                    written < 0 ? strerror(error) : "the disk is full");
}
