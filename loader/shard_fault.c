/* shard_fault.c - puts a page of zeros where a mapped file has none any more. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "loader/shard_fault.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static _Atomic uintptr_t page_bytes;
static _Thread_local atomic_int *guard;
static _Thread_local int is_unblocked;

/* Runs in the thread that touched the bytes. mmap is a plain system call on Linux, though POSIX
 * does not list it for handlers. */
static void handle(int number, siginfo_t *info, void *context)
{
    (void)context;
    int error = errno;
    void *page = (void *)((uintptr_t)info->si_addr & ~(page_bytes - 1));
    int is_answered = guard != NULL && info->si_code == BUS_ADRERR;
    if (is_answered) {
        atomic_store(guard, 1);
        is_answered = mmap(page, page_bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
                           0) == page;
    }
    if (!is_answered)
        signal(number, SIG_DFL); /* it comes again at once, and ends the process */
    errno = error;
}

void shard_fault_take(void)
{
    struct sigaction action;
    memset(&action, 0, sizeof(action));
    action.sa_sigaction = handle;
    action.sa_flags = SA_SIGINFO;
    sigemptyset(&action.sa_mask);
    page_bytes = (uintptr_t)sysconf(_SC_PAGESIZE);
    sigaction(SIGBUS, &action, NULL);
}

void shard_fault_guard(atomic_int *ret_is_faulty)
{
    if (!is_unblocked) { /* thread_start blocks all signals, and a blocked SIGBUS is the end */
        sigset_t bus;
        sigemptyset(&bus);
        sigaddset(&bus, SIGBUS);
        pthread_sigmask(SIG_UNBLOCK, &bus, NULL);
        is_unblocked = 1;
    }
    guard = ret_is_faulty;
}
