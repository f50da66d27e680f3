/* run_address.h - where the server of a run can be reached: RUN/server.json.
 *
 * Workers keep the address they were started with. So a server that is started again takes the
 * address of before, even if its config says "any port". */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_RUN_ADDRESS_H
#define SERVER_RUN_ADDRESS_H

#include <stdint.h>

#include "common/config.h"
#include "common/status.h"
#include "proto/endpoint.h"
#include "server/feed.h"

struct run_address {
    int64_t pid;
    char control[CONFIG_PATH_BYTES];
    char feed[CONFIG_PATH_BYTES];
    uint64_t run;
};

/* Binds server.listen and server.feed, or where they were bound before if that fits. gate may be
 * NULL, and errors are as with endpoint_bind. */
enum status run_address_bind(const char *directory, const struct config *config, struct gate *gate,
                             struct endpoint **ret_control, struct feed **ret_feed);
/* Complete or not at all. Blocks on disk. ERR_IO. */
enum status run_address_save(const char *directory, uint64_t run, const char *control,
                             const char *feed);
/* ERR_UNREACHABLE: no server was ever started there. ERR_CORRUPT. */
enum status run_address_load(const char *directory, struct run_address *ret_address);

#endif
