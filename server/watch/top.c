/* top.c - a run as lines of text. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/watch/top.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/mem.h"
#include "server/watch/advice.h"

enum { TEXT_BYTES = 128, CURVE_COLUMNS_MAX = 240, EVENTS_SHOWN = 12, EVENTS_LEAST = 4 };

/* ---- text ---- */

/* Printable ASCII; whatever else was in it becomes '?'. */
static void tame(char *text)
{
    for (char *at = text; *at != 0; at++)
        if (*at < ' ' || *at > '~')
            *at = '?';
}

__attribute__((format(printf, 4, 5))) static void add(struct top_lines *lines,
                                                      const struct top_view *view,
                                                      enum top_style style, const char *format, ...)
{
    if (lines->count == TOP_LINES_MAX)
        return;
    char *text = lines->lines[lines->count].text;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, TOP_LINE_BYTES, format, arguments);
    va_end(arguments);
    tame(text);
    if (view->width > 0 && view->width < TOP_LINE_BYTES)
        text[view->width] = 0;
    lines->lines[lines->count++].style = style;
}

static const char *age_text(int64_t ms, char text[TEXT_BYTES])
{
    long long s = ms / 1000;
    if (ms < 0)
        snprintf(text, TEXT_BYTES, "-");
    else if (s < 120)
        snprintf(text, TEXT_BYTES, "%lld s", s);
    else if (s < 7200)
        snprintf(text, TEXT_BYTES, "%lld min", s / 60);
    else if (s < 172800)
        snprintf(text, TEXT_BYTES, "%lld h", s / 3600);
    else
        snprintf(text, TEXT_BYTES, "%lld d", s / 86400);
    return text;
}

static const char *bytes_text(uint64_t bytes, char text[TEXT_BYTES])
{
    static const char *const units[] = {"B", "KB", "MB", "GB", "TB"};
    double value = (double)bytes;
    int unit = 0;
    for (; value >= 1000 && unit < 4; unit++)
        value /= 1000;
    snprintf(text, TEXT_BYTES, "%.*f %s", unit == 0 || value >= 100 ? 0 : 1, value, units[unit]);
    return text;
}

/* ---- curves ---- */

static double loss_of(const struct picture_point *point)
{
    return point->loss;
}

static double lr_of(const struct picture_point *point)
{
    return point->lr;
}

/* The mean of the points that fall into a column. */
static double column_mean(const struct picture *picture, int column, int columns,
                          double (*value)(const struct picture_point *))
{
    uint64_t count = picture->point_count;
    uint64_t from = count * (uint64_t)column / (uint64_t)columns;
    uint64_t to = count * ((uint64_t)column + 1) / (uint64_t)columns;
    double sum = 0, n = 0;
    for (uint64_t i = from; i < (to > from ? to : from + 1) && i < count; i++) {
        double v = value(&picture->points[i]);
        if (isfinite(v)) {
            sum += v;
            n++;
        }
    }
    return n > 0 ? sum / n : (double)NAN;
}

static int compare_numbers(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* Ends of the scale. The largest twentieth is cut off: the first steps of a run would flatten all
 * that comes after them. */
static void scale_of(const double *means, int count, double *ret_low, double *ret_high)
{
    double sorted[CURVE_COLUMNS_MAX];
    int n = 0;
    for (int i = 0; i < count; i++)
        if (isfinite(means[i]))
            sorted[n++] = means[i];
    qsort(sorted, (size_t)n, sizeof(sorted[0]), compare_numbers);
    *ret_low = n > 0 ? sorted[0] : 0;
    *ret_high = n > 0 ? sorted[(n - 1) * 19 / 20] : 0;
}

static void add_curve(struct top_lines *lines, const struct picture *picture,
                      const struct top_view *view, const char *name,
                      double (*value)(const struct picture_point *))
{
    static const char *const blocks[] = {"\u2581", "\u2582", "\u2583", "\u2584",
                                         "\u2585", "\u2586", "\u2587", "\u2588"};
    static const char ascii[] = "_.-~=+*#";
    int columns = view->width - 27;
    if (columns > CURVE_COLUMNS_MAX)
        columns = CURVE_COLUMNS_MAX;
    if (columns < 8 || picture->point_count == 0 || lines->count == TOP_LINES_MAX)
        return;
    if (columns > (int)picture->point_count)
        columns = (int)picture->point_count;
    double means[CURVE_COLUMNS_MAX], low = 0, high = 0;
    for (int i = 0; i < columns; i++)
        means[i] = column_mean(picture, i, columns, value);
    scale_of(means, columns, &low, &high);
    char *text = lines->lines[lines->count].text;
    int at = snprintf(text, TOP_LINE_BYTES, "%-5s", name);
    for (int i = 0; i < columns; i++) {
        double share = high > low ? fmin((means[i] - low) / (high - low), 1) : 0;
        int level = isfinite(share) ? (int)(share * 7.99) : 0;
        const char one[2] = {ascii[level], 0};
        const char *mark = !isfinite(means[i]) ? "!" : view->is_utf8 ? blocks[level] : one;
        at += snprintf(text + at, TOP_LINE_BYTES - (size_t)at, "%s", mark);
    }
    snprintf(text + at, TOP_LINE_BYTES - (size_t)at, " %.4g..%.4g", low, high);
    lines->lines[lines->count++].style = TOP_PLAIN;
}

/* ---- workers ---- */

struct column {
    const char *title;
    int width;      /* negative: flush left */
    int importance; /* the least goes first when there is no room */
};

enum {
    COLUMN_NAME,
    COLUMN_RANK,
    COLUMN_STATE,
    COLUMN_PHASE,
    COLUMN_STEP,
    COLUMN_IMAGES,
    COLUMN_STEP_MS,
    COLUMN_WAIT,
    COLUMN_MEMORY,
    COLUMN_HEARD,
    COLUMN_DEVICE,
    COLUMN_HOST,
    COLUMN_COUNT
};

static const struct column columns[COLUMN_COUNT] = {
    [COLUMN_NAME] = {"WORKER", -16, 12},  [COLUMN_RANK] = {"RANK", 4, 8},
    [COLUMN_STATE] = {"STATE", -8, 11},   [COLUMN_PHASE] = {"PHASE", -8, 4},
    [COLUMN_STEP] = {"STEP", 9, 5},       [COLUMN_IMAGES] = {"IMAGES/S", 8, 10},
    [COLUMN_STEP_MS] = {"STEP MS", 8, 7}, [COLUMN_WAIT] = {"WAIT %", 6, 6},
    [COLUMN_MEMORY] = {"MEMORY", 8, 3},   [COLUMN_HEARD] = {"HEARD MS", 8, 9},
    [COLUMN_DEVICE] = {"DEVICE", -8, 1},  [COLUMN_HOST] = {"HOST", -12, 2},
};

static int width_of(const struct column *column)
{
    return abs(column->width) + 1;
}

static void choose_columns(int width, int is_shown[COLUMN_COUNT])
{
    int all = 0;
    for (int i = 0; i < COLUMN_COUNT; i++) {
        is_shown[i] = 1;
        all += width_of(&columns[i]);
    }
    for (int least = 1; all - 1 > width && least < columns[COLUMN_NAME].importance; least++)
        for (int i = 0; i < COLUMN_COUNT; i++)
            if (columns[i].importance == least) {
                is_shown[i] = 0;
                all -= width_of(&columns[i]);
            }
}

static void cell_text(const struct picture_worker *worker, int column, char text[TEXT_BYTES])
{
    switch (column) {
    case COLUMN_NAME:
        snprintf(text, TEXT_BYTES, "%s", worker->name);
        break;
    case COLUMN_RANK:
        snprintf(text, TEXT_BYTES, worker->rank < 0 ? "-" : "%" PRId64, worker->rank);
        break;
    case COLUMN_STATE:
        snprintf(text, TEXT_BYTES, "%s", worker->state);
        break;
    case COLUMN_PHASE:
        snprintf(text, TEXT_BYTES, "%s", worker->phase);
        break;
    case COLUMN_STEP:
        snprintf(text, TEXT_BYTES, "%" PRIu64, worker->step);
        break;
    case COLUMN_IMAGES:
        snprintf(text, TEXT_BYTES, "%.1f", worker->images_per_second);
        break;
    case COLUMN_STEP_MS:
        snprintf(text, TEXT_BYTES, "%.1f", worker->step_ms);
        break;
    case COLUMN_WAIT:
        snprintf(text, TEXT_BYTES, "%.1f", worker->data_wait_percent);
        break;
    case COLUMN_MEMORY:
        bytes_text(worker->memory_bytes, text);
        break;
    case COLUMN_HEARD:
        snprintf(text, TEXT_BYTES, "%" PRId64, worker->heartbeat_age_ms);
        break;
    case COLUMN_DEVICE:
        snprintf(text, TEXT_BYTES, "%s", worker->device);
        break;
    default:
        snprintf(text, TEXT_BYTES, "%s", worker->host);
    }
}

static void add_cell(char *row, const struct column *column, const char *text)
{
    size_t at = strlen(row);
    if (at + TEXT_BYTES < TOP_LINE_BYTES)
        snprintf(row + at, TOP_LINE_BYTES - at, "%s%*.*s", at > 0 ? " " : "", column->width,
                 abs(column->width), text);
}

static void worker_row(const struct picture_worker *worker, const int is_shown[COLUMN_COUNT],
                       char row[TOP_LINE_BYTES])
{
    char text[TEXT_BYTES];
    row[0] = 0;
    for (int i = 0; i < COLUMN_COUNT; i++) {
        if (!is_shown[i])
            continue;
        cell_text(worker, i, text);
        add_cell(row, &columns[i], text);
    }
}

static double key_of(const struct picture_worker *worker, enum top_sort sort)
{
    switch (sort) {
    case TOP_SORT_IMAGES:
        return worker->images_per_second;
    case TOP_SORT_STEP_MS:
        return worker->step_ms;
    case TOP_SORT_WAIT:
        return worker->data_wait_percent;
    case TOP_SORT_MEMORY:
        return (double)worker->memory_bytes;
    case TOP_SORT_HEARD:
        return (double)worker->heartbeat_age_ms;
    default: /* who has no rank comes last */
        return worker->rank < 0 ? (double)PICTURE_WORKERS_MAX : (double)worker->rank;
    }
}

struct sorted {
    const struct picture_worker *worker;
    double key;
    int sign;
};

static int compare(const void *a, const void *b)
{
    const struct sorted *x = a, *y = b;
    if (x->key != y->key)
        return x->key < y->key ? -x->sign : x->sign;
    return x->sign * strverscmp(x->worker->name, y->worker->name);
}

/* Those that the filter lets through, in order. The list is the caller's. */
static struct sorted *sort_workers(const struct picture *picture, const struct top_view *view,
                                   uint32_t *ret_count)
{
    struct sorted *list = mem_array(picture->worker_count, sizeof(*list));
    uint32_t count = 0;
    /* Ranks and names begin with the first, figures with the largest. */
    int sign = view->sort == TOP_SORT_RANK || view->sort == TOP_SORT_NAME ? 1 : -1;
    for (uint32_t i = 0; i < picture->worker_count; i++) {
        const struct picture_worker *worker = &picture->workers[i];
        char words[6 * PICTURE_NAME_BYTES];
        snprintf(words, sizeof(words), "%s %s %s %s %s", worker->name, worker->host, worker->state,
                 worker->phase, worker->device);
        if (view->filter[0] != 0 && strcasestr(words, view->filter) == NULL)
            continue;
        list[count++] =
            (struct sorted){worker, view->sort == TOP_SORT_NAME ? 0 : key_of(worker, view->sort),
                            view->is_reverse ? -sign : sign};
    }
    if (count > 0)
        qsort(list, count, sizeof(*list), compare);
    *ret_count = count;
    return list;
}

static enum top_style style_of(const struct picture_worker *worker)
{
    enum { LATE_MS = 1000, SILENT_MS = 2000, WAIT_PERCENT = 30 };
    if (worker->heartbeat_age_ms > SILENT_MS)
        return TOP_BAD;
    if (worker->heartbeat_age_ms > LATE_MS || worker->data_wait_percent > WAIT_PERCENT)
        return TOP_WARN;
    return worker->rank < 0 ? TOP_SOFT : TOP_PLAIN;
}

/* In at most room lines, the header among them. */
static void add_workers(struct top_lines *lines, const struct picture *picture,
                        const struct top_view *view, int room)
{
    int is_shown[COLUMN_COUNT];
    char row[TOP_LINE_BYTES] = "";
    uint32_t count = 0;
    choose_columns(view->width, is_shown);
    for (int i = 0; i < COLUMN_COUNT; i++)
        if (is_shown[i])
            add_cell(row, &columns[i], columns[i].title);
    add(lines, view, TOP_HEAD, "%s", row);
    struct sorted *list = sort_workers(picture, view, &count);
    int most = view->height > 0 ? room - 1 : (int)count;
    int from = view->scroll < (int)count ? view->scroll : (int)count - (count > 0);
    int is_cut = (int)count - from > most;
    for (int i = from; i < (int)count && i - from < most - is_cut; i++) {
        worker_row(list[i].worker, is_shown, row);
        add(lines, view, style_of(list[i].worker), "%s", row);
    }
    if (is_cut)
        add(lines, view, TOP_SOFT, "%d more", (int)count - from - (most - 1));
    mem_free(list);
}

/* ---- the whole ---- */

static void add_head(struct top_lines *lines, const struct picture *picture,
                     const struct top_view *view)
{
    const struct feed_server *server = &picture->server;
    char goal[TEXT_BYTES] = "", up[TEXT_BYTES];
    if (picture->fixed.steps > 0)
        snprintf(goal, sizeof(goal), " of %" PRId64, picture->fixed.steps);
    int is_well = view->is_live && (strcmp(picture->state, "training") == 0 ||
                                    strcmp(picture->state, "finished") == 0);
    add(lines, view,
        !view->is_live ? TOP_BAD
        : is_well      ? TOP_GOOD
                       : TOP_WARN,
        "%s  %s  step %" PRIu64 "%s  %u members  generation %" PRIu64 "  up %s",
        picture->fixed.name, view->is_live ? picture->state : "NOT HEARD", server->step, goal,
        server->world_size, server->generation, age_text(server->uptime_ms, up));
    if (!view->is_live)
        add(lines, view, TOP_BAD, "%s", view->trouble);
    add(lines, view, TOP_BOLD, "%.1f images/s  step %.0f ms  loss %.4g (ln K %.4g)  lr %.4g",
        picture_images_per_second(picture), picture->last.step_ms, picture->loss_smooth,
        picture_uniform_loss(picture), picture->last.lr);
    add_curve(lines, picture, view, "loss", loss_of);
    add_curve(lines, picture, view, "lr", lr_of);
}

static void add_learning(struct top_lines *lines, const struct picture *picture,
                         const struct top_view *view)
{
    struct advice advice[ADVICE_MAX];
    const struct picture_learning *last = picture_learning_last(picture);
    char rank[TEXT_BYTES] = "-";
    if (last != NULL) {
        const struct message_learning *figures = &last->figures;
        if (figures->embedding_rank > 0)
            snprintf(rank, sizeof(rank), "%.1f", figures->embedding_rank);
        add(lines, view, TOP_PLAIN,
            "learning  %u of %u prototypes used, codes %.2f, rank %s of %" PRIu64
            ", spread %.2f; gradient %.3g, weights %.4g, trust %.2g (least %.2g)",
            figures->prototypes_used, figures->prototypes, figures->codes_entropy, rank,
            figures->embedding, figures->embedding_spread, picture->last.grad_norm,
            figures->weight_norm, figures->trust_median, figures->trust_least);
    }
    const int count = advice_of(picture, advice);
    for (int i = 0; i < count; i++)
        add(lines, view, advice[i].is_bad ? TOP_BAD : TOP_WARN, "! %s", advice[i].text);
}

static void add_stores(struct top_lines *lines, const struct picture *picture,
                       const struct top_view *view)
{
    const struct feed_stream *stream = &picture->stream;
    const struct feed_server *server = &picture->server;
    char fresh[TEXT_BYTES], saved[TEXT_BYTES], space[TEXT_BYTES];
    int64_t shard_ms = stream->newest_wall_ms > 0 ? view->now_ms - stream->newest_wall_ms : -1;
    int64_t saved_ms = server->snapshot_wall_ms > 0 ? view->now_ms - server->snapshot_wall_ms : -1;
    add(lines, view, TOP_PLAIN, "stream    %" PRIu64 " images ahead, %u shards, newest %s old",
        stream->backlog_images, stream->shards, age_text(shard_ms, fresh));
    add(lines, view, TOP_PLAIN, "snapshot  %s, %s old; disk %s free; goodput %.1f %%",
        picture->snapshot[0] != 0 ? picture->snapshot : "none", age_text(saved_ms, saved),
        bytes_text(server->disk_free_bytes, space), 100 * picture_goodput(picture));
}

static void add_event(struct top_lines *lines, const struct top_view *view,
                      const struct picture_event *event)
{
    long long s = event->wall_ms / 1000 % 86400;
    add(lines, view, event->is_warning ? TOP_WARN : TOP_PLAIN, "%02lld:%02lld:%02lld %s %s %s",
        s / 3600, s / 60 % 60, s % 60, event->is_warning ? "!" : " ", event->name, event->text);
}

static void add_events(struct top_lines *lines, const struct picture *picture,
                       const struct top_view *view, int room)
{
    int shown = 0;
    uint32_t from = picture->event_count;
    while (from > 0 && shown < room - 1) {
        from--;
        shown += !view->only_warnings || picture->events[from].is_warning;
    }
    add(lines, view, TOP_HEAD, "%s (UTC)", view->only_warnings ? "WARNINGS" : "EVENTS");
    for (uint32_t i = from; i < picture->event_count; i++)
        if (!view->only_warnings || picture->events[i].is_warning)
            add_event(lines, view, &picture->events[i]);
}

void top_render(const struct picture *picture, const struct top_view *view,
                struct top_lines *ret_lines)
{
    struct top_lines *lines = ret_lines;
    lines->count = 0;
    add_head(lines, picture, view);
    add_learning(lines, picture, view);
    add_stores(lines, picture, view);
    add(lines, view, TOP_PLAIN, "%s", "");
    int left = view->height - lines->count - 1; /* a line is the keys' */
    int workers = (int)picture->worker_count + 2;
    int events = left - workers > EVENTS_LEAST ? left - workers : EVENTS_LEAST;
    if (view->height == 0)
        events = EVENTS_SHOWN;
    add_workers(lines, picture, view, left - events > 2 ? left - events : 2);
    if (view->height == 0 || left - events > 2)
        add_events(lines, picture, view, events);
    if (view->height > 0 && lines->count > view->height - 1)
        lines->count = view->height - 1;
}

const char *top_sort_name(enum top_sort sort)
{
    static const char *const names[TOP_SORT_COUNT] = {
        [TOP_SORT_RANK] = "rank",       [TOP_SORT_NAME] = "name", [TOP_SORT_IMAGES] = "images",
        [TOP_SORT_STEP_MS] = "step-ms", [TOP_SORT_WAIT] = "wait", [TOP_SORT_MEMORY] = "memory",
        [TOP_SORT_HEARD] = "heard",
    };
    return names[sort];
}
