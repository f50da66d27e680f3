/* doctor_host.c - limits, memory, file systems, clock, MPI and OpenMP of this machine. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/doctor.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/fs.h"
#include "common/host.h"

/* FILES: the server holds a connection or two per worker, a loader every open shard. SHARED: what
 * Open MPI puts there for the helpers of one host; containers start with 64 MiB. */
enum { FILES_LEAST = 4096, SHARED_LEAST_MIB = 256, MEMORY_LEAST_MIB = 2048, DISK_LEAST_MIB = 4096 };
enum { MIB = 1 << 20 };

static void check_files(struct checkup *checkup)
{
    struct rlimit limit = {0};
    getrlimit(RLIMIT_NOFILE, &limit);
    const int is_enough = limit.rlim_max == RLIM_INFINITY || limit.rlim_max >= FILES_LEAST;
    checkup_add(checkup, "open files", is_enough ? FINDING_OK : FINDING_WARN,
                "raise the hard limit: LimitNOFILE= of the service, or 'ulimit -Hn'",
                "at most %llu (everseer raises its own limit to that)",
                (unsigned long long)limit.rlim_max);
}

static void check_shared_memory(struct checkup *checkup)
{
    struct statvfs found;
    if (statvfs("/dev/shm", &found) != 0) {
        checkup_add(checkup, "/dev/shm", FINDING_FAIL, "mount a tmpfs there: Open MPI needs it",
                    "%s", strerror(errno));
        return;
    }
    const uint64_t mib = (uint64_t)found.f_bavail * found.f_frsize / MIB;
    checkup_add(checkup, "/dev/shm", mib >= SHARED_LEAST_MIB ? FINDING_OK : FINDING_WARN,
                "give the container more: docker run --shm-size=1g, or a larger tmpfs",
                "%llu MiB free", (unsigned long long)mib);
}

static void check_memory(struct checkup *checkup)
{
    const size_t mib = host_free_bytes() / MIB;
    checkup_add(checkup, "memory", mib >= MEMORY_LEAST_MIB ? FINDING_OK : FINDING_WARN,
                "end other programs or raise the container's limit; 'seer plan' says what a config "
                "takes",
                "%zu MiB available", mib);
}

/* Whether `program` is in a folder of PATH; its place in *ret_path. */
static int find_program(const char *program, char *ret_path, size_t bytes)
{
    const char *at = getenv("PATH");
    while (at != NULL && *at != '\0') {
        const int length = (int)strcspn(at, ":");
        snprintf(ret_path, bytes, "%.*s/%s", length, at, program);
        if (access(ret_path, X_OK) == 0)
            return 1;
        at += length + (at[length] == ':');
    }
    return 0;
}

static void check_mpi(struct checkup *checkup)
{
    char path[CHECKUP_TEXT_BYTES] = "";
    const int is_there = find_program("mpirun", path, sizeof(path));
    checkup_add(checkup, "mpirun", is_there ? FINDING_OK : FINDING_FAIL,
                "install openmpi-bin: more than one worker needs it", "%s",
                is_there ? path : "not in PATH");
}

static void check_clock(struct checkup *checkup)
{
    struct timex state = {0}; /* modes 0: only reads */
    enum { YEAR_2024_S = 1704067200 };
    const int result = adjtimex(&state);
    if (clock_wall_ms() / 1000 < YEAR_2024_S)
        checkup_add(checkup, "clock", FINDING_FAIL, "set it, and run chrony or systemd-timesyncd",
                    "it is before 2024");
    else if (result == TIME_ERROR || (state.status & STA_UNSYNC) != 0)
        checkup_add(checkup, "clock", FINDING_WARN,
                    "run chrony or systemd-timesyncd, or times in logs of several hosts do not "
                    "compare (training does not depend on them)",
                    "nobody keeps it synchronised");
    else
        checkup_add(checkup, "clock", FINDING_OK, NULL, "synchronised");
}

static void check_openmp(struct checkup *checkup)
{
    const char *policy = getenv("OMP_WAIT_POLICY"), *threads = getenv("OMP_NUM_THREADS");
    const int is_passive = policy != NULL && strcasecmp(policy, "passive") == 0;
    checkup_add(checkup, "OMP_WAIT_POLICY", is_passive ? FINDING_OK : FINDING_WARN,
                "export OMP_WAIT_POLICY=passive: threads that spin beside a busy neighbour cost 5 "
                "to 20 times as much",
                "%s", policy == NULL ? "not set" : policy);
    checkup_add(checkup, "OMP_NUM_THREADS", FINDING_OK, NULL, "%s (seer-worker --threads decides)",
                threads == NULL ? "not set" : threads);
}

/* The nearest folder that exists: a state's is made when a run begins. */
static void existing_parent(char *path)
{
    while (!fs_exists(path)) {
        char *slash = strrchr(path, '/');
        if (slash == NULL || slash == path) {
            snprintf(path, 2, "%s", slash == NULL ? "." : "/");
            return;
        }
        *slash = '\0';
    }
}

static void check_folder(struct checkup *checkup, const char *folder)
{
    char path[CHECKUP_TEXT_BYTES * 4];
    uint64_t free_bytes = 0;
    snprintf(path, sizeof(path), "%s", folder);
    existing_parent(path);
    if (fs_require_local(path) != OK) {
        checkup_add(checkup, "file system", FINDING_FAIL,
                    "use a local disk: LMDB needs its memory map and locks", "%.200s is remote",
                    folder);
        return;
    }
    if (fs_free_bytes(path, &free_bytes) != OK || access(path, W_OK) != 0) {
        checkup_add(checkup, "file system", FINDING_FAIL, "give this user the right to write there",
                    "%.200s cannot be written", folder);
        return;
    }
    checkup_add(checkup, "file system",
                free_bytes / MIB >= DISK_LEAST_MIB ? FINDING_OK : FINDING_WARN,
                "make room: a run that finds its disk full pauses", "%.180s: local, %llu MiB free",
                folder, (unsigned long long)(free_bytes / MIB));
}

void doctor_host(struct checkup *checkup, const char *const *folders, int folder_count)
{
    check_files(checkup);
    check_shared_memory(checkup);
    check_memory(checkup);
    check_mpi(checkup);
    check_clock(checkup);
    check_openmp(checkup);
    for (int i = 0; i < folder_count; i++)
        check_folder(checkup, folders[i]);
}
