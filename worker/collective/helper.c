/* helper.c - the handshake: SOCK_SEQPACKET on a file without a name, descriptors by SCM_RIGHTS. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/collective/helper.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"

/* The socket's file has a name only for a moment, in a folder that others cannot enter. */
#define DOOR_BASE "/dev/shm/everseer-door-"

enum {
    REFUSAL_BYTES = 256,
    HANDSHAKE_MS = 2000, /* both are on one host and have nothing else to do */
    /* A helper may call before its worker has read the Regroup, or while it ends the last job. */
    ANSWER_MS = 60000,
    END_MS = 300,     /* for a helper to notice the end and exit */
    LINGER_MS = 2000, /* a killed one that takes longer is worth a line, and so is each time more */
    DESCRIPTORS = 2,
};

static const uint64_t hello_magic = 0x53454552f1e1d002; /* last byte: version of the handshake */

struct hello {
    uint64_t magic;
    struct helper_identity identity;
};

struct answer {
    uint64_t magic;
    uint64_t is_accepted; /* then two descriptors come along: region, ring */
};

union control {
    struct cmsghdr header; /* for alignment */
    char bytes[CMSG_SPACE(DESCRIPTORS * sizeof(int))];
};

/* The path is short enough. */
static struct sockaddr_un socket_at(const char *path)
{
    struct sockaddr_un where = {.sun_family = AF_UNIX};
    CHECK(strlen(path) < sizeof(where.sun_path));
    memcpy(where.sun_path, path, strlen(path));
    return where;
}

/* It comes from the network: no other path is called. */
static enum status address_check(const char *text)
{
    int pid, fd, end = 0;
    if (sscanf(text, "/proc/%d/fd/%d%n", &pid, &fd, &end) != 2 || text[end] != 0 ||
        end >= HELPER_ADDRESS_BYTES)
        return fail(ERR_INPUT, "helper address '%s': expected /proc/PID/fd/N", text);
    return OK;
}

/* Binds at path, for our user alone, and keeps the file when its name is gone. */
static enum status bind_file(struct helper_door *door, const char *path)
{
    const struct sockaddr_un where = socket_at(path);
    door->listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (door->listen_fd < 0)
        return fail(ERR_IO, "helper socket: %s", strerror(errno));
    if (bind(door->listen_fd, (const struct sockaddr *)&where, sizeof(where)) != 0)
        return fail(ERR_IO, "helper socket '%s': %s", path, strerror(errno));
    int error = 0;
    door->file_fd = open(path, O_PATH | O_CLOEXEC);
    if (door->file_fd < 0 || chmod(path, S_IRUSR | S_IWUSR) != 0 ||
        listen(door->listen_fd, 16) != 0)
        error = errno;
    unlink(path);
    return error == 0 ? OK : fail(ERR_IO, "helper socket '%s': %s", path, strerror(error));
}

enum status helper_door_open(struct helper_door *ret_door)
{
    struct helper_door door = {.listen_fd = -1, .file_fd = -1};
    char folder[] = DOOR_BASE "XXXXXX", path[sizeof(folder) + sizeof("/door")];
    if (mkdtemp(folder) == NULL)
        return fail(ERR_IO, "folder '%s' for the helper socket: %s", folder, strerror(errno));
    snprintf(path, sizeof(path), "%s/door", folder);
    enum status status = bind_file(&door, path);
    rmdir(folder);
    if (status != OK) {
        helper_door_close(&door);
        return status;
    }
    snprintf(door.address, sizeof(door.address), "/proc/%d/fd/%d", (int)getpid(), door.file_fd);
    *ret_door = door;
    return OK;
}

void helper_door_close(struct helper_door *door)
{
    if (door->listen_fd >= 0)
        close(door->listen_fd);
    if (door->file_fd >= 0)
        close(door->file_fd);
    door->listen_fd = door->file_fd = -1;
}

/* awaited: who does not come in time, for people. */
static enum status wait_readable(int fd, int cancel_fd, int64_t deadline_ms, const char *awaited)
{
    struct pollfd polled[2] = {{.fd = fd, .events = POLLIN},
                               {.fd = cancel_fd > 0 ? cancel_fd : -1, .events = POLLIN}};
    for (;;) {
        int64_t left = deadline_ms - clock_ms();
        int n = poll(polled, 2, left > 0 ? (int)left : 0);
        if (n > 0 && polled[1].revents != 0)
            return fail(ERR_STALE, "told to stop");
        if (n > 0)
            return OK;
        if (n < 0 && errno != EINTR)
            return fail(ERR_IO, "poll: %s", strerror(errno));
        if (left <= 0)
            return fail(ERR_TIMEOUT, "%s", awaited);
    }
}

/* Only our own user (or root) may call, whatever the file's mode has become. */
static enum status peer_check(int socket)
{
    struct ucred peer;
    socklen_t length = sizeof(peer);
    if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0)
        return fail(ERR_IO, "SO_PEERCRED: %s", strerror(errno));
    if (peer.uid != geteuid() && peer.uid != 0)
        return fail(ERR_PROTOCOL, "a helper of user %d called", (int)peer.uid);
    return OK;
}

static enum status hello_check(int socket, int cancel_fd, const struct helper_identity *expected,
                               int64_t deadline_ms)
{
    int64_t patience_ms = clock_ms() + HANDSHAKE_MS;
    TRY(peer_check(socket));
    TRY(wait_readable(socket, cancel_fd, patience_ms < deadline_ms ? patience_ms : deadline_ms,
                      "it called and said nothing"));
    struct hello hello;
    ssize_t received = recv(socket, &hello, sizeof(hello), MSG_DONTWAIT);
    if (received <= 0)
        return fail(ERR_UNREACHABLE, "it called and hung up without a word");
    if (received != sizeof(hello) || hello.magic != hello_magic)
        return fail(ERR_PROTOCOL, "not the hello of a helper of this version");
    const struct helper_identity *it = &hello.identity;
    if (it->run != expected->run || it->generation != expected->generation ||
        it->nonce != expected->nonce || it->rank != expected->rank || it->size != expected->size)
        return fail(ERR_STALE,
                    "helper of generation %" PRIu64 " rank %d of %d where generation %" PRIu64
                    " rank %d of %d is formed",
                    it->generation, (int)it->rank, (int)it->size, expected->generation,
                    (int)expected->rank, (int)expected->size);
    return OK;
}

static enum status answer_send(int socket, int is_accepted, const int fds[DESCRIPTORS])
{
    struct answer answer = {.magic = hello_magic, .is_accepted = (uint64_t)is_accepted};
    struct iovec part = {.iov_base = &answer, .iov_len = sizeof(answer)};
    union control control = {.bytes = {0}};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (is_accepted) {
        message.msg_control = control.bytes;
        message.msg_controllen = sizeof(control.bytes);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(DESCRIPTORS * sizeof(int));
        memcpy(CMSG_DATA(header), fds, DESCRIPTORS * sizeof(int));
    }
    if (sendmsg(socket, &message, MSG_NOSIGNAL) != sizeof(answer))
        return fail(ERR_UNREACHABLE, "helper left during the handshake: %s", strerror(errno));
    return OK;
}

/* The words about the last caller that was not ours, if there was one, belong to the timeout. */
static enum status await_call(int listen_fd, int cancel_fd, int64_t deadline_ms,
                              const char *refused)
{
    enum status status = wait_readable(listen_fd, cancel_fd, deadline_ms,
                                       "no helper called in time; see the server's log of mpirun");
    int is_late = status == ERR_TIMEOUT || (status == OK && clock_ms() > deadline_ms);
    if (is_late && refused[0] != 0) /* also while strangers call without end */
        return fail(ERR_TIMEOUT, "the helper did not call in time; another caller was refused: %s",
                    refused);
    return status;
}

enum status helper_accept(int listen_fd, int cancel_fd, const struct helper_identity *expected,
                          int region_fd, int ring_fd, int64_t deadline_ms, int *ret_socket)
{
    char refused[REFUSAL_BYTES] = "";
    for (;;) {
        TRY(await_call(listen_fd, cancel_fd, deadline_ms, refused));
        int socket = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
        if (socket < 0 && (errno == EAGAIN || errno == ECONNABORTED || errno == EINTR))
            continue;   /* the caller was gone before we came */
        if (socket < 0) /* it would be called again at once, for ever */
            return fail(ERR_IO, "cannot accept the helper's call: %s", strerror(errno));
        enum status status = hello_check(socket, cancel_fd, expected, deadline_ms);
        const int fds[DESCRIPTORS] = {region_fd, ring_fd};
        if (status == OK && answer_send(socket, 1, fds) == OK) {
            *ret_socket = socket;
            return OK;
        }
        snprintf(refused, sizeof(refused), "%s", fail_message());
        log_debug("event=helper_refused reason=\"%s\"", refused);
        if (status != OK && answer_send(socket, 0, NULL) != OK)
            log_debug("event=helper_refused reason=\"%s\"", fail_message());
        close(socket);
    }
}

/* 0: not within this time. Leaves fail_message() alone: what ends may have failed before. */
static int await_end(int socket, int64_t patience_ms)
{
    struct pollfd polled = {.fd = socket, .events = POLLIN};
    int64_t deadline_ms = clock_ms() + patience_ms;
    for (int64_t left_ms = patience_ms; left_ms > 0; left_ms = deadline_ms - clock_ms())
        if (poll(&polled, 1, (int)left_ms) > 0)
            return 1;
    return 0;
}

/* Our end of file makes the helper exit; a stopped one is killed. The kernel closes its end of the
 * line only after it has taken the process's memory down. */
void helper_end(int socket)
{
    shutdown(socket, SHUT_WR);
    if (await_end(socket, END_MS))
        return;
    struct ucred peer = {0};
    socklen_t length = sizeof(peer);
    CHECK(getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 && peer.pid > 0);
    kill(peer.pid, SIGKILL); /* alive, since the line is open: the number is still its own */
    /* Tens of GB may take long. The memory is ours too: there is no going on before; if the end
     * never comes, the watchdog ends us. */
    for (int64_t waited_ms = LINGER_MS; !await_end(socket, LINGER_MS); waited_ms += LINGER_MS)
        log_warn("event=helper_lingers pid=%d waited_ms=%" PRId64, (int)peer.pid, waited_ms);
}

static enum status answer_receive(int socket, int fds[DESCRIPTORS])
{
    TRY(wait_readable(socket, 0, clock_ms() + ANSWER_MS, "the worker did not answer in time"));
    struct answer answer = {0};
    struct iovec part = {.iov_base = &answer, .iov_len = sizeof(answer)};
    union control control;
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof(control.bytes)};
    ssize_t received = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    if (received == 0 || (received < 0 && errno == ECONNRESET))
        return fail(ERR_UNREACHABLE, "the worker left during the handshake");
    if (received != sizeof(answer) || answer.magic != hello_magic)
        return fail(ERR_PROTOCOL, "not the answer of a worker of this version");
    if (!answer.is_accepted)
        return fail(ERR_STALE, "the worker refused: it forms another generation");
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (header == NULL || header->cmsg_type != SCM_RIGHTS ||
        header->cmsg_len != CMSG_LEN(DESCRIPTORS * sizeof(int)))
        return fail(ERR_PROTOCOL, "the worker's answer carries no memory");
    memcpy(fds, CMSG_DATA(header), DESCRIPTORS * sizeof(int));
    return OK;
}

enum status helper_call(const char *address, const struct helper_identity *identity,
                        int *ret_socket, int *ret_region_fd, int *ret_ring_fd)
{
    enum status status = OK;
    TRY(address_check(address));
    const struct sockaddr_un where = socket_at(address);
    int fds[DESCRIPTORS];
    struct hello hello = {.magic = hello_magic, .identity = *identity};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&where, sizeof(where)) != 0) {
        status = fail(ERR_UNREACHABLE,
                      "worker at '%s': %s; helpers of the mpi engine reach workers of the server's "
                      "user, rights and process namespace",
                      address, strerror(errno));
        goto out;
    }
    if (send(fd, &hello, sizeof(hello), MSG_NOSIGNAL) != sizeof(hello)) {
        status = fail(ERR_UNREACHABLE, "worker at '%s': %s", address, strerror(errno));
        goto out;
    }
    TRY_OUT(answer_receive(fd, fds));
    *ret_socket = fd;
    *ret_region_fd = fds[0];
    *ret_ring_fd = fds[1];
    fd = -1;
out:
    if (fd >= 0)
        close(fd);
    return status;
}
