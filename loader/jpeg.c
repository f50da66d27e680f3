/* jpeg.c - libjpeg-turbo with its errors turned into a status.
 *
 * libjpeg leaves by longjmp, so everything that must survive lives in one struct outside of the
 * function that called setjmp. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "loader/jpeg.h"

#include <setjmp.h>
#include <stdio.h>

#include <jpeglib.h>

#include <jerror.h>

#include "common/mem.h"
#include "loader/exif.h"

/* A progressive file may hold any number of scans, each a pass over the whole picture; real ones
 * have about ten (libjpeg-turbo's own -maxscans example uses 500). */
enum {
    SCANS_MAX = 500,
    SHRUNK_PIXELS_MAX =
        1 << 30,    /* of a file that is decoded smaller: time, not memory, bounds it */
    SHRINK_MAX = 8, /* the least that libjpeg decodes is an eighth */
    ROWS_MAX = 4,   /* libjpeg gives as many at a time as share a row of colours: 4 at most */
    MARGIN = 4,     /* pixels around a part: its edges are upsampled without their neighbours */
};

struct decoder {
    struct jpeg_decompress_struct jpeg;
    struct jpeg_error_mgr error;
    struct jpeg_progress_mgr progress;
    jmp_buf back;
    struct image *image;
    enum image_reason reason;
    int orientation;
    int is_cut_fine, is_cut;
    uint32_t whole_rows; /* that were there before the file broke off */
    /* Of the picture as stored, in pixels that come out. */
    uint32_t first_row, end_row;
    char words[JMSG_LENGTH_MAX];
};

static enum image_reason reason_of_error(int code)
{
    switch (code) {
    case JERR_INPUT_EOF:
    case JERR_INPUT_EMPTY:
    case JERR_FILE_READ:
        return IMAGE_REASON_TRUNCATED;
    case JERR_BAD_PRECISION:
    case JERR_SOF_UNSUPPORTED:
    case JERR_CONVERSION_NOTIMPL:
    case JERR_ARITH_NOTIMPL:
    case JERR_FRACT_SAMPLE_NOTIMPL:
    case JERR_CCIR601_NOTIMPL:
        return IMAGE_REASON_UNSUPPORTED;
    case JERR_IMAGE_TOO_BIG:
    case JERR_NO_BACKING_STORE: /* more than max_memory_to_use */
    case JERR_OUT_OF_MEMORY:    /* more than libjpeg asks for at once */
        return IMAGE_REASON_TOO_LARGE;
    default:
        return IMAGE_REASON_CORRUPT;
    }
}

static void leave(struct decoder *decoder, enum image_reason reason)
{
    decoder->reason = reason;
    decoder->error.format_message((j_common_ptr)&decoder->jpeg, decoder->words);
    longjmp(decoder->back, 1);
}

/* The host's memory and not the picture's size: jmemmgr.c's cases 2 and 4 are a malloc that failed,
 * all others are sizes that it does not ask for. */
static int is_host_exhausted(j_common_ptr common)
{
    int which = common->err->msg_parm.i[0];
    return common->err->msg_code == JERR_OUT_OF_MEMORY && (which == 2 || which == 4);
}

static void on_error(j_common_ptr common)
{
    if (is_host_exhausted(common)) /* or all would skip a picture that is whole */
        mem_run_out("libjpeg");
    leave(common->client_data, reason_of_error(common->err->msg_code));
}

/* Warnings mean that pixels were made up, but for the few that concern only the wrapping. */
static void on_message(j_common_ptr common, int level)
{
    struct decoder *decoder = common->client_data;
    if (level >= 0 || decoder->is_cut)
        return;
    switch (common->err->msg_code) {
    case JWRN_EXTRANEOUS_DATA: /* stray bytes between segments, common in the wild */
    case JWRN_ADOBE_XFORM:
    case JWRN_JFIF_MAJOR:
    case JWRN_BOGUS_ICC:
        return;
    case JWRN_JPEG_EOF:
        if (decoder->is_cut_fine) { /* of several passes none is whole: no row is, then */
            decoder->is_cut = 1;
            decoder->whole_rows = decoder->jpeg.output_scanline;
            return;
        }
        leave(common->client_data, IMAGE_REASON_TRUNCATED);
        return;
    default:
        leave(common->client_data, IMAGE_REASON_CORRUPT);
    }
}

static void on_progress(j_common_ptr common)
{
    struct decoder *decoder = common->client_data;
    if (decoder->jpeg.input_scan_number <= SCANS_MAX)
        return;
    decoder->reason = IMAGE_REASON_CORRUPT;
    snprintf(decoder->words, sizeof(decoder->words), "more than %d scans", SCANS_MAX);
    longjmp(decoder->back, 1);
}

static int saved_orientation(const struct jpeg_decompress_struct *jpeg)
{
    for (jpeg_saved_marker_ptr marker = jpeg->marker_list; marker != NULL; marker = marker->next) {
        int orientation = exif_orientation(marker->data, marker->data_length);
        if (orientation != 1)
            return orientation;
    }
    return 1;
}

/* Naive ink to light: R = C K / 255. All known writers of such files store the complement of the
 * ink, as Adobe's do; Pillow takes that for granted as well, with or without Adobe's marker. */
static void row_from_cmyk(const uint8_t *cmyk, uint8_t *rgb, uint32_t width)
{
    for (uint32_t x = 0; x < width; x++, cmyk += 4, rgb += 3) {
        for (int c = 0; c < 3; c++)
            rgb[c] = (uint8_t)((cmyk[c] * cmyk[3] + 127) / 255);
    }
}

/* Reads up to `count` rows, which end up at rgb. */
static uint32_t read_some(struct decoder *decoder, uint8_t *rgb, uint32_t count)
{
    struct jpeg_decompress_struct *jpeg = &decoder->jpeg;
    uint32_t width = jpeg->output_width;
    JSAMPROW rows[ROWS_MAX];
    if (jpeg->out_color_space == JCS_CMYK) {
        rows[0] = image_scratch(decoder->image, (size_t)width * 4);
        count = jpeg_read_scanlines(jpeg, rows, 1);
        if (count == 1)
            row_from_cmyk(rows[0], rgb, width);
        return count;
    }
    count = count < ROWS_MAX ? count : ROWS_MAX;
    for (uint32_t i = 0; i < count; i++)
        rows[i] = rgb + (size_t)i * width * 3;
    return jpeg_read_scanlines(jpeg, rows, count);
}

static void read_rows(struct decoder *decoder)
{
    struct jpeg_decompress_struct *jpeg = &decoder->jpeg;
    size_t row_bytes = (size_t)jpeg->output_width * 3;
    while (jpeg->output_scanline < decoder->end_row) {
        size_t y = jpeg->output_scanline - decoder->first_row;
        read_some(decoder, decoder->image->pixels + y * row_bytes,
                  decoder->end_row - jpeg->output_scanline);
    }
}

/* Strip after strip at the same place, each handed on before the next. */
static void hand_on_rows(struct decoder *decoder, const struct image_wish *wish)
{
    struct jpeg_decompress_struct *jpeg = &decoder->jpeg;
    struct image *image = decoder->image;
    size_t row_bytes = (size_t)jpeg->output_width * 3;
    for (int32_t first = 0; first < image->height; first += IMAGE_STRIP) {
        uint32_t count = (uint32_t)(image->height - first), read = 0;
        count = count < IMAGE_STRIP ? count : IMAGE_STRIP;
        while (read < count)
            read += read_some(decoder, image->pixels + read * row_bytes, count - read);
        wish->take_rows(wish->context, image, image->pixels, first, (int32_t)count);
    }
    image->is_handed_on = 1;
}

/* Of a progressive file libjpeg keeps all coefficients, of 2 bytes, whatever the size of what comes
 * out. */
static size_t coefficient_bytes(const struct jpeg_decompress_struct *jpeg)
{
    size_t bytes = 0;
    if (!jpeg->progressive_mode && jpeg->comps_in_scan == jpeg->num_components)
        return 0;
    for (int i = 0; i < jpeg->num_components; i++)
        bytes += (size_t)jpeg->comp_info[i].width_in_blocks * jpeg->comp_info[i].height_in_blocks *
                 DCTSIZE2 * sizeof(JCOEF);
    return bytes;
}

/* The largest of 1/1, 1/2, 1/4, 1/8 that is within the limits; then makes room for it. */
static enum status reserve(struct decoder *decoder, const struct image_limits *limits)
{
    struct jpeg_decompress_struct *jpeg = &decoder->jpeg;
    uint64_t all = (uint64_t)jpeg->image_width * jpeg->image_height;
    unsigned shrink_max = all <= SHRUNK_PIXELS_MAX ? SHRINK_MAX : 1;
    size_t kept = coefficient_bytes(jpeg), extra = 0;
    jpeg->scale_num = 1;
    for (jpeg->scale_denom = 1; jpeg->scale_denom <= shrink_max; jpeg->scale_denom *= 2) {
        jpeg_calc_output_dimensions(jpeg);
        extra = kept;
        if (decoder->orientation > 1)
            extra += (size_t)jpeg->output_width * jpeg->output_height * 3;
        if (image_fits(jpeg->output_width, jpeg->output_height, extra, limits))
            break;
    }
    if (jpeg->scale_denom > shrink_max) { /* refused below, in the file's own numbers */
        jpeg->scale_denom = 1;
        jpeg_calc_output_dimensions(jpeg);
    }
    TRY(image_reserve(decoder->image, jpeg->output_width, jpeg->output_height, extra, limits));
    decoder->image->stored_width = (int32_t)jpeg->image_width;
    decoder->image->stored_height = (int32_t)jpeg->image_height;
    jpeg->mem->max_memory_to_use = (long)(2 * kept + (64 << 20)); /* a second line of defence */
    return OK;
}

static int is_turned_aside(const struct decoder *decoder)
{
    return decoder->orientation >= 5 && decoder->orientation <= 8;
}

/* Asks which part is wanted, and for as much shrinking as libjpeg has beyond what reserve chose. */
static struct image_part wanted_part(struct decoder *decoder, const struct image_wish *wish)
{
    struct jpeg_decompress_struct *jpeg = &decoder->jpeg;
    struct image *image = decoder->image;
    int32_t width = (int32_t)jpeg->output_width, height = (int32_t)jpeg->output_height;
    image->whole_width = is_turned_aside(decoder) ? height : width;
    image->whole_height = is_turned_aside(decoder) ? width : height;
    struct image_part part = wish->part_of(wish->context, image->whole_width, image->whole_height);
    part = image_part_unturned(part, decoder->orientation, image->whole_width, image->whole_height);
    if (jpeg_has_multiple_scans(jpeg)) { /* all has been unpacked before the first row comes out */
        part.x = part.y = 0;
        part.width = width;
        part.height = height;
    }
    while (part.shrink * (int32_t)jpeg->scale_denom > SHRINK_MAX)
        part.shrink /= 2;
    jpeg->scale_denom *= (unsigned)part.shrink;
    return part;
}

/* libjpeg-turbo 2.1's jpeg_crop_scanline takes too few columns of what is shrunk by less than the
 * rest and enlarged all the same; up to 2x2 there is no such thing. */
static int is_croppable(const struct jpeg_decompress_struct *jpeg)
{
    return jpeg->scale_denom == 1 || (jpeg->max_h_samp_factor <= 2 && jpeg->max_v_samp_factor <= 2);
}

/* Leaves out what is above, below and beside the part. libjpeg begins at whole blocks. */
static void start_part(struct decoder *decoder, const struct image_part *part)
{
    struct jpeg_decompress_struct *jpeg = &decoder->jpeg;
    struct image *image = decoder->image;
    int32_t width = image->whole_width, height = image->whole_height;
    const uint32_t all_columns = jpeg->output_width, all_rows = jpeg->output_height;
    const uint32_t shrink = (uint32_t)part->shrink;
    uint32_t x = (uint32_t)part->x / shrink, y = (uint32_t)part->y / shrink;
    uint32_t right = (uint32_t)(part->x + part->width - 1) / shrink + 1 + MARGIN;
    uint32_t bottom = (uint32_t)(part->y + part->height - 1) / shrink + 1;
    JDIMENSION column = 0, columns = all_columns;
    if (is_croppable(jpeg)) {
        column = x > MARGIN ? x - MARGIN : 0;
        columns = (right < all_columns ? right : all_columns) - column;
        jpeg_crop_scanline(jpeg, &column, &columns);
    }
    decoder->first_row = y > MARGIN ? y - MARGIN : 0;
    decoder->first_row = jpeg_skip_scanlines(jpeg, decoder->first_row);
    decoder->end_row = bottom < all_rows ? bottom : all_rows;
    image->width = (int32_t)columns;
    image->height = (int32_t)(decoder->end_row - decoder->first_row);
    image->part = (struct image_part){
        .x = (int32_t)(column * shrink),
        .y = (int32_t)(decoder->first_row * shrink),
        .width = image->width * part->shrink,
        .height = image->height * part->shrink,
        .shrink = part->shrink,
    };
    image->part = image_part_turned(image->part, decoder->orientation,
                                    is_turned_aside(decoder) ? height : width,
                                    is_turned_aside(decoder) ? width : height);
}

/* Keeps the rows above the break, if they are half the picture or more. */
static enum status keep_whole_rows(struct decoder *decoder)
{
    struct image *image = decoder->image;
    if (decoder->whole_rows == 0 || decoder->whole_rows < (uint32_t)image->height / 2)
        return image_refuse(image, IMAGE_REASON_TRUNCATED,
                            "JPEG: the file breaks off after %u of %d rows", decoder->whole_rows,
                            image->height);
    image->height = (int32_t)decoder->whole_rows;
    image->is_cut = 1;
    return OK;
}

/* All that libjpeg may leave by longjmp; the caller destroys. */
static enum status decode(struct decoder *decoder, const uint8_t *bytes, size_t length,
                          const struct image_limits *limits, const struct image_wish *wish)
{
    struct jpeg_decompress_struct *jpeg = &decoder->jpeg;
    struct image *image = decoder->image;
    if (setjmp(decoder->back) != 0)
        return image_refuse(image, decoder->reason, "JPEG: %s", decoder->words);
    jpeg_create_decompress(jpeg);
    jpeg->client_data = decoder;
    jpeg->progress = &decoder->progress;
    jpeg_mem_src(jpeg, bytes, length);
    jpeg_save_markers(jpeg, JPEG_APP0 + 1, 0xFFFF);
    jpeg_read_header(jpeg, TRUE);
    decoder->orientation = saved_orientation(jpeg); /* finishing frees the markers */
    TRY(reserve(decoder, limits));
    int is_part = wish != NULL && !limits->is_cut_fine;
    struct image_part part = {0};
    if (is_part)
        part = wanted_part(decoder, wish);
    int is_ink = jpeg->jpeg_color_space == JCS_CMYK || jpeg->jpeg_color_space == JCS_YCCK;
    jpeg->out_color_space = is_ink ? JCS_CMYK : JCS_RGB;
    jpeg_start_decompress(jpeg);
    decoder->end_row = jpeg->output_height;
    if (is_part)
        start_part(decoder, &part);
    if (is_part && wish->take_rows != NULL && decoder->orientation <= 1)
        hand_on_rows(decoder, wish);
    else
        read_rows(decoder);
    if (decoder->end_row == jpeg->output_height) /* else the rest is not even looked at */
        jpeg_finish_decompress(jpeg);
    if (decoder->is_cut)
        TRY(keep_whole_rows(decoder));
    image_turn(image, decoder->orientation);
    return OK;
}

enum status jpeg_decode(struct image *image, const uint8_t *bytes, size_t length,
                        const struct image_limits *limits, const struct image_wish *wish)
{
    struct decoder decoder = {
        .image = image, .reason = IMAGE_REASON_CORRUPT, .is_cut_fine = limits->is_cut_fine};
    decoder.jpeg.err = jpeg_std_error(&decoder.error);
    decoder.jpeg.client_data = &decoder; /* kept by jpeg_create_decompress */
    decoder.error.error_exit = on_error;
    decoder.error.emit_message = on_message;
    decoder.progress.progress_monitor = on_progress;
    enum status status = decode(&decoder, bytes, length, limits, wish);
    jpeg_destroy_decompress(&decoder.jpeg);
    return status;
}
