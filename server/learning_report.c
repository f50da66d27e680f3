/* learning_report.c - which worker's figures of learning speak for the run. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/learning_report.h"

#include <stddef.h>

#include "common/json.h"

static const struct row {
    const char *key;
    enum { COUNT32, COUNT64, REAL } kind;
    int is_optional; /* 0: not known */
    size_t offset;
} rows[] = {
#define ROW(kind_, is_optional_, member_)                                                          \
    {                                                                                              \
#member_, kind_, is_optional_, offsetof(struct message_learning, member_)                  \
    }
    ROW(COUNT64, 0, step),        ROW(COUNT32, 0, prototypes),  ROW(COUNT32, 0, prototypes_used),
    ROW(COUNT64, 0, assignments), ROW(REAL, 0, usage_entropy),  ROW(REAL, 0, codes_entropy),
    ROW(COUNT64, 0, embedding),   ROW(REAL, 1, embedding_rank), ROW(REAL, 1, embedding_spread),
    ROW(REAL, 1, weight_norm),    ROW(REAL, 1, trust_least),    ROW(REAL, 1, trust_median),
#undef ROW
};

enum { ROW_COUNT = sizeof(rows) / sizeof(rows[0]) };

static int is_better(const struct worker *a, const struct worker *b)
{
    const struct message_learning *x = &a->heartbeat.learning, *y = &b->heartbeat.learning;
    if (x->step != y->step)
        return x->step > y->step;
    if (x->assignments != y->assignments)
        return x->assignments > y->assignments;
    return a->rank < b->rank;
}

int learning_report_look(struct learning_report *report, const struct coordinator_view *view)
{
    const struct worker *best = NULL;
    for (uint32_t i = 0; i < view->roster->count; i++) {
        const struct worker *worker = &view->roster->workers[i];
        /* What a rollback has voided is not told again. */
        if (worker->rank < 0 || !worker->heartbeat.has_learning ||
            worker->heartbeat.learning.step > view->step)
            continue;
        if (best == NULL || is_better(worker, best))
            best = worker;
    }
    if (best == NULL)
        return 0;
    const struct message_learning *newest = &best->heartbeat.learning;
    if (report->has_figures && report->lineage == view->lineage &&
        newest->step <= report->figures.step)
        return 0;
    *report = (struct learning_report){1, view->lineage, *newest};
    return 1;
}

json_t *learning_report_json(const struct message_learning *figures)
{
    json_t *object = json_object();
    for (int i = 0; i < ROW_COUNT; i++) {
        const void *at = (const char *)figures + rows[i].offset;
        if (rows[i].kind == REAL && !(rows[i].is_optional && *(const double *)at == 0))
            json_object_set_new(object, rows[i].key, json_number(*(const double *)at));
        else if (rows[i].kind == COUNT32)
            json_object_set_new(object, rows[i].key, json_integer(*(const uint32_t *)at));
        else if (rows[i].kind == COUNT64)
            json_object_set_new(object, rows[i].key,
                                json_integer((json_int_t) * (const uint64_t *)at));
    }
    return object;
}

void learning_report_read(const json_t *object, struct message_learning *ret_figures)
{
    *ret_figures = (struct message_learning){0};
    for (int i = 0; i < ROW_COUNT; i++) {
        void *at = (char *)ret_figures + rows[i].offset;
        const json_t *value = json_object_get(object, rows[i].key);
        if (rows[i].kind == REAL)
            *(double *)at = json_number_value(value);
        else if (rows[i].kind == COUNT32)
            *(uint32_t *)at = (uint32_t)json_integer_value(value);
        else
            *(uint64_t *)at = (uint64_t)json_integer_value(value);
    }
}
