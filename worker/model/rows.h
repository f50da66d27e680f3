/* rows.h - which images of a step are here, and which belong together in batch normalisation.
 *
 * A resolution is one kind of crop: one tensor of rows [slot][crop][image of the slot]. A BN group
 * is group_slots consecutive slots of the step; a member may hold parts of several, and a group may
 * be spread over members. Slots held are in ascending order, so a group's rows here are one run. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_MODEL_ROWS_H
#define WORKER_MODEL_ROWS_H

#include <stddef.h>
#include <stdint.h>

#include "common/config.h"
#include "common/status.h"

/* The rows here of one BN group, or with exact reduction of one slot. */
struct row_run {
    int group;
    int first_slot, slot_count; /* counted among the slots held */
    int has_start;              /* the first slot of the group is in it */
};

/* A part of a resolution: see rows_parts. */
struct piece {
    int resolution, part;
};

struct rows {
    int resolution_count;
    int crops[CONFIG_CROPS_MAX], size[CONFIG_CROPS_MAX]; /* crops of an image, pixels of a side */
    int slot_images;
    int slot_count;               /* held here */
    int slot_total;               /* of the step */
    int is_exact;                 /* slots are computed one by one */
    int group_slots, group_count; /* BN groups of the step */
    int first_slot, is_run;       /* of those here; they are consecutive */
    int run_count;
    struct row_run *runs; /* [slot_count]; owned */
};

void rows_init(struct rows *rows, const struct config *config, int slot_count);
/* One resolution, one group, `count` images: for inference. */
void rows_init_plain(struct rows *rows, int count, int size);
void rows_done(struct rows *rows);
/* Which slots of the step those here are. ERR_INPUT unless ascending and in range. */
enum status rows_assign(struct rows *rows, const uint32_t *slots);

/* Is the first slot of the group here? So it is with one member. */
int rows_start_group(const struct rows *rows, int group);
/* Rows here of a resolution, of all of them, and of those before it. */
int rows_count(const struct rows *rows, int resolution);
int rows_total(const struct rows *rows);
int rows_first(const struct rows *rows, int resolution);
/* What is computed at once: all slots held, or with exact reduction each by itself, so that no
 * result depends on how many there are. A part is a run of rows in every resolution. */
int rows_parts(const struct rows *rows);
int rows_of_part(const struct rows *rows, int resolution);
/* Walks through the pieces of all resolutions, the parts of each in order, from {0, 0} on. */
int rows_has(const struct rows *rows, struct piece piece);
struct piece rows_after(const struct rows *rows, struct piece piece);
/* Rows of all resolutions that are before a piece. */
size_t rows_before(const struct rows *rows, struct piece piece);
/* Rows that one slot has in a resolution. */
int rows_of_slot(const struct rows *rows, int resolution);
/* Rows of one BN group over all members. */
int64_t rows_of_group(const struct rows *rows, int resolution);

#endif
