/* ring.c - futexes on a memfd that two processes map. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/collective/ring.h"

#include <errno.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

uint32_t bell_count(struct bell *bell)
{
    return atomic_load(&bell->count);
}

/* Either the ringer sees the sleeper, or the sleeper (who checks count in the kernel after it
 * announced itself) sees the ring: both sides are sequentially consistent. */
void bell_ring(struct bell *bell)
{
    atomic_fetch_add(&bell->count, 1);
    if (atomic_load(&bell->sleepers) > 0)
        syscall(SYS_futex, &bell->count, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

void bell_wait(struct bell *bell, uint32_t seen, int64_t timeout_us)
{
    struct timespec timeout = {.tv_sec = timeout_us / 1000000,
                               .tv_nsec = timeout_us % 1000000 * 1000};
    atomic_fetch_add(&bell->sleepers, 1);
    syscall(SYS_futex, &bell->count, FUTEX_WAIT, seen, &timeout, NULL, 0);
    atomic_fetch_sub(&bell->sleepers, 1);
}

enum status ring_map(int fd, struct ring **ret_ring)
{
    struct stat stat;
    if (fstat(fd, &stat) != 0)
        return fail(ERR_IO, "order ring: %s", strerror(errno));
    if (stat.st_size != sizeof(struct ring))
        return fail(ERR_PROTOCOL, "order ring: wrong size; worker and helper differ in version");
    void *memory = mmap(NULL, sizeof(struct ring), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED)
        return fail(ERR_IO, "cannot map the order ring: %s", strerror(errno));
    *ret_ring = memory;
    return OK;
}

enum status ring_create(int *ret_fd, struct ring **ret_ring)
{
    int fd = memfd_create("everseer-ring", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, sizeof(struct ring)) != 0) {
        int error = errno;
        if (fd >= 0)
            close(fd);
        return fail(ERR_IO, "cannot make the order ring: %s", strerror(error));
    }
    enum status status = ring_map(fd, ret_ring);
    if (status != OK) {
        close(fd);
        return status;
    }
    *ret_fd = fd;
    return OK;
}

void ring_unmap(struct ring *ring)
{
    if (ring != NULL)
        munmap(ring, sizeof(*ring));
}

int ring_is_done(struct ring *ring, uint64_t sequence)
{
    return atomic_load(&ring->commands[sequence % RING_COMMANDS].done) > sequence;
}

uint64_t ring_post(struct ring *ring, const struct ring_command *command)
{
    uint64_t sequence = atomic_load(&ring->posted);
    struct ring_command *place = &ring->commands[sequence % RING_COMMANDS];
    place->op = command->op;
    place->root = command->root;
    place->subgroup = command->subgroup;
    place->offset = command->offset;
    place->count = command->count;
    atomic_store(&ring->posted, sequence + 1);
    bell_ring(&ring->helper_bell);
    return sequence;
}

void ring_complete(struct ring *ring, uint64_t sequence)
{
    atomic_store(&ring->commands[sequence % RING_COMMANDS].done, sequence + 1);
    bell_ring(&ring->worker_bell);
}
