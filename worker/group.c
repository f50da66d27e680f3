/* group.c - from the words of the server to a collective. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/group.h"

enum status group_form(const struct group_means *means, const struct job *job,
                       struct collective **ret_collective)
{
    const struct message *message = &job->action.message;
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
        .pulse = &means->handover->pulses[job->side],
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
    return collective_form(&group, ret_collective);
}
