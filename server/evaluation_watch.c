/* evaluation_watch.c - sees results of `seer eval` that appear beside the run. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/evaluation_watch.h"

#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

#include "common/clock.h"
#include "common/hash.h"
#include "common/log.h"
#include "common/mem.h"

enum { FRESH_MS = 1000 }; /* so long after a folder's time it may change without another one */

static int64_t changed_ns(const struct stat *facts)
{
    return (int64_t)facts->st_ctim.tv_sec * 1000000000 + facts->st_ctim.tv_nsec;
}

void evaluation_watch_init(struct evaluation_watch *watch, const char *directory)
{
    struct stat facts;
    char *events = mem_format("%s/events.jsonl", directory);
    *watch = (struct evaluation_watch){0};
    if (stat(events, &facts) == 0)
        watch->start_ns = changed_ns(&facts);
    mem_free(events);
}

void evaluation_watch_done(struct evaluation_watch *watch)
{
    mem_free(watch->known);
    *watch = (struct evaluation_watch){0};
}

static int is_result(const char *name)
{
    const size_t length = strlen(name);
    return name[0] != '.' && length > 5 && strcmp(name + length - 5, ".json") == 0;
}

/* Has it been seen as it is? Then it is from now on. */
static int note(struct evaluation_watch *watch, const char *name, const struct stat *facts)
{
    const uint64_t words[] = {hash_bytes(name, strlen(name)), facts->st_ino,
                              (uint64_t)facts->st_size, (uint64_t)changed_ns(facts)};
    const uint64_t hash = hash_bytes(words, sizeof(words));
    for (uint32_t i = 0; i < watch->count; i++)
        if (watch->known[i] == hash)
            return 1;
    watch->known = mem_resize(watch->known, (watch->count + 1) * sizeof(*watch->known));
    watch->known[watch->count++] = hash;
    return changed_ns(facts) <= watch->start_ns;
}

static void tell_file(const char *path, void (*tell)(void *context, const struct evaluation *row),
                      void *context)
{
    struct evaluation rows[EVALUATION_ROWS_MAX];
    int count = 0;
    if (evaluation_load(path, rows, &count) != OK) {
        log_debug("event=evaluation_unread reason=\"%s\"", fail_message());
        return;
    }
    for (int i = 0; i < count; i++)
        tell(context, &rows[i]);
}

/* Returns whether there is something in it that may be new. */
static int has_changed(struct evaluation_watch *watch, const char *folder)
{
    struct stat facts;
    if (stat(folder, &facts) != 0)
        return 0;
    const int64_t now_ns = changed_ns(&facts);
    const int is_same = now_ns == watch->folder_ns;
    watch->folder_ns = now_ns;
    return !is_same || clock_wall_ms() - now_ns / 1000000 < FRESH_MS;
}

void evaluation_watch_look(struct evaluation_watch *watch, const char *directory,
                           void (*tell)(void *context, const struct evaluation *row), void *context)
{
    char *folder = mem_format("%s/evals", directory);
    DIR *entries = has_changed(watch, folder) ? opendir(folder) : NULL;
    for (struct dirent *entry; entries != NULL && (entry = readdir(entries)) != NULL;) {
        struct stat facts;
        char *path = mem_format("%s/%s", folder, entry->d_name);
        if (is_result(entry->d_name) && stat(path, &facts) == 0 && S_ISREG(facts.st_mode) &&
            !note(watch, entry->d_name, &facts))
            tell_file(path, tell, context);
        mem_free(path);
    }
    if (entries != NULL)
        closedir(entries);
    watch->start_ns = 0; /* what appears from now on is new, of whatever time */
    mem_free(folder);
}
