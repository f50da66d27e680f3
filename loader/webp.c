/* webp.c - libwebp from memory to memory. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "loader/webp.h"

#include <string.h>

#include <webp/decode.h>
#include <webp/demux.h>

#include "loader/exif.h"

static enum status refuse(struct image *image, VP8StatusCode code)
{
    if (code == VP8_STATUS_NOT_ENOUGH_DATA || code == VP8_STATUS_SUSPENDED)
        return image_refuse(image, IMAGE_REASON_TRUNCATED, "WebP: the file ends too early");
    /* Not always the host's: newer ones say so of a damaged alpha header too, and of the host's
     * some are called damage. So it cannot end the process. */
    if (code == VP8_STATUS_OUT_OF_MEMORY)
        return image_refuse(image, IMAGE_REASON_TOO_LARGE, "WebP: no memory for it");
    if (code == VP8_STATUS_UNSUPPORTED_FEATURE)
        return image_refuse(image, IMAGE_REASON_UNSUPPORTED, "WebP: of a kind that libwebp lacks");
    return image_refuse(image, IMAGE_REASON_CORRUPT, "WebP: damaged");
}

/* One frame into rows of `channels` bytes a pixel. */
static enum status decode_frame(struct image *image, const WebPIterator *frame, int channels,
                                uint8_t *into, size_t stride)
{
    WebPDecoderConfig config;
    if (!WebPInitDecoderConfig(&config))
        return fail(ERR_INPUT, "libwebp does not match its header: install libwebp-dev anew");
    config.output.colorspace = channels == 4 ? MODE_RGBA : MODE_RGB;
    config.output.is_external_memory = 1;
    config.output.u.RGBA.rgba = into;
    config.output.u.RGBA.stride = (int)stride;
    config.output.u.RGBA.size = stride * (size_t)frame->height;
    VP8StatusCode code = WebPDecode(frame->fragment.bytes, frame->fragment.size, &config);
    WebPFreeDecBuffer(&config.output);
    return code == VP8_STATUS_OK ? OK : refuse(image, code);
}

/* Alpha over white, and white where the frame does not reach. */
static void lay_on_white(struct image *image, const uint8_t *rgba, const WebPIterator *frame)
{
    memset(image->pixels, 255, (size_t)image->width * (size_t)image->height * 3);
    for (int y = 0; y < frame->height; y++) {
        size_t at = (size_t)(frame->y_offset + y) * (size_t)image->width + (size_t)frame->x_offset;
        image_flatten(rgba + (size_t)y * (size_t)frame->width * 4, image->pixels + at * 3,
                      (size_t)frame->width);
    }
}

static int orientation_of(const WebPDemuxer *demuxer)
{
    WebPChunkIterator chunk;
    int orientation = 1;
    if (WebPDemuxGetChunk(demuxer, "EXIF", 1, &chunk)) {
        orientation = exif_orientation_of_file(chunk.chunk.bytes, chunk.chunk.size);
        WebPDemuxReleaseChunkIterator(&chunk);
    }
    return orientation;
}

static enum status decode(struct image *image, const WebPDemuxer *demuxer,
                          const WebPIterator *frame, const struct image_limits *limits)
{
    uint32_t width = WebPDemuxGetI(demuxer, WEBP_FF_CANVAS_WIDTH);
    uint32_t height = WebPDemuxGetI(demuxer, WEBP_FF_CANVAS_HEIGHT);
    size_t pixels = (size_t)width * height;
    int orientation = orientation_of(demuxer);
    int is_whole = frame->x_offset == 0 && frame->y_offset == 0 &&
                   (uint32_t)frame->width == width && (uint32_t)frame->height == height;
    int has_scratch = frame->has_alpha || !is_whole;
    /* libwebp itself keeps 4 bytes a pixel of a lossless file. */
    size_t extra = pixels * (has_scratch ? 8 : orientation > 1 ? 7 : 4);
    TRY(image_reserve(image, width, height, extra, limits));
    if (has_scratch) {
        uint8_t *rgba = image_scratch(image, (size_t)frame->width * (size_t)frame->height * 4);
        TRY(decode_frame(image, frame, 4, rgba, (size_t)frame->width * 4));
        lay_on_white(image, rgba, frame);
    } else {
        TRY(decode_frame(image, frame, 3, image->pixels, (size_t)width * 3));
    }
    image_turn(image, orientation);
    return OK;
}

enum status webp_decode(struct image *image, const uint8_t *bytes, size_t length,
                        const struct image_limits *limits)
{
    WebPData data = {.bytes = bytes, .size = length};
    WebPDemuxState state;
    WebPIterator frame;
    WebPDemuxer *demuxer = WebPDemuxPartial(&data, &state);
    enum status status;
    if (demuxer == NULL)
        return image_refuse(
            image, state == WEBP_DEMUX_PARSE_ERROR ? IMAGE_REASON_CORRUPT : IMAGE_REASON_TRUNCATED,
            "WebP: its header is %s", state == WEBP_DEMUX_PARSE_ERROR ? "damaged" : "cut off");
    if (state != WEBP_DEMUX_DONE) {
        status = image_refuse(image, IMAGE_REASON_TRUNCATED, "WebP: the file ends too early");
    } else if (!WebPDemuxGetFrame(demuxer, 1, &frame)) {
        status = image_refuse(image, IMAGE_REASON_CORRUPT, "WebP: there is no frame in it");
    } else {
        status = decode(image, demuxer, &frame, limits);
        WebPDemuxReleaseIterator(&frame);
    }
    WebPDemuxDelete(demuxer);
    return status;
}
