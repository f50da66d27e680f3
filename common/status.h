/* status.h - how a function says that it failed, and the words that go with it.
 *
 * Every fallible function returns enum status and nothing else; results go to ret_ parameters,
 * which come last and are written only on OK. The code names the reaction that is called for; the
 * words, kept per thread, name file, place and remedy. Whoever detects a failure calls fail() once;
 * whoever only passes it on uses TRY(); whoever handles it reads fail_message() and logs it, once.
 */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef COMMON_STATUS_H
#define COMMON_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

enum status {
    OK = 0,
    ERR_INPUT,       /* what a person gave us is wrong: they must change it */
    ERR_IO,          /* disk or network refused: fix the machine, then try again */
    ERR_CORRUPT,     /* this piece of data is damaged: skip it and count it */
    ERR_STALE,       /* the question belongs to the past: ask again about the present */
    ERR_PROTOCOL,    /* the peer breaks the rules: close the connection */
    ERR_TIMEOUT,     /* waited to the deadline: treat the other side as gone */
    ERR_UNREACHABLE, /* nobody is there: wait for them or give up */
    ERR_DEVICE,      /* device, memory or descriptors are not to be had: restart the process */
    ERR_END,         /* there is no more: stop asking */
};

/* Records a message for this thread and returns status. The message replaces the previous one. */
enum status fail(enum status status, const char *format, ...)
    __attribute__((format(printf, 2, 3), cold));

/* As fail(), but the message becomes "<new words>: <present message>". */
enum status fail_add(enum status status, const char *format, ...)
    __attribute__((format(printf, 2, 3), cold));

/* The words of this thread's last fail(); "" if there was none. Valid until the next fail(). */
const char *fail_message(void);

/* "input", "io", ... for logs. */
const char *status_name(enum status status);

/* What a system call on a file that should be there says when it fails with this errno: ERR_INPUT,
 * there is none; ERR_DEVICE, this process or its host is short of descriptors or memory, which says
 * nothing about the file; else ERR_IO. */
enum status status_of_errno(int error);

/* Exit code of a program that ends with this status: 0 ok, 1 failed, 2 usage, 3 not reachable,
 * 5 timed out (4, partly done, is decided by the command itself). */
int status_exit_code(enum status status);

/* Passes a failure on to the caller. */
#define TRY(call)                                                                                  \
    do {                                                                                           \
        enum status try_status_ = (call);                                                          \
        if (try_status_ != OK)                                                                     \
            return try_status_;                                                                    \
    } while (0)

/* Passes a failure on by way of the function's own cleanup: needs `enum status status` and `out:`.
 */
#define TRY_OUT(call)                                                                              \
    do {                                                                                           \
        status = (call);                                                                           \
        if (status != OK)                                                                          \
            goto out;                                                                              \
    } while (0)

#ifdef __cplusplus
}
#endif
#endif
