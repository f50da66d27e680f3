/* swav.h - the swapped-prediction loss over several crops.
 *
 *   L = 1/(A (V-1) B) sum over assigned crops i, other crops v and images b of
 *       - sum_k q_i[b,k] log softmax_k(s_v[b]/temperature)
 *
 * (several heads of prototypes: the mean of their losses). Caron et al. 2020, equation 2, with A
 * assigned crops (all of the first kind) of V, B images of all members together: so losses and
 * gradients of members just add up. Codes get no gradient. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_SWAV_SWAV_H
#define WORKER_SWAV_SWAV_H

#include "worker/model/head.h"
#include "worker/model/slot_losses.h"
#include "worker/swav/codes.h"
#include "worker/swav/feature_queue.h"

struct swav {
    struct team *team; /* borrowed */
    struct head *head; /* borrowed */
    struct codes codes;
    struct feature_queue queue;
    float temperature;
    double scale;      /* 1/(A (V-1) B), over the heads */
    double loss_scale; /* of gradients: worker/loss_scale.h */
    double images;     /* B */
    struct slot_losses losses;
    float *tail; /* in the exchange area: the loss of each slot of the step, then the queue's
                    embeddings; zero for what others hold, so that summing is placing */
    size_t tail_floats;
};

/* group_size: members that share the queue. Memory comes from team->arena. */
void swav_init(struct swav *swav, struct team *team, struct head *head, const struct config *config,
               int group_size);
/* Codes of the assigned crops of all members. */
enum status swav_codes(struct swav *swav, uint64_t number);
/* -> scores_grad of the head's prototypes, times loss_scale; and losses. */
void swav_loss(struct swav *swav);
/* Fills the tail, which is to be summed over members, from losses and embeddings. */
void swav_place(struct swav *swav, const uint32_t *slots);
/* The loss of the whole batch, once the tail is summed. */
double swav_loss_of_all(const struct swav *swav);

#endif
