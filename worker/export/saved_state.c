/* saved_state.c - a snapshot file, opened for reading: tensors, config and step. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/export/saved_state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/mem.h"
#include "common/safetensors_digest.h"

static enum status read_metadata(struct saved_state *saved)
{
    const struct safetensors_header *header = &saved->file.header;
    const char *config = safetensors_find_metadata(header, "everseer.config");
    const char *step = safetensors_find_metadata(header, "everseer.step");
    if (config == NULL || step == NULL)
        return fail(ERR_INPUT,
                    "'%s' is no snapshot: its metadata lacks everseer.config or everseer.step; "
                    "snapshots lie in the run's snapshots/ folder",
                    saved->path);
    char *end;
    errno = 0;
    saved->step = strtoull(step, &end, 10);
    if (*step < '0' || *step > '9' || *end != '\0' || errno != 0)
        return fail(ERR_CORRUPT, "'%s': everseer.step is '%s', not a number", saved->path, step);
    config_init(&saved->config);
    if (config_load_text("everseer.config", config, strlen(config), &saved->config) != OK)
        return fail(ERR_CORRUPT, "'%s': %s", saved->path, fail_message());
    return OK;
}

/* Before the map is touched: whoever reads on may rely on every byte. */
static enum status check_tensors(const struct saved_state *saved)
{
    int has_digests;
    int file = open(saved->path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return fail(ERR_IO, "cannot open '%s': %s", saved->path, strerror(errno));
    enum status status =
        safetensors_check_digests(saved->path, file, &saved->file.header, &has_digests);
    close(file);
    return status;
}

enum status saved_state_open(const char *path, struct saved_state *ret_saved)
{
    /* A struct config is some kilobytes: not on the stack twice. */
    struct saved_state *saved = mem_zero(sizeof(*saved));
    saved->path = path;
    enum status status = safetensors_open(path, &saved->file);
    if (status == OK)
        status = read_metadata(saved);
    if (status == OK)
        status = check_tensors(saved);
    if (status == OK)
        *ret_saved = *saved;
    else
        saved_state_close(saved);
    mem_free(saved);
    return status;
}

void saved_state_close(struct saved_state *saved)
{
    safetensors_close(&saved->file);
}

char *saved_state_run(const char *snapshot)
{
    static const char between[] = "snapshots";
    const char *name = strrchr(snapshot, '/');
    if (name == NULL)
        return NULL;
    const size_t folder = (size_t)(name - snapshot), length = strlen(between);
    if (folder < length || strncmp(name - length, between, length) != 0)
        return NULL;
    if (folder == length)
        return mem_string(".");
    return name[-(ptrdiff_t)length - 1] == '/'
               ? mem_format("%.*s", (int)(folder - length), snapshot)
               : NULL;
}
