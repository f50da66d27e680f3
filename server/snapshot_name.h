/* snapshot_name.h - what snapshots are called, and who may call them so: all the rules.
 *
 * A name is that of a file without its suffix. The coordinator names its own after step and
 * lineage, so that no two of them are ever the same; operators name theirs as they like, but not
 * like those. Pure. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_SNAPSHOT_NAME_H
#define SERVER_SNAPSHOT_NAME_H

#include <stdint.h>

#include "common/status.h"
#include "server/journal_record.h"

#define SNAPSHOT_SUFFIX ".safetensors"
/* What the run began with, if that is a snapshot; nobody else may be called so. */
#define SNAPSHOT_INITIAL "initial"

/* Letters, digits, '-', '_', '.', not beginning with '.', shorter than JOURNAL_NAME_BYTES.
 * ERR_INPUT says what is wrong. */
enum status snapshot_name_check(const char *name);
/* One that an operator gives. ERR_INPUT: no name, or one that is the coordinator's to give. */
enum status snapshot_name_check_given(const char *name);
int snapshot_name_is_initial(const char *name);
/* Was it given by the coordinator? Only such snapshots are removed by retention. */
int snapshot_name_is_automatic(const char *name);
/* The coordinator's name for the state of `step` in this lineage. */
void snapshot_name_make(uint64_t step, uint32_t lineage, char name[JOURNAL_NAME_BYTES]);

#endif
