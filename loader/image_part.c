/* image_part.c - a rectangle turned with its picture. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "loader/image_part.h"

/* An orientation is one of these three or several, the transposition last (TIFF 6.0, tag 274). */
static int is_mirrored(int orientation)
{
    return orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
}

static int is_upside_down(int orientation)
{
    return orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
}

static int is_transposed(int orientation)
{
    return orientation >= 5 && orientation <= 8;
}

struct image_part image_part_turned(struct image_part part, int orientation, int32_t width,
                                    int32_t height)
{
    struct image_part turned = part;
    if (is_mirrored(orientation))
        part.x = width - part.x - part.width;
    if (is_upside_down(orientation))
        part.y = height - part.y - part.height;
    turned.x = is_transposed(orientation) ? part.y : part.x;
    turned.y = is_transposed(orientation) ? part.x : part.y;
    turned.width = is_transposed(orientation) ? part.height : part.width;
    turned.height = is_transposed(orientation) ? part.width : part.height;
    return turned;
}

struct image_part image_part_unturned(struct image_part part, int orientation, int32_t width,
                                      int32_t height)
{
    if (orientation == 6 || orientation == 8) /* quarter turns; all others undo themselves */
        orientation = 14 - orientation;
    return image_part_turned(part, orientation, width, height);
}
