/* meeting.c - one place, a lock and an event. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/meeting.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/check.h"
#include "common/clock.h"

enum status meeting_init(struct meeting *meeting)
{
    *meeting = (struct meeting){.arrived_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    if (meeting->arrived_fd < 0)
        return fail(ERR_IO, "eventfd: %s", strerror(errno));
    pthread_mutex_init(&meeting->lock, NULL);
    return OK;
}

void meeting_done(struct meeting *meeting)
{
    pthread_mutex_destroy(&meeting->lock);
    close(meeting->arrived_fd);
}

void meeting_put(struct meeting *meeting, const struct message *message)
{
    const struct message_rendezvous *rendezvous = &message->rendezvous;
    pthread_mutex_lock(&meeting->lock);
    if (message->header.generation >= meeting->generation && rendezvous->length > 0) {
        CHECK(rendezvous->length <= sizeof(meeting->id));
        meeting->generation = message->header.generation;
        meeting->nonce = rendezvous->nonce;
        meeting->length = rendezvous->length;
        memcpy(meeting->id, rendezvous->id, rendezvous->length);
    }
    pthread_mutex_unlock(&meeting->lock);
    CHECK(eventfd_write(meeting->arrived_fd, 1) == 0);
}

/* ERR_END: it has not come yet. */
static enum status look(struct meeting *meeting, uint64_t generation, uint64_t nonce,
                        uint32_t length, uint8_t *ret_id)
{
    enum status status = ERR_END;
    pthread_mutex_lock(&meeting->lock);
    if (meeting->generation > generation)
        status = fail(ERR_STALE, "the members of generation %" PRIu64 " meet no more", generation);
    else if (meeting->generation == generation && meeting->nonce == nonce && meeting->length > 0)
        status = meeting->length == length
                     ? OK
                     : fail(ERR_PROTOCOL, "members meet by %u bytes, not %u: another NCCL",
                            meeting->length, length);
    if (status == OK)
        memcpy(ret_id, meeting->id, length);
    pthread_mutex_unlock(&meeting->lock);
    return status;
}

enum status meeting_await(struct meeting *meeting, uint64_t generation, uint64_t nonce,
                          int cancel_fd, int64_t deadline_ms, uint32_t length, uint8_t *ret_id)
{
    struct pollfd polled[2] = {{.fd = meeting->arrived_fd, .events = POLLIN},
                               {.fd = cancel_fd, .events = POLLIN}};
    for (;;) {
        eventfd_t count;
        CHECK(eventfd_read(meeting->arrived_fd, &count) == 0 || errno == EAGAIN);
        const enum status status = look(meeting, generation, nonce, length, ret_id);
        if (status != ERR_END)
            return status;
        const int64_t left_ms = deadline_ms - clock_ms();
        if (left_ms <= 0)
            return fail(ERR_TIMEOUT, "rank 0 of generation %" PRIu64 " said not where to meet",
                        generation);
        if (poll(polled, 2, (int)left_ms) > 0 && polled[1].revents != 0)
            return fail(ERR_STALE, "abandoned: the generation has ended");
    }
}
