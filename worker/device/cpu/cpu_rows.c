/* cpu_rows.c - operations by rows, put off and then done band by band.
 *
 * A layer's tensors are several times as large as an L2 cache, and often as what is left of a
 * shared L3 cache; from memory they come at a third of the speed. So between rows_begin and
 * rows_end operations are noted, and rows_end does all of them for a band of rows before it goes on
 * to the next band. What an operation reads is then mostly what another one has just written. How
 * many rows are a band depends on shapes alone, so the same numbers give the same bits. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/cpu/cpu.h"

#include "common/check.h"

/* What the operations of a band read and write, counted by each of them. */
enum { BAND_BYTES = 1 << 20 };

void cpu_rows_begin(struct device *device, int rows, const void *const passing[ROWS_PASSING_MAX])
{
    struct cpu *cpu = (struct cpu *)device;
    struct row_queue *queue = cpu->queue;
    CHECK(queue->rows == 0 && rows > 0);
    queue->rows = device->has_bands ? rows : 0;
    queue->is_broken = 0;
    for (int i = 0; i < ROWS_PASSING_MAX; i++)
        queue->passing[i] = passing == NULL ? NULL : passing[i];
}

struct row_op *cpu_rows_put(struct cpu *cpu, int rows)
{
    struct row_queue *queue = cpu->queue;
    if (queue->rows == 0)
        return NULL;
    if (rows != queue->rows || queue->count == ROW_OPS_MAX)
        cpu_rows_flush(cpu);
    if (rows != queue->rows)
        return NULL;
    struct row_op *op = &queue->ops[queue->count++];
    *op = (struct row_op){.cpu = cpu};
    return op;
}

static int band_rows(const struct row_queue *queue)
{
    size_t bytes = 0;
    for (int i = 0; i < queue->count; i++)
        bytes += queue->ops[i].row_bytes;
    const size_t rows = BAND_BYTES / (bytes + 1);
    if (queue->count == 1 || rows > (size_t)queue->rows)
        return queue->rows;
    return rows == 0 ? 1 : (int)rows;
}

static void run_bands(struct row_queue *queue)
{
    const int each = band_rows(queue);
    for (int first = 0; first < queue->rows && queue->count > 0; first += each) {
        const int left = queue->rows - first;
        const struct row_band band = {
            .first = first,
            .rows = left < each ? left : each,
            .is_first = first == 0,
            .is_last = left <= each,
        };
        for (int i = 0; i < queue->count; i++)
            queue->ops[i].run(&queue->ops[i], &band);
    }
    queue->count = queue->sums_count = 0;
}

void cpu_rows_flush(struct cpu *cpu)
{
    cpu->queue->is_broken = 1;
    run_bands(cpu->queue);
}

void cpu_rows_end(struct device *device)
{
    struct row_queue *queue = ((struct cpu *)device)->queue;
    run_bands(queue);
    queue->rows = 0;
}

static int is_passing(const struct row_queue *queue, const void *tensor)
{
    int is_one = 0;
    for (int i = 0; i < ROWS_PASSING_MAX; i++)
        is_one |= tensor == queue->passing[i];
    return is_one && !queue->is_broken;
}

/* A tensor that passes has room for all rows; bands use the first of it in turn. */
void *cpu_rows_at(const struct row_op *op, const void *tensor, const struct row_band *band,
                  size_t row_bytes)
{
    if (tensor == NULL || is_passing(op->cpu->queue, tensor))
        return (void *)tensor;
    return (char *)tensor + (size_t)band->first * row_bytes;
}

/* Of a row. */
static size_t tensor_bytes(const struct cpu *cpu, int pixels, int channels)
{
    return (size_t)pixels * (size_t)channels * cpu->device.ops->activation_bytes;
}

static float *at_vector(const float *vectors, int row, int channels)
{
    return vectors == NULL ? NULL : (float *)vectors + (ptrdiff_t)row * channels;
}

/* The sums of one band join those before it. */
static void add_sums(struct row_op *op, const struct row_band *band, const float *part,
                     size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const double before = band->is_first ? 0 : op->total[i];
        op->total[i] = before + (double)part[i];
        if (band->is_last)
            op->sums[i] = (float)op->total[i];
    }
}

/* NULL: not in bands. */
static struct row_op *put_sums(struct cpu *cpu, int rows, int channels, float *sums)
{
    struct row_queue *queue = cpu->queue;
    if (queue->rows != 0 && (channels > ROW_CHANNELS_MAX || queue->sums_count == ROW_SUMS_MAX))
        cpu_rows_flush(cpu);
    if (channels > ROW_CHANNELS_MAX)
        return NULL;
    struct row_op *op = cpu_rows_put(cpu, rows);
    if (op == NULL)
        return NULL;
    op->sums = sums;
    op->total = queue->totals[queue->sums_count++];
    return op;
}

static void run_sums(struct row_op *op, const struct row_band *band)
{
    struct cpu *cpu = op->cpu;
    struct bn_sums args = op->bn_sums;
    args.x = cpu_rows_at(op, args.x, band, op->row_bytes);
    args.rows = band->rows;
    args.sums = cpu->queue->part;
    cpu->isa->rows->bn_sums(&cpu->device, &args);
    add_sums(op, band, args.sums, 2 * (size_t)args.channels);
}

void cpu_bn_sums(struct device *device, const struct bn_sums *args)
{
    struct cpu *cpu = (struct cpu *)device;
    struct row_op *op = put_sums(cpu, args->rows, args->channels, args->sums);
    if (op == NULL) {
        cpu->isa->rows->bn_sums(device, args);
        return;
    }
    op->run = run_sums;
    op->bn_sums = *args;
    op->row_bytes = tensor_bytes(cpu, args->pixels_per_row, args->channels);
}

static struct bn_apply apply_band(const struct row_op *op, const struct row_band *band)
{
    struct bn_apply args = op->apply;
    const size_t bytes = tensor_bytes(op->cpu, args.pixels_per_row, args.channels);
    args.x = cpu_rows_at(op, args.x, band, bytes);
    args.y = cpu_rows_at(op, args.y, band, bytes);
    args.skip = cpu_rows_at(op, args.skip, band, bytes);
    args.row_scale = at_vector(args.row_scale, band->first, args.channels);
    args.pooled = at_vector(args.pooled, band->first, args.channels);
    args.rows = band->rows;
    return args;
}

static void run_apply(struct row_op *op, const struct row_band *band)
{
    const struct bn_apply args = apply_band(op, band);
    op->cpu->isa->rows->bn_apply(&op->cpu->device, &args);
}

void cpu_bn_apply(struct device *device, const struct bn_apply *args)
{
    struct cpu *cpu = (struct cpu *)device;
    struct row_op *op = cpu_rows_put(cpu, args->rows);
    if (op == NULL) {
        cpu->isa->rows->bn_apply(device, args);
        return;
    }
    op->run = run_apply;
    op->apply = *args;
    op->row_bytes = (size_t)(1 + (args->y != NULL) + (args->skip != NULL)) *
                    tensor_bytes(cpu, args->pixels_per_row, args->channels);
}

static struct bn_backward backward_band(const struct row_op *op, const struct row_band *band)
{
    struct bn_backward args = op->backward;
    const size_t bytes = tensor_bytes(op->cpu, args.pixels_per_row, args.channels);
    args.dy = cpu_rows_at(op, args.dy, band, bytes);
    args.dy2 = cpu_rows_at(op, args.dy2, band, bytes);
    args.x = cpu_rows_at(op, args.x, band, bytes);
    args.y = cpu_rows_at(op, args.y, band, bytes);
    args.dz = cpu_rows_at(op, args.dz, band, bytes);
    args.row_scale = at_vector(args.row_scale, band->first, args.channels);
    args.row_add = at_vector(args.row_add, band->first, args.channels);
    args.rows = band->rows;
    return args;
}

static void put_backward(struct row_op *op, const struct bn_backward *args,
                         void (*run)(struct row_op *op, const struct row_band *band))
{
    op->run = run;
    op->backward = *args;
    op->row_bytes = (size_t)(2 + (args->dy2 != NULL) + (args->y != NULL) + (args->dz != NULL)) *
                    tensor_bytes(op->cpu, args->pixels_per_row, args->channels);
}

static void run_backward_sums(struct row_op *op, const struct row_band *band)
{
    struct cpu *cpu = op->cpu;
    struct bn_backward args = backward_band(op, band);
    args.sums = cpu->queue->part;
    cpu->isa->rows->bn_backward_sums(&cpu->device, &args);
    add_sums(op, band, args.sums, 2 * (size_t)args.channels);
}

void cpu_bn_backward_sums(struct device *device, const struct bn_backward *args)
{
    struct cpu *cpu = (struct cpu *)device;
    struct row_op *op = put_sums(cpu, args->rows, args->channels, args->sums);
    if (op == NULL)
        cpu->isa->rows->bn_backward_sums(device, args);
    else
        put_backward(op, args, run_backward_sums);
}

static void run_backward_apply(struct row_op *op, const struct row_band *band)
{
    struct cpu *cpu = op->cpu;
    const struct bn_backward args = backward_band(op, band);
    const size_t bytes = tensor_bytes(op->cpu, args.pixels_per_row, args.channels);
    cpu->isa->rows->bn_backward_apply(&cpu->device, &args, op->gamma, op->reduced, op->count,
                                      cpu_rows_at(op, op->y, band, bytes));
}

void cpu_bn_backward_apply(struct device *device, const struct bn_backward *args,
                           const float *gamma, const float *sums, double count, void *dx)
{
    struct cpu *cpu = (struct cpu *)device;
    struct row_op *op = cpu_rows_put(cpu, args->rows);
    if (op == NULL) {
        cpu->isa->rows->bn_backward_apply(device, args, gamma, sums, count, dx);
        return;
    }
    put_backward(op, args, run_backward_apply);
    op->gamma = gamma;
    op->reduced = sums;
    op->count = count;
    op->y = dx;
}

static void run_row_scale_backward(struct row_op *op, const struct row_band *band)
{
    const struct bn_backward args = backward_band(op, band);
    op->cpu->isa->rows->row_scale_backward(&op->cpu->device, &args,
                                           at_vector(op->sums, band->first, args.channels));
}

void cpu_row_scale_backward(struct device *device, const struct bn_backward *args, float *ds)
{
    struct cpu *cpu = (struct cpu *)device;
    struct row_op *op = cpu_rows_put(cpu, args->rows);
    if (op == NULL) {
        cpu->isa->rows->row_scale_backward(device, args, ds);
        return;
    }
    put_backward(op, args, run_row_scale_backward);
    op->sums = ds;
}
