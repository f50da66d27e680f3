/* metrics.h - a picture in the text format of Prometheus, version 0.0.4.
 *
 * Names end in their unit (seconds, bytes, ratio), counters in _total; counters begin at 0 with
 * this program and only grow. A figure that is not known is left out, never 0. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_WATCH_METRICS_H
#define SERVER_WATCH_METRICS_H

#include "common/buf.h"
#include "server/watch/picture.h"

/* What the program itself has to say. */
struct metrics_self {
    int is_live; /* hears the server */
    uint64_t feed_gaps;
    uint32_t viewers;
};

/* Appends the page. ERR_INPUT past out's limit. */
enum status metrics_write(const struct picture *picture, const struct metrics_self *self,
                          struct buf *out);

#endif
