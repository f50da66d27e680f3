/* notify.h - what a service manager hears of a daemon: ready, what it does, alive, stopping.
 *
 * The protocol of sd_notify(3): a datagram of lines to $NOTIFY_SOCKET. It is stable by promise and
 * meant to be spoken without libsystemd, which would bring compressors and ciphers into every
 * worker. Without the socket all calls do nothing; a manager that does not take a datagram at once
 * misses it. Any thread, after notify_start. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef COMMON_NOTIFY_H
#define COMMON_NOTIFY_H

/* Call once, before threads and children: takes what it needs out of the environment, so that
 * children do not speak for us. A socket that cannot be spoken to is logged, and no failure. */
void notify_start(void);
/* Forgets the socket, and is as before notify_start. For tests. */
void notify_stop(void);

/* Up: who waits for this unit may go on. Again is fine. */
void notify_ready(void);
/* Told to end: draining, saving. Again is fine. */
void notify_stopping(void);
/* One line for people. */
void notify_status(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The thread that calls goes round; without this for WatchdogSec the manager ends the process. */
void notify_alive(void);

#endif
