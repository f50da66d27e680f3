/* history.c - a run's past for a picture. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/watch/history.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <jansson.h>

#include "common/json.h"
#include "common/mem.h"
#include "server/learning_report.h"
#include "server/snapshot_folder.h"

/* Calls take for each whole line among the last bytes of a file. */
static void each_line(const char *directory, const char *name, struct picture *picture,
                      void (*take)(struct picture *picture, const json_t *line))
{
    char *path = mem_format("%s/%s", directory, name), *text = NULL;
    FILE *file = fopen(path, "re");
    size_t capacity = 0;
    mem_free(path);
    if (file == NULL)
        return;
    int is_cut = fseek(file, -(long)HISTORY_BYTES, SEEK_END) == 0;
    if (!is_cut)
        rewind(file);
    for (ssize_t length; (length = getline(&text, &capacity, file)) > 0; is_cut = 0) {
        if (is_cut || text[length - 1] != '\n')
            continue; /* half a line */
        json_t *line = json_loadb(text, (size_t)length, 0, NULL);
        if (json_is_object(line))
            take(picture, line);
        json_decref(line);
    }
    free(text);
    fclose(file);
}

static double number(const json_t *line, const char *key)
{
    const json_t *value = json_object_get(line, key);
    return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

static uint64_t integer(const json_t *line, const char *key)
{
    return (uint64_t)json_integer_value(json_object_get(line, key));
}

static void take_step(struct picture *picture, const json_t *line)
{
    struct feed_step step = {
        .step = integer(line, "step"),
        .generation = integer(line, "generation"),
        .lineage = (uint32_t)integer(line, "lineage"),
        .world_size = (uint32_t)integer(line, "world_size"),
        .images = (uint32_t)integer(line, "images"),
        .is_commit = json_is_true(json_object_get(line, "is_commit")),
        .loss = number(line, "loss"),
        .lr = number(line, "lr"),
        .grad_norm = number(line, "grad_norm"),
        .step_ms = number(line, "step_ms"),
        .data_wait_ms = number(line, "data_wait_ms"),
    };
    json_t *phases = json_object_get(line, "phase_us");
    for (size_t i = 0; i < PHASE_COUNT && i < json_array_size(phases); i++)
        step.phase_us[i] = json_integer_value(json_array_get(phases, i));
    picture_step(picture, &step, (int64_t)integer(line, "wall_ms"));
}

/* "2026-11-23T03:05:01.250Z", as clock_text writes it. 0: it is none. */
static int64_t wall_ms_of(const char *text)
{
    struct tm time = {0};
    const char *rest = text != NULL ? strptime(text, "%Y-%m-%dT%H:%M:%S", &time) : NULL;
    if (rest == NULL)
        return 0;
    int64_t ms = rest[0] == '.' ? strtol(rest + 1, NULL, 10) : 0;
    return (int64_t)timegm(&time) * 1000 + ms;
}

static void take_event(struct picture *picture, const json_t *line)
{
    struct feed_event event = {
        .name = (char *)(uintptr_t)json_string_value(json_object_get(line, "kind")),
        .text = (char *)(uintptr_t)json_string_value(json_object_get(line, "text")),
        .is_warning = json_is_true(json_object_get(line, "is_warning")),
        .number = integer(line, "number"),
    };
    if (event.name != NULL && event.number != 0)
        picture_event(picture, &event,
                      wall_ms_of(json_string_value(json_object_get(line, "time"))));
}

static void take_learning(struct picture *picture, const json_t *line)
{
    struct message_learning figures;
    learning_report_read(line, &figures);
    picture_learning(picture, (uint32_t)integer(line, "lineage"), &figures);
}

static void load_snapshots(const char *directory, struct picture *picture)
{
    struct snapshot_info *list = NULL;
    int count = 0;
    char *folder = mem_format("%s/snapshots", directory);
    if (snapshot_folder_list(folder, &list, &count) != OK)
        count = 0;
    for (int i = 0; i < count; i++)
        picture_snapshot(picture,
                         &(struct feed_snapshot){.name = list[i].name,
                                                 .step = list[i].step,
                                                 .bytes = list[i].bytes,
                                                 .is_complete = 1},
                         list[i].modified_ms);
    mem_free(list);
    mem_free(folder);
}

/* Of before the events that are still there. */
static void load_evaluations(const char *directory, struct picture *picture)
{
    struct dirent **entries = NULL;
    char *folder = mem_format("%s/evals", directory);
    const int count = scandir(folder, &entries, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        struct evaluation rows[EVALUATION_ROWS_MAX];
        int row_count = 0;
        char *path = mem_format("%s/%s", folder, entries[i]->d_name);
        if (strstr(entries[i]->d_name, ".json") != NULL &&
            evaluation_load(path, rows, &row_count) == OK)
            for (int row = 0; row < row_count; row++)
                picture_evaluation(picture, &rows[row]);
        mem_free(path);
        free(entries[i]);
    }
    free(entries);
    mem_free(folder);
}

void history_load(const char *directory, struct picture *picture)
{
    load_evaluations(directory, picture);
    each_line(directory, "events.jsonl", picture, take_event);
    if (picture->snapshot_count == 0)
        load_snapshots(directory, picture);
    each_line(directory, "metrics.jsonl", picture, take_step);
    each_line(directory, "learning.jsonl", picture, take_learning);
}
