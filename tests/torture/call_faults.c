/* call_faults.c - see call_faults.h. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/torture/call_faults.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.h>

#include "common/check.h"

const struct call_fault call_faults[] = {
    {"accept4", 0},
    {"access", 0},
    {"bind", 0},
    {"connect", 0},
    {"dup2", 0},
    {"eventfd", 0},
    {"execvpe", 0},
    {"fopen", 0},
    {"fork", 0},
    {"fstat", 0},
    {"ftruncate", 0},
    {"getsockopt", 0},
    {"listen", 0},
    {"memfd_create", 0},
    {"mkdir", 0},
    {"mmap", 0},
    {"open", 0},
    {"pidfd_open", 0},
    {"pipe2", 0},
    {"poll", 1},
    {"pthread_create", 0},
    {"read", 1},
    {"readlink", 0},
    {"recv", 0},
    {"recvmsg", 0},
    {"send", 0},
    {"sendmsg", 0},
    {"setpgid", 0},
    {"shutdown", 0},
    {"signalfd", 0},
    {"socket", 0},
    {"waitpid", 1},
    {"zmq_connect", 0},
    {"zmq_ctx_new", 0},
    {"zmq_msg_recv", 1},
    {"zmq_poll", 1},
    {"zmq_recv", 1},
    {"zmq_send", 1},
    {"zmq_setsockopt", 0},
    {"zmq_socket", 0},
    {"zmq_socket_monitor", 0},
    {NULL, 0},
};

/* Of all who are armed, in memory that they share. */
struct shared {
    const char *name; /* static text: at the same place in forks */
    int is_lasting;
    _Atomic int calls_left, failed;
};

static struct shared *shared;
static _Atomic int is_armed; /* here */

void call_faults_open(void)
{
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED);
}

void call_faults_arm(const struct call_fault *fault, int call, int is_lasting)
{
    shared->name = fault->name;
    shared->calls_left = call;
    shared->failed = 0;
    shared->is_lasting = is_lasting;
    is_armed = 1;
}

void call_faults_disarm(void)
{
    is_armed = 0;
}

int call_faults_failed(void)
{
    return shared->failed;
}

static int is_failing(const char *name)
{
    if (!is_armed || strcmp(name, shared->name) != 0)
        return 0;
    int left = atomic_fetch_sub(&shared->calls_left, 1);
    if (left > 1 || (left < 1 && !shared->is_lasting))
        return 0;
    atomic_fetch_add(&shared->failed, 1);
    return 1;
}

#define WRAP(type, name, parameters, arguments, error, failure)                                    \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters                                                                  \
    {                                                                                              \
        if (!is_failing(#name))                                                                    \
            return __real_##name arguments;                                                        \
        errno = (error);                                                                           \
        return failure;                                                                            \
    }
#define LASTING   0
#define MOMENTARY 1

/* Descriptors, memory, threads. */
WRAP(int, eventfd, (unsigned count, int flags), (count, flags), EMFILE, -1)
WRAP(int, signalfd, (int fd, const sigset_t *mask, int flags), (fd, mask, flags), EMFILE, -1)
WRAP(int, memfd_create, (const char *name, unsigned flags), (name, flags), EMFILE, -1)
WRAP(int, ftruncate, (int fd, off_t length), (fd, length), ENOSPC, -1)
WRAP(int, fstat, (int fd, struct stat *stat), (fd, stat), EIO, -1)
WRAP(int, pipe2, (int ends[2], int flags), (ends, flags), EMFILE, -1)
WRAP(FILE *, fopen, (const char *path, const char *how), (path, how), EMFILE, NULL)
WRAP(ssize_t, read, (int fd, void *bytes, size_t length), (fd, bytes, length), EINTR, -1)
WRAP(int, poll, (struct pollfd * polled, nfds_t count, int ms), (polled, count, ms), EINTR, -1)
WRAP(int, pthread_create,
     (pthread_t * thread, const pthread_attr_t *how, void *(*run)(void *), void *argument),
     (thread, how, run, argument), EAGAIN, EAGAIN)

/* Processes. */
WRAP(pid_t, fork, (void), (), EAGAIN, -1)
WRAP(pid_t, waitpid, (pid_t pid, int *how, int options), (pid, how, options), EINTR, -1)
WRAP(int, setpgid, (pid_t pid, pid_t group), (pid, group), EPERM, -1)
WRAP(int, dup2, (int from, int to), (from, to), EMFILE, -1)
WRAP(int, execvpe, (const char *file, char *const *argv, char *const *environment),
     (file, argv, environment), ENOMEM, -1)
WRAP(int, mkdir, (const char *path, mode_t mode), (path, mode), ENOSPC, -1)
WRAP(int, access, (const char *path, int mode), (path, mode), EACCES, -1)
WRAP(ssize_t, readlink, (const char *path, char *text, size_t bytes), (path, text, bytes), ENOENT,
     -1)

/* Sockets. */
WRAP(int, socket, (int domain, int type, int protocol), (domain, type, protocol), EMFILE, -1)
WRAP(int, bind, (int fd, const struct sockaddr *where, socklen_t length), (fd, where, length),
     ENOMEM, -1)
WRAP(int, listen, (int fd, int backlog), (fd, backlog), EADDRINUSE, -1)
WRAP(int, accept4, (int fd, struct sockaddr *where, socklen_t *length, int flags),
     (fd, where, length, flags), EMFILE, -1)
WRAP(int, connect, (int fd, const struct sockaddr *where, socklen_t length), (fd, where, length),
     ECONNREFUSED, -1)
WRAP(int, getsockopt, (int fd, int level, int name, void *value, socklen_t *length),
     (fd, level, name, value, length), ENOBUFS, -1)
WRAP(int, shutdown, (int fd, int how), (fd, how), ENOTCONN, -1)
WRAP(ssize_t, send, (int fd, const void *bytes, size_t length, int flags),
     (fd, bytes, length, flags), EPIPE, -1)
WRAP(ssize_t, recv, (int fd, void *bytes, size_t length, int flags), (fd, bytes, length, flags),
     ECONNRESET, -1)
WRAP(ssize_t, sendmsg, (int fd, const struct msghdr *message, int flags), (fd, message, flags),
     ETOOMANYREFS, -1)
WRAP(ssize_t, recvmsg, (int fd, struct msghdr *message, int flags), (fd, message, flags),
     ECONNRESET, -1)

/* ZeroMQ. */
WRAP(void *, zmq_ctx_new, (void), (), EMFILE, NULL)
WRAP(void *, zmq_socket, (void *context, int type), (context, type), EMFILE, NULL)
WRAP(int, zmq_setsockopt, (void *socket, int option, const void *value, size_t length),
     (socket, option, value, length), EINVAL, -1)
WRAP(int, zmq_socket_monitor, (void *socket, const char *address, int events),
     (socket, address, events), EMFILE, -1)
WRAP(int, zmq_connect, (void *socket, const char *address), (socket, address), EMTHREAD, -1)
WRAP(int, zmq_poll, (zmq_pollitem_t * items, int count, long ms), (items, count, ms), EINTR, -1)
WRAP(int, zmq_send, (void *socket, const void *bytes, size_t length, int flags),
     (socket, bytes, length, flags), EAGAIN, -1)
WRAP(int, zmq_msg_recv, (zmq_msg_t * message, void *socket, int flags), (message, socket, flags),
     EAGAIN, -1)
WRAP(int, zmq_recv, (void *socket, void *bytes, size_t length, int flags),
     (socket, bytes, length, flags), EAGAIN, -1)

/* Those with arguments of their own kind. */

void *__real_mmap(void *start, size_t length, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap(void *start, size_t length, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap(void *start, size_t length, int protection, int flags, int fd, off_t offset)
{
    if (fd < 0 || !is_failing("mmap")) /* memory alone: common/mem.h ends the process */
        return __real_mmap(start, length, protection, flags, fd, offset);
    errno = ENOMEM;
    return MAP_FAILED;
}

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    int permissions = flags & O_CREAT ? va_arg(arguments, int) : 0;
    va_end(arguments);
    if (!is_failing("open"))
        return __real_open(path, flags, permissions);
    errno = EMFILE;
    return -1;
}

long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);
long __wrap_syscall(long number, ...)
{
    long a[6] = {0};
    int count = number == SYS_pidfd_open ? 2 : number == SYS_futex ? 6 : -1;
    va_list arguments;
    CHECK(count >= 0); /* another one: say how many arguments it has */
    va_start(arguments, number);
    for (int i = 0; i < count; i++)
        a[i] = va_arg(arguments, long);
    va_end(arguments);
    if (number != SYS_pidfd_open || !is_failing("pidfd_open"))
        return __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    errno = EMFILE;
    return -1;
}
