/* shell.h - the server's side of a world. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef TESTS_SIM_SHELL_H
#define TESTS_SIM_SHELL_H

#include "tests/sim/world.h"

/* From what the journal has; helpers may have outlived the one before. */
void shell_start(struct world *world);
/* It is started again after a while. A dead one is fine. */
void shell_kill(struct world *world);
/* An event happens to it, and what it wants done is done. Nothing if it is dead or finished. */
void shell_serve(struct world *world, const struct coordinator_event *event);
void shell_command(struct world *world, enum coordinator_command kind, const char *argument);
void shell_find_shard(struct world *world, uint32_t shard);
/* A member has pushed its share of the state of this hash, as `begin` told it. */
void shell_share_arrives(struct world *world, const struct message *begin, uint64_t hash);
void shell_finish_snapshot(struct world *world);
void shell_give_up_snapshot(struct world *world, uint64_t step);

#endif
