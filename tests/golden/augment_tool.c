/* augment_tool.c - carries out augmentations that a script asks for; augment.py compares the bytes.
 *
 * stdin, again and again: a line "WIDTH HEIGHT SHRINK X Y W H SIZE FLIP OP VALUE OP VALUE ... ."
 * and the image's bytes; stdout: the crop's bytes. X Y W H are in pixels of an image SHRINK times
 * as large. With W = SIZE and H = SIZE nothing is resampled. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "loader/blur.h"
#include "loader/color.h"
#include "loader/resize.h"

static void apply(const char *name, double value, struct planes *planes, struct planes *scratch)
{
    if (strcmp(name, "brightness") == 0) {
        color_brightness(planes, (float)value);
    } else if (strcmp(name, "contrast") == 0) {
        color_contrast(planes, (float)value);
    } else if (strcmp(name, "saturation") == 0) {
        color_saturation(planes, (float)value);
    } else if (strcmp(name, "hue") == 0) {
        color_hue(planes, (int)(value * 255));
    } else if (strcmp(name, "gray") == 0) {
        color_gray(planes);
    } else if (strcmp(name, "blur") == 0) {
        blur_gaussian(planes, (float)value, scratch);
    } else {
        fprintf(stderr, "augment_tool: unknown operation '%s'\n", name);
        exit(2);
    }
}

int main(void)
{
    struct resize *resize = resize_create();
    struct planes planes = {0}, scratch = {0};
    int width, height, shrink, size, is_flipped;
    struct crop_box box;
    while (scanf("%d %d %d %d %d %d %d %d %d", &width, &height, &shrink, &box.x, &box.y, &box.width,
                 &box.height, &size, &is_flipped) == 9) {
        char names[8][32];
        double values[8];
        int count = 0;
        while (count < 8 && scanf(" %31s", names[count]) == 1 && names[count][0] != '.') {
            if (scanf("%lf", &values[count++]) != 1)
                return 2;
        }
        size_t in_bytes = (size_t)width * (size_t)height * 3;
        size_t out_bytes = (size_t)size * (size_t)size * 3;
        uint8_t *in = mem_alloc(in_bytes), *out = mem_alloc(out_bytes);
        if (getchar() != '\n' || fread(in, 1, in_bytes, stdin) != in_bytes)
            return 2;
        planes_resize(&planes, size);
        const struct image_part whole = {
            .width = width * shrink, .height = height * shrink, .shrink = shrink};
        const struct resize_crop crop = {box, is_flipped, &planes};
        resize_begin(resize, &whole, &crop, 1);
        resize_rows(resize, in, (size_t)width * 3);
        resize_end(resize);
        for (int i = 0; i < count; i++)
            apply(names[i], values[i], &planes, &scratch);
        planes_save(&planes, out);
        if (fwrite(out, 1, out_bytes, stdout) != out_bytes || fflush(stdout) != 0)
            return 2;
        mem_free(in);
        mem_free(out);
    }
    planes_done(&planes);
    planes_done(&scratch);
    resize_destroy(resize);
    return 0;
}
