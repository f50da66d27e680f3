/* engine.h - by which collective engine a generation works, and how many members that can have. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_ENGINE_H
#define SERVER_ENGINE_H

#include "server/core.h"

/* enum collective_engine of a generation of `count` members, by collective.engine; find: who has
 * this rank in it. One member needs none. auto: nccl if each has a GPU of its own, else mpi, which
 * serves processors, GPUs and several members on one GPU. */
uint32_t engine_of(struct coordinator *c, uint32_t count,
                   struct worker *(*find)(struct roster *roster, int rank));
/* Could a generation of so many members have helpers, whoever they are? */
int engine_may_have_helpers(const struct coordinator *c, uint32_t count);
/* Members that a generation can have: one for each slot; one with engine self. Others stand by. */
uint32_t engine_seats(const struct coordinator *c);

#endif
