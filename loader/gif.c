/* gif.c - giflib, line by line, up to the end of the first frame. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "loader/gif.h"

#include <string.h>

#include <gif_lib.h>

enum { EXTENSIONS_MAX = 1000 };

struct reader {
    const uint8_t *at;
    size_t left;
};

static int read_bytes(GifFileType *gif, GifByteType *into, int count)
{
    struct reader *reader = gif->UserData;
    size_t length = (size_t)count < reader->left ? (size_t)count : reader->left;
    memcpy(into, reader->at, length);
    reader->at += length;
    reader->left -= length;
    return (int)length;
}

static enum status refuse(struct image *image, int code)
{
    int is_cut = code == D_GIF_ERR_READ_FAILED || code == D_GIF_ERR_EOF_TOO_SOON;
    const char *words = GifErrorString(code);
    return image_refuse(image, is_cut ? IMAGE_REASON_TRUNCATED : IMAGE_REASON_CORRUPT, "GIF: %s",
                        words != NULL ? words : "damaged");
}

/* The last graphics control block before the frame says what is transparent; -1: nothing. */
static enum status skip_extension(struct image *image, GifFileType *gif, int *transparent)
{
    GifByteType *extension;
    GraphicsControlBlock block;
    int kind;
    if (DGifGetExtension(gif, &kind, &extension) != GIF_OK)
        return refuse(image, gif->Error);
    if (kind == GRAPHICS_EXT_FUNC_CODE && extension != NULL &&
        DGifExtensionToGCB(extension[0], extension + 1, &block) == GIF_OK)
        *transparent = block.TransparentColor;
    while (extension != NULL)
        if (DGifGetExtensionNext(gif, &extension) != GIF_OK)
            return refuse(image, gif->Error);
    return OK;
}

static enum status find_frame(struct image *image, GifFileType *gif, int *transparent)
{
    GifRecordType kind;
    *transparent = -1;
    for (int i = 0; i < EXTENSIONS_MAX; i++) {
        if (DGifGetRecordType(gif, &kind) != GIF_OK)
            return refuse(image, gif->Error);
        if (kind == IMAGE_DESC_RECORD_TYPE)
            return OK;
        if (kind != EXTENSION_RECORD_TYPE)
            return image_refuse(image, IMAGE_REASON_CORRUPT, "GIF: there is no frame in it");
        TRY(skip_extension(image, gif, transparent));
    }
    return image_refuse(image, IMAGE_REASON_CORRUPT, "GIF: more than %d blocks before a frame",
                        EXTENSIONS_MAX);
}

struct frame {
    int left, top, width, height;
    int transparent;
    const ColorMapObject *colours;
};

/* Indices without a colour are black, as in Pillow. */
static void paint_line(struct image *image, const struct frame *frame, int y,
                       const GifPixelType *line)
{
    uint8_t *to =
        image->pixels + ((size_t)(frame->top + y) * (size_t)image->width + (size_t)frame->left) * 3;
    for (int x = 0; x < frame->width; x++, to += 3) {
        int index = line[x];
        if (index == frame->transparent)
            continue;
        GifColorType colour = {0, 0, 0};
        if (index < frame->colours->ColorCount)
            colour = frame->colours->Colors[index];
        to[0] = colour.Red;
        to[1] = colour.Green;
        to[2] = colour.Blue;
    }
}

static enum status read_lines(struct image *image, GifFileType *gif, const struct frame *frame,
                              int first, int step)
{
    GifPixelType *line = image_scratch(image, (size_t)frame->width);
    for (int y = first; y < frame->height; y += step) {
        if (DGifGetLine(gif, line, frame->width) != GIF_OK)
            return refuse(image, gif->Error);
        paint_line(image, frame, y, line);
    }
    return OK;
}

/* GIF89a, appendix E: four passes over the lines. */
static enum status read_frame(struct image *image, GifFileType *gif, const struct frame *frame)
{
    static const int first[] = {0, 4, 2, 1}, step[] = {8, 8, 4, 2};
    if (!gif->Image.Interlace)
        return read_lines(image, gif, frame, 0, 1);
    for (int pass = 0; pass < 4; pass++)
        TRY(read_lines(image, gif, frame, first[pass], step[pass]));
    return OK;
}

static enum status decode(struct image *image, GifFileType *gif, const struct image_limits *limits)
{
    struct frame frame;
    TRY(find_frame(image, gif, &frame.transparent));
    if (DGifGetImageDesc(gif) != GIF_OK)
        return refuse(image, gif->Error);
    frame.left = gif->Image.Left;
    frame.top = gif->Image.Top;
    frame.width = gif->Image.Width;
    frame.height = gif->Image.Height;
    frame.colours = gif->Image.ColorMap != NULL ? gif->Image.ColorMap : gif->SColorMap;
    if (frame.width < 1 || frame.height < 1)
        return image_refuse(image, IMAGE_REASON_CORRUPT, "GIF: its first frame has no pixels");
    if (frame.colours == NULL)
        return image_refuse(image, IMAGE_REASON_CORRUPT, "GIF: it has no colours");
    int width = frame.left + frame.width, height = frame.top + frame.height;
    width = gif->SWidth > width ? gif->SWidth : width;
    height = gif->SHeight > height ? gif->SHeight : height;
    TRY(image_reserve(image, (uint32_t)width, (uint32_t)height, (size_t)frame.width, limits));
    memset(image->pixels, 255, (size_t)width * (size_t)height * 3);
    return read_frame(image, gif, &frame);
}

enum status gif_decode(struct image *image, const uint8_t *bytes, size_t length,
                       const struct image_limits *limits)
{
    struct reader reader = {.at = bytes, .left = length};
    int error = 0;
    GifFileType *gif = DGifOpen(&reader, read_bytes, &error);
    if (gif == NULL)
        return refuse(image, error);
    enum status status = decode(image, gif, limits);
    DGifCloseFile(gif, &error);
    return status;
}
