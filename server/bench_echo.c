/* bench_echo.c - a ROUTER in a process of its own, and DEALERs. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/bench_echo.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.h>

#include "common/mem.h"
#include "server/bench_peers.h"

enum {
    VOTE_BYTES = 120,    /* of a Ready without skips */
    VERDICT_BYTES = 200, /* with its record */
    IDENTITY_BYTES = 64, /* what ROUTERs make up are 5 */
    ANSWER_MS = 10000,
};

struct identity {
    char bytes[IDENTITY_BYTES];
    size_t length;
};

static void answer(void *socket, const struct identity *identities, uint32_t count)
{
    const char verdict[VERDICT_BYTES] = {0};
    for (uint32_t i = 0; i < count; i++) {
        zmq_send(socket, identities[i].bytes, identities[i].length, ZMQ_SNDMORE);
        zmq_send(socket, verdict, sizeof(verdict), 0);
    }
}

/* What is said begins with how many there are. */
static void serve(void *socket)
{
    static struct identity identities[BENCH_PEERS_MAX];
    uint32_t heard = 0;
    for (;;) {
        char vote[VOTE_BYTES];
        uint32_t count;
        int length = zmq_recv(socket, identities[heard].bytes, IDENTITY_BYTES, 0);
        if (length < 0 || zmq_recv(socket, vote, sizeof(vote), 0) != sizeof(vote))
            _exit(1);
        identities[heard++].length = (size_t)length;
        memcpy(&count, vote, sizeof(count));
        if (heard < count)
            continue;
        answer(socket, identities, heard);
        heard = 0;
    }
}

/* Never returns. Tells its address through the pipe. */
static void run(int out)
{
    struct bench_echo told = {0};
    size_t bytes = sizeof(told.address);
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* ends with the benchmark, however that ends */
    void *socket = zmq_socket(zmq_ctx_new(), ZMQ_ROUTER);
    if (socket == NULL || zmq_bind(socket, "tcp://127.0.0.1:*") != 0 ||
        zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, told.address, &bytes) != 0 ||
        write(out, told.address, sizeof(told.address)) != (ssize_t)sizeof(told.address))
        _exit(1);
    close(out);
    serve(socket);
}

enum status bench_echo_start(struct bench_echo *ret_echo)
{
    struct bench_echo echo = {0};
    int ends[2];
    if (pipe(ends) != 0)
        return fail(ERR_IO, "cannot make a pipe: %s", strerror(errno));
    fflush(NULL); /* or what is buffered would be printed twice */
    echo.process = fork();
    if (echo.process == 0)
        run(ends[1]);
    int error = errno;
    close(ends[1]);
    ssize_t length = echo.process > 0 ? read(ends[0], echo.address, sizeof(echo.address)) : 0;
    close(ends[0]);
    if (echo.process < 0)
        return fail(ERR_IO, "cannot fork: %s", strerror(error));
    if (length != (ssize_t)sizeof(echo.address)) {
        bench_echo_stop(&echo);
        return fail(ERR_IO, "the sockets to compare with cannot listen on 127.0.0.1");
    }
    *ret_echo = echo;
    return OK;
}

enum status bench_echo_connect(struct bench_echo *echo, uint32_t count)
{
    const int linger = 0, patience_ms = ANSWER_MS;
    echo->context = zmq_ctx_new();
    zmq_ctx_set(echo->context, ZMQ_MAX_SOCKETS, BENCH_PEERS_MAX + 1);
    echo->sockets = mem_zero(count * sizeof(*echo->sockets));
    for (uint32_t i = 0; i < count; i++) {
        void *socket = echo->sockets[i] = zmq_socket(echo->context, ZMQ_DEALER);
        echo->count += socket != NULL;
        if (socket == NULL || zmq_setsockopt(socket, ZMQ_LINGER, &linger, sizeof(linger)) != 0 ||
            zmq_setsockopt(socket, ZMQ_RCVTIMEO, &patience_ms, sizeof(patience_ms)) != 0 ||
            zmq_connect(socket, echo->address) != 0)
            return fail(ERR_IO, "connection %u to '%s': %s", i, echo->address, zmq_strerror(errno));
    }
    return bench_echo_round(echo);
}

enum status bench_echo_round(struct bench_echo *echo)
{
    char vote[VOTE_BYTES] = {0}, verdict[VERDICT_BYTES];
    memcpy(vote, &echo->count, sizeof(echo->count));
    for (uint32_t i = 0; i < echo->count; i++)
        if (zmq_send(echo->sockets[i], vote, sizeof(vote), 0) < 0)
            return fail(ERR_UNREACHABLE, "a bare connection takes nothing");
    for (uint32_t i = 0; i < echo->count; i++)
        if (zmq_recv(echo->sockets[i], verdict, sizeof(verdict), 0) < 0)
            return fail(ERR_UNREACHABLE, "no echo within %d s", ANSWER_MS / 1000);
    return OK;
}

void bench_echo_stop(struct bench_echo *echo)
{
    for (uint32_t i = 0; i < echo->count; i++)
        zmq_close(echo->sockets[i]);
    if (echo->context != NULL)
        zmq_ctx_term(echo->context);
    if (echo->process > 0) {
        kill(echo->process, SIGKILL);
        waitpid(echo->process, NULL, 0);
    }
    mem_free(echo->sockets);
    *echo = (struct bench_echo){0};
}
