/* state_share.h - gives one member's training state to all members of a generation. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_STATE_SHARE_H
#define WORKER_STATE_SHARE_H

#include "worker/collective/collective.h"
#include "worker/state.h"

/* Block, step, queue_filled and loss_scale of member root become everybody's; a sharded momentum
 * that root does not have whole is pieced together from what each has. All members call it. Blocks.
 * Errors as collective_broadcast; then the block is undefined, but for one that was equal before.
 */
enum status state_share(struct state *state, struct collective *collective, int root);
/* Sharded: the momentum becomes whole on every member, out of what each has of it. Part of
 * state_share. Not sharded: does nothing. All members call it. Blocks. ERR_STALE: they do not have
 * all of it together; errors as collective_broadcast. Who had it whole still does. */
enum status state_share_momentum(struct state *state, struct collective *collective);

#endif
