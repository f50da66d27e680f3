/* slice.h - who holds which slice of the optimizer's state, where members keep slices of it.
 *
 * With optimizer.sharded the momentum of a generation of n members is cut into n slices, and member
 * r keeps slices r and r - 1 (around): every slice is there twice, so one death loses none, and two
 * neighbours at once lose one. Pure. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef COMMON_SLICE_H
#define COMMON_SLICE_H

#include <stdint.h>

/* Slices rank and rank - 1 of count. {0, 1}: all of it; count 0: nothing. */
struct slice_holding {
    uint32_t rank, count;
};

int slice_is_held(const struct slice_holding *holding, uint32_t slice, uint32_t count);
/* Into how many slices it is cut of which these holders have every one: 1 if somebody has all of
 * it; 0: none, something is lost. */
uint32_t slice_find_cut(const struct slice_holding *holdings, uint32_t holder_count);
/* The first of the holders that has this slice of `count`; holder_count: nobody. */
uint32_t slice_find_holder(const struct slice_holding *holdings, uint32_t holder_count,
                           uint32_t slice, uint32_t count);

#endif
