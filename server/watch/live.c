/* live.c - a page that follows: server-sent events (WHATWG HTML, 9.2). */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/watch/live.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/host.h"
#include "common/mem.h"

enum { BLOCK_BYTES = 16 << 10, RETRY_MS = 1000 };

/* A text that several viewers are sent at their own pace. */
struct chunk {
    uint32_t holders;
    size_t length;
    char *text;
};

struct viewer {
    struct live *live;
    struct MHD_Connection *connection;
    struct chunk *chunk; /* being sent; NULL: none */
    size_t offset;
    uint64_t next; /* message */
    int is_waiting;
    struct viewer *before, *after;
};

struct live {
    char *(*state)(void *context);
    void *context;
    uint64_t start;      /* of this program: ids of another one mean nothing */
    uint64_t first, end; /* messages in the ring */
    struct chunk *ring[LIVE_MESSAGES];
    struct chunk *whole; /* the state as of `whole_end`; NULL: nobody has asked */
    uint64_t whole_end;
    struct viewer *viewers;
    uint32_t viewer_count;
    int is_stopped;
};

static void chunk_drop(struct chunk *chunk)
{
    if (chunk == NULL || --chunk->holders > 0)
        return;
    mem_free(chunk->text);
    mem_free(chunk);
}

static struct chunk *chunk_hold(struct chunk *chunk)
{
    chunk->holders++;
    return chunk;
}

static struct chunk *chunk_create(const struct live *live, uint64_t number, const char *event,
                                  const char *data)
{
    struct chunk *chunk = mem_zero(sizeof(*chunk));
    chunk->holders = 1;
    chunk->text = mem_format("id: %016" PRIx64 "-%" PRIu64 "\nevent: %s\ndata: %s\n\n", live->start,
                             number, event, data);
    chunk->length = strlen(chunk->text);
    return chunk;
}

struct live *live_create(char *(*state)(void *context), void *context)
{
    struct live *live = mem_zero(sizeof(*live));
    live->state = state;
    live->context = context;
    live->start = host_entropy();
    live->first = live->end = 1;
    return live;
}

static void forget(struct live *live)
{
    for (; live->first < live->end; live->first++)
        chunk_drop(live->ring[live->first % LIVE_MESSAGES]);
    chunk_drop(live->whole);
    live->whole = NULL;
}

void live_stop(struct live *live)
{
    live->is_stopped = 1;
    for (struct viewer *viewer = live->viewers; viewer != NULL; viewer = viewer->after) {
        if (viewer->is_waiting)
            MHD_resume_connection(viewer->connection);
        viewer->is_waiting = 0;
    }
}

void live_destroy(struct live *live)
{
    if (live == NULL)
        return;
    forget(live);
    mem_free(live);
}

void live_publish(struct live *live, const char *event, const char *data)
{
    if (live->viewer_count == 0) {
        forget(live);
        live->first = ++live->end;
        return;
    }
    if (live->end - live->first == LIVE_MESSAGES)
        chunk_drop(live->ring[live->first++ % LIVE_MESSAGES]);
    live->ring[live->end % LIVE_MESSAGES] = chunk_create(live, live->end, event, data);
    live->end++;
}

void live_wake(struct live *live)
{
    for (struct viewer *viewer = live->viewers; viewer != NULL; viewer = viewer->after) {
        if (!viewer->is_waiting || viewer->next == live->end)
            continue;
        viewer->is_waiting = 0;
        MHD_resume_connection(viewer->connection);
    }
}

uint32_t live_viewers(const struct live *live)
{
    return live->viewer_count;
}

/* All who begin between two messages share one text. */
static struct chunk *whole_state(struct live *live)
{
    if (live->whole == NULL || live->whole_end != live->end) {
        char *data = live->state(live->context);
        chunk_drop(live->whole);
        live->whole = chunk_create(live, live->end - 1, "status", data);
        live->whole_end = live->end;
        mem_free(data);
    }
    return chunk_hold(live->whole);
}

static struct chunk *next_chunk(struct viewer *viewer)
{
    struct live *live = viewer->live;
    if (viewer->next < live->first) {
        viewer->next = live->end;
        return whole_state(live);
    }
    if (viewer->next == live->end)
        return NULL;
    return chunk_hold(live->ring[viewer->next++ % LIVE_MESSAGES]);
}

static ssize_t viewer_read(void *context, uint64_t position, char *bytes, size_t room)
{
    struct viewer *viewer = context;
    (void)position;
    if (viewer->live->is_stopped)
        return MHD_CONTENT_READER_END_OF_STREAM;
    if (viewer->chunk == NULL) {
        viewer->chunk = next_chunk(viewer);
        viewer->offset = 0;
    }
    if (viewer->chunk == NULL) {
        viewer->is_waiting = 1;
        MHD_suspend_connection(viewer->connection);
        return 0;
    }
    size_t left = viewer->chunk->length - viewer->offset, length = left < room ? left : room;
    memcpy(bytes, viewer->chunk->text + viewer->offset, length);
    viewer->offset += length;
    if (length == left) {
        chunk_drop(viewer->chunk);
        viewer->chunk = NULL;
    }
    return (ssize_t)length;
}

static void viewer_free(void *context)
{
    struct viewer *viewer = context;
    if (viewer->before != NULL)
        viewer->before->after = viewer->after;
    else
        viewer->live->viewers = viewer->after;
    if (viewer->after != NULL)
        viewer->after->before = viewer->before;
    viewer->live->viewer_count--;
    chunk_drop(viewer->chunk);
    mem_free(viewer);
}

/* The message behind last_id, if it is one of ours and still there; 0: begin anew. */
static uint64_t resume_at(const struct live *live, const char *last_id)
{
    uint64_t start = 0, number = 0;
    if (last_id == NULL || sscanf(last_id, "%16" SCNx64 "-%20" SCNu64, &start, &number) != 2)
        return 0;
    int is_known = start == live->start && number + 1 >= live->first && number < live->end;
    return is_known ? number + 1 : 0;
}

struct MHD_Response *live_response(struct live *live, struct MHD_Connection *connection,
                                   const char *last_id)
{
    struct viewer *viewer = mem_zero(sizeof(*viewer));
    viewer->live = live;
    viewer->connection = connection;
    viewer->next = resume_at(live, last_id);
    viewer->chunk = mem_zero(sizeof(*viewer->chunk));
    viewer->chunk->holders = 1;
    viewer->chunk->text = mem_format("retry: %d\n\n", RETRY_MS);
    viewer->chunk->length = strlen(viewer->chunk->text);
    struct MHD_Response *response = MHD_create_response_from_callback(
        MHD_SIZE_UNKNOWN, BLOCK_BYTES, viewer_read, viewer, viewer_free);
    if (response == NULL) {
        chunk_drop(viewer->chunk);
        mem_free(viewer);
        return NULL;
    }
    viewer->after = live->viewers;
    if (live->viewers != NULL)
        live->viewers->before = viewer;
    live->viewers = viewer;
    live->viewer_count++;
    MHD_add_response_header(response, "Content-Type", "text/event-stream");
    return response;
}
