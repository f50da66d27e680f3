/* metrics.c - a picture in the text format of Prometheus. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/watch/metrics.h"

#include <inttypes.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "common/buf.h"
#include "server/watch/advice.h"

enum { LABEL_BYTES = 2 * PICTURE_NAME_BYTES + 1 };

static enum status head(struct buf *out, const char *name, const char *type, const char *help)
{
    return buf_format(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* As the format writes numbers: NaN and +Inf are words of it. */
static enum status value(struct buf *out, double number)
{
    if (isnan(number))
        return buf_format(out, " NaN\n");
    if (isinf(number))
        return buf_format(out, " %s\n", number > 0 ? "+Inf" : "-Inf");
    return buf_format(out, " %.17g\n", number);
}

/* A metric without labels. */
static enum status one(struct buf *out, const char *name, const char *type, const char *help,
                       double number)
{
    TRY(head(out, name, type, help));
    TRY(buf_format(out, "%s", name));
    return value(out, number);
}

/* Quotes, backslashes and line ends are escaped; labels of others are whatever they like. */
static const char *label(const char *text, char escaped[LABEL_BYTES])
{
    size_t length = 0;
    for (; *text != 0 && length + 2 < LABEL_BYTES; text++) {
        if (*text == '"' || *text == '\\' || *text == '\n')
            escaped[length++] = '\\';
        escaped[length++] = (char)(*text == '\n' ? 'n' : *text);
    }
    escaped[length] = 0;
    return escaped;
}

static enum status write_run(const struct picture *picture, struct buf *out)
{
    char name[LABEL_BYTES], run[LABEL_BYTES], version[LABEL_BYTES];
    TRY(head(out, "seer_run_info", "gauge", "The run and the version of its server; always 1."));
    TRY(buf_format(out, "seer_run_info{name=\"%s\",run=\"%s\",version=\"%s\"} 1\n",
                   label(picture->fixed.name, name), label(picture->fixed.run, run),
                   label(picture->fixed.version, version)));
    static const char *const states[] = {"recovering", "waiting", "forming", "training", "starved",
                                         "paused",     "broken",  "closing", "finished"};
    TRY(head(out, "seer_run_state", "gauge", "1 for the state that the run is in."));
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
        TRY(buf_format(out, "seer_run_state{state=\"%s\"} %d\n", states[i],
                       strcmp(states[i], picture->state) == 0));
    return OK;
}

static enum status write_server(const struct picture *picture, struct buf *out)
{
    const struct feed_server *server = &picture->server;
    TRY(one(out, "seer_step", "gauge", "Steps committed since the run began.",
            (double)server->step));
    TRY(one(out, "seer_generation", "gauge", "Number of the present group of members.",
            (double)server->generation));
    TRY(one(out, "seer_lineage", "gauge", "Times that the run went back to a snapshot.",
            (double)server->lineage));
    TRY(one(out, "seer_members", "gauge", "Workers that compute steps together.",
            (double)server->world_size));
    TRY(one(out, "seer_server_uptime_seconds", "gauge", "Since the server's last start.",
            (double)server->uptime_ms / 1000));
    TRY(one(out, "seer_goodput_ratio", "gauge",
            "Share of the server's uptime that went into committed steps.",
            picture_goodput(picture)));
    TRY(one(out, "seer_images_per_second", "gauge", "Of all members together.",
            picture_images_per_second(picture)));
    if (server->disk_total_bytes > 0) {
        TRY(one(out, "seer_disk_free_bytes", "gauge", "Where the run's folder is.",
                (double)server->disk_free_bytes));
        TRY(one(out, "seer_disk_size_bytes", "gauge", "Where the run's folder is.",
                (double)server->disk_total_bytes));
    }
    if (server->snapshot_wall_ms > 0)
        TRY(one(out, "seer_snapshot_timestamp_seconds", "gauge",
                "When the newest snapshot became complete, since 1970.",
                (double)server->snapshot_wall_ms / 1000));
    TRY(one(out, "seer_snapshot_step", "gauge", "Step of the newest complete snapshot.",
            (double)server->snapshot_step));
    return OK;
}

static enum status write_learning(const struct picture *picture, struct buf *out)
{
    if (picture->fixed.prototypes > 0)
        TRY(one(out, "seer_loss_uniform", "gauge",
                "ln K: the loss of assignments that say nothing, where a collapsed run ends up.",
                picture_uniform_loss(picture)));
    if (!picture->has_step)
        return OK;
    TRY(one(out, "seer_loss", "gauge", "Loss of the last step.", picture->last.loss));
    if (picture->loss_smooth > 0)
        TRY(one(out, "seer_loss_smooth", "gauge", "Loss, averaged over about 50 steps.",
                picture->loss_smooth));
    TRY(one(out, "seer_learning_rate", "gauge", "Of the last step.", picture->last.lr));
    TRY(one(out, "seer_gradient_norm", "gauge", "Of the last step's gradient, before clipping.",
            picture->last.grad_norm));
    TRY(one(out, "seer_step_duration_seconds", "gauge", "Of the last step.",
            picture->last.step_ms / 1000));
    TRY(one(out, "seer_data_wait_seconds", "gauge",
            "How long the slowest member of the last step waited for its images.",
            picture->last.data_wait_ms / 1000));
    if (picture->step_wall_ms > 0)
        TRY(one(out, "seer_commit_timestamp_seconds", "gauge",
                "When the last step was committed, since 1970.",
                (double)picture->step_wall_ms / 1000));
    return OK;
}

static enum status write_share_of_uniform(const struct picture *picture, struct buf *out)
{
    const double uniform = picture_uniform_loss(picture);
    if (uniform <= 0 || picture->loss_smooth <= 0)
        return OK;
    return one(out, "seer_loss_uniform_ratio", "gauge",
               "The averaged loss in shares of ln K; 1: the assignments say nothing.",
               picture->loss_smooth / uniform);
}

/* A figure that may be unknown. */
static enum status known(struct buf *out, const char *name, const char *help, double number)
{
    return number > 0 ? one(out, name, "gauge", help, number) : OK;
}

static enum status write_health(const struct picture *picture, struct buf *out)
{
    struct advice advice[ADVICE_MAX];
    const struct picture_learning *last = picture_learning_last(picture);
    TRY(write_share_of_uniform(picture, out));
    TRY(one(out, "seer_learning_findings", "gauge",
            "What the page gives advice about: signs that learning collapses.",
            advice_of(picture, advice)));
    if (last == NULL)
        return OK;
    const struct message_learning *figures = &last->figures;
    TRY(one(out, "seer_prototypes", "gauge", "Prototypes, K.", figures->prototypes));
    TRY(one(out, "seer_prototypes_used", "gauge",
            "Prototypes that were given one of the last images at least; the others are dead.",
            figures->prototypes_used));
    TRY(one(out, "seer_prototype_usage_entropy_ratio", "gauge",
            "Entropy of how images spread over prototypes, in shares of ln K; 1: evenly.",
            figures->usage_entropy));
    TRY(one(out, "seer_codes_entropy_ratio", "gauge",
            "Mean entropy of an image's codes, in shares of ln K; 1: they say nothing.",
            figures->codes_entropy));
    TRY(known(out, "seer_embedding_rank",
              "Effective rank of embeddings: how many directions they fill.",
              figures->embedding_rank));
    TRY(one(out, "seer_embedding_length", "gauge", "Numbers of an embedding: its largest rank.",
            (double)figures->embedding));
    TRY(known(out, "seer_embedding_spread_ratio", "0: all embeddings are the same; 1: all around.",
              figures->embedding_spread));
    TRY(known(out, "seer_weight_norm", "Of all weights together.", figures->weight_norm));
    if (figures->trust_median <= 0)
        return OK;
    TRY(head(out, "seer_trust_ratio", "gauge", "LARC's ratio of tensors, before it is clipped."));
    TRY(buf_format(out, "seer_trust_ratio{of=\"least\"} %.17g\n", figures->trust_least));
    return buf_format(out, "seer_trust_ratio{of=\"median\"} %.17g\n", figures->trust_median);
}

/* The newest score of each evaluation. */
static enum status write_evaluations(const struct picture *picture, struct buf *out)
{
    char name[LABEL_BYTES];
    if (picture->evaluation_count == 0)
        return OK;
    TRY(head(out, "seer_evaluation_top1_ratio", "gauge",
             "Share of test images that the newest such evaluation got right."));
    for (uint32_t i = 0; i < picture->evaluation_count; i++) {
        const struct evaluation *row = &picture->evaluations[i];
        int is_newest = 1;
        for (uint32_t j = 0; j < picture->evaluation_count; j++)
            is_newest &= picture->evaluations[j].step <= row->step ||
                         strcmp(picture->evaluations[j].name, row->name) != 0;
        if (!is_newest)
            continue;
        TRY(buf_format(out, "seer_evaluation_top1_ratio{evaluation=\"%s\"}",
                       label(row->name, name)));
        TRY(value(out, row->top1 / 100));
    }
    return OK;
}

static enum status write_stream(const struct picture *picture, struct buf *out)
{
    const struct feed_stream *stream = &picture->stream;
    TRY(one(out, "seer_stream_position_images", "gauge", "First image of the next step.",
            (double)stream->position));
    TRY(one(out, "seer_stream_backlog_images", "gauge", "Images known and not trained on yet.",
            (double)stream->backlog_images));
    TRY(one(out, "seer_stream_shards", "gauge", "Shards that are not retired.", stream->shards));
    if (stream->newest_wall_ms > 0)
        TRY(one(out, "seer_stream_newest_timestamp_seconds", "gauge",
                "When the newest shard was sealed, since 1970.",
                (double)stream->newest_wall_ms / 1000));
    return OK;
}

static double figure_of(const struct picture_worker *worker, int figure)
{
    switch (figure) {
    case 0:
        return worker->rank >= 0;
    case 1:
        return worker->images_per_second;
    case 2:
        return worker->step_ms / 1000;
    case 3:
        return worker->data_wait_percent / 100;
    case 4:
        return (double)worker->memory_bytes;
    case 5:
        return (double)worker->heartbeat_age_ms / 1000;
    default:
        return (double)worker->step;
    }
}

static enum status write_workers(const struct picture *picture, struct buf *out)
{
    static const struct {
        const char *name, *help;
    } figures[] = {
        {"seer_worker_member", "1: computes steps; 0: waits to be one."},
        {"seer_worker_images_per_second", "As the worker measures it."},
        {"seer_worker_step_duration_seconds", "The worker's last step, all phases."},
        {"seer_worker_data_wait_ratio", "Share of its last step that it waited for images."},
        {"seer_worker_memory_bytes", "Memory that the worker's process holds."},
        {"seer_worker_heartbeat_age_seconds", "Since the server last heard from it."},
        {"seer_worker_step", "Steps that it has taken part in or taken over."},
    };
    char name[LABEL_BYTES], host[LABEL_BYTES];
    for (int i = 0; i < (int)(sizeof(figures) / sizeof(figures[0])); i++) {
        TRY(head(out, figures[i].name, "gauge", figures[i].help));
        for (uint32_t j = 0; j < picture->worker_count; j++) {
            const struct picture_worker *worker = &picture->workers[j];
            TRY(buf_format(out, "%s{worker=\"%s\",host=\"%s\"}", figures[i].name,
                           label(worker->name, name), label(worker->host, host)));
            TRY(value(out, figure_of(worker, i)));
        }
    }
    return OK;
}

static enum status write_totals(const struct picture_totals *totals, struct buf *out)
{
    static const struct {
        const char *name, *help;
        size_t offset;
    } rows[] = {
#define ROW(name_, member_, help_) {name_, help_, offsetof(struct picture_totals, member_)}
        ROW("seer_steps_committed_total", steps_committed, "Steps that changed the parameters."),
        ROW("seer_steps_skipped_total", steps_skipped, "Steps that changed nothing."),
        ROW("seer_images_total", images, "Images of committed steps."),
        ROW("seer_losses_not_finite_total", not_finite, "Steps whose loss was NaN or infinite."),
        ROW("seer_workers_joined_total", workers_joined, "Workers that came."),
        ROW("seer_workers_lost_total", workers_lost, "Workers that died or fell silent."),
        ROW("seer_workers_left_total", workers_left, "Workers that left as planned."),
        ROW("seer_rollbacks_total", rollbacks, "Times that steps were voided by a restore."),
        ROW("seer_rate_cuts_total", rate_cuts, "Times that a plateau lowered the learning rate."),
        ROW("seer_loss_stuck_total", loss_stuck, "Times that the loss was found stuck at ln K."),
        ROW("seer_snapshots_completed_total", snapshots_complete, "Snapshots that are whole."),
        ROW("seer_snapshots_failed_total", snapshots_failed, "Snapshots that were given up."),
        ROW("seer_evaluations_total", evaluations,
            "Scores of evaluations that were found beside the run."),
        ROW("seer_warnings_total", warnings, "Events that the run recovered from."),
#undef ROW
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint64_t count = 0;
        memcpy(&count, (const char *)totals + rows[i].offset, sizeof(count));
        TRY(one(out, rows[i].name, "counter", rows[i].help, (double)count));
    }
    TRY(one(out, "seer_step_seconds_total", "counter", "Time of all decided steps.",
            totals->step_seconds));
    TRY(head(out, "seer_phase_seconds_total", "counter",
             "Time of the slowest member in each phase of a step."));
    for (int phase = 0; phase < PHASE_COUNT; phase++) {
        TRY(buf_format(out, "seer_phase_seconds_total{phase=\"%s\"}",
                       phase_name((enum worker_phase)phase)));
        TRY(value(out, totals->phase_seconds[phase]));
    }
    return OK;
}

enum status metrics_write(const struct picture *picture, const struct metrics_self *self,
                          struct buf *out)
{
    TRY(one(out, "seer_server_up", "gauge", "1 while the status feed of the server is heard.",
            self->is_live));
    TRY(one(out, "seer_feed_gaps_total", "counter",
            "Times that messages of the status feed were missed.", (double)self->feed_gaps));
    TRY(one(out, "seer_dashboard_viewers", "gauge", "Pages that follow live.", self->viewers));
    TRY(write_totals(&picture->totals, out));
    if (!picture->has_status)
        return OK;
    TRY(write_run(picture, out));
    TRY(write_server(picture, out));
    TRY(write_learning(picture, out));
    TRY(write_health(picture, out));
    TRY(write_evaluations(picture, out));
    TRY(write_stream(picture, out));
    return write_workers(picture, out);
}
