/* virtual_team.h - a collective among threads of one process, for tests of several members.
 *
 * Replaces worker/collective at link time. Sums are made in the order of ranks by everybody, so
 * results are equal bits; background sums happen at once, which only a test can afford. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef TESTS_UNIT_VIRTUAL_TEAM_H
#define TESTS_UNIT_VIRTUAL_TEAM_H

#include "worker/collective/collective.h"

enum { VIRTUAL_TEAM_MAX = 5 };

struct virtual_team;

struct virtual_team *virtual_team_create(int size);
void virtual_team_destroy(struct virtual_team *team);
/* Borrowed from the team. */
struct collective *virtual_team_member(struct virtual_team *team, int rank);
/* What this rank gives and gets is in a device's memory. */
void virtual_team_on_device(struct virtual_team *team, int rank, struct device *device);
/* Calls of all-reduce by rank 0 so far. */
int virtual_team_calls(const struct virtual_team *team);
/* From now on this rank thinks that it is in that generation; 1 is everybody's. */
void virtual_team_set_generation(struct virtual_team *team, int rank, uint64_t generation);
/* From now on what this rank, not 0, gives to sums of all is not in them. */
void virtual_team_leave_out(struct virtual_team *team, int rank);
/* Of sums within subgroups. */
int virtual_team_within_calls(const struct virtual_team *team);

#endif
