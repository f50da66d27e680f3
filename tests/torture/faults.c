/* faults.c - see faults.h. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/torture/faults.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

const struct fault_mode fault_modes[FAULT_MODE_COUNT] = {
    {"once", 0, 0}, {"from then on", 1, 0}, {"once, late", 0, 1}, {"from then on, late", 1, 1}};

static struct fault_mode mode;
static int is_armed, calls_left, failed;

void faults_arm(int call, const struct fault_mode *how)
{
    mode = *how;
    calls_left = call;
    failed = 0;
    is_armed = 1;
}

int faults_disarm(void)
{
    is_armed = 0;
    return failed;
}

static int is_failing(void)
{
    if (!is_armed || (calls_left > 0 && --calls_left > 0) || (failed > 0 && !mode.is_lasting))
        return 0;
    failed++;
    return 1;
}

/* Calls that nobody can take back: they fail before they do anything. */
#define EARLY(error, ...) (is_failing() ? (errno = (error), -1) : syscall(__VA_ARGS__))

/* Calls whose failure says nothing of what reached the disk. */
#define EITHER(error, ...)                                                                         \
    do {                                                                                           \
        int is_bad = is_failing();                                                                 \
        long result = is_bad && !mode.is_late ? 0 : syscall(__VA_ARGS__);                          \
        if (!is_bad)                                                                               \
            return result;                                                                         \
        errno = (error);                                                                           \
        return -1;                                                                                 \
    } while (0)

ssize_t write(int file, const void *bytes, size_t length)
{
    EITHER(ENOSPC, SYS_write, file, bytes, length);
}

ssize_t writev(int file, const struct iovec *parts, int count)
{
    EITHER(ENOSPC, SYS_writev, file, parts, count);
}

ssize_t pwrite(int file, const void *bytes, size_t length, off_t offset)
{
    EITHER(ENOSPC, SYS_pwrite64, file, bytes, length, offset);
}

/* Nothing is really flushed, which only a power cut could tell: the test takes a tenth of the time.
 */
int fsync(int file)
{
    (void)file;
    if (!is_failing())
        return 0;
    errno = EIO;
    return -1;
}

int fdatasync(int file)
{
    return fsync(file);
}

int msync(void *start, size_t length, int flags)
{
    (void)start;
    (void)length;
    (void)flags;
    return fsync(-1);
}

int rename(const char *from, const char *to)
{
    EITHER(EIO, SYS_rename, from, to);
}

int ftruncate(int file, off_t length)
{
    return (int)EARLY(ENOSPC, SYS_ftruncate, file, length);
}

int fallocate(int file, int how, off_t offset, off_t length)
{
    return (int)EARLY(ENOSPC, SYS_fallocate, file, how, offset, length);
}

int mkdir(const char *path, mode_t permissions)
{
    return (int)EARLY(ENOSPC, SYS_mkdir, path, permissions);
}

int flock(int file, int operation)
{
    return (int)EARLY(ENOLCK, SYS_flock, file, operation);
}

int open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    int permissions = flags & O_CREAT ? va_arg(args, int) : 0;
    va_end(args);
    return (int)EARLY(EMFILE, SYS_openat, AT_FDCWD, path, flags & ~O_SYNC, permissions);
}

/* Files only: memory that runs out ends the process by design (common/mem.h). */
void *mmap(void *start, size_t length, int protection, int flags, int file, off_t offset)
{
    if (file >= 0 && is_failing()) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    return (void *)syscall(SYS_mmap, start, length, protection, flags, file, offset);
}
