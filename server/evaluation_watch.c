/* evaluation_watch.c - sees results of `seer eval` that appear beside the run. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/evaluation_watch.h"

#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

#include "common/log.h"
#include "common/mem.h"

/* When the file or folder changed, its renaming included; 0: it is not there. */
static int64_t changed_ns(const char *path)
{
    struct stat facts;
    if (stat(path, &facts) != 0)
        return 0;
    return (int64_t)facts.st_ctim.tv_sec * 1000000000 + facts.st_ctim.tv_nsec;
}

void evaluation_watch_init(struct evaluation_watch *watch, const char *directory)
{
    char *events = mem_format("%s/events.jsonl", directory);
    *watch = (struct evaluation_watch){.told_ns = changed_ns(events)};
    mem_free(events);
}

static int is_result(const char *name)
{
    const size_t length = strlen(name);
    return name[0] != '.' && length > 5 && strcmp(name + length - 5, ".json") == 0;
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

void evaluation_watch_look(struct evaluation_watch *watch, const char *directory,
                           void (*tell)(void *context, const struct evaluation *row), void *context)
{
    char *folder = mem_format("%s/evals", directory);
    const int64_t now_ns = changed_ns(folder);
    DIR *entries = now_ns != watch->folder_ns ? opendir(folder) : NULL;
    int64_t newest_ns = watch->told_ns;
    for (struct dirent *entry; entries != NULL && (entry = readdir(entries)) != NULL;) {
        char *path = mem_format("%s/%s", folder, entry->d_name);
        const int64_t file_ns = is_result(entry->d_name) ? changed_ns(path) : 0;
        if (file_ns > watch->told_ns)
            tell_file(path, tell, context);
        newest_ns = file_ns > newest_ns ? file_ns : newest_ns;
        mem_free(path);
    }
    if (entries != NULL)
        closedir(entries);
    watch->folder_ns = now_ns;
    watch->told_ns = newest_ns;
    mem_free(folder);
}
