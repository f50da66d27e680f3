/* gate.c - a sorted table of keys, read again when their folder has changed. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "proto/gate.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/clock.h"
#include "common/fs.h"
#include "common/log.h"
#include "common/mem.h"

enum {
    KEYS_MAX = 65536,
    /* A folder changed so lately may change again within the same tick of its time stamp. */
    FRESH_MS = 1000,
};

struct gate {
    struct key server;
    char *allowed;          /* the folder */
    pthread_mutex_t mutex;  /* guards all below */
    struct timespec looked; /* the folder's time stamp when it was read */
    uint32_t count;
    struct key *keys; /* [count] by public key */
    uint64_t refused;
};

static int compare(const void *a, const void *b)
{
    return strcmp(((const struct key *)a)->public, ((const struct key *)b)->public);
}

static int is_key_file(const char *name)
{
    static const char end[] = ".json";
    size_t length = strlen(name);
    return name[0] != '.' && length >= sizeof(end) &&
           strcmp(name + length - (sizeof(end) - 1), end) == 0;
}

/* Of a loader only workers have anything to ask. */
static int may_come(const struct gate *gate, enum key_role role)
{
    return gate->server.role == KEY_LOADER ? role == KEY_WORKER : role >= KEY_WORKER;
}

/* What is no key is told of, once for each time that the folder changes. Returns whether all was
 * read that is there: if not, looking again may help. */
static int take_file(struct gate *gate, const char *name)
{
    struct key key;
    char *path = mem_format("%s/%s", gate->allowed, name);
    enum status status = key_load(path, &key);
    if (status == OK && !may_come(gate, key.role))
        status = fail(ERR_INPUT, "'%s': a key of the role %s lets nobody in here", path,
                      key_role_name(key.role));
    if (status == OK && gate->count == KEYS_MAX)
        status = fail(ERR_INPUT, "'%s': more than %d keys", path, KEYS_MAX);
    if (status == OK) {
        memset(key.secret, 0, sizeof(key.secret));
        gate->keys = mem_resize(gate->keys, (gate->count + 1) * sizeof(*gate->keys));
        gate->keys[gate->count++] = key;
    } else {
        log_warn("event=key_ignored reason=\"%s\"", fail_message());
    }
    mem_free(path);
    return status != ERR_IO;
}

/* Returns as take_file. */
static int read_keys(struct gate *gate)
{
    struct dirent *entry;
    int is_whole = 1;
    DIR *folder = opendir(gate->allowed);
    gate->count = 0; /* a folder that cannot be read lets nobody in */
    if (folder == NULL) {
        if (errno == ENOENT)
            return 1;
        log_warn("event=keys_unreadable folder=%s reason=\"%s\"", gate->allowed, strerror(errno));
        return 0;
    }
    while ((entry = readdir(folder)) != NULL)
        if (is_key_file(entry->d_name))
            is_whole &= take_file(gate, entry->d_name);
    closedir(folder);
    if (gate->count > 0)
        qsort(gate->keys, gate->count, sizeof(*gate->keys), compare);
    return is_whole;
}

static int is_fresh(const struct timespec *stamp)
{
    return clock_wall_ms() - ((int64_t)stamp->tv_sec * 1000 + stamp->tv_nsec / 1000000) < FRESH_MS;
}

static void look(struct gate *gate)
{
    struct stat info = {0};
    if (stat(gate->allowed, &info) != 0)
        info.st_mtim = (struct timespec){0};
    int is_same =
        info.st_mtim.tv_sec == gate->looked.tv_sec && info.st_mtim.tv_nsec == gate->looked.tv_nsec;
    if (is_same && !is_fresh(&info.st_mtim))
        return;
    gate->looked = info.st_mtim;
    if (!read_keys(gate)) /* too few descriptors, it may be: the next look reads again */
        gate->looked = (struct timespec){.tv_nsec = -1};
}

enum status gate_open(const char *directory, enum key_role role, struct gate **ret_gate)
{
    char *path = mem_format("%s/%s.key", directory, key_role_name(role));
    struct key server = {0};
    enum status status = OK;
    *ret_gate = NULL;
    if (!fs_exists(path))
        goto out;
    TRY_OUT(key_load(path, &server));
    if (server.role != role || server.secret[0] == 0)
        TRY_OUT(fail(ERR_INPUT, "'%s' is not a %s's key: 'seer key init' makes one", path,
                     key_role_name(role)));
    struct gate *gate = mem_zero(sizeof(*gate));
    gate->server = server;
    gate->allowed = mem_format("%s/allowed", directory);
    pthread_mutex_init(&gate->mutex, NULL);
    look(gate);
    *ret_gate = gate;
out:
    mem_free(path);
    return status;
}

void gate_close(struct gate *gate)
{
    if (gate == NULL)
        return;
    pthread_mutex_destroy(&gate->mutex);
    explicit_bzero(&gate->server, sizeof(gate->server));
    mem_free(gate->allowed);
    mem_free(gate->keys);
    mem_free(gate);
}

const struct key *gate_server_key(const struct gate *gate)
{
    return &gate->server;
}

void gate_look(struct gate *gate)
{
    pthread_mutex_lock(&gate->mutex);
    look(gate);
    pthread_mutex_unlock(&gate->mutex);
}

int gate_find(struct gate *gate, const char *public, struct key *ret_key)
{
    struct key wanted = {0};
    if (strlen(public) >= sizeof(wanted.public))
        return 0;
    memcpy(wanted.public, public, strlen(public));
    pthread_mutex_lock(&gate->mutex);
    const struct key *found =
        gate->count == 0 ? NULL
                         : bsearch(&wanted, gate->keys, gate->count, sizeof(wanted), compare);
    if (found != NULL)
        *ret_key = *found;
    pthread_mutex_unlock(&gate->mutex);
    return found != NULL;
}

uint64_t gate_refused(struct gate *gate)
{
    pthread_mutex_lock(&gate->mutex);
    uint64_t refused = gate->refused;
    pthread_mutex_unlock(&gate->mutex);
    return refused;
}

void gate_count_refusal(struct gate *gate)
{
    pthread_mutex_lock(&gate->mutex);
    gate->refused++;
    pthread_mutex_unlock(&gate->mutex);
}
