/* snapshot_file.c - between ranges of the file and tensors of the block. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/snapshot_file.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/check.h"
#include "common/mem.h"
#include "common/safetensors_digest.h"

enum {
    SHARE_ALIGN = 4096,
    LENGTH_BYTES = 8, /* of the header, at the start of the file */
};

static void add_number(struct safetensors_header *header, const char *key, uint64_t value)
{
    char text[24];
    snprintf(text, sizeof(text), "%" PRIu64, value);
    safetensors_add_metadata(header, key, text);
}

/* header: initialised; out: everything before the data. */
static enum status header_create(const struct snapshot_identity *identity,
                                 const struct state *state, struct safetensors_header *header,
                                 struct buf *out)
{
    const struct state_layout *layout = &state->layout;
    for (int i = 0; i < layout->tensor_count; i++) {
        const struct state_tensor *tensor = &layout->tensors[i];
        TRY(safetensors_add(header, tensor->name, SAFETENSORS_F32, tensor->rank, tensor->shape,
                            state->block + tensor->offset));
    }
    add_number(header, "everseer.step", identity->step);
    add_number(header, "everseer.lineage", identity->lineage);
    add_number(header, "everseer.run", identity->run);
    add_number(header, "everseer.queue_filled", state->queue_filled);
    add_number(header, "everseer.loss_scale_halvings", state->loss_scale.halvings);
    add_number(header, "everseer.loss_scale_committed", state->loss_scale.committed);
    safetensors_add_metadata(header, "everseer.config", identity->config_text);
    safetensors_reserve_digests(header); /* nobody here has all the bytes: the server fills it in */
    return safetensors_encode(header, out);
}

struct range {
    uint64_t begin, end;
};

static struct range overlap(struct range a, struct range b)
{
    struct range both = {a.begin > b.begin ? a.begin : b.begin, a.end < b.end ? a.end : b.end};
    if (both.end < both.begin)
        both.end = both.begin;
    return both;
}

/* Where in the file a tensor's data lies. */
static struct range tensor_range(const struct safetensors_header *header,
                                 const struct safetensors_tensor *tensor)
{
    return (struct range){header->data_start + tensor->begin, header->data_start + tensor->end};
}

void snapshot_share_add(struct snapshot_share *share, uint64_t offset, uint64_t length)
{
    while (length > 0) {
        struct snapshot_part *last =
            share->part_count > 0 ? &share->parts[share->part_count - 1] : NULL;
        if (last == NULL || last->offset + last->length != offset ||
            last->length == MESSAGE_PART_BYTES) {
            if (share->part_count == share->part_capacity) {
                share->part_capacity = share->part_capacity * 2 + 16;
                share->parts =
                    mem_resize(share->parts, share->part_capacity * sizeof(*share->parts));
            }
            last = &share->parts[share->part_count++];
            *last = (struct snapshot_part){.offset = offset, .at = share->length};
        }
        const uint64_t room = MESSAGE_PART_BYTES - last->length;
        const uint64_t taken = length < room ? length : room;
        last->length += (uint32_t)taken;
        share->length += taken;
        offset += taken;
        length -= taken;
    }
}

/* Of a tensor of the momentum that is not whole in its place, from the slices that are kept. */
static void read_kept(struct state *state, size_t byte, uint64_t length, uint8_t *bytes)
{
    while (length > 0) {
        size_t floats = 0;
        const float *kept = momentum_find(&state->kept, byte / sizeof(float), &floats);
        CHECK(kept != NULL); /* can_give */
        const size_t skip = byte % sizeof(float);
        const uint64_t here = floats * sizeof(float) - skip;
        const uint64_t part = length < here ? length : here;
        state->device->ops->download(state->device, bytes, (const char *)kept + skip, part);
        byte += part;
        bytes += part;
        length -= part;
    }
}

static void read_state(struct state *state, const char *from, uint64_t length, uint8_t *bytes)
{
    const char *momentum = (const char *)state->momentum;
    const size_t momentum_bytes = state->layout.momentum_floats * sizeof(float);
    if (!state->is_whole && from >= momentum && from < momentum + momentum_bytes)
        read_kept(state, (size_t)(from - momentum), length, bytes);
    else
        state->device->ops->download(state->device, bytes, from, length);
}

static void gather(const struct safetensors_header *header, const struct buf *head,
                   struct state *state, struct range wanted, uint8_t *bytes)
{
    struct range part = overlap(wanted, (struct range){0, head->length});
    memcpy(bytes, head->bytes + part.begin, part.end - part.begin);
    for (int i = 0; i < header->tensor_count; i++) {
        const struct safetensors_tensor *tensor = &header->tensors[i];
        struct range whole = tensor_range(header, tensor);
        part = overlap(wanted, whole);
        if (part.end > part.begin)
            read_state(state, (const char *)tensor->data + (part.begin - whole.begin),
                       part.end - part.begin, bytes + (part.begin - wanted.begin));
    }
}

/* Of the momentum, in bytes from its start. */
struct slices {
    struct range ranges[MOMENTUM_RUNS];
};

static struct range slice_range(const struct state *state, uint32_t slice, uint32_t count)
{
    const uint64_t bytes =
        momentum_slice_floats(state->layout.momentum_floats, count) * sizeof(float);
    return (struct range){slice * bytes, (slice + 1) * bytes};
}

/* What is left over, which everybody has, comes with the first share. */
static struct slices slices_of(const struct state *state,
                               const struct message_snapshot_begin *begin)
{
    const uint32_t count = begin->slice_count;
    struct slices slices = {.ranges[0] = slice_range(state, begin->slice, count)};
    if (begin->has_slice_before)
        slices.ranges[1] = slice_range(state, (begin->slice + count - 1) % count, count);
    if (begin->share == 0)
        slices.ranges[2] = (struct range){slice_range(state, count, count).begin,
                                          state->layout.momentum_floats * sizeof(float)};
    return slices;
}

static int can_give(const struct state *state, const struct message_snapshot_begin *begin)
{
    const struct slice_holding *kept = &state->kept.holding;
    const uint32_t count = begin->slice_count;
    return state->is_whole || (count > 0 && slice_is_held(kept, begin->slice, count) &&
                               (!begin->has_slice_before ||
                                slice_is_held(kept, (begin->slice + count - 1) % count, count)));
}

/* Of a tensor at `place` in the momentum and from `offset` on in the file, what the slices have. By
 * rising offset: they are no more than three. */
static void add_slices(struct snapshot_share *share, const struct slices *slices,
                       struct range place, uint64_t offset)
{
    for (uint64_t at = place.begin; at < place.end;) {
        struct range next = {place.end, place.end};
        for (int i = 0; i < MOMENTUM_RUNS; i++) {
            const struct range part = overlap((struct range){at, place.end}, slices->ranges[i]);
            if (part.begin < part.end && part.begin < next.begin)
                next = part;
        }
        snapshot_share_add(share, offset + (next.begin - place.begin), next.end - next.begin);
        at = next.end;
    }
}

/* A run of the file; with a sharded momentum without it, but with its slices. */
static void choose_parts(const struct message_snapshot_begin *begin, const struct state *state,
                         const struct safetensors_header *header, struct snapshot_share *share)
{
    const uint64_t piece =
        (share->total / begin->share_count + SHARE_ALIGN) / SHARE_ALIGN * SHARE_ALIGN;
    const struct range run =
        overlap((struct range){0, share->total},
                (struct range){begin->share * piece, (begin->share + 1) * piece});
    if (begin->slice_count == 0) {
        snapshot_share_add(share, run.begin, run.end - run.begin);
        return;
    }
    const struct slices slices = slices_of(state, begin);
    const struct range head = overlap(run, (struct range){0, header->data_start});
    snapshot_share_add(share, head.begin, head.end - head.begin);
    for (int i = 0; i < header->tensor_count; i++) {
        const struct safetensors_tensor *tensor = &header->tensors[i];
        const struct range whole = tensor_range(header, tensor);
        const float *data = tensor->data;
        if (data < state->momentum || data >= state->momentum + state->layout.momentum_floats) {
            const struct range part = overlap(run, whole);
            snapshot_share_add(share, part.begin, part.end - part.begin);
            continue;
        }
        const uint64_t first = (uint64_t)((const char *)data - (const char *)state->momentum);
        const struct range place = {first, first + (whole.end - whole.begin)};
        add_slices(share, &slices, place, whole.begin);
    }
}

enum status snapshot_share_create(const struct message_snapshot_begin *begin,
                                  const struct snapshot_identity *identity, struct state *state,
                                  struct snapshot_share **ret_share)
{
    enum status status = OK;
    struct safetensors_header header;
    struct buf head;
    if (!can_give(state, begin))
        return fail(ERR_STALE, "snapshot '%s': slice %u of %u is not here", begin->name,
                    begin->slice, begin->slice_count);
    safetensors_init(&header);
    buf_init(&head, SAFETENSORS_HEADER_BYTES_MAX);
    TRY_OUT(header_create(identity, state, &header, &head));
    struct snapshot_share *share = mem_zero(sizeof(*share));
    share->name = mem_string(begin->name);
    share->step = identity->step;
    share->lineage = identity->lineage;
    share->total = header.data_start + header.data_bytes;
    choose_parts(begin, state, &header, share);
    share->bytes = mem_alloc(share->length);
    for (uint32_t i = 0; i < share->part_count; i++) {
        const struct snapshot_part *part = &share->parts[i];
        const struct range wanted = {part->offset, part->offset + part->length};
        gather(&header, &head, state, wanted, share->bytes + part->at);
    }
    *ret_share = share;
out:
    safetensors_done(&header);
    buf_done(&head);
    return status;
}

void snapshot_share_destroy(struct snapshot_share *share)
{
    if (share == NULL)
        return;
    mem_free(share->name);
    mem_free(share->bytes);
    mem_free(share->parts);
    mem_free(share);
}

void snapshot_reader_init(struct snapshot_reader *reader, struct state *state, const char *name,
                          uint64_t step)
{
    *reader = (struct snapshot_reader){.state = state, .name = name, .step = step};
    buf_init(&reader->head, LENGTH_BYTES + SAFETENSORS_HEADER_BYTES_MAX);
    safetensors_init(&reader->header);
}

void snapshot_reader_done(struct snapshot_reader *reader)
{
    buf_done(&reader->head);
    safetensors_done(&reader->header);
}

/* 0 if it is not there: snapshots of before loss scales have none. */
static uint64_t metadata_number(const struct snapshot_reader *reader, const char *name)
{
    const char *text = safetensors_find_metadata(&reader->header, name);
    return text == NULL ? 0 : strtoull(text, NULL, 10);
}

static enum status take_loss_scale(struct snapshot_reader *reader)
{
    const uint64_t halvings = metadata_number(reader, "everseer.loss_scale_halvings");
    const uint64_t committed = metadata_number(reader, "everseer.loss_scale_committed");
    if (halvings > LOSS_SCALE_HALVINGS_MAX || committed >= LOSS_SCALE_GROWTH)
        return fail(ERR_CORRUPT,
                    "snapshot '%s': a loss scale halved %" PRIu64 " times, %" PRIu64 " steps ago",
                    reader->name, halvings, committed);
    reader->state->loss_scale =
        (struct loss_scale){.halvings = (uint32_t)halvings, .committed = (uint32_t)committed};
    return OK;
}

/* Every tensor of the state must be there in its shape, and the step must be the one wanted. */
static enum status check_header(struct snapshot_reader *reader)
{
    const struct state_layout *layout = &reader->state->layout;
    for (int i = 0; i < layout->tensor_count; i++) {
        const struct state_tensor *tensor = &layout->tensors[i];
        const struct safetensors_tensor *found = safetensors_find(&reader->header, tensor->name);
        if (found == NULL || found->type != SAFETENSORS_F32 || found->rank != tensor->rank ||
            memcmp(found->shape, tensor->shape, (size_t)tensor->rank * sizeof(int64_t)) != 0)
            return fail(ERR_INPUT,
                        "snapshot '%s': tensor '%s' is missing or of another shape; it belongs to "
                        "another model: restore it with the config it was made with",
                        reader->name, tensor->name);
    }
    const char *step = safetensors_find_metadata(&reader->header, "everseer.step");
    const char *filled = safetensors_find_metadata(&reader->header, "everseer.queue_filled");
    if (step == NULL || strtoull(step, NULL, 10) != reader->step || filled == NULL)
        return fail(ERR_CORRUPT, "snapshot '%s' is of step %s, not %" PRIu64, reader->name,
                    step == NULL ? "?" : step, reader->step);
    const struct state_tensor *queue = state_find(layout, "queue/embeddings");
    const uint64_t images = strtoull(filled, NULL, 10);
    const uint64_t most = queue == NULL ? 0 : (uint64_t)queue->shape[1];
    if (images > most)
        return fail(ERR_CORRUPT, "snapshot '%s': %" PRIu64 " images in a queue of %" PRIu64,
                    reader->name, images, most);
    reader->state->queue_filled = (uint32_t)images;
    return take_loss_scale(reader);
}

/* Collects bytes until the header is whole. Returns how many of them it took. */
static enum status take_head(struct snapshot_reader *reader, const uint8_t *bytes, size_t length,
                             uint64_t total, size_t *ret_taken)
{
    uint64_t wanted = LENGTH_BYTES;
    if (reader->head.length >= LENGTH_BYTES) {
        uint64_t json;
        memcpy(&json, reader->head.bytes,
               sizeof(json)); /* little-endian, like every host of ours */
        if (json > SAFETENSORS_HEADER_BYTES_MAX)
            return fail(ERR_CORRUPT, "snapshot '%s': a header of %" PRIu64 " bytes", reader->name,
                        json);
        wanted += json;
    }
    uint64_t missing = wanted - reader->head.length;
    size_t taken = length < missing ? length : (size_t)missing;
    TRY(buf_append(&reader->head, bytes, taken));
    *ret_taken = taken;
    if (wanted == LENGTH_BYTES || reader->head.length < wanted)
        return OK;
    TRY(safetensors_decode(reader->name, reader->head.bytes, reader->head.length, total,
                           &reader->header));
    TRY(check_header(reader));
    reader->has_header = 1;
    return OK;
}

static void scatter(struct snapshot_reader *reader, const uint8_t *bytes, struct range given)
{
    struct state *state = reader->state;
    struct device *device = state->device;
    for (int i = 0; i < state->layout.tensor_count; i++) {
        const struct state_tensor *tensor = &state->layout.tensors[i];
        struct range whole =
            tensor_range(&reader->header, safetensors_find(&reader->header, tensor->name));
        struct range part = overlap(given, whole);
        if (part.end > part.begin)
            device->ops->upload(
                device, (char *)(state->block + tensor->offset) + (part.begin - whole.begin),
                bytes + (part.begin - given.begin), part.end - part.begin);
    }
}

enum status snapshot_reader_take(struct snapshot_reader *reader, const uint8_t *bytes,
                                 size_t length, uint64_t total)
{
    while (!reader->has_header && length > 0) {
        size_t taken = 0;
        TRY(take_head(reader, bytes, length, total, &taken));
        bytes += taken;
        length -= taken;
        reader->offset += taken;
    }
    if (length > 0)
        scatter(reader, bytes, (struct range){reader->offset, reader->offset + length});
    reader->offset += length;
    return OK;
}
