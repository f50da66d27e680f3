/* witness.c - the records of a worker's journal as frames of bytes, and back. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "proto/witness.h"

#include <endian.h>
#include <string.h>

#include "common/code.h"
#include "common/hash.h"
#include "common/mem.h"

/* In front of every record; little-endian. The complement tells a damaged length, behind which
 * nothing could be found, from a frame that was cut off. */
struct head {
    uint32_t length, complement;
    uint64_t checksum; /* hash_bytes of the record */
};

static void code_begin(struct codec *codec, struct witness_begin *begin)
{
    code_u32(codec, &begin->format);
    if (codec->status == OK && begin->format != WITNESS_FORMAT)
        codec->status = fail(ERR_CORRUPT, "has format %u, this program reads %d", begin->format,
                             WITNESS_FORMAT);
    code_u64(codec, &begin->run);
    code_u64(codec, &begin->worker);
    code_u32(codec, &begin->segment);
    code_text(codec, &begin->name);
}

static void code_state(struct codec *codec, struct witness_state *state)
{
    code_u64(codec, &state->generation);
    code_u64(codec, &state->step);
    code_u32(codec, &state->lineage);
    code_bool(codec, &state->is_own);
    code_u64(codec, &state->digest);
}

static void code_slots(struct codec *codec, struct witness_step *step)
{
    enum { SLOT_BYTES = 12, IMAGE_BYTES = 8 };
    code_u32(codec, &step->slot_images);
    code_count(codec, &step->slot_count,
               SLOT_BYTES + (size_t)IMAGE_BYTES * (step->slot_images > 0 ? step->slot_images : 1));
    size_t images = (size_t)step->slot_count * step->slot_images;
    if (codec->is_reading) {
        step->slots = mem_array(step->slot_count, sizeof(*step->slots));
        step->images = mem_array(images, sizeof(*step->images));
    }
    for (uint32_t i = 0; i < step->slot_count; i++) {
        code_u32(codec, &step->slots[i].slot);
        code_u64(codec, &step->slots[i].position);
    }
    for (size_t i = 0; i < images; i++) {
        code_u32(codec, &step->images[i].shard);
        code_u32(codec, &step->images[i].record);
    }
}

static void code_step(struct codec *codec, struct witness_step *step)
{
    code_u64(codec, &step->generation);
    code_u64(codec, &step->step);
    code_u32(codec, &step->lineage);
    code_bool(codec, &step->is_applied);
    code_u64(codec, &step->digest);
    code_slots(codec, step);
}

static void code_witness(struct codec *codec, struct witness *witness)
{
    uint32_t kind = witness->kind;
    code_u32(codec, &kind);
    witness->kind = kind;
    code_u32(codec, &witness->missed);
    if (kind == WITNESS_BEGIN)
        code_begin(codec, &witness->begin);
    else if (kind == WITNESS_STATE)
        code_state(codec, &witness->state);
    else if (kind == WITNESS_STEP)
        code_step(codec, &witness->step);
    else if (codec->status == OK)
        codec->status = fail(ERR_CORRUPT, "is of unknown kind %u", kind);
}

enum status witness_encode(const struct witness *witness, struct buf *out)
{
    /* The walk takes a pointer that it could write through, and only reads. */
    struct witness borrowed = *witness;
    struct head head = {0};
    struct codec codec = {.out = out};
    size_t start = out->length;
    code_bytes(&codec, &head, sizeof(head));
    code_witness(&codec, &borrowed);
    TRY(codec.status);
    size_t length = out->length - start - sizeof(head);
    if (length > WITNESS_BYTES_MAX)
        return fail(ERR_INPUT, "a record of %zu bytes", length);
    head.length = htole32((uint32_t)length);
    head.complement = ~head.length;
    head.checksum = htole64(hash_bytes(out->bytes + start + sizeof(head), length));
    memcpy(out->bytes + start, &head, sizeof(head));
    return OK;
}

static int is_zero(const uint8_t *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (bytes[i] != 0)
            return 0;
    return 1;
}

/* The record within a frame. ERR_END: it does not reach the end of its frame. */
static enum status find_record(const uint8_t *bytes, size_t length, size_t *ret_length)
{
    struct head head;
    if (is_zero(bytes, length) || length < sizeof(head))
        return fail(ERR_END, "the file ends here");
    memcpy(&head, bytes, sizeof(head));
    size_t record = le32toh(head.length);
    if (head.length != ~head.complement || record > WITNESS_BYTES_MAX)
        return fail(ERR_CORRUPT, "is no record");
    if (record > length - sizeof(head))
        return fail(ERR_END, "the file ends within a record");
    if (le64toh(head.checksum) != hash_bytes(bytes + sizeof(head), record))
        return fail(ERR_CORRUPT, "does not match its checksum");
    *ret_length = record;
    return OK;
}

enum status witness_decode(const void *bytes, size_t length, struct witness *ret_witness,
                           size_t *ret_taken)
{
    size_t record = 0;
    TRY(find_record(bytes, length, &record));
    struct codec codec = {
        .is_reading = 1, .in = (const uint8_t *)bytes + sizeof(struct head), .left = record};
    struct witness witness;
    memset(&witness, 0, sizeof(witness));
    code_witness(&codec, &witness);
    if (codec.status == OK && codec.left != 0)
        codec.status = fail(ERR_CORRUPT, "has %zu bytes too many", codec.left);
    if (codec.status != OK) {
        witness_done(&witness);
        return codec.status;
    }
    *ret_witness = witness;
    *ret_taken = sizeof(struct head) + record;
    return OK;
}

void witness_done(struct witness *witness)
{
    if (witness->kind == WITNESS_BEGIN) {
        mem_free(witness->begin.name);
    } else if (witness->kind == WITNESS_STEP) {
        mem_free(witness->step.slots);
        mem_free(witness->step.images);
    }
    *witness = (struct witness){0};
}
