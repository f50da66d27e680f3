/* test_collective_faults.c - a worker and its helper meet while call 1, 2, 3 ... of either fails:
 * both end with a reason and hold nothing any more. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/torture/lives.h"
#include "worker/collective/collective.h"
#include "worker/collective/helper.h"
#include "worker/collective/ring.h"

enum { REGION_BYTES = 4096, FORM_MS = 600, STEP_MS = 200, TURN_US = 1000 };

static const struct helper_identity identity = {
    .run = 1, .generation = 7, .nonce = 99, .rank = 0, .size = 2};

static void serve(struct ring *ring, int socket)
{
    char byte;
    atomic_store(&ring->is_formed, 1);
    bell_ring(&ring->worker_bell);
    for (uint64_t done = 0; recv(socket, &byte, 1, MSG_DONTWAIT) != 0;) {
        while (done < atomic_load(&ring->posted))
            ring_complete(ring, done++);
        bell_wait(&ring->helper_bell, bell_count(&ring->helper_bell), TURN_US);
    }
}

/* What seer-helper does without MPI: calls, maps, completes orders until its worker goes. */
static void help(const char *address)
{
    int socket, region_fd, ring_fd;
    struct ring *ring;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (helper_call(address, &identity, &socket, &region_fd, &ring_fd) != OK ||
        ring_map(ring_fd, &ring) != OK)
        _exit(1);
    serve(ring, socket);
    _exit(0);
}

static enum status add_up(struct collective_group *group)
{
    struct collective *collective = NULL;
    TRY(collective_form(group, &collective));
    enum status status = collective_allreduce(collective, group->region, 16, REDUCE_SUM);
    collective_destroy(collective);
    return status;
}

static enum status meet(struct collective_group *group)
{
    struct helper_door door;
    TRY(helper_door_open(&door));
    group->listen_fd = door.listen_fd;
    pid_t helper = fork();
    if (helper == 0) {
        helper_door_close(&door); /* or it would keep its own call waiting */
        help(door.address);
    }
    enum status status = helper > 0 ? add_up(group) : fail(ERR_IO, "fork: %s", strerror(errno));
    helper_door_close(&door); /* one that still waits for an answer ends by that */
    while (helper > 0 && waitpid(helper, NULL, 0) != helper)
        ;
    return status;
}

static enum status live(void)
{
    enum status status = OK;
    struct collective_group group = {.engine = COLLECTIVE_MPI,
                                     .run = identity.run,
                                     .generation = identity.generation,
                                     .nonce = identity.nonce,
                                     .rank = identity.rank,
                                     .size = identity.size,
                                     .region = MAP_FAILED,
                                     .region_bytes = REGION_BYTES,
                                     .region_fd = memfd_create("region", MFD_CLOEXEC),
                                     .form_timeout_ms = FORM_MS,
                                     .timeout_ms = STEP_MS};
    if (group.region_fd < 0 || ftruncate(group.region_fd, REGION_BYTES) != 0) {
        status = fail(ERR_IO, "region: %s", strerror(errno));
        goto out;
    }
    group.region = mmap(NULL, REGION_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, group.region_fd, 0);
    status = group.region != MAP_FAILED ? meet(&group) : fail(ERR_IO, "mmap: %s", strerror(errno));
out:
    if (group.region != MAP_FAILED)
        munmap(group.region, REGION_BYTES);
    if (group.region_fd >= 0)
        close(group.region_fd);
    return status;
}

static void a_worker_and_its_helper_that_cannot_meet_part_with_a_reason(void **state)
{
    (void)state;
    const struct lives lives = {.live = live, .failures_min = 40};
    lives_run(&lives);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_worker_and_its_helper_that_cannot_meet_part_with_a_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
