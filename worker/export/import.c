/* import.c - a snapshot of step 0 out of matched weights and random numbers. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/export/import.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/architecture.h"
#include "common/mem.h"
#include "common/safetensors_digest.h"

enum { CONFIG_TEXT_BYTES_MAX = 1 << 20 };

/* A prototype whose norm is this near to 1 is one already, and keeps its bits. */
#define UNIT_TOLERANCE 1e-6

/* Values of all parameters and statistics, and zeros for the rest. */
struct values {
    int count;
    float **tensors; /* [count], owned; NULL: zeros */
    float *zeros;    /* as many as the largest tensor has */
};

static void values_done(struct values *values)
{
    for (int i = 0; i < values->count; i++)
        mem_free(values->tensors[i]);
    mem_free(values->tensors);
    mem_free(values->zeros);
}

static enum status check_finite(const struct weights *weights, const struct weights_tensor *source,
                                const float *values, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (!isfinite(values[i]))
            return fail(ERR_INPUT, "'%s': tensor '%s' holds %s, as of a run that diverged",
                        weights->path, source->name, isnan(values[i]) ? "NaN" : "infinity");
    return OK;
}

/* SwAV normalises prototypes before it uses them, so a file may hold others; here they are unit
 * vectors at rest too (model/head.h). */
static enum status make_units(const struct weights *weights, const char *name, float *rows,
                              int64_t count, int64_t columns)
{
    for (int64_t row = 0; row < count; row++, rows += columns) {
        double square = 0;
        for (int64_t i = 0; i < columns; i++)
            square += (double)rows[i] * (double)rows[i];
        const double norm = sqrt(square);
        if (norm == 0)
            return fail(ERR_INPUT, "'%s': row %" PRId64 " of '%s' is zero, which is no prototype",
                        weights->path, row, name);
        for (int64_t i = 0; i < columns && fabs(norm - 1) >= UNIT_TOLERANCE; i++)
            rows[i] = (float)((double)rows[i] / norm);
    }
    return OK;
}

static enum status fill(const struct weights *weights, const struct weights_tensor *source,
                        const struct state_tensor *tensor, uint64_t seed, float *values)
{
    if (source == NULL) {
        state_fill(tensor, seed, values);
        return OK;
    }
    weights_read(weights, source, values);
    TRY(check_finite(weights, source, values, tensor->length));
    if (state_is_prototypes(tensor))
        TRY(make_units(weights, source->name, values, tensor->shape[0], tensor->shape[1]));
    return OK;
}

static enum status gather(const struct weights *weights, const struct state_layout *layout,
                          const struct weights_match *match, uint64_t seed, struct values *values)
{
    size_t longest = 1;
    values->count = layout->tensor_count;
    values->tensors = mem_array((size_t)values->count, sizeof(*values->tensors));
    for (int i = 0; i < layout->tensor_count; i++) {
        const struct state_tensor *tensor = &layout->tensors[i];
        longest = tensor->length > longest ? tensor->length : longest;
        if (tensor->kind != STATE_PARAMETER && tensor->kind != STATE_STATISTIC)
            continue;
        values->tensors[i] = mem_alloc(tensor->length * sizeof(float));
        TRY(fill(weights, match->sources[i], tensor, seed, values->tensors[i]));
    }
    values->zeros = mem_array(longest, sizeof(float));
    return OK;
}

/* The metadata of a snapshot (saved_state.h), and where it came from. */
static enum status add_metadata(const struct config *config, const struct weights *weights,
                                const struct weights_match *match,
                                struct safetensors_header *header)
{
    static const char *const zeros[] = {
        "everseer.step",
        "everseer.lineage",
        "everseer.run",
        "everseer.queue_filled",
        "everseer.loss_scale_halvings",
        "everseer.loss_scale_committed",
    };
    struct buf text;
    buf_init(&text, CONFIG_TEXT_BYTES_MAX);
    enum status status = config_print(config, &text);
    if (status == OK) {
        safetensors_add_metadata(header, "format", "pt");
        for (size_t i = 0; i < sizeof(zeros) / sizeof(zeros[0]); i++)
            safetensors_add_metadata(header, zeros[i], "0");
        safetensors_add_metadata(header, "everseer.config", (const char *)text.bytes);
        char *origin =
            mem_format("%s (%s names): trunk%s%s", weights->path, keymap_layout_name(match->layout),
                       match->head_count > 0 ? ", head" : "",
                       match->prototypes_count > 0 ? ", prototypes" : "");
        safetensors_add_metadata(header, "everseer.origin", origin);
        mem_free(origin);
        safetensors_reserve_digests(header);
    }
    buf_done(&text);
    return status;
}

static enum status save(const struct config *config, const struct weights *weights,
                        const struct state_layout *layout, const struct weights_match *match,
                        const struct values *values, const char *to)
{
    struct safetensors_header header;
    enum status status = OK;
    safetensors_init(&header);
    for (int i = 0; i < layout->tensor_count; i++) {
        const struct state_tensor *tensor = &layout->tensors[i];
        TRY_OUT(safetensors_add(&header, tensor->name, SAFETENSORS_F32, tensor->rank, tensor->shape,
                                values->tensors[i] != NULL ? values->tensors[i] : values->zeros));
    }
    TRY_OUT(add_metadata(config, weights, match, &header));
    TRY_OUT(safetensors_save(to, &header));
out:
    safetensors_done(&header);
    return status;
}

enum status import_save(const struct config *config, struct weights *weights,
                        const struct match_wish *wish, const char *to,
                        struct weights_match *ret_match)
{
    struct state_layout layout;
    struct weights_match match = {0};
    struct values values = {0};
    enum status status = OK;
    TRY(architecture_check(config));
    state_layout_init(&layout, config);
    TRY_OUT(weights_match(weights, config, &layout, wish, &match));
    for (int i = 0; i < layout.tensor_count; i++)
        if (match.sources[i] != NULL)
            weights_want(weights, match.sources[i]);
    TRY_OUT(weights_load(weights));
    TRY_OUT(gather(weights, &layout, &match, (uint64_t)config->run.seed, &values));
    TRY_OUT(save(config, weights, &layout, &match, &values, to));
    *ret_match = match;
    match = (struct weights_match){0}; /* given to the caller */
out:
    values_done(&values);
    weights_match_done(&match);
    state_layout_done(&layout);
    return status;
}
