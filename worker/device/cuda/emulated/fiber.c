/* fiber.c - stacks and the switch between them. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/cuda/emulated/fiber.h"

#include <stdint.h>
#include <sys/mman.h>

#include "common/check.h"

/* A kernel's frames are a few KiB, under AddressSanitizer several times that. */
enum { STACK_BYTES = 128 << 10, GUARD_BYTES = 4096, SAVED_REGISTERS = 6 };

/* Present only in builds with AddressSanitizer. */
extern void __sanitizer_start_switch_fiber(void **save, const void *bottom, size_t bytes)
    __attribute__((weak));
extern void __sanitizer_finish_switch_fiber(void *save, const void **bottom, size_t *bytes)
    __attribute__((weak));
extern void __asan_unpoison_memory_region(const volatile void *memory, size_t bytes)
    __attribute__((weak));

/* Saves what a function must preserve, leaves the stack pointer in *save and takes up `load`. */
void fiber_registers(void **save, void *load);
__asm__(".text\n"
        ".globl fiber_registers\n"
        ".type fiber_registers, @function\n"
        "fiber_registers:\n"
        "    pushq %rbp\n"
        "    pushq %rbx\n"
        "    pushq %r12\n"
        "    pushq %r13\n"
        "    pushq %r14\n"
        "    pushq %r15\n"
        "    movq %rsp, (%rdi)\n"
        "    movq %rsi, %rsp\n"
        "    popq %r15\n"
        "    popq %r14\n"
        "    popq %r13\n"
        "    popq %r12\n"
        "    popq %rbx\n"
        "    popq %rbp\n"
        "    ret\n"
        ".size fiber_registers, . - fiber_registers\n");

void fiber_reset(struct fiber *fiber, void (*entry)(void))
{
    /* As if entry had been called from address 0, with the stack aligned to 16 bytes before the
     * call, and had switched away at once. */
    uintptr_t *top = (uintptr_t *)((char *)fiber->stack + fiber->bytes);
    *--top = 0;
    *--top = (uintptr_t)entry;
    for (int i = 0; i < SAVED_REGISTERS; i++)
        *--top = 0;
    if (__asan_unpoison_memory_region != NULL) /* frames that never returned */
        __asan_unpoison_memory_region(fiber->stack, fiber->bytes);
    fiber->top = top;
    fiber->fake_stack = NULL;
}

void fiber_init(struct fiber *fiber, void (*entry)(void))
{
    char *memory = mmap(NULL, GUARD_BYTES + STACK_BYTES, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(memory != MAP_FAILED);
    CHECK(mprotect(memory, GUARD_BYTES, PROT_NONE) == 0);
    fiber->stack = memory + GUARD_BYTES;
    fiber->bytes = STACK_BYTES;
    fiber_reset(fiber, entry);
}

void fiber_done(struct fiber *fiber)
{
    if (fiber->stack != NULL)
        CHECK(munmap((char *)fiber->stack - GUARD_BYTES, GUARD_BYTES + STACK_BYTES) == 0);
    *fiber = (struct fiber){0};
}

/* The stack that was left is the starting thread's, or a fiber's whose bounds are known. */
static struct fiber *left;

void fiber_arrived(const struct fiber *fiber)
{
    if (__sanitizer_finish_switch_fiber == NULL)
        return;
    const void *bottom = NULL;
    size_t bytes = 0;
    __sanitizer_finish_switch_fiber(fiber->fake_stack, &bottom, &bytes);
    if (left->bytes == 0) {
        left->stack = (void *)bottom;
        left->bytes = bytes;
    }
}

void fiber_switch(struct fiber *from, struct fiber *to)
{
    left = from;
    if (__sanitizer_start_switch_fiber != NULL)
        __sanitizer_start_switch_fiber(&from->fake_stack, to->stack, to->bytes);
    fiber_registers(&from->top, to->top);
    fiber_arrived(from);
}
