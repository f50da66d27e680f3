/* status.c - the per-thread message behind a status code. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "common/status.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Long enough for two paths and a sentence; longer messages are cut, never overrun. */
enum { MESSAGE_BYTES = 1024 };

static _Thread_local char message[MESSAGE_BYTES];

enum status fail(enum status status, const char *format, ...)
{
    /* Built aside because an argument may be fail_message() itself. */
    char words[MESSAGE_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(words, sizeof(words), format, args);
    va_end(args);
    memcpy(message, words, sizeof(words));
    return status;
}

enum status fail_add(enum status status, const char *format, ...)
{
    char words[MESSAGE_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(words, sizeof(words), format, args);
    va_end(args);
    size_t used = strlen(words);
    if (message[0] != '\0' && used < sizeof(words))
        snprintf(words + used, sizeof(words) - used, ": %.*s", MESSAGE_BYTES / 2, message);
    memcpy(message, words, sizeof(words));
    return status;
}

const char *fail_message(void)
{
    return message;
}

const char *status_name(enum status status)
{
    switch (status) {
    case OK:
        return "ok";
    case ERR_INPUT:
        return "input";
    case ERR_IO:
        return "io";
    case ERR_CORRUPT:
        return "corrupt";
    case ERR_STALE:
        return "stale";
    case ERR_PROTOCOL:
        return "protocol";
    case ERR_TIMEOUT:
        return "timeout";
    case ERR_UNREACHABLE:
        return "unreachable";
    case ERR_DEVICE:
        return "device";
    case ERR_END:
        return "end";
    }
    return "unknown";
}

enum status status_of_errno(int error)
{
    switch (error) {
    case ENOENT:
    case ENOTDIR:
        return ERR_INPUT;
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case EAGAIN:
        return ERR_DEVICE;
    default:
        return ERR_IO;
    }
}

int status_exit_code(enum status status)
{
    switch (status) {
    case OK:
        return 0;
    case ERR_INPUT:
        return 2;
    case ERR_UNREACHABLE:
        return 3;
    case ERR_TIMEOUT:
        return 5;
    default:
        return 1;
    }
}
