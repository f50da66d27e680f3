/* group.c - from the words of the server to a collective. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/group.h"

#include <string.h>

#include "common/mem.h"

/* Of one forming. */
struct errand {
    const struct group_means *means;
    const struct job *job;
    uint64_t nonce;
};

static void publish(void *context, const uint8_t id[COLLECTIVE_ID_BYTES])
{
    const struct errand *errand = context;
    struct report *report = report_create(REPORT_RENDEZVOUS, 0);
    report->message.kind = MESSAGE_RENDEZVOUS;
    report->message.header.generation = errand->job->action.message.header.generation;
    report->message.rendezvous = (struct message_rendezvous){
        .nonce = errand->nonce,
        .length = COLLECTIVE_ID_BYTES,
        .id = memcpy(mem_alloc(COLLECTIVE_ID_BYTES), id, COLLECTIVE_ID_BYTES)};
    handover_tell(errand->means->handover, &report);
}

static enum status await(void *context, int64_t deadline_ms, uint8_t ret_id[COLLECTIVE_ID_BYTES])
{
    const struct errand *errand = context;
    struct handover *handover = errand->means->handover;
    return meeting_await(&handover->meeting, errand->job->action.message.header.generation,
                         errand->nonce, handover->cancel_fds[errand->job->side], deadline_ms,
                         COLLECTIVE_ID_BYTES, ret_id);
}

enum status group_form(const struct group_means *means, const struct job *job,
                       struct collective **ret_collective)
{
    const struct message *message = &job->action.message;
    struct errand errand = {.means = means, .job = job};
    struct collective_group group = {
        .run = message->header.run,
        .generation = message->header.generation,
        .region = means->state->block,
        .region_bytes = means->state->bytes,
        .device = means->state->device,
        .region_fd = means->state->fd,
        .listen_fd = means->listen_fd,
        .cancel_fd = means->handover->cancel_fds[job->side],
        .form_timeout_ms = means->config->server.form_ms,
        .timeout_ms = means->config->server.step_ms,
        .abort_timeout_ms = means->config->collective.abort_ms,
        .wire = strcmp(means->config->collective.wire, "bf16") == 0 ? WIRE_BF16 : WIRE_FP32,
        .wire_memory = means->state->wire,
        .wire_bytes = means->state->wire_bytes,
        .pulse = &means->handover->pulses[job->side],
        .publish = publish,
        .await = await,
        .errand = &errand,
    };
    if (job->action.kind == MEMBER_PREPARE) {
        group.engine = (enum collective_engine)message->prepare.engine;
        group.nonce = message->prepare.nonce;
        group.rank = (int)message->prepare.rank;
        group.size = (int)message->prepare.member_count;
    } else {
        group.engine = (enum collective_engine)message->regroup.engine;
        group.nonce = message->regroup.nonce;
        group.rank = (int)message->regroup.rank;
        group.size = (int)message->regroup.member_count;
    }
    errand.nonce = group.nonce;
    return collective_form(&group, ret_collective);
}
