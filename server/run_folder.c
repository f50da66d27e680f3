/* run_folder.c - metrics.jsonl, events.jsonl, learning.jsonl and TensorBoard's file. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/run_folder.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <jansson.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/tensorboard.h"
#include "server/learning_report.h"
#include "server/line_file.h"

enum { DIGEST_BYTES = 17 };

struct run_folder {
    struct line_file *metrics, *events, *learning;
    int has_step; /* metrics.jsonl has lines up to: */
    uint64_t lineage, step;
    uint64_t event_count;
    struct tensorboard *curves; /* NULL: could not be opened */
};

static enum status open_lines(const char *directory, const char *name, struct line_file **ret_file,
                              json_t **ret_last)
{
    char *last = NULL;
    TRY(line_file_open(directory, name, ret_file, &last));
    *ret_last = json_loads(last, 0, NULL);
    mem_free(last);
    return OK;
}

static enum status open_files(struct run_folder *folder, const char *directory)
{
    json_t *last = NULL;
    TRY(open_lines(directory, "metrics.jsonl", &folder->metrics, &last));
    folder->has_step = last != NULL;
    folder->step = (uint64_t)json_integer_value(json_object_get(last, "step"));
    folder->lineage = (uint64_t)json_integer_value(json_object_get(last, "lineage"));
    json_decref(last);
    TRY(open_lines(directory, "events.jsonl", &folder->events, &last));
    folder->event_count = (uint64_t)json_integer_value(json_object_get(last, "number"));
    json_decref(last);
    TRY(open_lines(directory, "learning.jsonl", &folder->learning, &last));
    json_decref(last);
    char *curves = mem_format("%s/tensorboard", directory);
    if (mkdir(curves, 0777) != 0 && errno != EEXIST)
        log_warn("event=curves_failed reason=\"cannot make '%s': %s\"", curves, strerror(errno));
    else if (tensorboard_open(curves, clock_wall_ms(), &folder->curves) != OK)
        log_warn("event=curves_failed reason=\"%s\"", fail_message());
    mem_free(curves);
    return OK;
}

enum status run_folder_open(const char *directory, struct run_folder **ret_folder)
{
    struct run_folder *folder = mem_zero(sizeof(*folder));
    enum status status = open_files(folder, directory);
    if (status != OK) {
        run_folder_close(folder);
        return status;
    }
    *ret_folder = folder;
    return OK;
}

void run_folder_close(struct run_folder *folder)
{
    if (folder == NULL)
        return;
    tensorboard_close(folder->curves);
    line_file_close(folder->metrics);
    line_file_close(folder->events);
    line_file_close(folder->learning);
    mem_free(folder);
}

/* Takes the line. */
static void write_line(struct line_file *file, json_t *line)
{
    char *text = json_dumps(line, JSON_COMPACT | JSON_REAL_PRECISION(17));
    line_file_write(file, text);
    free(text);
    json_decref(line);
}

static json_t *step_line(const struct journal_step *step)
{
    char digest[DIGEST_BYTES];
    snprintf(digest, sizeof(digest), "%016" PRIx64, step->digest);
    json_t *line = json_object(), *phases = json_array();
    for (int phase = 0; phase < PHASE_COUNT; phase++)
        json_array_append_new(phases, json_integer(step->phase_us[phase]));
    json_object_set_new(line, "step", json_integer((json_int_t)step->step));
    json_object_set_new(line, "generation", json_integer((json_int_t)step->generation));
    json_object_set_new(line, "lineage", json_integer(step->lineage));
    json_object_set_new(line, "attempt", json_integer(step->attempt));
    json_object_set_new(line, "world_size", json_integer(step->world_size));
    json_object_set_new(line, "images", json_integer(step->images));
    json_object_set_new(line, "loss", json_number(step->loss));
    json_object_set_new(line, "lr", json_number(step->lr));
    json_object_set_new(line, "grad_norm", json_number(step->grad_norm));
    json_object_set_new(line, "step_ms", json_integer(step->step_ms));
    json_object_set_new(line, "data_wait_ms", json_integer(step->data_wait_ms));
    json_object_set_new(line, "phase_us", phases);
    json_object_set_new(line, "digest", json_string(digest));
    json_object_set_new(line, "is_commit", json_boolean(step->is_commit));
    return line;
}

static void write_points(struct run_folder *folder, uint64_t step,
                         const struct tensorboard_scalar *scalars, size_t count)
{
    if (folder->curves == NULL ||
        tensorboard_write(folder->curves, clock_wall_ms(), (int64_t)step, scalars, count) == OK)
        return;
    log_warn("event=curves_failed reason=\"%s\"", fail_message());
    tensorboard_close(folder->curves);
    folder->curves = NULL;
}

static void write_curves(struct run_folder *folder, const struct journal_step *step)
{
    double seconds = (double)step->step_ms / 1000.0;
    const struct tensorboard_scalar scalars[] = {
        {"train/loss", (float)step->loss},
        {"train/lr", (float)step->lr},
        {"train/grad_norm", (float)step->grad_norm},
        {"run/world_size", (float)step->world_size},
        {"run/step_ms", (float)step->step_ms},
        {"run/data_wait_ms", (float)step->data_wait_ms},
        {"run/images_per_second", seconds > 0 ? (float)(step->images / seconds) : 0.0F},
    };
    write_points(folder, step->step, scalars, sizeof(scalars) / sizeof(scalars[0]));
}

static int is_written(const struct run_folder *folder, const struct journal_step *step)
{
    return folder->has_step && (step->lineage < folder->lineage ||
                                (step->lineage == folder->lineage && step->step <= folder->step));
}

void run_folder_step(struct run_folder *folder, const struct journal_step *step)
{
    if (is_written(folder, step))
        return;
    write_line(folder->metrics, step_line(step));
    write_curves(folder, step);
    folder->has_step = 1;
    folder->lineage = step->lineage;
    folder->step = step->step;
}

static json_t *time_now(void)
{
    char text[CLOCK_TEXT_BYTES];
    clock_text(clock_wall_ms(), text);
    return json_string(text);
}

void run_folder_learning(struct run_folder *folder, uint32_t lineage,
                         const struct message_learning *figures)
{
    json_t *line = learning_report_json(figures);
    const struct tensorboard_scalar scalars[] = {
        {"learning/prototypes_used", (float)figures->prototypes_used},
        {"learning/usage_entropy", (float)figures->usage_entropy},
        {"learning/codes_entropy", (float)figures->codes_entropy},
        {"learning/embedding_rank", (float)figures->embedding_rank},
        {"learning/embedding_spread", (float)figures->embedding_spread},
        {"learning/weight_norm", (float)figures->weight_norm},
        {"learning/trust_least", (float)figures->trust_least},
        {"learning/trust_median", (float)figures->trust_median},
    };
    json_object_set_new(line, "time", time_now());
    json_object_set_new(line, "lineage", json_integer(lineage));
    write_line(folder->learning, line);
    write_points(folder, figures->step, scalars, sizeof(scalars) / sizeof(scalars[0]));
}

uint64_t run_folder_event(struct run_folder *folder, const char *kind, int is_warning,
                          const char *text)
{
    json_t *line = json_object();
    json_object_set_new(line, "time", time_now());
    json_object_set_new(line, "number", json_integer((json_int_t)++folder->event_count));
    json_object_set_new(line, "kind", json_string(kind));
    json_object_set_new(line, "is_warning", json_boolean(is_warning));
    json_object_set_new(line, "text", json_text(text));
    write_line(folder->events, line);
    return folder->event_count;
}
