/* bench_journal.c - what a worker's journal costs the training thread: bench_journal DIR [STEPS].
 *
 * Remembers and tells a step as worker.c does, once a millisecond, for shares of several sizes;
 * prints the processor time of the training thread for it. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/mem.h"
#include "worker/worker_journal.h"

enum { STEPS = 2000, SLOT_IMAGES = 16 };

static int64_t ns_of(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int by_size(const void *left, const void *right)
{
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

static void tell_step(struct worker_journal *journal, uint64_t number, uint32_t slots)
{
    struct witness_step step = {
        .generation = 1,
        .step = number,
        .is_applied = 1,
        .slot_count = slots,
        .slot_images = SLOT_IMAGES,
        .slots = mem_array(slots, sizeof(struct witness_slot)),
        .images = mem_array((size_t)slots * SLOT_IMAGES, sizeof(struct witness_image))};
    for (uint32_t i = 0; i < slots; i++)
        step.slots[i] = (struct witness_slot){i, number * slots * SLOT_IMAGES};
    for (uint32_t i = 0; i < slots * SLOT_IMAGES; i++)
        step.images[i] = (struct witness_image){i % 7, i};
    worker_journal_step(journal, &step);
}

static enum status measure(const char *folder, uint64_t steps, uint32_t slots)
{
    struct worker_journal *journal = NULL;
    const struct worker_journal_setup setup = {.folder = folder,
                                               .name = "bench",
                                               .segment_bytes = WITNESS_SEGMENT_BYTES,
                                               .folder_bytes = WORKER_JOURNAL_FOLDER_BYTES};
    int64_t *ns = mem_array(steps, sizeof(*ns));
    TRY(worker_journal_open(&setup, &journal));
    worker_journal_state(journal, 1, slots, &(struct witness_state){0});
    for (uint64_t step = 0; step < steps; step++) {
        int64_t next = ns_of(CLOCK_MONOTONIC) + 1000000, start = ns_of(CLOCK_THREAD_CPUTIME_ID);
        tell_step(journal, step, slots);
        ns[step] = ns_of(CLOCK_THREAD_CPUTIME_ID) - start;
        while (ns_of(CLOCK_MONOTONIC) < next) /* the step's other work keeps this core busy */
            ;
    }
    worker_journal_close(journal);
    qsort(ns, steps, sizeof(*ns), by_size);
    printf("%4u images: p50 %6.2f us, p99 %6.2f us, max %8.2f us\n", slots * SLOT_IMAGES,
           (double)ns[steps / 2] / 1e3, (double)ns[steps * 99 / 100] / 1e3,
           (double)ns[steps - 1] / 1e3);
    mem_free(ns);
    return OK;
}

int main(int argc, char **argv)
{
    uint64_t steps = argc > 2 ? strtoull(argv[2], NULL, 10) : STEPS;
    if (argc < 2 || steps == 0)
        return 2;
    for (uint32_t slots = 1; slots <= 64; slots *= 8)
        if (measure(argv[1], steps, slots) != OK) {
            fprintf(stderr, "bench_journal: %s\n", fail_message());
            return 1;
        }
    return 0;
}
