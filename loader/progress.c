/* progress.c - a bar drawn over itself, or plain lines. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "loader/progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"

enum { BAR_WIDTH = 24, TERMINAL_MS = 100, PLAIN_MS = 10000 };

void progress_start(struct progress *progress, const char *what, int is_quiet)
{
    const char *terminal = getenv("TERM");
    *progress = (struct progress){.what = what, .is_quiet = is_quiet};
    progress->is_terminal =
        isatty(STDERR_FILENO) && terminal != NULL && strcmp(terminal, "dumb") != 0;
    progress->start_ms = progress->shown_ms = clock_ms();
}

static void draw_bar(double fraction)
{
    char bar[BAR_WIDTH + 1];
    int full = (int)(fraction * BAR_WIDTH);
    memset(bar, '-', BAR_WIDTH);
    memset(bar, '#', (size_t)(full > BAR_WIDTH ? BAR_WIDTH : full));
    bar[BAR_WIDTH] = '\0';
    fprintf(stderr, " [%s] %3.0f%%", bar, fraction * 100);
}

void progress_show(struct progress *progress, double fraction, uint64_t count, uint64_t refused,
                   uint64_t bytes)
{
    int64_t now_ms = clock_ms();
    if (progress->is_quiet ||
        now_ms - progress->shown_ms < (progress->is_terminal ? TERMINAL_MS : PLAIN_MS))
        return;
    progress->shown_ms = now_ms;
    progress->has_shown = 1;
    double seconds = (double)(now_ms - progress->start_ms) / 1000;
    if (progress->is_terminal)
        fprintf(stderr, "\r");
    fprintf(stderr, "%s", progress->what);
    if (fraction > 0 && progress->is_terminal)
        draw_bar(fraction);
    else if (fraction > 0)
        fprintf(stderr, " %.0f%%", fraction * 100);
    fprintf(stderr, " %llu images, %.0f/s, %llu refused, %.1f MB", (unsigned long long)count,
            (double)count / seconds, (unsigned long long)refused, (double)bytes / 1e6);
    if (fraction > 0)
        fprintf(stderr, ", %.0f s left", seconds / fraction * (1 - fraction));
    fprintf(stderr, progress->is_terminal ? "\033[K" : "\n");
    fflush(stderr);
}

void progress_stop(struct progress *progress)
{
    if (progress->is_terminal && progress->has_shown)
        fprintf(stderr, "\r\033[K");
}
