/* run_folder.c - metrics.jsonl, events.jsonl and TensorBoard's file. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/run_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/tensorboard.h"

enum { TAIL_BYTES = 65536, DIGEST_BYTES = 17 };

struct run_folder {
    int metrics, events; /* file descriptors, appending */
    int has_step;        /* metrics.jsonl has lines up to: */
    uint64_t lineage, step;
    uint64_t event_count;
    struct tensorboard *curves; /* NULL: could not be opened */
};

/* Cuts off a last line that a crash left unfinished; *ret_last is the last whole one or NULL. */
static enum status read_last_line(int file, const char *path, json_t **ret_last)
{
    struct stat info;
    char tail[TAIL_BYTES + 1];
    if (fstat(file, &info) != 0)
        return fail(ERR_IO, "cannot read '%s': %s", path, strerror(errno));
    off_t start = info.st_size > TAIL_BYTES ? info.st_size - TAIL_BYTES : 0;
    ssize_t length = pread(file, tail, TAIL_BYTES, start);
    if (length < 0)
        return fail(ERR_IO, "cannot read '%s': %s", path, strerror(errno));
    while (length > 0 && tail[length - 1] != '\n')
        length--;
    if (start + length < info.st_size && ftruncate(file, start + length) != 0)
        return fail(ERR_IO, "cannot cut '%s': %s", path, strerror(errno));
    *ret_last = NULL;
    if (length == 0)
        return OK;
    tail[length - 1] = 0;
    const char *line = strrchr(tail, '\n');
    *ret_last = json_loads(line == NULL ? tail : line + 1, 0, NULL);
    return OK;
}

static enum status open_lines(const char *directory, const char *name, int *ret_file,
                              json_t **ret_last)
{
    char *path = mem_format("%s/%s", directory, name);
    enum status status = OK;
    int file = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (file < 0)
        status = fail(ERR_IO, "cannot open '%s': %s", path, strerror(errno));
    else
        *ret_file = file;
    if (status == OK)
        status = read_last_line(file, path, ret_last);
    mem_free(path);
    return status;
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
    folder->metrics = folder->events = -1;
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
    if (folder->metrics >= 0)
        close(folder->metrics);
    if (folder->events >= 0)
        close(folder->events);
    mem_free(folder);
}

static void write_line(int file, const char *name, json_t *line)
{
    char *text = json_dumps(line, JSON_COMPACT | JSON_REAL_PRECISION(17));
    char *whole = mem_format("%s\n", text);
    size_t length = strlen(whole);
    if (write(file, whole, length) != (ssize_t)length)
        log_warn("event=line_lost file=%s reason=\"%s\"", name, strerror(errno));
    mem_free(whole);
    free(text);
    json_decref(line);
}

static json_t *step_line(const struct journal_step *step)
{
    char digest[DIGEST_BYTES];
    snprintf(digest, sizeof(digest), "%016" PRIx64, step->digest);
    json_t *line = json_object();
    json_object_set_new(line, "step", json_integer((json_int_t)step->step));
    json_object_set_new(line, "generation", json_integer((json_int_t)step->generation));
    json_object_set_new(line, "lineage", json_integer(step->lineage));
    json_object_set_new(line, "world_size", json_integer(step->world_size));
    json_object_set_new(line, "images", json_integer(step->images));
    json_object_set_new(line, "loss", json_number(step->loss));
    json_object_set_new(line, "lr", json_number(step->lr));
    json_object_set_new(line, "grad_norm", json_number(step->grad_norm));
    json_object_set_new(line, "step_ms", json_integer(step->step_ms));
    json_object_set_new(line, "data_wait_ms", json_integer(step->data_wait_ms));
    json_object_set_new(line, "digest", json_string(digest));
    json_object_set_new(line, "is_commit", json_boolean(step->is_commit));
    return line;
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
    if (folder->curves == NULL ||
        tensorboard_write(folder->curves, clock_wall_ms(), (int64_t)step->step, scalars,
                          sizeof(scalars) / sizeof(scalars[0])) == OK)
        return;
    log_warn("event=curves_failed reason=\"%s\"", fail_message());
    tensorboard_close(folder->curves);
    folder->curves = NULL;
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
    write_line(folder->metrics, "metrics.jsonl", step_line(step));
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

void run_folder_event(struct run_folder *folder, const char *kind, int is_warning, const char *text)
{
    json_t *line = json_object();
    json_object_set_new(line, "time", time_now());
    json_object_set_new(line, "number", json_integer((json_int_t)++folder->event_count));
    json_object_set_new(line, "kind", json_string(kind));
    json_object_set_new(line, "is_warning", json_boolean(is_warning));
    json_object_set_new(line, "text", json_text(text));
    write_line(folder->events, "events.jsonl", line);
}
