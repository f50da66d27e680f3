/* server_watch.c - words about a connection. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/server_watch.h"

#include "common/clock.h"
#include "common/log.h"

enum {
    FIRST_COMPLAINT_MS = 5000, /* a server that was never there */
    REFUSED_LOG_MS = 30000,    /* between two words of a server that refuses us */
};

void server_watch_init(struct server_watch *watch, const char *address, int has_key)
{
    *watch = (struct server_watch){.address = address, .has_key = has_key, .start_ms = clock_ms()};
}

static void complain_of_refusal(struct server_watch *watch)
{
    int64_t now_ms = clock_ms();
    if (watch->refused_ms != 0 && now_ms - watch->refused_ms < REFUSED_LOG_MS)
        return;
    watch->refused_ms = now_ms;
    log_warn("event=server_refuses server=%s reason=\"%s\" action=\"trying again\"", watch->address,
             watch->has_key ? "it does not let this key in (seer key ls)"
                            : "it asks for a key: --key FILE (seer key new)");
}

int server_watch_see(struct server_watch *watch, enum endpoint_change change)
{
    if (change == ENDPOINT_REFUSED) {
        complain_of_refusal(watch);
        return 0;
    }
    watch->is_up = change == ENDPOINT_UP;
    watch->has_complained = 1;
    if (watch->is_up)
        log_info("event=connected server=%s", watch->address);
    else
        log_warn("event=server_lost server=%s action=\"waiting for it\"", watch->address);
    return 1;
}

void server_watch_look(struct server_watch *watch)
{
    if (watch->is_up || watch->has_complained || clock_ms() - watch->start_ms <= FIRST_COMPLAINT_MS)
        return;
    watch->has_complained = 1;
    log_warn("event=server_absent server=%s action=\"waiting for it\"", watch->address);
}
