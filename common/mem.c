/* mem.c - malloc that aborts with the name of whoever asked. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "common/mem.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"

/* Statistics only: relaxed order is enough. */
static _Atomic uint64_t call_count;

static void *checked(void *memory, size_t bytes, void *caller)
{
    atomic_fetch_add_explicit(&call_count, 1, memory_order_relaxed);
    if (memory == NULL) {
        log_error("out of memory bytes=%zu caller=%p", bytes, caller);
        abort();
    }
    return memory;
}

void *mem_alloc(size_t bytes)
{
    return checked(malloc(bytes + (bytes == 0)), bytes, __builtin_return_address(0));
}

void *mem_zero(size_t bytes)
{
    return checked(calloc(1, bytes + (bytes == 0)), bytes, __builtin_return_address(0));
}

void *mem_array(size_t count, size_t size)
{
    size_t bytes = 0;
    if (__builtin_mul_overflow(count, size, &bytes))
        return checked(NULL, SIZE_MAX, __builtin_return_address(0));
    return checked(calloc(1, bytes + (bytes == 0)), bytes, __builtin_return_address(0));
}

void *mem_resize(void *memory, size_t bytes)
{
    return checked(realloc(memory, bytes + (bytes == 0)), bytes, __builtin_return_address(0));
}

void *mem_aligned(size_t bytes)
{
    size_t rounded = (bytes + 63) / 64 * 64 + (bytes == 0 ? 64 : 0);
    void *memory = checked(aligned_alloc(64, rounded), bytes, __builtin_return_address(0));
    return memset(memory, 0, rounded);
}

char *mem_string(const char *string)
{
    if (string == NULL)
        return NULL;
    return checked(strdup(string), strlen(string) + 1, __builtin_return_address(0));
}

char *mem_format(const char *format, ...)
{
    char *string = NULL;
    va_list args;
    va_start(args, format);
    if (vasprintf(&string, format, args) < 0)
        string = NULL;
    va_end(args);
    return checked(string, 0, __builtin_return_address(0));
}

void mem_free(void *memory)
{
    free(memory);
}

void mem_run_out(const char *who)
{
    log_error("out of memory in=%s", who);
    abort();
}

uint64_t mem_call_count(void)
{
    return atomic_load_explicit(&call_count, memory_order_relaxed);
}
