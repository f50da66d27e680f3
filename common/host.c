/* host.c - which machine this is. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "common/host.h"

#include <stdio.h>
#include <stdlib.h>
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

/* The number behind `key` in lines of "key number", times unit; key "" is the file's first word.
 * SIZE_MAX: none, or "max". */
static size_t read_number(const char *path, const char *key, size_t unit)
{
    char line[256];
    size_t found = SIZE_MAX;
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return found;
    while (found == SIZE_MAX && fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, key, strlen(key)) != 0)
            continue;
        char *end = NULL;
        const char *number = line + strlen(key);
        const unsigned long long value = strtoull(number, &end, 10);
        if (end != number)
            found = (size_t)value * unit;
    }
    fclose(file);
    return found;
}

/* What the control group that is mounted as ours still allows; its file cache can be dropped. */
static size_t group_free_bytes(void)
{
    static const char folder[] = "/sys/fs/cgroup/";
    char path[64];
    snprintf(path, sizeof(path), "%smemory.max", folder);
    const size_t limit = read_number(path, "", 1);
    snprintf(path, sizeof(path), "%smemory.current", folder);
    const size_t used = read_number(path, "", 1);
    snprintf(path, sizeof(path), "%smemory.stat", folder);
    const size_t cache = read_number(path, "inactive_file ", 1);
    if (limit == SIZE_MAX || used == SIZE_MAX)
        return SIZE_MAX;
    const size_t bound = cache == SIZE_MAX || cache > used ? used : used - cache;
    return limit > bound ? limit - bound : 0;
}

size_t host_free_bytes(void)
{
    enum { KIB = 1024 };
    const size_t machine = read_number("/proc/meminfo", "MemAvailable:", KIB);
    const size_t group = group_free_bytes();
    return machine < group ? machine : group;
}

uint64_t host_used_bytes(void)
{
    unsigned long long total, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file == NULL)
        return 0;
    if (fscanf(file, "%llu %llu", &total, &resident) != 2)
        resident = 0;
    fclose(file);
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

uint64_t host_entropy(void)
{
    uint64_t bits = 0;
    CHECK(getrandom(&bits, sizeof(bits), 0) == sizeof(bits));
    return bits;
}
