/* group.h - forms the collective that a job asks for, to be used now (MEMBER_FORM) or later
 * (MEMBER_PREPARE). */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_GROUP_H
#define WORKER_GROUP_H

#include "worker/collective/collective.h"
#include "worker/handover.h"
#include "worker/state.h"

/* What every collective of this worker is made of; all borrowed. */
struct group_means {
    const struct config *config;
    struct state *state; /* the region that collectives work on */
    struct handover *handover;
    int listen_fd; /* where helpers call */
};

/* Blocks until all members are there, at most server.form_ms, or until the job is abandoned
 * (ERR_STALE). Only one may be formed at a time: all helpers call at one address. Errors as
 * collective_form. */
enum status group_form(const struct group_means *means, const struct job *job,
                       struct collective **ret_collective);

#endif
