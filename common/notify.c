/* notify.c - datagrams to the service manager. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "common/notify.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/log.h"

/* Written by notify_start before any thread exists, read-only afterwards. */
static int notify_fd = -1;
static int has_watchdog;

/* "@name" is in the abstract namespace. Returns the length, 0: it is no address of ours. */
static socklen_t address_of(const char *path, struct sockaddr_un *address)
{
    size_t length = strlen(path);
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if ((path[0] != '/' && path[0] != '@') || length < 2 || length >= sizeof(address->sun_path))
        return 0;
    memcpy(address->sun_path, path, length);
    if (path[0] == '@')
        address->sun_path[0] = '\0';
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
}

/* $WATCHDOG_PID is whom the manager watches, if it says so. */
static int is_watched(void)
{
    const char *period = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
    return period != NULL && strtoll(period, NULL, 10) > 0 &&
           (pid == NULL || strtoll(pid, NULL, 10) == (long long)getpid());
}

static void open_socket(const char *path)
{
    struct sockaddr_un address;
    socklen_t length = address_of(path, &address);
    if (length == 0) {
        log_warn("event=notify_failed socket=%s reason=\"no path and no @name\"", path);
        return;
    }
    notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (notify_fd >= 0 && connect(notify_fd, (struct sockaddr *)&address, length) == 0)
        return;
    log_warn("event=notify_failed socket=%s reason=\"%s\"", path, strerror(errno));
    notify_stop();
}

static void send_text(const char *text)
{
    if (notify_fd >= 0)
        (void)!send(notify_fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT);
}

void notify_start(void)
{
    const char *path = getenv("NOTIFY_SOCKET");
    has_watchdog = is_watched();
    if (path != NULL)
        open_socket(path);
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
}

void notify_stop(void)
{
    if (notify_fd >= 0)
        close(notify_fd);
    notify_fd = -1;
    has_watchdog = 0;
}

void notify_ready(void)
{
    send_text("READY=1");
}

void notify_stopping(void)
{
    send_text("STOPPING=1");
}

void notify_status(const char *format, ...)
{
    char text[256] = "STATUS=";
    size_t used = strlen(text);
    if (notify_fd < 0)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(text + used, sizeof(text) - used, format, args);
    va_end(args);
    /* A name that came from a peer must not become a line of the protocol. */
    for (char *at = text + used; *at != '\0'; at++)
        if ((unsigned char)*at < ' ')
            *at = '?';
    send_text(text);
}

void notify_alive(void)
{
    if (has_watchdog)
        send_text("WATCHDOG=1");
}
