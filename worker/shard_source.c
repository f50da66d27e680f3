/* shard_source.c - shard servers by name, and the log's lines about shards. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/shard_source.h"

#include <stdio.h>
#include <string.h>

#include "common/log.h"

enum status shard_source_add(struct config *config, const struct option_list *own)
{
    for (int i = 0; own != NULL && i < own->count; i++) {
        int64_t at = 0;
        while (at < config->data.loader_count &&
               strcmp(config->data.loaders[at], own->items[i]) != 0)
            at++;
        if (at < config->data.loader_count)
            continue;
        if (at == CONFIG_LOADERS_MAX || strlen(own->items[i]) >= CONFIG_ADDRESS_BYTES)
            return fail(ERR_INPUT,
                        "--loader '%s': at most %d loaders with data.loaders, and %d "
                        "bytes each",
                        own->items[i], CONFIG_LOADERS_MAX, CONFIG_ADDRESS_BYTES - 1);
        snprintf(config->data.loaders[config->data.loader_count++], CONFIG_ADDRESS_BYTES, "%s",
                 own->items[i]);
    }
    return OK;
}

int shard_source_trouble(struct loader *loader, struct shard_trouble *ret_trouble)
{
    struct shard_trouble trouble;
    while (loader_trouble(loader, &trouble)) {
        switch (trouble.kind) {
        case SHARD_TROUBLE_UNREACHABLE:
        case SHARD_TROUBLE_DAMAGED:
            log_warn("event=shard_unreadable shard=%u reason=\"%s\" action=\"telling the server\"",
                     trouble.shard, trouble.reason);
            *ret_trouble = trouble;
            return 1;
        case SHARD_TROUBLE_OWN:
            log_warn("event=shard_unreadable shard=%u reason=\"%s\" action=\"trying on\"",
                     trouble.shard, trouble.reason);
            break;
        case SHARD_TROUBLE_AWAITED:
            log_warn("event=shard_awaited shard=%u reason=\"%s\"", trouble.shard, trouble.reason);
            break;
        case SHARD_TROUBLE_LOADER_LOST:
            log_warn("event=loader_lost reason=\"%s\" action=\"asking others, or waiting\"",
                     trouble.reason);
            break;
        case SHARD_TROUBLE_LOADER_FOUND:
            log_info("event=loader_found reason=\"%s\"", trouble.reason);
            break;
        }
    }
    return 0;
}
