/* history.h - a run's past for a picture, from the ends of the files in its folder.
 *
 * So a viewer that comes late sees the curves whole, and the server has no work with it. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_WATCH_HISTORY_H
#define SERVER_WATCH_HISTORY_H

#include "server/watch/picture.h"

/* Adds what metrics.jsonl, events.jsonl and the snapshots in directory tell and the picture does
 * not know, of the last HISTORY_BYTES of each file. Blocks on disk; what cannot be read is left
 * out. */
enum { HISTORY_BYTES = 8 << 20 };
void history_load(const char *directory, struct picture *picture);

#endif
