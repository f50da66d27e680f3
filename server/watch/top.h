/* top.h - a run as lines of text: what `seer top` shows, on a screen or once on stdout.
 *
 * Lines are made from a picture for a given width and height, so narrow terminals lose columns of
 * least interest instead of wrapping. Texts of workers are made harmless: no control characters
 * reach a terminal. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_WATCH_TOP_H
#define SERVER_WATCH_TOP_H

#include "server/watch/picture.h"

enum top_sort {
    TOP_SORT_RANK,
    TOP_SORT_NAME,
    TOP_SORT_IMAGES,
    TOP_SORT_STEP_MS,
    TOP_SORT_WAIT,
    TOP_SORT_MEMORY,
    TOP_SORT_HEARD,
    TOP_SORT_COUNT
};

enum top_style { TOP_PLAIN, TOP_BOLD, TOP_SOFT, TOP_HEAD, TOP_GOOD, TOP_WARN, TOP_BAD };

enum { TOP_LINES_MAX = 512, TOP_LINE_BYTES = 1024, TOP_FILTER_BYTES = 64 };

struct top_view {
    int width, height; /* columns and lines; height 0: as many as there are */
    int is_utf8;       /* curves of block characters; otherwise ASCII */
    enum top_sort sort;
    int is_reverse;
    char filter[TOP_FILTER_BYTES]; /* workers whose line contains it; "" = all */
    int is_filtering;              /* it is being typed */
    int only_warnings;
    int scroll; /* workers passed over */
    int is_live;
    const char *trouble; /* why not */
    int64_t now_ms;      /* wall clock, of the server as far as known */
};

struct top_lines {
    int count;
    struct {
        enum top_style style;
        char text[TOP_LINE_BYTES];
    } lines[TOP_LINES_MAX];
};

void top_render(const struct picture *picture, const struct top_view *view,
                struct top_lines *ret_lines);
/* "rank", "name", ... */
const char *top_sort_name(enum top_sort sort);

#endif
