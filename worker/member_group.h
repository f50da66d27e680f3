/* member_group.h - the generations of a member: forming one, preparing the next, leaving one.
 *
 * A generation is formed in one of two ways. Ordinarily what runs is abandoned, every plan is void
 * and the collective is formed while everybody waits. Or it was prepared while the one before was
 * at work: then nothing runs any more when it takes over, its plans are in the loader already, and
 * only the state is still to be shared. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_MEMBER_GROUP_H
#define WORKER_MEMBER_GROUP_H

#include "worker/member_core.h"

/* Becomes a member of a newer generation, from the state that the server names. */
void member_group_regroup(struct member *m, const struct message *message);
/* The job FORM is done. */
void member_group_formed(struct member *m, uint64_t digest);
/* The job FORM or COMPUTE came to nothing. */
void member_group_failed(struct member *m, const char *reason);
/* The next generation's collective is wanted, beside the present one. */
void member_group_prepare(struct member *m, const struct message *message);
/* It stands; or (reason may be NULL) it could not be formed. */
void member_group_prepared(struct member *m, uint64_t ticket);
void member_group_not_prepared(struct member *m, uint64_t ticket, const char *reason);
/* Nothing that was prepared or planned for it counts any more; it may still stand until another one
 * takes its place. */
void member_group_drop_next(struct member *m);

#endif
