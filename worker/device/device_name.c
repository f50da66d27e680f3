/* device_name.c - what a device is called outside of its process. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/device_name.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Entry `index` of CUDA_VISIBLE_DEVICES; its length, 0 = it is not there. */
static int visible_device(long index, const char **ret_entry)
{
    const char *at = getenv("CUDA_VISIBLE_DEVICES");
    for (; at != NULL && index > 0; index--) {
        at = strchr(at, ',');
        at = at != NULL ? at + 1 : NULL;
    }
    *ret_entry = at;
    return at == NULL ? 0 : (int)strcspn(at, ",");
}

void device_public_name(const char *name, char *ret_name, size_t bytes)
{
    const char *entry = NULL;
    if (strncmp(name, "cuda", 4) != 0) {
        snprintf(ret_name, bytes, "%s", name);
        return;
    }
    const long index = name[4] == ':' ? strtol(name + 5, NULL, 10) : 0;
    const int length = visible_device(index, &entry);
    if (length > 0)
        snprintf(ret_name, bytes, "cuda:%.*s", length, entry);
    else
        snprintf(ret_name, bytes, "cuda:%ld", index);
}
