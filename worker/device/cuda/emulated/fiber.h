/* fiber.h - threads of control that switch by a function call, for the threads of a CUDA block.
 *
 * A fiber has a stack and a function that never returns; it runs while somebody has switched to it
 * and rests otherwise. All of them belong to one thread of the process at a time: whoever calls
 * into a set of fibers holds a lock. AddressSanitizer is told of every switch. x86-64 only: saving
 * six registers takes nanoseconds where swapcontext's system call takes a microsecond. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_DEVICE_CUDA_EMULATED_FIBER_H
#define WORKER_DEVICE_CUDA_EMULATED_FIBER_H

#include <stddef.h>

struct fiber {
    void *top;        /* stack pointer while at rest */
    void *stack;      /* NULL: the thread that started it all */
    size_t bytes;     /* of the stack */
    void *fake_stack; /* AddressSanitizer's */
};

/* Embedded; a stack with an inaccessible page below. entry runs at the first switch. */
void fiber_init(struct fiber *fiber, void (*entry)(void));
/* Forgets where it was: the next switch runs entry from its start on the same stack. */
void fiber_reset(struct fiber *fiber, void (*entry)(void));
void fiber_done(struct fiber *fiber);

/* Rests `from` (the running one) and goes on with `to`; returns when somebody switches back. */
void fiber_switch(struct fiber *from, struct fiber *to);
/* First call of every entry function: ends the switch that came here. */
void fiber_arrived(const struct fiber *fiber);

#endif
