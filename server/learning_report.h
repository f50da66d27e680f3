/* learning_report.h - which worker's figures of learning (worker/learning.h) speak for the run.
 *
 * All members look at the same steps, each at its own share. The newest step counts, of it the
 * worker that has seen most images, then the first in rank. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_LEARNING_REPORT_H
#define SERVER_LEARNING_REPORT_H

#include <jansson.h>

#include "server/coordinator.h"

struct learning_report {
    int has_figures;
    uint32_t lineage;
    struct message_learning figures;
};

/* Looks at the last heartbeats; returns whether there is something new. */
int learning_report_look(struct learning_report *report, const struct coordinator_view *view);
/* An object with a key for each figure; unknown ones are left out. */
json_t *learning_report_json(const struct message_learning *figures);
/* Of such an object; what is not in it is 0. */
void learning_report_read(const json_t *object, struct message_learning *ret_figures);

#endif
