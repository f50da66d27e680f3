/* grid.c - blocks, barriers and warps on fibers. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/cuda/emulated/grid.h"

#include <stdio.h>
#include <string.h>

#include "common/check.h"
#include "worker/device/cuda/emulated/fiber.h"

enum { SHARED_MAX = 16, WARPS_MAX = BLOCK_THREADS_MAX / WARP_SIZE };
/* CUDA's limits of a grid: x up to 2^31 - 1, y and z up to 2^16 - 1; of a block in z: 64. */
static const unsigned grid_x_max = 0x7fffffff, grid_yz_max = 0xffff, block_z_max = 64;

enum state { READY, AT_BARRIER, AT_EXCHANGE, GONE };

struct thread_state {
    enum state state;
    const char *file; /* where it waits */
    int line;
    struct fiber *fiber; /* NULL: not started */
};

struct warp {
    uint64_t values[2][WARP_SIZE]; /* of this exchange and the one before, in turn */
    int turn, arrived;
};

struct uint3 grid_thread, grid_block, grid_threads, grid_blocks;

/* The block that runs. */
static struct {
    const struct grid *grid;
    int thread_count, current; /* current: index of the running thread */
    struct uint3 indices[BLOCK_THREADS_MAX];
    struct thread_state threads[BLOCK_THREADS_MAX];
    int ready[BLOCK_THREADS_MAX], ready_count;
    struct warp warps[WARPS_MAX];
    const void *shared[SHARED_MAX];
    int shared_count;
    size_t shared_bytes;
    char trouble[256]; /* "" while all is well */
} block;

/* Fibers are made once and used again; free_fibers are those that no thread of the block has. */
static struct fiber fibers[BLOCK_THREADS_MAX], *free_fibers[BLOCK_THREADS_MAX], scheduler;
static int fiber_count, free_count;

static uint64_t random_state;

/* splitmix64 */
static unsigned draw(unsigned below)
{
    uint64_t z = (random_state += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return (unsigned)(((z ^ (z >> 31)) >> 32) * below >> 32);
}

static struct thread_state *current(void)
{
    return &block.threads[block.current];
}

static void rest(enum state state, const char *file, int line)
{
    struct thread_state *thread = current();
    thread->state = state;
    thread->file = file;
    thread->line = line;
    fiber_switch(thread->fiber, &scheduler);
}

/* A fiber runs one thread after the other; which one, the scheduler says by block.current. */
static void fiber_entry(void)
{
    fiber_arrived(current()->fiber);
    for (;;) {
        block.grid->body(block.grid->arguments);
        rest(GONE, NULL, 0);
    }
}

static struct fiber *fiber_take(void)
{
    if (free_count > 0)
        return free_fibers[--free_count];
    struct fiber *fiber = &fibers[fiber_count++];
    fiber_init(fiber, fiber_entry);
    return fiber;
}

static void make_ready(int thread)
{
    block.threads[thread].state = READY;
    block.ready[block.ready_count++] = thread;
}

/* Places of one kernel are of one source file, whose name is one string. */
static int is_at(const struct thread_state *thread, enum state state, const char *file, int line)
{
    return thread->state == state && thread->line == line && thread->file == file;
}

static void trouble(const char *what, int one, int other)
{
    const struct thread_state *a = &block.threads[one], *b = &block.threads[other];
    char where[96] = "has left";
    if (block.trouble[0] != '\0')
        return;
    if (b->state != GONE)
        snprintf(where, sizeof(where), "is at %s:%d", b->file, b->line);
    snprintf(block.trouble, sizeof(block.trouble),
             "%s: %s: thread %d of block (%u,%u,%u) waits at %s:%d, thread %d %s", block.grid->name,
             what, one, grid_block.x, grid_block.y, grid_block.z, a->file, a->line, other, where);
}

void grid_barrier(const char *file, int line)
{
    rest(AT_BARRIER, file, line);
}

int grid_lane(void)
{
    return block.current % WARP_SIZE;
}

const uint64_t *grid_exchange(const char *file, int line, uint64_t value)
{
    const int first = block.current - grid_lane();
    struct warp *warp = &block.warps[first / WARP_SIZE];
    uint64_t *values = warp->values[warp->turn];
    values[grid_lane()] = value;
    if (++warp->arrived < WARP_SIZE) {
        rest(AT_EXCHANGE, file, line);
        return values;
    }
    /* The last one lets the others go on, and goes on itself. */
    warp->arrived = 0;
    warp->turn = !warp->turn;
    for (int i = first; i < first + WARP_SIZE; i++) {
        if (i == block.current)
            continue;
        if (!is_at(&block.threads[i], AT_EXCHANGE, file, line))
            trouble("lanes of a warp exchange at different places", i, block.current);
        make_ready(i);
    }
    return values;
}

void grid_shared(void *memory, size_t bytes)
{
    for (int i = 0; i < block.shared_count; i++)
        if (block.shared[i] == memory)
            return;
    CHECK(block.shared_count < SHARED_MAX);
    block.shared[block.shared_count++] = memory;
    block.shared_bytes += bytes;
    if (block.shared_bytes > SHARED_BYTES_MAX && block.trouble[0] == '\0')
        snprintf(block.trouble, sizeof(block.trouble), "%s: %zu bytes of shared memory, %d exist",
                 block.grid->name, block.shared_bytes, SHARED_BYTES_MAX);
    memset(memory, 0xff, bytes);
}

static struct uint3 index_of(unsigned i, struct uint3 size)
{
    return (struct uint3){i % size.x, i / size.x % size.y, i / size.x / size.y};
}

/* Lets one thread that may go on run until it rests. */
static void run_one(void)
{
    const unsigned at = draw((unsigned)block.ready_count);
    block.current = block.ready[at];
    block.ready[at] = block.ready[--block.ready_count];
    struct thread_state *thread = current();
    if (thread->fiber == NULL)
        thread->fiber = fiber_take();
    grid_thread = block.indices[block.current];
    fiber_switch(&scheduler, thread->fiber);
    if (thread->state == GONE)
        free_fibers[free_count++] = thread->fiber;
}

/* Nobody can go on: all have left, or all wait at one barrier, or the kernel is wrong. */
static int release_barrier(void)
{
    int first = 0;
    while (first < block.thread_count && block.threads[first].state == GONE)
        first++;
    if (first == block.thread_count)
        return 0;
    const struct thread_state *one = &block.threads[first];
    for (int i = 0; i < block.thread_count; i++)
        if (!is_at(&block.threads[i], one->state, one->file, one->line)) {
            trouble("threads diverge", first, i);
            return 0;
        }
    if (one->state == AT_EXCHANGE) {
        trouble("a warp of fewer than 32 lanes exchanges", first, block.thread_count - 1);
        return 0;
    }
    for (int i = 0; i < block.thread_count; i++)
        make_ready(i);
    return 1;
}

static void run_block(void)
{
    block.ready_count = 0;
    block.shared_count = 0;
    block.shared_bytes = 0;
    for (int i = 0; i < block.thread_count; i++) {
        block.threads[i] = (struct thread_state){.state = READY};
        make_ready(i);
    }
    for (int i = 0; i < WARPS_MAX; i++)
        block.warps[i].arrived = 0;
    do {
        while (block.ready_count > 0 && block.trouble[0] == '\0')
            run_one();
    } while (block.trouble[0] == '\0' && release_barrier());
}

/* After trouble fibers stand in the middle of a kernel: start all of them afresh. */
static void abandon_fibers(void)
{
    free_count = 0;
    for (int i = 0; i < fiber_count; i++) {
        fiber_reset(&fibers[i], fiber_entry);
        free_fibers[free_count++] = &fibers[i];
    }
}

int grid_is_valid(const struct grid *grid)
{
    const struct uint3 b = grid->blocks, t = grid->threads;
    return b.x >= 1 && b.x <= grid_x_max && b.y >= 1 && b.y <= grid_yz_max && b.z >= 1 &&
           b.z <= grid_yz_max && t.x >= 1 && t.y >= 1 && t.z >= 1 && t.z <= block_z_max &&
           t.x <= BLOCK_THREADS_MAX && t.y <= BLOCK_THREADS_MAX &&
           (uint64_t)t.x * t.y * t.z <= BLOCK_THREADS_MAX;
}

const char *grid_run(const struct grid *grid, uint64_t seed)
{
    const uint64_t count = (uint64_t)grid->blocks.x * grid->blocks.y * grid->blocks.z;
    CHECK(count <= UINT32_MAX); /* what this machine could run in a day */
    random_state = seed;
    block.grid = grid;
    block.thread_count = (int)(grid->threads.x * grid->threads.y * grid->threads.z);
    block.trouble[0] = '\0';
    grid_threads = grid->threads;
    grid_blocks = grid->blocks;
    for (int i = 0; i < block.thread_count; i++)
        block.indices[i] = index_of((unsigned)i, grid->threads);
    scheduler = (struct fiber){0};                /* this thread, whichever it is */
    const unsigned start = draw((unsigned)count); /* no block may rely on one before it */
    for (uint64_t i = 0; i < count && block.trouble[0] == '\0'; i++) {
        grid_block = index_of((unsigned)((start + i) % count), grid->blocks);
        run_block();
    }
    if (block.trouble[0] == '\0')
        return NULL;
    abandon_fibers();
    return block.trouble;
}
