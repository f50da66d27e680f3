/* planes.c - taking an RGB picture apart and putting it together. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "loader/planes.h"

#include "common/mem.h"
#include "loader/simd.h"

void planes_resize(struct planes *planes, int size)
{
    size_t row_bytes = 3 * (size_t)size;
    row_bytes = (row_bytes + PLANES_ROW_STEP - 1) / PLANES_ROW_STEP * PLANES_ROW_STEP;
    size_t bytes = row_bytes * (size_t)size;
    if (bytes > planes->capacity) {
        mem_free(planes->bytes);
        planes->bytes = mem_aligned(bytes);
        planes->capacity = bytes;
    }
    planes->size = size;
    planes->row_bytes = row_bytes;
}

void planes_done(struct planes *planes)
{
    mem_free(planes->bytes);
    *planes = (struct planes){0};
}

void planes_load(struct planes *planes, const uint8_t *rgb)
{
    for (int y = 0; y < planes->size; y++) {
        uint8_t *restrict red = planes_row(planes, y, 0);
        uint8_t *restrict green = planes_row(planes, y, 1);
        uint8_t *restrict blue = planes_row(planes, y, 2);
        const uint8_t *row = rgb + (size_t)y * (size_t)planes->size * 3;
        for (int x = 0; x < planes->size; x++) {
            red[x] = row[3 * x];
            green[x] = row[3 * x + 1];
            blue[x] = row[3 * x + 2];
        }
    }
}

SIMD_CLONES
static void save_row(const uint8_t *red, const uint8_t *green, const uint8_t *blue, int count,
                     uint8_t *restrict out)
{
    for (int x = 0; x < count; x++) {
        out[3 * x] = red[x];
        out[3 * x + 1] = green[x];
        out[3 * x + 2] = blue[x];
    }
}

void planes_save(const struct planes *planes, uint8_t *ret_rgb)
{
    size_t row_bytes = 3 * (size_t)planes->size;
    for (int y = 0; y < planes->size; y++)
        save_row(planes_row(planes, y, 0), planes_row(planes, y, 1), planes_row(planes, y, 2),
                 planes->size, ret_rgb + (size_t)y * row_bytes);
}
