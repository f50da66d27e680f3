/* feed.h - the status feed: a PUB socket that says what happens to whoever listens.
 *
 * Messages are proto/feed_message.h, numbered without gaps; slow listeners lose some. Sending never
 * blocks. One thread. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_FEED_H
#define SERVER_FEED_H

#include "common/status.h"
#include "proto/feed_message.h"

struct feed;

/* Binds; the rules for address are endpoint_bind's. */
enum status feed_open(const char *address, struct feed **ret_feed);
void feed_close(struct feed *feed); /* NULL is fine */
/* The address really bound. Borrowed. */
const char *feed_address(const struct feed *feed);
/* Sends it with the next number and the present time; strings are borrowed. A message that cannot
 * be sent is logged and counts. */
void feed_send(struct feed *feed, struct feed_message *message);

#endif
