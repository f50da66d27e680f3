/* config.h - everything a run can be told, and the one table that knows it all.
 *
 * The file is YAML; each key is one row of a table in config.c (type, range, default, unit,
 * meaning), from which come loading, --set, `seer config show` and the test that keeps
 * configs/reference.yaml complete. An unknown key, a wrong type or a value out of range is
 * ERR_INPUT with file, line and the nearest valid name. A struct config is a plain value: copy it,
 * nothing in it is owned. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef COMMON_CONFIG_H
#define COMMON_CONFIG_H

#include <stdint.h>

#include "common/buf.h"
#include "common/status.h"

enum {
    CONFIG_CROPS_MAX = 4,
    CONFIG_HEAD_MAX = 4,
    CONFIG_PROTOTYPES_MAX = 8,
    CONFIG_STAGES_MAX = 8,
    CONFIG_MILESTONES_MAX = 16,
    CONFIG_STORES_MAX = 16,
    CONFIG_LOADERS_MAX = 16,
    CONFIG_ADDRESS_BYTES = 256,
    CONFIG_PATH_BYTES = 512,
    CONFIG_NAME_BYTES = 64,
};

enum schedule_kind { SCHEDULE_PLATEAU, SCHEDULE_COSINE, SCHEDULE_CONSTANT, SCHEDULE_MULTISTEP };
enum cosine_form { COSINE_SWAV, COSINE_VISSL };
enum optimizer_kind { OPTIMIZER_LARC, OPTIMIZER_SGD };
enum exhausted_policy { EXHAUSTED_REPEAT, EXHAUSTED_WAIT };
enum jpeg_decode_mode { JPEG_DECODE_FULL, JPEG_DECODE_SCALED };
enum reduction { REDUCTION_EXACT, REDUCTION_FAST };
enum cuda_graph { CUDA_GRAPH_AUTO, CUDA_GRAPH_OFF };
enum recompute { RECOMPUTE_KEEP, RECOMPUTE_BLOCK, RECOMPUTE_STAGES };
enum family { FAMILY_REGNETY, FAMILY_RESNET };
enum rounding_rule { ROUNDING_PYCLS, ROUNDING_TORCHVISION };
enum conv_start { CONV_START_FAN_OUT, CONV_START_FAN_IN };

struct config_crop {
    int64_t count;               /* crops of this kind per image */
    int64_t size;                /* pixels */
    double scale_min, scale_max; /* area fraction */
};

struct config {
    struct {
        char name[CONFIG_NAME_BYTES];
        int64_t seed;
    } run;
    struct {
        int64_t store_count;
        char stores[CONFIG_STORES_MAX][CONFIG_PATH_BYTES]; /* directories with shards */
        int64_t loader_count;
        char loaders[CONFIG_LOADERS_MAX][CONFIG_ADDRESS_BYTES]; /* ZeroMQ addresses */
        int64_t exhausted;                                      /* enum exhausted_policy */
        int64_t block_records; /* records read one after another, the unit of the coarse shuffle */
        int64_t window_blocks; /* blocks shuffled together record by record */
        int64_t decode_threads;
        int64_t prefetch_steps; /* batches prepared ahead */
        int64_t max_pixels;     /* larger images are refused */
        int64_t jpeg_decode;    /* enum jpeg_decode_mode */
        int64_t max_age_days;   /* living shards expire; 0: never */
        int64_t max_gb;         /* of living shards, GiB; 0: any */
        int64_t unlink_expired; /* 1: the server removes the files of what nobody needs */
    } data;
    int64_t crop_count; /* kinds of crop; the first kind is the one whose codes are assigned */
    struct config_crop crops[CONFIG_CROPS_MAX];
    struct {
        double flip, jitter, brightness, contrast, saturation, hue, gray, blur;
        double blur_sigma_min, blur_sigma_max;
        double mean[3], std[3];
    } augment;
    struct {
        int64_t family; /* enum family */
        int64_t depth, w0, group_width, stem_width, stem_stride;
        double wa, wm, se_ratio;
        int64_t rounding; /* enum rounding_rule */
        int64_t stage_count;
        int64_t stage_blocks[CONFIG_STAGES_MAX]; /* resnet */
        int64_t groups;                          /* resnet */
        int64_t conv_start;                      /* enum conv_start */
        int64_t head_count;                      /* layers of the projection head */
        int64_t head[CONFIG_HEAD_MAX]; /* output width of each; the last is the embedding */
        int64_t head_batch_norm;       /* 1: BN before each ReLU of the head */
        int64_t prototype_heads;       /* sets of prototypes, each with codes of its own */
        int64_t prototypes[CONFIG_PROTOTYPES_MAX]; /* K of each */
        double bn_eps, bn_momentum;
        char init[CONFIG_PATH_BYTES]; /* "": random */
    } model;
    struct {
        double temperature, epsilon;
        int64_t sinkhorn_iterations;
        int64_t freeze_prototypes_steps;
        int64_t queue_images; /* feature queue, images in all; 0 = none */
        int64_t queue_start_step;
    } swav;
    struct {
        int64_t batch_images; /* of all workers together; a multiple of slot_images */
        int64_t slot_images;
        int64_t reduction;                     /* enum reduction */
        int64_t bn_group_slots;                /* 0 = one group of all slots */
        int64_t steps;                         /* stop after this many; 0 = never */
        char tuning_folder[CONFIG_PATH_BYTES]; /* "": of the user's cache; "off": no tuning */
        int64_t loss_scale;                    /* the largest, a power of two; 1 = none */
        int64_t cuda_graph;                    /* enum cuda_graph */
        int64_t recompute;                     /* enum recompute */
        int64_t recompute_stage_count;
        int64_t recompute_stages[CONFIG_STAGES_MAX]; /* counted from 1 */
    } train;
    struct {
        int64_t kind; /* enum optimizer_kind */
        double momentum, weight_decay, trust, eps;
        int64_t clip;
        int64_t sharded;
    } optimizer;
    struct {
        int64_t kind; /* enum schedule_kind */
        double lr_start, lr_peak, lr_final;
        int64_t warmup_steps, length_steps; /* length: cosine only */
        int64_t cosine_form;                /* enum cosine_form */
        int64_t milestone_count;
        int64_t milestones[CONFIG_MILESTONES_MAX]; /* multistep only */
        double milestone_factor;
        int64_t plateau_window_steps, plateau_patience, plateau_cooldown;
        double plateau_threshold, plateau_noise, plateau_factor;
    } schedule;
    struct {
        int64_t every_steps, keep_last,
            keep_every; /* keep_every: every m-th snapshot for ever; 0 none */
        int64_t push_ms;
    } snapshot;
    struct {
        char engine[CONFIG_NAME_BYTES]; /* auto self mpi nccl */
        char wire[CONFIG_NAME_BYTES];   /* fp32 bf16 */
        int64_t abort_ms;
        int64_t bucket_kib;
    } collective;
    struct {
        char listen[CONFIG_PATH_BYTES];                  /* ZeroMQ address of the control socket */
        char feed[CONFIG_PATH_BYTES];                    /* ZeroMQ address of the status feed */
        int64_t heartbeat_ms, lost_ms, form_ms, step_ms; /* see reference.yaml */
        int64_t plan_ahead_steps;
        int64_t digest_every_steps;
        int64_t deal_by_speed;
        char dashboard[CONFIG_PATH_BYTES]; /* HOST:PORT; "": none */
        int64_t dashboard_open;
        int64_t dashboard_orders;
    } server;
};

/* Every key at its default. */
void config_init(struct config *config);
/* Reads a YAML file, after the files that it names as "base", over the present values, then checks
 * the whole. */
enum status config_load(const char *path, struct config *config);
/* As config_load from memory; `name` stands for the file in messages. */
enum status config_load_text(const char *name, const void *yaml, size_t length,
                             struct config *config);
/* One "a.b=c" override. Lists are written YAML-like: crops by index (crops.0.size=32),
 * model.head=[256,64]. */
enum status config_set(struct config *config, const char *assignment);
/* Relations between keys that no single row can check; messages name key and remedy. */
enum status config_check(const struct config *config);
/* The whole as YAML that config_load_text reads back to equal values. */
enum status config_print(const struct config *config, struct buf *out);
/* For a peer that speaks an older protocol: without keys that came later and stand at their
 * defaults. What it computes without them must be the same: no default changes. */
enum status config_print_for(const struct config *config, uint32_t protocol, struct buf *out);
/* The oldest protocol that can say all that differs from the defaults. */
uint32_t config_since(const struct config *config);
/* Every key with meaning, unit, range and default as comments: configs/reference.yaml. */
enum status config_print_reference(struct buf *out);
/* Hash over all that shapes the mathematics (not names, addresses, paths or timeouts): members of
 * one run must agree on it. */
uint64_t config_fingerprint(const struct config *config);

/* Derived. */
int64_t config_slots(const struct config *config); /* slots of a step */
int64_t config_crops_per_image(const struct config *config);
int64_t config_prototypes(const struct config *config); /* of all heads together */
/* The loss while every prototype is as likely as any other: ln K, on the mean of the heads. */
double config_uniform_loss(const struct config *config);

#endif
