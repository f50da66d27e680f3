/* folder_watch.c - inotify over a tree, with a walk wherever events cannot be trusted. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "loader/folder_watch.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fs.h"
#include "common/mem.h"
#include "loader/source_file.h"

enum {
    EVENTS_BYTES = 64 << 10,
    WATCHED = IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE | IN_DELETE_SELF | IN_MOVE_SELF |
              IN_EXCL_UNLINK | IN_ONLYDIR,
};

struct folder_watch {
    char *root;
    int events; /* inotify */
    int wake;
    FTS *walk; /* through what is there already; NULL: only events count */
    char *walk_root;
    int is_overrun;        /* events were lost: look through all once more */
    int is_gone;           /* the root */
    uint32_t folder_count; /* size of folders */
    char **folders;        /* by watch descriptor, which the kernel counts up; owned */
    size_t length, at;     /* of what was read from the kernel */
    char *path;            /* the last one told */
    char buffer[EVENTS_BYTES] __attribute__((aligned(__alignof__(struct inotify_event))));
};

static enum status watch_folder(struct folder_watch *watch, const char *path)
{
    int descriptor = inotify_add_watch(watch->events, path, WATCHED);
    if (descriptor < 0 && errno == ENOSPC)
        return fail(ERR_IO,
                    "cannot watch '%s': no watches are left; raise fs.inotify.max_user_watches "
                    "(sysctl -w fs.inotify.max_user_watches=1048576)",
                    path);
    if (descriptor < 0)
        return fail(ERR_INPUT, "cannot watch '%s': %s", path, strerror(errno));
    if ((uint32_t)descriptor >= watch->folder_count) {
        uint32_t count = (uint32_t)descriptor * 2 + 16;
        watch->folders = mem_resize(watch->folders, count * sizeof(*watch->folders));
        memset(watch->folders + watch->folder_count, 0,
               (count - watch->folder_count) * sizeof(*watch->folders));
        watch->folder_count = count;
    }
    mem_free(watch->folders[descriptor]);
    watch->folders[descriptor] = mem_string(path);
    return OK;
}

static void end_walk(struct folder_watch *watch)
{
    if (watch->walk != NULL)
        fts_close(watch->walk);
    mem_free(watch->walk_root);
    watch->walk = NULL;
    watch->walk_root = NULL;
}

static enum status begin_walk(struct folder_watch *watch, const char *path)
{
    char *root = mem_string(path);
    char *roots[] = {root, NULL};
    watch->walk_root = root;
    watch->walk = fts_open(roots, FTS_LOGICAL | FTS_NOCHDIR, NULL);
    return watch->walk != NULL ? OK : fail(ERR_IO, "cannot read '%s': %s", path, strerror(errno));
}

/* A lease can be had only while nobody has the file open for writing (fcntl(2)); whoever does will
 * close it, which is an event. Where there are no leases the file is taken for complete. */
static int is_being_written(const char *path)
{
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0)
        return 0; /* whoever reads it will say why */
    /* One who comes to write meanwhile breaks the lease, by a signal that must not end us. */
    fcntl(file, F_SETSIG, SIGURG);
    int is_busy = fcntl(file, F_SETLEASE, F_RDLCK) != 0 && errno == EAGAIN;
    if (!is_busy)
        fcntl(file, F_SETLEASE, F_UNLCK);
    close(file);
    return is_busy;
}

static enum status tell(struct folder_watch *watch, char **path, const char **ret_path)
{
    mem_free(watch->path);
    *ret_path = watch->path = *path;
    *path = NULL;
    return OK;
}

/* ERR_END: the walk is over. */
static enum status next_walked(struct folder_watch *watch, const char **ret_path)
{
    for (FTSENT *entry; (entry = fts_read(watch->walk)) != NULL;) {
        if (entry->fts_level > 0 && source_file_is_ignored(entry->fts_name, entry->fts_namelen)) {
            fts_set(watch->walk, entry, FTS_SKIP);
            continue;
        }
        char *path = mem_string(entry->fts_path);
        enum status status = ERR_STALE; /* nothing to tell of */
        if (entry->fts_info == FTS_D)
            status = watch_folder(watch, path); /* before its entries are read */
        else if (entry->fts_info == FTS_DNR)
            status = fail(ERR_INPUT, "%s", strerror(entry->fts_errno));
        if (entry->fts_info == FTS_F && !is_being_written(path))
            return tell(watch, &path, ret_path);
        if (status == ERR_INPUT && fs_exists(path)) {
            tell(watch, &path, ret_path);
            return ERR_INPUT;
        }
        mem_free(path);
        if (status == ERR_IO)
            return status;
    }
    end_walk(watch);
    return ERR_END;
}

static int is_root(const struct folder_watch *watch, const char *folder)
{
    return strcmp(folder, watch->root) == 0;
}

/* ERR_STALE: nothing to tell of. */
static enum status take_event(struct folder_watch *watch, const struct inotify_event *event,
                              const char **ret_path)
{
    if (event->mask & IN_Q_OVERFLOW) {
        watch->is_overrun = 1;
        return ERR_STALE;
    }
    char *folder = event->wd > 0 && (uint32_t)event->wd < watch->folder_count
                       ? watch->folders[event->wd]
                       : NULL;
    if (folder == NULL)
        return ERR_STALE;
    if (event->mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT | IN_IGNORED)) {
        watch->is_gone |= is_root(watch, folder);
        if (event->mask & IN_IGNORED) {
            mem_free(folder);
            watch->folders[event->wd] = NULL;
        }
        return ERR_STALE;
    }
    if (event->len == 0 || source_file_is_ignored(event->name, strlen(event->name)))
        return ERR_STALE;
    char *path = mem_format("%s/%s", folder, event->name);
    enum status status = ERR_STALE;
    if (event->mask & IN_ISDIR)
        status = begin_walk(watch, path) == OK ? ERR_STALE : ERR_IO;
    else if (event->mask & (IN_CLOSE_WRITE | IN_MOVED_TO))
        return tell(watch, &path, ret_path);
    mem_free(path);
    return status;
}

static enum status next_event(struct folder_watch *watch, const char **ret_path)
{
    while (watch->at < watch->length && watch->walk == NULL) {
        const struct inotify_event *event =
            (const struct inotify_event *)(const void *)(watch->buffer + watch->at);
        watch->at += sizeof(*event) + event->len;
        enum status status = take_event(watch, event, ret_path);
        if (status != ERR_STALE)
            return status;
    }
    return ERR_STALE;
}

/* ERR_END: woken. */
static enum status wait_for_events(struct folder_watch *watch)
{
    struct pollfd files[] = {{.fd = watch->events, .events = POLLIN},
                             {.fd = watch->wake, .events = POLLIN}};
    if (poll(files, 2, -1) < 0 && errno != EINTR)
        return fail(ERR_IO, "cannot wait for '%s': %s", watch->root, strerror(errno));
    if (files[1].revents != 0)
        return ERR_END;
    ssize_t length = read(watch->events, watch->buffer, sizeof(watch->buffer));
    watch->at = 0;
    watch->length = length > 0 ? (size_t)length : 0;
    if (length < 0 && errno != EAGAIN && errno != EINTR)
        return fail(ERR_IO, "cannot watch '%s' any longer: %s", watch->root, strerror(errno));
    return OK;
}

/* What there is before a wait. ERR_STALE: nothing. */
static enum status next_present(struct folder_watch *watch, const char **ret_path)
{
    if (watch->walk != NULL) {
        enum status status = next_walked(watch, ret_path);
        return status == ERR_END ? ERR_STALE : status;
    }
    return next_event(watch, ret_path);
}

static int is_woken(const struct folder_watch *watch)
{
    struct pollfd file = {.fd = watch->wake, .events = POLLIN};
    return poll(&file, 1, 0) > 0;
}

enum status folder_watch_next(struct folder_watch *watch, const char **ret_path)
{
    for (;;) {
        if (is_woken(watch))
            return ERR_END;
        enum status status = next_present(watch, ret_path);
        if (status != ERR_STALE)
            return status;
        if (watch->walk != NULL || watch->at < watch->length)
            continue;
        if (watch->is_gone)
            return fail(ERR_IO, "the watched folder '%s' is gone: make it and start again",
                        watch->root);
        if (watch->is_overrun) {
            watch->is_overrun = 0;
            TRY(begin_walk(watch, watch->root));
            continue;
        }
        TRY(wait_for_events(watch));
    }
}

static enum status check_root(const char *root)
{
    struct stat info;
    if (stat(root, &info) != 0)
        return fail(ERR_INPUT, "cannot watch '%s': %s", root, strerror(errno));
    if (!S_ISDIR(info.st_mode))
        return fail(ERR_INPUT, "cannot watch '%s': only folders can be watched", root);
    if (fs_require_local(root) != OK)
        return fail(ERR_INPUT,
                    "'%s' is on a network file system, where files that other hosts write cannot "
                    "be seen coming: watch it on the host that has the disk",
                    root);
    return OK;
}

enum status folder_watch_open(const char *root, int wake, struct folder_watch **ret_watch)
{
    TRY(check_root(root));
    struct folder_watch *watch = mem_zero(sizeof(*watch));
    watch->root = mem_string(root);
    for (size_t end = strlen(root); end > 1 && root[end - 1] == '/'; end--)
        watch->root[end - 1] = '\0';
    watch->wake = wake;
    watch->events = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    enum status status = OK;
    if (watch->events < 0)
        status = fail(ERR_IO,
                      "cannot watch '%s': %s; too many programs watch folders already? "
                      "(sysctl fs.inotify.max_user_instances)",
                      root, strerror(errno));
    if (status == OK)
        status = watch_folder(watch, watch->root);
    if (status == OK)
        status = begin_walk(watch, watch->root);
    if (status != OK) {
        folder_watch_close(watch);
        return status;
    }
    *ret_watch = watch;
    return OK;
}

void folder_watch_close(struct folder_watch *watch)
{
    if (watch == NULL)
        return;
    end_walk(watch);
    if (watch->events >= 0)
        close(watch->events);
    for (uint32_t i = 0; i < watch->folder_count; i++)
        mem_free(watch->folders[i]);
    mem_free(watch->folders);
    mem_free(watch->path);
    mem_free(watch->root);
    mem_free(watch);
}
