/* crop.c - RandomResizedCrop's parameters (torchvision/transforms/transforms.py, get_params). */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "loader/crop.h"

#include <math.h>

enum { TRIES = 10 };
static const double RATIO_MIN = 3.0 / 4.0, RATIO_MAX = 4.0 / 3.0;
static const double LOG_RATIO_MAX = 0.28768207245178090; /* log(4/3) = -log(3/4) */

/* exp(x) for |x| <= log(4/3), by its series: term 13 is below 2^-53. */
static double exp_small(double x)
{
    double sum = 1.0;
    for (int n = 13; n >= 1; n--)
        sum = 1.0 + x * sum / n;
    return sum;
}

/* Python's round: halves go to the even neighbour (the default rounding mode). */
static int round_even(double x)
{
    return (int)rint(x);
}

static int at_least_one(int pixels)
{
    return pixels < 1 ? 1 : pixels;
}

struct crop_box crop_central(int width, int height)
{
    struct crop_box box = {.width = width, .height = height};
    double ratio = (double)width / (double)height;
    /* A sliver one pixel wide still needs a height of one, which torchvision forgets. */
    if (ratio < RATIO_MIN)
        box.height = at_least_one(round_even(width / RATIO_MIN));
    else if (ratio > RATIO_MAX)
        box.width = at_least_one(round_even(height * RATIO_MAX));
    box.x = (width - box.width) / 2;
    box.y = (height - box.height) / 2;
    return box;
}

struct crop_box crop_draw(struct random *random, int width, int height, double scale_min,
                          double scale_max)
{
    double image_area = (double)width * (double)height;
    for (int i = 0; i < TRIES; i++) {
        double area = image_area * random_uniform(random, scale_min, scale_max);
        double ratio = exp_small(random_uniform(random, -LOG_RATIO_MAX, LOG_RATIO_MAX));
        struct crop_box box = {
            .width = round_even(sqrt(area * ratio)),
            .height = round_even(sqrt(area / ratio)),
        };
        if (box.width < 1 || box.width > width || box.height < 1 || box.height > height)
            continue;
        box.y = (int)random_below(random, (uint32_t)(height - box.height + 1));
        box.x = (int)random_below(random, (uint32_t)(width - box.width + 1));
        return box;
    }
    return crop_central(width, height);
}
