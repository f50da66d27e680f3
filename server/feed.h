/* feed.h - the status feed: a PUB socket that says what happens to whoever listens.
 *
 * Messages are proto/feed_message.h, numbered without gaps in each epoch. Sending never blocks: a
 * listener that does not read has a queue of ENDPOINT_FEED_QUEUE messages, and loses what comes
 * after; with no listener a message is packed and dropped. One thread. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_FEED_H
#define SERVER_FEED_H

#include "common/status.h"
#include "proto/feed_message.h"
#include "proto/gate.h"

struct feed;

/* Binds; the rules for address are endpoint_bind's. */
enum status feed_open(const char *address, struct gate *gate, struct feed **ret_feed);
/* Numbers begin anew: before the first message of an epoch. */
void feed_begin(struct feed *feed, uint64_t epoch);
/* The last number given out; 0: none in this epoch. */
uint64_t feed_sequence(const struct feed *feed);
void feed_close(struct feed *feed); /* NULL is fine */
/* The address really bound. Borrowed. */
const char *feed_address(const struct feed *feed);
/* Sends it with the next number and the present time; strings are borrowed. A message that cannot
 * be sent is logged and counts. */
void feed_send(struct feed *feed, struct feed_message *message);

#endif
