/* bench_loader.c - decodes and crops images from memory on one thread, as a decode thread does.
 *
 * Times are CPU time of the thread, so what else runs on the machine hardly disturbs them. The
 * floor is decoding alone: no loader that decodes whole images with this library can be faster.
 * Ours leaves out what no crop shows. Decoding alone and all of it alternate, so that both see the
 * same state of the machine. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "loader/bench_loader.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/config.h"
#include "common/fs.h"
#include "common/json.h"
#include "common/mem.h"
#include "loader/image.h"
#include "loader/multicrop.h"
#include "loader/shard.h"
#include "loader/store.h"

enum { IMAGES_MAX = 256, IMAGES_DEFAULT = 64 };

static const char *const stage_names[MULTICROP_STAGES] = {
    [MULTICROP_RESIZE] = "resize",
    [MULTICROP_COLOR] = "color",
    [MULTICROP_BLUR] = "blur",
    [MULTICROP_SAVE] = "save",
};

struct bench {
    struct config config;
    int image_count;
    struct buf images[IMAGES_MAX];     /* encoded */
    uint64_t bytes, pixels;            /* of all images */
    int64_t decoded_count, decoded_us; /* whole images, nothing else done with them */
    int64_t cropped_count, cropped_us; /* all of it */
    double part_us;                    /* of another time, decoding what the crops need */
    double stage_us[MULTICROP_STAGES]; /* and the rest */
};

static enum status add_image(struct bench *bench, const void *bytes, size_t length)
{
    struct buf *image = &bench->images[bench->image_count++];
    buf_init(image, RECORD_BYTES_MAX);
    return buf_append(image, bytes, length);
}

static enum status load_files(struct bench *bench, int count, char **paths)
{
    if (count > IMAGES_MAX)
        return fail(ERR_INPUT, "%d images are given, at most %d are taken", count, IMAGES_MAX);
    for (int i = 0; i < count; i++) {
        TRY(add_image(bench, "", 0));
        TRY(fs_read_file(paths[i], &bench->images[i]));
    }
    return OK;
}

static enum status load_shard(struct bench *bench, const char *path, int limit)
{
    enum status status = OK;
    struct shard *shard = NULL;
    struct shard_reader *reader = NULL;
    struct record record;
    TRY_OUT(shard_open(path, &shard));
    TRY_OUT(shard_reader_open(shard, &reader));
    for (uint32_t i = 0; i < shard_record_count(shard) && bench->image_count < limit; i++) {
        TRY_OUT(shard_read(reader, i, &record));
        TRY_OUT(add_image(bench, record.bytes, record.length));
    }
out:
    shard_reader_close(reader);
    shard_close(shard);
    return status;
}

static enum status load_store(struct bench *bench, const char *path, int limit)
{
    struct store store;
    TRY(store_load(path, &store));
    enum status status = OK;
    for (uint32_t i = 0; i < store.shard_count && status == OK; i++)
        status = load_shard(bench, store.shards[i].path, limit);
    store_done(&store);
    return status;
}

/* The whole image if wish is NULL. */
static enum status decode(struct bench *bench, int i, struct image *image,
                          const struct image_wish *wish)
{
    const struct image_limits limits = {
        .max_pixels = bench->config.data.max_pixels,
        .max_side = image_limits_default.max_side,
        .min_side = image_limits_default.min_side,
    };
    enum status status =
        image_decode_part(image, bench->images[i].bytes, bench->images[i].length, &limits, wish);
    return status == OK ? OK : fail_add(status, "image %d of %d", i + 1, bench->image_count);
}

/* Every image once, decoded and cropped as a decode thread does it. */
static enum status crop_all(struct bench *bench, struct image *image, struct multicrop *multicrop,
                            const struct multicrop_target *targets)
{
    for (int i = 0; i < bench->image_count; i++) {
        uint64_t position = (uint64_t)(bench->cropped_count + i);
        struct image_wish wish = multicrop_wish(multicrop, position);
        TRY(decode(bench, i, image, &wish));
        multicrop_image(multicrop, image, position, targets);
    }
    return OK;
}

/* The same with a look at the clock between the stages. Stages share the CPU time as they share the
 * time on the wall. Rows are resized as they come: what is not of another stage is decoding. */
static enum status measure_stages(struct bench *bench, struct image *image,
                                  struct multicrop *multicrop,
                                  const struct multicrop_target *targets)
{
    int64_t stage_us[MULTICROP_STAGES] = {0};
    int64_t start_us = clock_us(), start_thread_us = clock_thread_us();
    multicrop_measure(multicrop, stage_us);
    enum status status = crop_all(bench, image, multicrop, targets);
    multicrop_measure(multicrop, NULL);
    double cpu_us = (double)(clock_thread_us() - start_thread_us);
    double share = cpu_us / (double)(clock_us() - start_us);
    bench->part_us += cpu_us;
    for (int i = 0; i < MULTICROP_STAGES; i++) {
        bench->stage_us[i] += share * (double)stage_us[i];
        bench->part_us -= share * (double)stage_us[i];
    }
    return status;
}

/* Every image three times: decoded alone, with crops, with crops stage by stage. */
static enum status run_round(struct bench *bench, struct image *image, struct multicrop *multicrop,
                             const struct multicrop_target *targets)
{
    int64_t start_us = clock_thread_us();
    for (int i = 0; i < bench->image_count; i++)
        TRY(decode(bench, i, image, NULL));
    int64_t middle_us = clock_thread_us();
    TRY(crop_all(bench, image, multicrop, targets));
    bench->decoded_us += middle_us - start_us;
    bench->cropped_us += clock_thread_us() - middle_us;
    TRY(measure_stages(bench, image, multicrop, targets));
    bench->decoded_count += bench->image_count;
    bench->cropped_count += bench->image_count;
    return OK;
}

/* Touches everything once and adds up the sizes. */
static enum status warm_up(struct bench *bench, struct image *image, struct multicrop *multicrop,
                           const struct multicrop_target *targets)
{
    for (int i = 0; i < bench->image_count; i++) {
        TRY(decode(bench, i, image, NULL));
        multicrop_image(multicrop, image, (uint64_t)i, targets);
        bench->bytes += bench->images[i].length;
        bench->pixels += (uint64_t)image->width * (uint64_t)image->height;
    }
    return OK;
}

static enum status measure(struct bench *bench, double seconds)
{
    enum status status = OK;
    struct multicrop_target targets[CONFIG_CROPS_MAX] = {0};
    for (int64_t kind = 0; kind < bench->config.crop_count; kind++) {
        const struct config_crop *crop = &bench->config.crops[kind];
        targets[kind].stride = (size_t)(crop->size * crop->size * 3);
        targets[kind].first = mem_aligned((size_t)crop->count * targets[kind].stride);
    }
    struct image image;
    image_init(&image);
    struct multicrop *multicrop = multicrop_create(&bench->config, 1);
    TRY_OUT(warm_up(bench, &image, multicrop, targets));
    int64_t end_us = clock_us() + (int64_t)(seconds * 1e6);
    do
        TRY_OUT(run_round(bench, &image, multicrop, targets));
    while (clock_us() < end_us);
out:
    multicrop_destroy(multicrop);
    image_done(&image);
    for (int64_t kind = 0; kind < bench->config.crop_count; kind++)
        mem_free(targets[kind].first);
    return status;
}

static double per_second(int64_t count, int64_t us)
{
    return us > 0 ? (double)count * 1e6 / (double)us : 0.0;
}

static json_t *crops_json(const struct config *config)
{
    json_t *crops = json_array();
    for (int64_t kind = 0; kind < config->crop_count; kind++) {
        const struct config_crop *crop = &config->crops[kind];
        json_array_append_new(crops,
                              json_pack("{s:I, s:I, s:f, s:f}", "count", (json_int_t)crop->count,
                                        "size_pixels", (json_int_t)crop->size, "scale_min",
                                        crop->scale_min, "scale_max", crop->scale_max));
    }
    return crops;
}

static void report_json(const struct bench *bench, double seconds)
{
    double part_us = bench->part_us / (double)bench->cropped_count;
    json_t *stages = json_pack("{s:f}", "decode", part_us);
    for (int i = 0; i < MULTICROP_STAGES; i++)
        json_object_set_new(stages, stage_names[i],
                            json_real(bench->stage_us[i] / (double)bench->cropped_count));
    json_t *object =
        json_pack("{s:i, s:f, s:i, s:I, s:I, s:f, s:f, s:o, s:o}", "schema_version", 1, "seconds",
                  seconds, "images", bench->image_count, "bytes_per_image",
                  (json_int_t)(bench->bytes / (uint64_t)bench->image_count), "pixels_per_image",
                  (json_int_t)(bench->pixels / (uint64_t)bench->image_count),
                  "images_per_second_per_core", per_second(bench->cropped_count, bench->cropped_us),
                  "decode_only_images_per_second_per_core",
                  per_second(bench->decoded_count, bench->decoded_us), "crops",
                  crops_json(&bench->config), "stage_us_per_image", stages);
    json_print(object);
    json_decref(object);
}

static void report_text(const struct bench *bench)
{
    printf("%d images, %llu bytes and %llu pixels each; one thread, CPU time\n", bench->image_count,
           (unsigned long long)(bench->bytes / (uint64_t)bench->image_count),
           (unsigned long long)(bench->pixels / (uint64_t)bench->image_count));
    printf("%-14s %8.0f images/s\n", "decode only",
           per_second(bench->decoded_count, bench->decoded_us));
    printf("%-14s %8.0f images/s\n", "with crops",
           per_second(bench->cropped_count, bench->cropped_us));
    printf("%-14s %8.1f us/image\n", "decode", bench->part_us / (double)bench->cropped_count);
    for (int i = 0; i < MULTICROP_STAGES; i++)
        printf("%-14s %8.1f us/image\n", stage_names[i],
               bench->stage_us[i] / (double)bench->cropped_count);
}

/* SwAV's crops on photographs, unless a config says otherwise. */
static enum status load_config(const char *path, struct config *config)
{
    config_init(config);
    if (path != NULL)
        return config_load(path, config);
    config->crop_count = 2;
    config->crops[0] = (struct config_crop){2, 224, 0.14, 1.0};
    config->crops[1] = (struct config_crop){4, 96, 0.05, 0.14};
    return OK;
}

static enum status bench_run(struct bench *bench, const char *store, int64_t limit,
                             const char *config, double seconds, int path_count, char **paths)
{
    TRY(load_config(config, &bench->config));
    if (store != NULL)
        TRY(load_store(bench, store, (int)limit));
    else
        TRY(load_files(bench, path_count, paths));
    if (bench->image_count == 0)
        return fail(ERR_INPUT, "there are no images: give a store that has some, or image files");
    return measure(bench, seconds);
}

static int bench_loader_run(int argc, char **argv)
{
    const char *store = NULL, *config = NULL, *output = NULL;
    int64_t limit = IMAGES_DEFAULT;
    double seconds = 5.0;
    int is_images = 0;
    const struct option_row rows[] = {
        {"store", 's', OPTION_STRING, &store, "DIR", "take the first images of this store"},
        {"images", 0, OPTION_FLAG, &is_images, NULL, "take the image files named (the default)"},
        {"limit", 'n', OPTION_INT, &limit, "N", "images taken from a store (default 64)"},
        {"config", 'c', OPTION_STRING, &config, "FILE",
         "crops and strengths (default: 2 of 224 and 4 of 96 pixels)"},
        {"seconds", 0, OPTION_DOUBLE, &seconds, "N", "how long to measure (default 5)"},
        {"output", 'o', OPTION_STRING, &output, "FORMAT", "table (default) or json"},
        {NULL, 0, OPTION_FLAG, NULL, NULL, NULL},
    };
    const struct usage usage = {
        .program = "seer bench loader",
        .synopsis = "--store DIR | --images FILE... [--seconds N] [-o json]",
        .summary = "Times decoding and cropping on one core, and what each stage takes of it.",
        .examples = "  seer bench loader --store photos --seconds 10\n"
                    "  seer bench loader --images *.jpg -o json",
        .options = rows,
    };
    int first;
    enum status status = options_parse(&usage, argc, argv, &first);
    if (status == OK && (store != NULL) == (first < argc))
        status = fail(ERR_INPUT, "give either --store DIR or image files");
    if (status == OK && (limit < 1 || limit > IMAGES_MAX || !(seconds >= 0 && seconds <= 3600)))
        status = fail(ERR_INPUT, "--limit is 1 to %d, --seconds 0 to 3600", IMAGES_MAX);
    if (status == OK)
        status = options_check_output(output);
    if (status != OK)
        return options_exit(&usage, status);
    struct bench *bench = mem_zero(sizeof(*bench));
    status = bench_run(bench, store, limit, config, seconds, argc - first, argv + first);
    if (status == OK && options_is_json(output))
        report_json(bench, seconds);
    else if (status == OK)
        report_text(bench);
    for (int i = 0; i < bench->image_count; i++)
        buf_done(&bench->images[i]);
    mem_free(bench);
    return command_exit(usage.program, status);
}

const struct command bench_loader_command = {"loader", "images decoded and augmented in a second",
                                             bench_loader_run};
