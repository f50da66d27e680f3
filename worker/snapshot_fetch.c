/* snapshot_fetch.c - one question under way at a time: this happens once, when nobody trains. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/snapshot_fetch.h"

#include <string.h>

#include "common/clock.h"
#include "common/hash.h"
#include "common/mem.h"
#include "worker/snapshot_file.h"

enum {
    ASK_AGAIN_MS = 2000, /* a question or its answer was lost with a connection */
    LOOK_UP_MS = 100,    /* how late an abandonment may be noticed */
    FETCH_PATIENCE_MS = 30000,
};

static void ask(struct handover *handover, const char *name, uint64_t offset)
{
    struct report *report = report_create(REPORT_READ, 0);
    report->message.kind = MESSAGE_SNAPSHOT_READ;
    report->message.snapshot_read = (struct message_snapshot_read){
        .name = mem_string(name), .offset = offset, .length = MESSAGE_PART_BYTES};
    handover_tell(handover, &report);
}

/* Waits a moment; NULL: nothing came. The caller frees it. */
static struct message *next_part(struct handover *handover, int64_t wait_ms)
{
    void *item = NULL;
    return queue_pop(handover->parts, wait_ms > 0 ? clock_ms() + wait_ms : 0, &item) == OK ? item
                                                                                           : NULL;
}

static void part_destroy(struct message *part)
{
    message_done(part);
    mem_free(part);
}

/* Takes the part if it is the one asked for. */
static enum status take(struct snapshot_reader *reader, const struct message_snapshot_part *part)
{
    if (strcmp(part->name, reader->name) != 0)
        return OK; /* an answer to a question of the past */
    if (part->total == 0)
        return fail(ERR_INPUT, "snapshot '%s': the server cannot read it", reader->name);
    if (part->offset != reader->offset)
        return OK;
    if (part->length == 0 || part->length > part->total - part->offset ||
        hash_bytes(part->data, part->length) != part->checksum)
        return fail(ERR_CORRUPT, "snapshot '%s': the part at %llu is damaged", reader->name,
                    (unsigned long long)part->offset);
    return snapshot_reader_take(reader, part->data, part->length, part->total);
}

enum status snapshot_fetch(struct handover *handover, const struct job *job, const char *name,
                           uint64_t step, struct state *state)
{
    enum status status = OK;
    struct snapshot_reader reader;
    uint64_t total = UINT64_MAX;
    struct message *part;
    int64_t patience_ms = clock_ms() + FETCH_PATIENCE_MS, asked_ms = 0;
    snapshot_reader_init(&reader, state, name, step);
    while ((part = next_part(handover, 0)) != NULL)
        part_destroy(part); /* of an earlier attempt */
    while (reader.offset < total) {
        TRY_OUT(handover_check(handover, job));
        int64_t now_ms = clock_ms();
        if (now_ms > patience_ms) {
            status = fail(ERR_TIMEOUT, "snapshot '%s': no bytes from the server for %d s", name,
                          FETCH_PATIENCE_MS / 1000);
            goto out;
        }
        if (now_ms > asked_ms + ASK_AGAIN_MS) {
            ask(handover, name, reader.offset);
            asked_ms = now_ms;
        }
        part = next_part(handover, LOOK_UP_MS);
        if (part == NULL)
            continue;
        uint64_t before = reader.offset;
        status = take(&reader, &part->snapshot_part);
        total = reader.offset > before ? part->snapshot_part.total : total;
        part_destroy(part);
        TRY_OUT(status);
        if (reader.offset > before) {
            patience_ms = clock_ms() + FETCH_PATIENCE_MS;
            asked_ms = 0;
        }
    }
    state->step = step;
    state->is_whole = 1;
out:
    snapshot_reader_done(&reader);
    return status;
}
