/* loader_address.c - cuts at the last comma. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "proto/loader_address.h"

#include <stdio.h>
#include <string.h>

#include "proto/endpoint.h"

enum status loader_address_parse(const char *text, struct loader_address *ret_address)
{
    struct loader_address address = {0};
    const char *comma = strrchr(text, ',');
    size_t length = comma != NULL ? (size_t)(comma - text) : strlen(text);
    if (length >= sizeof(address.endpoint))
        return fail(ERR_INPUT, "a loader's address of %zu bytes, at most %zu", length,
                    sizeof(address.endpoint) - 1);
    memcpy(address.endpoint, text, length);
    if (comma == NULL && !endpoint_is_local(text))
        return fail(ERR_INPUT,
                    "loader '%s' is on another host, and would be taken at its word: name it by "
                    "its key too, ADDRESS,KEY ('seer key init --keys DIR' there prints it)",
                    text);
    if (comma != NULL && key_text_check(comma + 1) != OK)
        return fail_add(ERR_INPUT, "loader '%s': ADDRESS,KEY is wanted", address.endpoint);
    if (comma != NULL)
        memcpy(address.key, comma + 1, sizeof(address.key));
    *ret_address = address;
    return OK;
}
