/* picture_event.c - what events mean to curves, counts and lists. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/watch/picture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/watch/picture_parts.h"

/* What each event means to curves and counts. */
static const struct meaning {
    const char *name;
    int mark; /* -1: none */
    size_t total;
} meanings[] = {
    {"worker_joined", MARK_JOIN, offsetof(struct picture_totals, workers_joined)},
    {"worker_lost", MARK_DEATH, offsetof(struct picture_totals, workers_lost)},
    {"worker_gone", MARK_DEATH, offsetof(struct picture_totals, workers_lost)},
    {"worker_left", MARK_LEAVE, offsetof(struct picture_totals, workers_left)},
    {"rate_cut", MARK_CUT, offsetof(struct picture_totals, rate_cuts)},
    {"rolled_back", MARK_ROLLBACK, offsetof(struct picture_totals, rollbacks)},
    {"loss_stuck", -1, offsetof(struct picture_totals, loss_stuck)},
    {"snapshot_complete", MARK_SNAPSHOT, offsetof(struct picture_totals, snapshots_complete)},
    {"snapshot_failed", -1, offsetof(struct picture_totals, snapshots_failed)},
    {"evaluation", MARK_EVALUATION, offsetof(struct picture_totals, evaluations)},
    {"shard_added", MARK_REFRESH, 0},
};

static const struct meaning *meaning_find(const char *name)
{
    for (size_t i = 0; i < sizeof(meanings) / sizeof(meanings[0]); i++)
        if (strcmp(meanings[i].name, name) == 0)
            return &meanings[i];
    return NULL;
}

/* The step that an event names, else where the run is. The event has its line already. */
static uint64_t step_of(const struct picture *picture, const char *text)
{
    const char *at = strstr(text, "step=");
    if (at != NULL && (at == text || at[-1] == ' ' || at[-1] == '_'))
        return strtoull(at + 5, NULL, 10);
    if (picture->has_step)
        return picture->last.step;
    /* The past is told events first. */
    return picture->event_count > 1 ? picture->events[picture->event_count - 2].step : 0;
}

/* "snapshot=NAME ...": the list does without it. */
static void forget_snapshot(struct picture *picture, const char *text)
{
    static const char key[] = "snapshot=";
    uint32_t kept = 0;
    if (strncmp(text, key, strlen(key)) != 0)
        return;
    const char *name = text + strlen(key);
    size_t length = strcspn(name, " ");
    for (uint32_t i = 0; i < picture->snapshot_count; i++)
        if (strlen(picture->snapshots[i].name) != length ||
            memcmp(picture->snapshots[i].name, name, length) != 0)
            picture->snapshots[kept++] = picture->snapshots[i];
    picture->snapshot_count = kept;
}

void picture_evaluation(struct picture *picture, const struct evaluation *row)
{
    struct evaluation *place = NULL;
    for (uint32_t i = 0; i < picture->evaluation_count; i++)
        if (picture->evaluations[i].step == row->step &&
            strcmp(picture->evaluations[i].name, row->name) == 0)
            place = &picture->evaluations[i];
    if (place == NULL)
        place = picture_push(picture->evaluations, sizeof(*place), &picture->evaluation_count,
                             PICTURE_EVALUATIONS);
    *place = *row;
}

static void take_evaluation(struct picture *picture, const char *text, int64_t wall_ms)
{
    struct evaluation row;
    if (!evaluation_parse(text, &row))
        return;
    row.wall_ms = wall_ms;
    picture_evaluation(picture, &row);
}

int picture_event(struct picture *picture, const struct feed_event *event, int64_t wall_ms)
{
    if (event->number != 0 && event->number <= picture->last_event)
        return 0;
    if (event->number != 0)
        picture->last_event = event->number;
    const char *text = event->text != NULL ? event->text : "";
    struct picture_event *line =
        picture_push(picture->events, sizeof(*line), &picture->event_count, PICTURE_EVENTS);
    line->number = event->number;
    line->wall_ms = wall_ms;
    line->is_warning = event->is_warning;
    line->step = step_of(picture, text);
    COPY(line->name, event->name);
    COPY(line->text, text);
    if (strcmp(line->name, "snapshot_removed") == 0)
        forget_snapshot(picture, text);
    if (strcmp(line->name, "evaluation") == 0)
        take_evaluation(picture, text, wall_ms);
    const struct meaning *meaning = meaning_find(line->name);
    if (meaning == NULL || meaning->mark < 0)
        return 1;
    struct picture_mark *mark =
        picture_push(picture->marks, sizeof(*mark), &picture->mark_count, PICTURE_MARKS);
    picture->mark_total++;
    mark->kind = (enum picture_mark_kind)meaning->mark;
    mark->step = line->step;
    mark->wall_ms = wall_ms;
    snprintf(mark->text, sizeof(mark->text), "%.*s", (int)sizeof(mark->text) - 1, text);
    return 1;
}

void picture_count_event(struct picture_totals *totals, const struct feed_event *event)
{
    const struct meaning *meaning = meaning_find(event->name != NULL ? event->name : "");
    totals->warnings += event->is_warning != 0;
    if (meaning != NULL && strcmp(meaning->name, "shard_added") != 0)
        (*(uint64_t *)((char *)totals + meaning->total))++;
}

const char *picture_mark_name(enum picture_mark_kind kind)
{
    static const char *const names[MARK_KIND_COUNT] = {
        [MARK_JOIN] = "join",         [MARK_LEAVE] = "leave",           [MARK_DEATH] = "death",
        [MARK_CUT] = "cut",           [MARK_SNAPSHOT] = "snapshot",     [MARK_REFRESH] = "refresh",
        [MARK_ROLLBACK] = "rollback", [MARK_EVALUATION] = "evaluation",
    };
    return names[kind];
}
