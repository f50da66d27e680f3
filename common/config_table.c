/* config_table.c - every key of a config: type, range, default, unit and meaning. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "common/config_table.h"

#include <string.h>

#include "common/check.h"

/* The compiler refuses a member of another type: what is stored is as wide as the table says. */
#define OFFSET(member, type_)                                                                      \
    _Generic(((struct config *)0)->member, type_ : offsetof(struct config, member))
#define INT(member)    .type = CONFIG_INT, .offset = OFFSET(member, int64_t)
#define REAL(member)   .type = CONFIG_REAL, .offset = OFFSET(member, double)
#define BOOL(member)   .type = CONFIG_BOOL, .offset = OFFSET(member, int64_t)
#define CHOICE(member) .type = CONFIG_CHOICE, .offset = OFFSET(member, int64_t)
#define STRING(member)                                                                             \
    .type = CONFIG_STRING, .offset = offsetof(struct config, member),                              \
    .bytes = sizeof(((struct config *)0)->member)
#define LENGTH(member)   .length_offset = OFFSET(member, int64_t)
#define RANGE(low, high) .min = (low), .max = (high)
#define MATHS            .role = CONFIG_MATHEMATICS

/* In the order of the enums of config.h. */
static const char *const exhausted_names[] = {"repeat", "wait", NULL};
static const char *const family_names[] = {"regnety", "resnet", NULL};
static const char *const rounding_names[] = {"pycls", "torchvision", NULL};
static const char *const conv_start_names[] = {"fan_out", "fan_in", NULL};
static const char *const reduction_names[] = {"exact", "fast", NULL};
static const char *const cuda_graph_names[] = {"auto", "off", NULL};
static const char *const recompute_names[] = {"keep", "block", "stages", NULL};
static const char *const optimizer_names[] = {"larc", "sgd", NULL};
static const char *const schedule_names[] = {"plateau", "cosine", "constant", "multistep", NULL};
static const char *const cosine_form_names[] = {"swav", "vissl", NULL};
static const char *const jpeg_decode_names[] = {"full", "scaled", NULL};
static const char *const wire_names[] = {"fp32", "bf16", NULL};
static const char *const engine_names[] = {"auto", "self", "mpi", "nccl", NULL};

static const struct config_row rows[] = {
    {"run.name", STRING(run.name), .fallback = "everseer",
     .meaning = "What people call this run; shown in status, snapshots and events."},
    {"run.seed", INT(run.seed), MATHS, RANGE(0, 9007199254740992.0), .fallback = "0",
     .meaning = "Every random number of the run is a function of it."},

    {"data.stores", STRING(data.stores[0]), LENGTH(data.store_count),
     .length_max = CONFIG_STORES_MAX, .fallback = "[]",
     .meaning = "Directories with shards, as 'seer ingest' fills them. New shards are found while "
                "the run goes on."},
    {"data.loaders", STRING(data.loaders[0]), LENGTH(data.loader_count),
     .length_max = CONFIG_LOADERS_MAX, .fallback = "[]",
     .meaning =
         "Addresses of shard servers (seer-loader) from which workers read shards that are "
         "not on their own host; with keys ADDRESS,KEY, quoted. 'seer-worker --loader' adds some "
         "for one worker."},
    {"data.exhausted", CHOICE(data.exhausted), .names = exhausted_names, .fallback = "repeat",
     .meaning = "When every image was seen: 'repeat' starts another pass, 'wait' idles until new "
                "shards arrive."},
    {"data.block_records", INT(data.block_records), MATHS, RANGE(1, 1 << 20), .fallback = "64",
     .unit = "records",
     .meaning = "Records read one after another: the unit of the coarse shuffle. Larger reads "
                "faster from slow disks, smaller mixes better."},
    {"data.window_blocks", INT(data.window_blocks), MATHS, RANGE(1, 1 << 16), .fallback = "16",
     .unit = "blocks", .meaning = "Blocks whose records are shuffled together: the fine shuffle."},
    {"data.decode_threads", INT(data.decode_threads), RANGE(1, 256), .fallback = "1",
     .unit = "threads", .meaning = "Threads of each worker that decode and augment."},
    {"data.prefetch_steps", INT(data.prefetch_steps), RANGE(1, 64), .fallback = "2",
     .unit = "steps", .meaning = "Batches each worker prepares ahead."},
    {"data.max_pixels", INT(data.max_pixels), MATHS, RANGE(1, 1 << 30), .fallback = "100000000",
     .unit = "pixels",
     .meaning = "Larger images are refused, from their header, before memory is taken for them."},
    {"data.jpeg_decode", CHOICE(data.jpeg_decode), MATHS, .names = jpeg_decode_names,
     .fallback = "full",
     .meaning =
         "'full' decodes as Pillow does. 'scaled' decodes at 1/2, 1/4 or 1/8 where all crops "
         "of the image shrink by that or more: faster, but crops then differ a little."},
    {"data.max_age_days", INT(data.max_age_days), RANGE(0, 36500), .fallback = "90", .unit = "days",
     .meaning =
         "Living shards, which 'seer ingest --watch' writes, are retired at this age; others "
         "never. 90 is the refresh of Goyal et al. 2021. 0: none."},
    {"data.max_gb", INT(data.max_gb), RANGE(0, 1 << 30), .fallback = "0", .unit = "GiB",
     .meaning =
         "Of living shards the oldest are retired while all together are larger. 0: any size."},
    {"data.unlink_expired", BOOL(data.unlink_expired), .fallback = "true",
     .meaning =
         "Remove the files of a living shard that is retired once no step and no snapshot can "
         "need it. Where runs share a store: true in one of them at most."},

    {"crops.N.count", INT(crops[0].count), MATHS, RANGE(1, 32), .fallback = "[2, 4]",
     .unit = "crops",
     .meaning = "Crops of this kind per image. The codes of the first kind are predicted from all "
                "others (SwAV, section 3.2)."},
    {"crops.N.size", INT(crops[0].size), MATHS, RANGE(8, 1024), .fallback = "[224, 96]",
     .unit = "pixels", .meaning = "Width and height of the crop after resizing."},
    {"crops.N.scale_min", REAL(crops[0].scale_min), MATHS, RANGE(0.0001, 1),
     .fallback = "[0.14, 0.05]", .unit = "fraction of the image's area",
     .meaning = "Smallest area that is cut out."},
    {"crops.N.scale_max", REAL(crops[0].scale_max), MATHS, RANGE(0.0001, 1),
     .fallback = "[1, 0.14]", .unit = "fraction of the image's area",
     .meaning = "Largest area that is cut out."},

    {"augment.flip", REAL(augment.flip), MATHS, RANGE(0, 1), .fallback = "0.5",
     .unit = "probability", .meaning = "Mirror left and right."},
    {"augment.jitter", REAL(augment.jitter), MATHS, RANGE(0, 1), .fallback = "0.8",
     .unit = "probability", .meaning = "Change brightness, contrast, saturation and hue."},
    {"augment.brightness", REAL(augment.brightness), MATHS, RANGE(0, 1), .fallback = "0.8",
     .unit = "half width of the factor's range",
     .meaning = "Jitter: the factor is drawn from 1 - this to 1 + this."},
    {"augment.contrast", REAL(augment.contrast), MATHS, RANGE(0, 1), .fallback = "0.8",
     .unit = "half width of the factor's range", .meaning = "Jitter: as brightness."},
    {"augment.saturation", REAL(augment.saturation), MATHS, RANGE(0, 1), .fallback = "0.8",
     .unit = "half width of the factor's range", .meaning = "Jitter: as brightness."},
    {"augment.hue", REAL(augment.hue), MATHS, RANGE(0, 0.5), .fallback = "0.2",
     .unit = "turns of the colour circle",
     .meaning = "Jitter: the shift is drawn from minus this to this."},
    {"augment.gray", REAL(augment.gray), MATHS, RANGE(0, 1), .fallback = "0.2",
     .unit = "probability", .meaning = "Take the colour away."},
    {"augment.blur", REAL(augment.blur), MATHS, RANGE(0, 1), .fallback = "0.5",
     .unit = "probability", .meaning = "Gaussian blur."},
    {"augment.blur_sigma_min", REAL(augment.blur_sigma_min), MATHS, RANGE(0.01, 20),
     .fallback = "0.1", .unit = "pixels of the crop", .meaning = "Weakest blur."},
    {"augment.blur_sigma_max", REAL(augment.blur_sigma_max), MATHS, RANGE(0.01, 20),
     .fallback = "2", .unit = "pixels of the crop", .meaning = "Strongest blur."},
    {"augment.mean", REAL(augment.mean[0]), MATHS, .length_min = 3, .length_max = 3, RANGE(0, 1),
     .fallback = "[0.485, 0.456, 0.406]", .unit = "of full scale: red, green, blue",
     .meaning = "Subtracted from every pixel."},
    {"augment.std", REAL(augment.std[0]), MATHS, .length_min = 3, .length_max = 3, RANGE(0.001, 1),
     .fallback = "[0.229, 0.224, 0.225]", .unit = "of full scale: red, green, blue",
     .meaning = "Every pixel is divided by it after the mean was subtracted."},

    {"model.family", CHOICE(model.family), MATHS, .names = family_names, .fallback = "regnety",
     .meaning =
         "Kind of the trunk. 'regnety' is made from depth, w0, wa, wm, group_width, se_ratio "
         "and rounding; 'resnet' from stage_blocks, groups and group_width (torchvision's "
         "width_per_group), with a stem of 7x7 and a maximum behind it."},
    {"model.depth", INT(model.depth), MATHS, RANGE(1, 200), .fallback = "16", .unit = "blocks",
     .meaning = "Blocks of the RegNetY, d in the paper (Designing Network Design Spaces)."},
    {"model.w0", INT(model.w0), MATHS, RANGE(8, 4096), .fallback = "48", .unit = "channels",
     .meaning = "Width of the first block; a multiple of 8."},
    {"model.wa", REAL(model.wa), MATHS, RANGE(0, 4096), .fallback = "27.89",
     .unit = "channels a block", .meaning = "Slope of the widths."},
    {"model.wm", REAL(model.wm), MATHS, RANGE(1.01, 16), .fallback = "2.09",
     .meaning = "Ratio of the widths of two stages."},
    {"model.group_width", INT(model.group_width), MATHS, RANGE(1, 4096), .fallback = "8",
     .unit = "channels",
     .meaning = "Channels of a group of the 3x3 convolutions. regnety: the widths are rounded to "
                "multiples of it. resnet: in the first stage, 64 for a ResNet, 4 for 32x4d."},
    {"model.stem_width", INT(model.stem_width), MATHS, RANGE(1, 1024), .fallback = "32",
     .unit = "channels", .meaning = "Width of the first convolution."},
    {"model.stem_stride", INT(model.stem_stride), MATHS, RANGE(1, 2), .fallback = "2",
     .unit = "pixels", .meaning = "Stride of the first convolution; 1 for small images."},
    {"model.se_ratio", REAL(model.se_ratio), MATHS, RANGE(0.01, 1), .fallback = "0.25",
     .unit = "fraction of the block's input width",
     .meaning = "Hidden width of squeeze-and-excitation."},
    {"model.rounding", CHOICE(model.rounding), MATHS, .names = rounding_names, .fallback = "pycls",
     .meaning = "How widths become multiples of the group width. They differ for RegNetY-800MF, "
                "4.0GF and 8GF: only with 'torchvision' can these be exported to torchvision."},
    {"model.stage_blocks", INT(model.stage_blocks[0]), MATHS, LENGTH(model.stage_count),
     .length_max = CONFIG_STAGES_MAX, RANGE(1, 200), .fallback = "[]", .unit = "blocks",
     .meaning = "resnet: blocks of each stage: [3, 4, 6, 3] is a ResNet-50, [3, 4, 23, 3] a "
                "ResNet-101."},
    {"model.groups", INT(model.groups), MATHS, RANGE(1, 4096), .fallback = "1", .unit = "groups",
     .meaning = "resnet: groups of the 3x3 convolutions, 32 for a ResNeXt-101 32x4d."},
    {"model.conv_start", CHOICE(model.conv_start), MATHS, .names = conv_start_names,
     .fallback = "fan_out",
     .meaning = "Random weights that convolutions begin with: 'fan_out' is He's normal "
                "distribution by what goes out, as in torchvision and for SEER's RegNets; 'fan_in' "
                "is uniform by what comes in, PyTorch's default, with which VISSL trained "
                "ResNets."},
    {"model.head", INT(model.head[0]), MATHS, LENGTH(model.head_count), .length_min = 1,
     .length_max = CONFIG_HEAD_MAX, RANGE(1, 65536), .fallback = "[2048, 2048, 256]",
     .unit = "channels",
     .meaning = "Output width of each layer of the projection head; the last is the embedding."},
    {"model.head_batch_norm", BOOL(model.head_batch_norm), MATHS, .fallback = "false",
     .meaning = "Batch normalisation before each ReLU of the head."},
    {"model.prototypes", INT(model.prototypes[0]), MATHS, LENGTH(model.prototype_heads),
     .length_min = 1, .length_max = CONFIG_PROTOTYPES_MAX, .is_bare = 1, RANGE(2, 1 << 20),
     .fallback = "3000", .unit = "prototypes",
     .meaning = "Clusters that images are assigned to, K in the paper; about ten times the classes "
                "expected. A list is several heads, such as [3000, 3000, 3000], each with codes of "
                "its own; the loss is their mean."},
    {"model.bn_eps", REAL(model.bn_eps), MATHS, RANGE(1e-9, 0.1), .fallback = "1e-5",
     .meaning = "Added to the variance in batch normalisation."},
    {"model.bn_momentum", REAL(model.bn_momentum), MATHS, RANGE(0, 1), .fallback = "0.1",
     .unit = "fraction of the new value", .meaning = "How fast the running statistics follow."},
    {"model.init", STRING(model.init), .fallback = "", .since = 4,
     .meaning = "A snapshot to begin with, as 'seer import' makes it of published weights. Read "
                "once, when the run begins, and kept in its folder as snapshots/initial. Empty: "
                "random parameters from run.seed."},

    {"swav.temperature", REAL(swav.temperature), MATHS, RANGE(0.001, 10), .fallback = "0.1",
     .meaning = "Divides the scores before the softmax, tau in the paper."},
    {"swav.epsilon", REAL(swav.epsilon), MATHS, RANGE(0.005, 1), .fallback = "0.05",
     .meaning = "Softness of the assignment. If the loss stays at ln(prototypes), lower it: 0.03, "
                "0.02."},
    {"swav.sinkhorn_iterations", INT(swav.sinkhorn_iterations), MATHS, RANGE(1, 100),
     .fallback = "5", .unit = "iterations",
     .meaning = "Sinkhorn iterations that spread a batch over the prototypes."},
    {"swav.freeze_prototypes_steps", INT(swav.freeze_prototypes_steps), MATHS, RANGE(0, 1e9),
     .fallback = "313", .unit = "steps", .meaning = "The prototypes stay as they are so long."},
    {"swav.queue_images", INT(swav.queue_images), MATHS, RANGE(0, 1 << 20), .fallback = "0",
     .unit = "images",
     .meaning = "Earlier images that take part in the assignment, for small batches; a multiple of "
                "train.batch_images; 0 is none."},
    {"swav.queue_start_step", INT(swav.queue_start_step), MATHS, RANGE(0, 1e12), .fallback = "0",
     .unit = "steps", .meaning = "The queue is used from this step on, once it is full."},

    {"train.batch_images", INT(train.batch_images), MATHS, RANGE(2, 1 << 20), .fallback = "256",
     .unit = "images",
     .meaning = "Images of a step, of all workers together; a multiple of train.slot_images."},
    {"train.slot_images", INT(train.slot_images), MATHS, RANGE(1, 4096), .fallback = "16",
     .unit = "images", .meaning = "The smallest share of a step that a worker can get."},
    {"train.reduction", CHOICE(train.reduction), MATHS, .names = reduction_names,
     .fallback = "exact",
     .meaning = "'exact': slots are computed one by one and summed so that no order of sums shows: "
                "the same bits with any number of workers. 'fast': all slots of a worker at once, "
                "plain sums."},
    {"train.bn_group_slots", INT(train.bn_group_slots), MATHS, RANGE(0, 1 << 20), .fallback = "0",
     .unit = "slots",
     .meaning = "Slots that share the statistics of batch normalisation; divides the slots of a "
                "step; 0 is all."},
    {"train.tuning_folder", STRING(train.tuning_folder), .fallback = "",
     .meaning = "Where a worker's host keeps which of cuDNN's convolutions it measured to be "
                "fastest; empty: everseer in $XDG_CACHE_HOME or ~/.cache; off: nothing is "
                "measured, as always with exact reduction."},
    {"train.loss_scale", INT(train.loss_scale), MATHS, RANGE(1, 65536), .fallback = "1",
     .unit = "factor",
     .meaning = "What the loss is multiplied with, a power of two, so that small gradients do not "
                "vanish in fp16; wanted by workers with --device cuda:N:fp16. A skipped step "
                "halves it, 2000 committed ones double it up to this. 1 is none."},
    {"train.cuda_graph", CHOICE(train.cuda_graph), .names = cuda_graph_names, .fallback = "auto",
     .meaning = "'auto': a GPU is given what lies between two exchanges with other workers as one "
                "CUDA graph, recorded at the second step of a shape; the same bits. 'off': kernel "
                "by kernel, as always on cpu."},
    {"train.recompute", CHOICE(train.recompute), .names = recompute_names, .fallback = "keep",
     .meaning =
         "What backward needs: 'keep' holds it in memory from forward on; 'block' holds each "
         "block's output alone and computes the rest of it again, the same bits with less "
         "memory and about a third more work; 'stages' does so in recompute_stages."},
    {"train.recompute_stages", INT(train.recompute_stages[0]), LENGTH(train.recompute_stage_count),
     .length_max = CONFIG_STAGES_MAX, RANGE(1, 64), .fallback = "[]", .unit = "stages, from 1",
     .meaning = "Stages whose blocks are recomputed if train.recompute is 'stages'; the first "
                "stages hold most memory."},
    {"train.steps", INT(train.steps), RANGE(0, 1e12), .fallback = "0", .unit = "steps",
     .meaning = "Stop when so many are committed; 0 is never."},

    {"optimizer.kind", CHOICE(optimizer.kind), MATHS, .names = optimizer_names, .fallback = "larc",
     .meaning = "'larc' scales the rate of each tensor by its norms (large batches); 'sgd' does "
                "not."},
    {"optimizer.momentum", REAL(optimizer.momentum), MATHS, RANGE(0, 0.9999), .fallback = "0.9",
     .meaning = "Share of the last update that is kept."},
    {"optimizer.weight_decay", REAL(optimizer.weight_decay), MATHS, RANGE(0, 1), .fallback = "1e-6",
     .meaning = "Pull towards zero, on every tensor."},
    {"optimizer.trust", REAL(optimizer.trust), MATHS, RANGE(1e-6, 1), .fallback = "0.001",
     .meaning = "larc: size of an update relative to the tensor, eta in the paper."},
    {"optimizer.eps", REAL(optimizer.eps), MATHS, RANGE(0, 0.1), .fallback = "1e-8",
     .meaning = "larc: added to the norms it divides by."},
    {"optimizer.clip", BOOL(optimizer.clip), MATHS, .fallback = "false",
     .meaning = "larc: never go above the plain learning rate."},
    /* The bits are the same either way, but all members must do alike. */
    {"optimizer.sharded", BOOL(optimizer.sharded), MATHS, .fallback = "false",
     .meaning = "Each of n members keeps two slices of n of the momentum (ZeRO-1) in place of all "
                "of it: less memory from three members on, the same bits, one more exchange of the "
                "parameters' size each step. A death still loses nothing; members of neighbouring "
                "ranks that die at once lose the step, and the run goes back to its newest "
                "snapshot. Not with optimizer.clip."},

    {"schedule.kind", CHOICE(schedule.kind), MATHS, .names = schedule_names, .fallback = "plateau",
     .meaning = "After the warm-up: 'plateau' keeps the rate and lowers it when the loss no longer "
                "decreases, for runs without an end; 'cosine' needs length_steps; 'constant' keeps "
                "it; 'multistep' lowers it at milestones."},
    {"schedule.lr_start", REAL(schedule.lr_start), MATHS, RANGE(0, 1000), .fallback = "0.01",
     .unit = "learning rate", .meaning = "At step 0, where the warm-up begins."},
    {"schedule.lr_peak", REAL(schedule.lr_peak), MATHS, RANGE(1e-9, 1000), .fallback = "0.3",
     .unit = "learning rate",
     .meaning = "After the warm-up. The paper's: 0.3 for every 256 images of a batch."},
    {"schedule.lr_final", REAL(schedule.lr_final), MATHS, RANGE(0, 1000), .fallback = "0.0003",
     .unit = "learning rate", .meaning = "Where cosine ends, and plateau does not go below."},
    {"schedule.warmup_steps", INT(schedule.warmup_steps), MATHS, RANGE(0, 1e9), .fallback = "1000",
     .unit = "steps", .meaning = "Length of the linear warm-up."},
    {"schedule.length_steps", INT(schedule.length_steps), MATHS, RANGE(0, 1e12), .fallback = "0",
     .unit = "steps", .meaning = "cosine: where it ends, counted from step 0."},
    {"schedule.cosine_form", CHOICE(schedule.cosine_form), MATHS, .names = cosine_form_names,
     .fallback = "swav",
     .meaning = "cosine: 'swav' begins the wave after the warm-up; with 'vissl', by which SEER was "
                "trained, it began at step 0, so the rate drops a little when the warm-up ends."},
    {"schedule.milestones", INT(schedule.milestones[0]), MATHS, LENGTH(schedule.milestone_count),
     .length_max = CONFIG_MILESTONES_MAX, RANGE(1, 1e12), .fallback = "[]", .unit = "steps",
     .meaning = "multistep: the rate is multiplied by milestone_factor from each of these on."},
    {"schedule.milestone_factor", REAL(schedule.milestone_factor), MATHS, RANGE(0.0001, 0.9999),
     .fallback = "0.1", .meaning = "multistep: what the rate is multiplied by."},
    {"schedule.plateau_window_steps", INT(schedule.plateau_window_steps), MATHS, RANGE(10, 1e7),
     .fallback = "1000", .unit = "steps",
     .meaning = "plateau: the loss is averaged over windows of so many."},
    {"schedule.plateau_patience", INT(schedule.plateau_patience), MATHS, RANGE(1, 1000),
     .fallback = "3", .unit = "windows",
     .meaning = "plateau: windows without improvement before the rate is lowered."},
    {"schedule.plateau_cooldown", INT(schedule.plateau_cooldown), MATHS, RANGE(0, 1000),
     .fallback = "2", .unit = "windows", .meaning = "plateau: windows not judged after that."},
    {"schedule.plateau_threshold", REAL(schedule.plateau_threshold), MATHS, RANGE(0, 0.5),
     .fallback = "0.001", .unit = "fraction of the loss",
     .meaning = "plateau: a smaller decrease is none."},
    {"schedule.plateau_noise", REAL(schedule.plateau_noise), MATHS, RANGE(0, 100), .fallback = "2",
     .unit = "standard errors of the window's mean",
     .meaning = "plateau: a decrease within this noise is none."},
    {"schedule.plateau_factor", REAL(schedule.plateau_factor), MATHS, RANGE(0.01, 0.99),
     .fallback = "0.5", .meaning = "plateau: the rate is multiplied by it."},

    {"snapshot.every_steps", INT(snapshot.every_steps), RANGE(1, 1e9), .fallback = "500",
     .unit = "steps",
     .meaning = "A snapshot of the whole training state each time so many are "
                "committed."},
    {"snapshot.keep_last", INT(snapshot.keep_last), RANGE(1, 10000), .fallback = "3",
     .unit = "snapshots", .meaning = "The newest ones are kept."},
    {"snapshot.keep_every", INT(snapshot.keep_every), RANGE(0, 1000000), .fallback = "0",
     .unit = "snapshots", .meaning = "Every so-many-th is kept for ever; 0 is none."},
    {"snapshot.push_ms", INT(snapshot.push_ms), RANGE(100, 86400000), .fallback = "600000",
     .unit = "ms",
     .meaning = "Members have so long to push one; then it is given up, and the next comes at its "
                "time. When the run ends it is for three attempts together."},

    {"collective.engine", STRING(collective.engine), .names = engine_names, .fallback = "auto",
     .meaning = "What adds up gradients: 'auto' is nccl if each worker has a GPU of its own, mpi "
                "otherwise, nothing for one alone; with 'self' one worker trains and others stand "
                "by."},
    {"collective.wire", STRING(collective.wire), .names = wire_names, .fallback = "fp32",
     .meaning = "How gradients travel with engine nccl and fast reduction; bf16 is half as much, "
                "rounded."},
    {"collective.abort_ms", INT(collective.abort_ms), RANGE(10, 60000), .fallback = "2000",
     .unit = "ms",
     .meaning = "NCCL has so long to abort; then the worker ends, to be started again."},
    {"collective.bucket_kib", INT(collective.bucket_kib), RANGE(4, 1 << 20), .fallback = "1024",
     .unit = "KiB",
     .meaning = "Gradients are reduced in pieces of this size, while backward goes "
                "on."},

    {"server.listen", STRING(server.listen), .fallback = "tcp://127.0.0.1:5680",
     .meaning = "ZeroMQ address of the control socket."},
    {"server.feed", STRING(server.feed), .fallback = "tcp://127.0.0.1:5681",
     .meaning = "ZeroMQ address of the status feed."},
    {"server.heartbeat_ms", INT(server.heartbeat_ms), RANGE(10, 60000), .fallback = "250",
     .unit = "ms", .meaning = "Workers say this often that they live."},
    {"server.lost_ms", INT(server.lost_ms), RANGE(50, 600000), .fallback = "3000", .unit = "ms",
     .meaning = "A worker not heard of for so long is lost; the others regroup without it."},
    {"server.form_ms", INT(server.form_ms), RANGE(100, 600000), .fallback = "15000", .unit = "ms",
     .meaning = "Members have so long to form a group; who is late is left out."},
    {"server.step_ms", INT(server.step_ms), RANGE(100, 86400000), .fallback = "600000",
     .unit = "ms", .meaning = "A member has so long for a step; who is late is lost."},
    {"server.plan_ahead_steps", INT(server.plan_ahead_steps), RANGE(1, 64), .fallback = "3",
     .unit = "steps", .meaning = "Steps planned ahead, so that workers can decode ahead."},
    {"server.digest_every_steps", INT(server.digest_every_steps), RANGE(1, 1000000),
     .fallback = "1", .unit = "steps",
     .meaning = "How often the members' parameters are compared, bit for bit."},
    {"server.deal_by_speed", BOOL(server.deal_by_speed), .fallback = "true",
     .meaning = "Slower members compute fewer slots of a step, at least one."},
    {"server.dashboard", STRING(server.dashboard), .fallback = "",
     .meaning = "Where the page of the run is served, such as 127.0.0.1:5682; empty: nowhere. "
                "'seer dashboard' does the same by hand."},
    {"server.dashboard_open", BOOL(server.dashboard_open), .fallback = "false",
     .meaning = "Let that be an address that other hosts reach. Nobody who reaches it is asked who "
                "he is."},
    {"server.dashboard_orders", BOOL(server.dashboard_orders), .fallback = "false", .since = 4,
     .meaning = "Let the page pause and resume the run and drain workers, for who knows the token "
                "in the run's folder, dashboard.token, which is made if it is not there. Not with "
                "dashboard_open."},
};

enum { ROW_COUNT = sizeof(rows) / sizeof(rows[0]) };
_Static_assert((int)ROW_COUNT <= (int)CONFIG_ROWS_MAX, "raise CONFIG_ROWS_MAX");

const struct config_row *config_rows(int *ret_count)
{
    *ret_count = ROW_COUNT;
    return rows;
}

const struct config_row *config_row_find(const char *key)
{
    for (int i = 0; i < ROW_COUNT; i++) {
        if (strcmp(rows[i].key, key) == 0)
            return &rows[i];
    }
    return NULL;
}

int config_is_section(const char *key)
{
    size_t length = strlen(key);
    for (int i = 0; i < ROW_COUNT; i++) {
        if (strncmp(rows[i].key, key, length) == 0 && rows[i].key[length] == '.')
            return 1;
    }
    return 0;
}

int config_row_is_crop(const struct config_row *row)
{
    return strncmp(row->key, "crops.", strlen("crops.")) == 0;
}

int config_row_is_list(const struct config_row *row, const struct config *config)
{
    return row->length_max > 0 && !(row->is_bare && config_row_length(row, config) == 1);
}

int config_row_length(const struct config_row *row, const struct config *config)
{
    if (config_row_is_crop(row))
        return (int)config->crop_count;
    if (row->length_offset != 0) {
        int64_t length = *(const int64_t *)((const char *)config + row->length_offset);
        CHECK(length >= 0 && length <= row->length_max);
        return (int)length;
    }
    return row->length_max > 0 ? row->length_max : 1;
}
