/* meeting.h - where the thread that forms a collective waits for by what its members meet.
 *
 * The link puts in what the server passes on (MESSAGE_RENDEZVOUS); only the newest generation's is
 * kept, since generations only grow. One thread waits at a time. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_MEETING_H
#define WORKER_MEETING_H

#include <pthread.h>
#include <stdint.h>

#include "common/status.h"
#include "proto/message.h"

struct meeting {
    int arrived_fd;       /* eventfd, readable when something came */
    pthread_mutex_t lock; /* guards what follows */
    uint64_t generation, nonce;
    uint32_t length; /* 0: nothing came yet */
    uint8_t id[MESSAGE_ID_BYTES];
};

/* ERR_IO. */
enum status meeting_init(struct meeting *meeting);
void meeting_done(struct meeting *meeting);

/* A MESSAGE_RENDEZVOUS; one of an older generation changes nothing. */
void meeting_put(struct meeting *meeting, const struct message *message);
/* Waits for the id of this generation and nonce, `length` bytes. ERR_TIMEOUT at deadline_ms
 * (clock_ms), ERR_STALE once cancel_fd is readable or a newer generation's has come, ERR_PROTOCOL
 * if it has another length. */
enum status meeting_await(struct meeting *meeting, uint64_t generation, uint64_t nonce,
                          int cancel_fd, int64_t deadline_ms, uint32_t length, uint8_t *ret_id);

#endif
