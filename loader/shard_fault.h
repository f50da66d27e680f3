/* shard_fault.h - bytes of a mapped file that are gone: an answer instead of SIGBUS.
 *
 * A file that is cut off while it is mapped, or a disk that cannot read it, kills whoever touches
 * the missing bytes. While a thread is guarded it reads zeros there instead and goes on, and the
 * flag it gave says so. The zeros stay for every thread that shares the mapping; the flag is raised
 * before anybody can read them, so whoever reads first and looks at the flag then knows. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef LOADER_SHARD_FAULT_H
#define LOADER_SHARD_FAULT_H

#include <stdatomic.h>

/* Takes SIGBUS for the whole process; again is fine. That of a thread without a guard ends the
 * process as ever. */
void shard_fault_take(void);
/* Guards the calling thread until it is called with NULL; guards do not nest. After
 * shard_fault_take. */
void shard_fault_guard(atomic_int *ret_is_faulty);

#endif
