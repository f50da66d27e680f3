/* top_screen.h - `seer top` on a terminal: draws, and follows keys and the terminal's size. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_WATCH_TOP_SCREEN_H
#define SERVER_WATCH_TOP_SCREEN_H

#include "common/status.h"
#include "server/watch/follower.h"
#include "server/watch/top.h"

/* Until q or a signal sets *is_stopping; the terminal is as before then. ERR_INPUT: stdin and
 * stdout are no terminal that can do it. */
enum status top_screen_run(struct follower *follower, const struct picture *picture,
                           struct top_view *view, const volatile int *is_stopping);

#endif
