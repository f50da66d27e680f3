/* host.h - which machine this is. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef COMMON_HOST_H
#define COMMON_HOST_H

#include <stddef.h>
#include <stdint.h>

/* The host's name, cut to fit. */
void host_name(char *name, size_t bytes);
/* hash_bytes of the kernel's boot id (36 characters, no newline): the same number in two processes
 * means the same running kernel, so that one may watch the other's pid. 0: unknown. */
uint64_t host_boot(void);
/* As many open files as the system allows this process: a connection is one. */
void host_raise_file_limit(void);
/* Bytes of memory that this process could get now: what the kernel calls available, within the
 * limit of its control group (v2). SIZE_MAX: it cannot be told. */
size_t host_free_bytes(void);
/* Bytes of memory that this process has in use (resident); 0: it cannot be told. */
uint64_t host_used_bytes(void);
/* Bits that nobody can guess: for identities. */
uint64_t host_entropy(void);

#endif
