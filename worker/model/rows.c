/* rows.c - which images of a step are here, and which belong together in batch normalisation. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/model/rows.h"

#include "common/mem.h"

void rows_init(struct rows *rows, const struct config *config, int slot_count)
{
    const int total = (int)config_slots(config);
    const int group = (int)config->train.bn_group_slots;
    *rows = (struct rows){
        .resolution_count = (int)config->crop_count,
        .slot_images = (int)config->train.slot_images,
        .slot_count = slot_count,
        .slot_total = total,
        .is_exact = config->train.reduction == REDUCTION_EXACT,
        .group_slots = group == 0 ? total : group,
        .group_count = group == 0 ? 1 : total / group,
        .runs = mem_array((size_t)slot_count, sizeof(*rows->runs)),
    };
    for (int r = 0; r < rows->resolution_count; r++) {
        rows->crops[r] = (int)config->crops[r].count;
        rows->size[r] = (int)config->crops[r].size;
    }
}

void rows_init_plain(struct rows *rows, int count, int size)
{
    *rows = (struct rows){
        .resolution_count = 1,
        .crops = {1},
        .size = {size},
        .slot_images = count,
        .slot_count = 1,
        .slot_total = 1,
        .group_slots = 1,
        .group_count = 1,
        .run_count = 1,
        .runs = mem_array(1, sizeof(*rows->runs)),
    };
    rows->runs[0] = (struct row_run){.slot_count = 1};
}

void rows_done(struct rows *rows)
{
    mem_free(rows->runs);
    rows->runs = NULL;
}

enum status rows_assign(struct rows *rows, const uint32_t *slots)
{
    struct row_run *run = NULL;
    rows->run_count = 0;
    rows->first_slot = (int)slots[0];
    rows->is_run = 1;
    for (int i = 0; i < rows->slot_count; i++) {
        if (slots[i] >= (uint32_t)rows->slot_total || (i > 0 && slots[i] <= slots[i - 1]))
            return fail(ERR_INPUT,
                        "slot %u at place %d of a batch: slots must ascend and be below %d",
                        slots[i], i, rows->slot_total);
        const int group = (int)slots[i] / rows->group_slots;
        rows->is_run &= slots[i] == slots[0] + (uint32_t)i;
        if (run == NULL || run->group != group || rows->is_exact) {
            run = &rows->runs[rows->run_count++];
            *run = (struct row_run){.group = group,
                                    .first_slot = i,
                                    .has_start = (int)slots[i] == group * rows->group_slots};
        }
        run->slot_count++;
    }
    return OK;
}

int rows_start_group(const struct rows *rows, int group)
{
    for (int i = 0; i < rows->run_count; i++)
        if (rows->runs[i].group == group && rows->runs[i].has_start)
            return 1;
    return 0;
}

int rows_parts(const struct rows *rows)
{
    return rows->is_exact ? rows->slot_count : 1;
}

int rows_of_part(const struct rows *rows, int resolution)
{
    return rows_count(rows, resolution) / rows_parts(rows);
}

int rows_has(const struct rows *rows, struct piece piece)
{
    return piece.resolution < rows->resolution_count;
}

struct piece rows_after(const struct rows *rows, struct piece piece)
{
    if (piece.part + 1 < rows_parts(rows))
        return (struct piece){piece.resolution, piece.part + 1};
    return (struct piece){piece.resolution + 1, 0};
}

size_t rows_before(const struct rows *rows, struct piece piece)
{
    return (size_t)rows_first(rows, piece.resolution) +
           (size_t)piece.part * (size_t)rows_of_part(rows, piece.resolution);
}

int rows_of_slot(const struct rows *rows, int resolution)
{
    return rows->crops[resolution] * rows->slot_images;
}

int rows_count(const struct rows *rows, int resolution)
{
    return rows->slot_count * rows_of_slot(rows, resolution);
}

int rows_first(const struct rows *rows, int resolution)
{
    int first = 0;
    for (int r = 0; r < resolution; r++)
        first += rows_count(rows, r);
    return first;
}

int rows_total(const struct rows *rows)
{
    return rows_first(rows, rows->resolution_count);
}

int64_t rows_of_group(const struct rows *rows, int resolution)
{
    return (int64_t)rows->group_slots * rows_of_slot(rows, resolution);
}
