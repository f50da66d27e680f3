/* live.h - a page that follows: server-sent events, one text for all viewers.
 *
 * Messages are kept in a ring of LIVE_MESSAGES. A viewer that reconnects with the id of the last
 * one it saw goes on behind it; who is new, or fell out of the ring, is sent the whole state first.
 * A viewer that does not read holds nothing but its place. One thread: all calls, and
 * libmicrohttpd's, come from the same. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_WATCH_LIVE_H
#define SERVER_WATCH_LIVE_H

#include <microhttpd.h>
#include <stdint.h>

enum { LIVE_MESSAGES = 2048 };

struct live;

/* state makes the data of the event `status`: one line of text, which live frees (mem_free). */
struct live *live_create(char *(*state)(void *context), void *context);
/* Ends what viewers are sent; two MHD_run later MHD_stop_daemon may be called: it must not find one
 * that waits. */
void live_stop(struct live *live);
/* After MHD_stop_daemon: it lets go of the viewers. NULL is fine. */
void live_destroy(struct live *live);
/* To all viewers; data is one line. Cheap without viewers, and then those who come back are sent
 * the whole state. */
void live_publish(struct live *live, const char *event, const char *data);
/* Lets viewers that wait look for what was published; the next MHD_run sends. */
void live_wake(struct live *live);
uint32_t live_viewers(const struct live *live);
/* The answer to who wants to follow; last_id: its header Last-Event-ID or NULL. The caller queues
 * it on connection at once and drops its reference. */
struct MHD_Response *live_response(struct live *live, struct MHD_Connection *connection,
                                   const char *last_id);

#endif
