/* progress.h - how far a long command is: a bar on a terminal, a line every ten seconds elsewhere.
 */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef LOADER_PROGRESS_H
#define LOADER_PROGRESS_H

#include <stdint.h>

struct progress {
    const char *what; /* borrowed */
    int is_quiet;
    int is_terminal;
    int64_t start_ms;
    int64_t shown_ms;
    int has_shown;
};

/* On stderr. Threads: one owner. */
void progress_start(struct progress *progress, const char *what, int is_quiet);
/* Cheap enough for every image: shows at most ten times a second. fraction 0 to 1; 0: unknown. */
void progress_show(struct progress *progress, double fraction, uint64_t count, uint64_t refused,
                   uint64_t bytes);
/* Clears the bar. */
void progress_stop(struct progress *progress);

#endif
