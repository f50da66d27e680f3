/* picture_parts.h - what the files of a picture share. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_WATCH_PICTURE_PARTS_H
#define SERVER_WATCH_PICTURE_PARTS_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "server/watch/picture.h"

#define COPY(array_, text_) snprintf(array_, sizeof(array_), "%s", (text_) != NULL ? (text_) : "")

/* Room for one more, zeroed, at the end of a list that holds `capacity`: the oldest goes. */
void *picture_push(void *items, size_t size, uint32_t *count, uint32_t capacity);
/* Of a live event: into the counts. */
void picture_count_event(struct picture_totals *totals, const struct feed_event *event);

#endif
