/* winograd_ways.h - ways from and to the positions of winograd.h, for a vector of channels. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_DEVICE_CPU_WINOGRAD_WAYS_H
#define WORKER_DEVICE_CPU_WINOGRAD_WAYS_H

#include "worker/device/cpu/vec.h"
#include "worker/device/cpu/winograd.h"

/* Ways from and to positions, in one dimension, named by what is at the other end and the stride;
 * DY is the weight gradient's, OUTER are the two of the data gradient of stride 2. */
enum way {
    FROM_X1,
    FROM_X2,
    FROM_DY1,
    FROM_DY2,
    FROM_OUTER,
    FROM_TAPS1,
    FROM_TAPS2,
    TO_Y1,
    TO_Y2,
    TO_OUTER,
    TO_TAPS1,
    TO_TAPS2
};

/* How many values a way takes and gives, in one dimension. */
struct way_ends {
    int in, out;
};

ALWAYS_INLINE struct way_ends way_ends(enum way way)
{
    switch (way) {
    case FROM_X1:
        return (struct way_ends){4, 4};
    case FROM_X2:
        return (struct way_ends){5, 5};
    case FROM_DY1:
        return (struct way_ends){2, 4};
    case FROM_DY2:
        return (struct way_ends){2, 5};
    case FROM_OUTER:
        return (struct way_ends){3, 5};
    case FROM_TAPS1:
        return (struct way_ends){3, 4};
    case FROM_TAPS2:
        return (struct way_ends){3, 5};
    case TO_Y1:
        return (struct way_ends){4, 2};
    case TO_Y2:
        return (struct way_ends){5, 2};
    case TO_OUTER:
        return (struct way_ends){5, 4};
    case TO_TAPS1:
        return (struct way_ends){4, 3};
    case TO_TAPS2:
        return (struct way_ends){5, 3};
    }
    return (struct way_ends){0};
}

/* In one dimension; values of in and out are a step apart. */
ALWAYS_INLINE void way_line(enum way way, const vec *in, int in_step, vec *out, int out_step)
{
    const struct way_ends ends = way_ends(way);
    const int in_count = ends.in, out_count = ends.out;
    vec a[5], b[5];
#pragma GCC unroll 5
    for (int i = 0; i < in_count; i++)
        a[i] = in[i * in_step];
    switch (way) {
    case FROM_X1:
        b[0] = a[0] - a[2], b[1] = a[1] + a[2], b[2] = a[2] - a[1], b[3] = a[1] - a[3];
        break;
    case FROM_X2:
        b[0] = a[0] - a[2], b[1] = a[2], b[2] = a[4] - a[2], b[3] = a[1], b[4] = a[3];
        break;
    case FROM_DY1:
        b[0] = a[0], b[1] = a[0] + a[1], b[2] = a[0] - a[1], b[3] = -a[1];
        break;
    case FROM_DY2:
        b[0] = a[0], b[1] = a[0] + a[1], b[2] = a[1], b[3] = a[0], b[4] = a[1];
        break;
    case FROM_OUTER:
        b[0] = a[0] - a[1], b[1] = a[1], b[2] = a[2] - a[1], b[3] = a[0], b[4] = a[1];
        break;
    case FROM_TAPS1:
        b[0] = a[0], b[3] = a[2];
        b[1] = 0.5f * (a[0] + a[2] + a[1]), b[2] = 0.5f * (a[0] + a[2] - a[1]);
        break;
    case FROM_TAPS2:
        b[0] = a[0], b[1] = a[0] + a[2], b[2] = a[2], b[3] = a[1], b[4] = a[1];
        break;
    case TO_Y1:
        b[0] = a[0] + a[1] + a[2], b[1] = a[1] - a[2] - a[3];
        break;
    case TO_Y2:
        b[0] = a[0] + a[1] + a[3], b[1] = a[1] + a[2] + a[4];
        break;
    case TO_OUTER:
        b[0] = a[3], b[1] = a[0] + a[1], b[2] = a[4], b[3] = a[1] + a[2];
        break;
    case TO_TAPS1:
        b[0] = a[0] + 0.5f * (a[1] + a[2]);
        b[1] = 0.5f * (a[1] - a[2]), b[2] = a[3] + 0.5f * (a[1] + a[2]);
        break;
    case TO_TAPS2:
        b[0] = a[0] + a[1], b[1] = a[3] + a[4], b[2] = a[1] + a[2];
        break;
    }
#pragma GCC unroll 5
    for (int i = 0; i < out_count; i++)
        out[i * out_step] = b[i];
}

/* In two: in [n][n] to out [m][m], rows first. */
ALWAYS_INLINE void way_plane(enum way way, const vec *in, vec *out)
{
    const struct way_ends ends = way_ends(way);
    vec half[WINOGRAD_POSITIONS_MAX]; /* [n][m] */
#pragma GCC unroll 5
    for (int y = 0; y < ends.in; y++)
        way_line(way, in + (ptrdiff_t)y * ends.in, 1, half + (ptrdiff_t)y * ends.out, 1);
#pragma GCC unroll 5
    for (int x = 0; x < ends.out; x++)
        way_line(way, half + x, ends.out, out + x, ends.out);
}

#endif
