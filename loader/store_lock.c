/* store_lock.c - flock(2), with the holder's pid in the file for those who wait. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "loader/store_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "common/mem.h"

enum { PID_TEXT_BYTES = 16 };

/* Only for people: a file without a number, just made or from elsewhere, is no failure. */
static int read_holder(int lock)
{
    char text[PID_TEXT_BYTES] = "";
    ssize_t length = pread(lock, text, sizeof(text) - 1, 0);
    return length > 0 ? (int)strtol(text, NULL, 10) : 0;
}

static void write_holder(int lock)
{
    char text[PID_TEXT_BYTES];
    int length = snprintf(text, sizeof(text), "%d\n", (int)getpid());
    if (ftruncate(lock, 0) != 0 || pwrite(lock, text, (size_t)length, 0) != length)
        return; /* a full disk: whoever waits is told no pid, and the first shard will tell us */
}

static int is_stopped(const atomic_int *stop)
{
    return stop != NULL && atomic_load(stop);
}

/* A signal between the look at *stop and the wait is missed: the next one then ends the process. */
static enum status wait_for_lock(int lock, const atomic_int *stop)
{
    while (!is_stopped(stop)) {
        if (flock(lock, LOCK_EX) == 0)
            return OK;
        if (errno != EINTR)
            return fail(ERR_IO, "%s", strerror(errno));
    }
    return fail(ERR_END, "stopped while another ingest had the store");
}

enum status store_lock_take(const char *store, void (*waiting)(const char *store, int pid),
                            const atomic_int *stop, int *ret_lock)
{
    enum status status = OK;
    char *path = mem_format("%s/lock", store);
    int lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (lock < 0) {
        status = fail(ERR_IO, "cannot open '%s': %s", path, strerror(errno));
        goto out;
    }
    if (flock(lock, LOCK_EX | LOCK_NB) != 0) {
        if (waiting != NULL && errno == EWOULDBLOCK)
            waiting(store, read_holder(lock));
        status = wait_for_lock(lock, stop);
        if (status == ERR_IO)
            status = fail_add(ERR_IO, "cannot lock '%s'", path);
        TRY_OUT(status);
    }
    write_holder(lock);
    *ret_lock = lock;
    lock = -1; /* given to the caller */
out:
    store_lock_give(lock);
    mem_free(path);
    return status;
}

void store_lock_give(int lock)
{
    if (lock >= 0)
        close(lock);
}
