/* witness_samples.c - one record of each kind of a worker's journal, with every member set. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/unit/witness_samples.h"

#include "common/mem.h"

static void make_step(struct witness_step *step)
{
    enum { SLOTS = 3, IMAGES = 2 };
    *step =
        (struct witness_step){.generation = 7,
                              .step = UINT64_C(1) << 40,
                              .lineage = 2,
                              .is_applied = 1,
                              .digest = UINT64_MAX - 3,
                              .slot_count = SLOTS,
                              .slot_images = IMAGES,
                              .slots = mem_array(SLOTS, sizeof(struct witness_slot)),
                              .images = mem_array(SLOTS * IMAGES, sizeof(struct witness_image))};
    for (uint32_t i = 0; i < SLOTS; i++)
        step->slots[i] = (struct witness_slot){i + 4, (UINT64_C(1) << 41) + i};
    for (uint32_t i = 0; i < SLOTS * IMAGES; i++)
        step->images[i] = (struct witness_image){i, UINT32_MAX - i};
}

void witness_sample(enum witness_kind kind, struct witness *ret_witness)
{
    *ret_witness = (struct witness){.kind = kind, .missed = 9};
    if (kind == WITNESS_BEGIN)
        ret_witness->begin = (struct witness_begin){.format = WITNESS_FORMAT,
                                                    .run = 3,
                                                    .worker = UINT64_MAX - 1,
                                                    .segment = 5,
                                                    .name = mem_string("worker-1")};
    else if (kind == WITNESS_STATE)
        ret_witness->state = (struct witness_state){
            .generation = 6, .step = 1000, .lineage = 1, .is_own = 1, .digest = 11};
    else
        make_step(&ret_witness->step);
}
