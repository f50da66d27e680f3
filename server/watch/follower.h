/* follower.h - hears the status feed of a run without a gap, for as long as anybody wants.
 *
 * Asks the server for a snapshot (`status`), listens to the feed from there on, and asks again
 * whenever a message is missing, the server has begun a new epoch, or it was silent for long. Waits
 * for a server that is not there and follows it to a new address. docs/status-feed.md is the
 * contract it relies on. Costs the server a question at the start and one after each trouble. One
 * thread; nothing blocks but follower_wait. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_WATCH_FOLLOWER_H
#define SERVER_WATCH_FOLLOWER_H

#include <jansson.h>
#include <stdint.h>

#include "common/status.h"
#include "proto/feed_message.h"

/* Who is told. What is given is borrowed for the call. */
struct follower_sink {
    void *context;
    /* The answer to `status`: what was known before is void, messages go on from it. */
    void (*snapshot)(void *context, const json_t *status);
    void (*message)(void *context, const struct feed_message *message);
    /* To a follower_order; text is JSON if status is OK, words for people otherwise. NULL: none is
     * given. */
    void (*reply)(void *context, uint64_t request, enum status status, const char *text);
};

struct follower;

/* Of run (its folder: the address is read from server.json, again and again) or server (a control
 * address); the other is NULL. key: a file, or NULL (client_key_find). All are borrowed. Never
 * fails for want of a server. */
struct follower *follower_create(const char *run, const char *server, const char *key,
                                 struct follower_sink sink);
void follower_destroy(struct follower *follower); /* NULL is fine */
/* Waits until there is something to tell, fd (-1: none) can be read or timeout_ms is over, and
 * tells all there is, up to some thousand messages. ERR_IO: it cannot go on. */
enum status follower_wait(struct follower *follower, int fd, int timeout_ms);
/* Sends an order (PROTOCOL.md, Commands); does not wait. Its answer, if any comes, is told as a
 * reply to *ret_request. ERR_UNREACHABLE, ERR_INPUT. */
enum status follower_order(struct follower *follower, const char *command, const char *arguments,
                           uint64_t *ret_request);
/* Has a snapshot, and heard of the server within the last seconds. */
int follower_is_live(const struct follower *follower);
/* Why not, for people. Borrowed until the next call. */
const char *follower_trouble(const struct follower *follower);
/* How often messages were missed and a new snapshot was asked for. */
uint64_t follower_gaps(const struct follower *follower);

#endif
