/* evaluation.h - results of `seer eval` that lie in RUN/evals, as people want to see them: one row
 * for each score. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_EVALUATION_H
#define SERVER_EVALUATION_H

#include <stdint.h>

#include "common/status.h"

enum { EVALUATION_NAME_BYTES = 64, EVALUATION_ROWS_MAX = 8, EVALUATION_TEXT_BYTES = 256 };

struct evaluation {
    char name[EVALUATION_NAME_BYTES];  /* "knn", "linear", "lowshot 1 %" */
    uint64_t step;                     /* of the snapshot */
    double top1;                       /* percent */
    double deviation;                  /* of several tries, points; 0: there was one */
    char layer[EVALUATION_NAME_BYTES]; /* whose features were best; "": there is no choice */
    int64_t wall_ms;                   /* when it was done, since 1970 */
};

/* A file's rows, EVALUATION_ROWS_MAX at most. ERR_INPUT: it is not there, or no result. */
enum status evaluation_load(const char *path, struct evaluation ret_rows[EVALUATION_ROWS_MAX],
                            int *ret_count);
/* As an event has it, key=value; and back, all but the time. 0: it is none. */
void evaluation_print(const struct evaluation *row, char ret_text[EVALUATION_TEXT_BYTES]);
int evaluation_parse(const char *text, struct evaluation *ret_row);

#endif
