/* picture_json.h - a picture as the JSON of /api/v1/status, and the messages of /api/v1/events.
 *
 * docs/status-feed.md lists the members; all numbers carry their unit in the name. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_WATCH_PICTURE_JSON_H
#define SERVER_WATCH_PICTURE_JSON_H

#include <jansson.h>

#include "server/watch/picture.h"

/* All the picture has; is_live and trouble are the follower's. The caller's. */
json_t *picture_json(const struct picture *picture, int is_live, const char *trouble);
/* What changes each second: server, workers, stream; the members of the above. The caller's. */
json_t *picture_json_present(const struct picture *picture, int is_live, const char *trouble);
/* One step, or one event, of the lists in picture_json. The caller's. */
json_t *picture_json_step(const struct feed_step *step, int64_t wall_ms);
json_t *picture_json_event(const struct picture_event *event);
json_t *picture_json_mark(const struct picture_mark *mark);
json_t *picture_json_snapshot(const struct picture_snapshot *snapshot);
/* All evaluations. */
json_t *picture_json_evaluations(const struct picture *picture);

#endif
