/* host.c - which machine this is. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "common/host.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/check.h"
#include "common/hash.h"

void host_name(char *name, size_t bytes)
{
    char full[256];
    if (gethostname(full, sizeof(full)) != 0)
        snprintf(full, sizeof(full), "unknown");
    full[sizeof(full) - 1] = 0;
    snprintf(name, bytes, "%s", full);
}

uint64_t host_boot(void)
{
    enum { UUID_BYTES = 36 };
    char id[UUID_BYTES + 1] = "";
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (file == NULL)
        return 0;
    size_t length = fread(id, 1, UUID_BYTES, file);
    fclose(file);
    return length == UUID_BYTES ? hash_bytes(id, length) : 0;
}

void host_raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit); /* if not, the first that finds none left says so */
}

uint64_t host_entropy(void)
{
    uint64_t bits = 0;
    CHECK(getrandom(&bits, sizeof(bits), 0) == sizeof(bits));
    return bits;
}
