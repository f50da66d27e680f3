/* initial_state.c - checked, compared, copied. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/initial_state.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/config_table.h"
#include "common/fs.h"
#include "common/mem.h"
#include "common/safetensors_digest.h"
#include "server/snapshot_folder.h"

enum { VALUES_BYTES_MAX = 4096 };

/* Of the model, but not of its state: a run may begin with other ones. */
static int is_of_state(const struct config_row *row)
{
    return row->role == CONFIG_MATHEMATICS && strncmp(row->key, "model.", strlen("model.")) == 0 &&
           strcmp(row->key, "model.conv_start") != 0 && strcmp(row->key, "model.bn_eps") != 0 &&
           strcmp(row->key, "model.bn_momentum") != 0;
}

static enum status compare_row(const char *path, const struct config_row *row,
                               const struct config *ours, const struct config *theirs)
{
    struct buf here, there;
    buf_init(&here, VALUES_BYTES_MAX);
    buf_init(&there, VALUES_BYTES_MAX);
    enum status status = config_row_print_all(row, ours, &here);
    if (status == OK)
        status = config_row_print_all(row, theirs, &there);
    if (status == OK && strcmp((const char *)here.bytes, (const char *)there.bytes) != 0)
        status =
            fail(ERR_INPUT,
                 "model.init: '%s' was made with %s: %s, this run has %s: import it again with "
                 "this run's config",
                 path, row->key, (const char *)there.bytes, (const char *)here.bytes);
    buf_done(&here);
    buf_done(&there);
    return status;
}

/* The state holds the feature queue too. */
static enum status compare_queue(const char *path, const struct config *ours,
                                 const struct config *theirs)
{
    const int is_same =
        ours->swav.queue_images == theirs->swav.queue_images &&
        (ours->swav.queue_images == 0 || ours->crops[0].count == theirs->crops[0].count);
    if (is_same)
        return OK;
    return fail(ERR_INPUT,
                "model.init: '%s' was made with swav.queue_images: %" PRId64 " of %" PRId64
                " crops, this run has %" PRId64 " of %" PRId64
                ": import it again with this run's config",
                path, theirs->swav.queue_images, theirs->crops[0].count, ours->swav.queue_images,
                ours->crops[0].count);
}

static enum status compare(const char *path, const char *text, const struct config *ours)
{
    int count;
    const struct config_row *rows = config_rows(&count);
    struct config *theirs = mem_zero(sizeof(*theirs)); /* large */
    enum status status = OK;
    config_init(theirs);
    if (config_load_text("everseer.config", text, strlen(text), theirs) != OK)
        status = fail_add(ERR_CORRUPT, "model.init: '%s'", path);
    for (int i = 0; i < count && status == OK; i++)
        if (is_of_state(&rows[i]))
            status = compare_row(path, &rows[i], ours, theirs);
    if (status == OK)
        status = compare_queue(path, ours, theirs);
    mem_free(theirs);
    return status;
}

/* An export has the metadata of its snapshot, and tensors of other names. */
static int has_momentum(const struct safetensors_header *header)
{
    for (int i = 0; i < header->tensor_count; i++)
        if (strncmp(header->tensors[i].name, "momentum/", strlen("momentum/")) == 0)
            return 1;
    return 0;
}

static enum status check_header(const char *path, const struct safetensors_header *header,
                                const struct config *config)
{
    const char *text = safetensors_find_metadata(header, "everseer.config");
    const char *step = safetensors_find_metadata(header, "everseer.step");
    if (text == NULL || step == NULL || strcmp(step, "0") != 0 || !has_momentum(header))
        return fail(ERR_INPUT,
                    "model.init: '%s' is no snapshot to begin with: make one of it with 'seer "
                    "import %s --config ... --to ...'",
                    path, path);
    return compare(path, text, config);
}

static enum status check(const char *path, int file, const struct config *config)
{
    struct safetensors_header header;
    int has_digests;
    safetensors_init(&header);
    enum status status = safetensors_read_header(path, file, &header);
    if (status == ERR_CORRUPT)
        status = fail_add(ERR_INPUT, "model.init wants what 'seer import' writes");
    if (status == OK)
        status = check_header(path, &header, config);
    if (status == OK)
        status = safetensors_check_digests(path, file, &header, &has_digests);
    safetensors_done(&header);
    return status;
}

static enum status copy_bytes(const char *from, int source, const char *to, int target)
{
    struct stat info;
    if (fstat(source, &info) != 0)
        return fail(ERR_IO, "cannot ask for the size of '%s': %s", from, strerror(errno));
    for (off_t at = 0; at < info.st_size;) {
        const ssize_t count = sendfile(target, source, &at, (size_t)(info.st_size - at));
        if (count < 0 && errno != EINTR)
            return fail(ERR_IO, "cannot copy '%s' to '%s': %s", from, to, strerror(errno));
        if (count == 0)
            return fail(ERR_CORRUPT, "'%s' became shorter while it was copied", from);
    }
    if (fsync(target) != 0)
        return fail(ERR_IO, "cannot flush '%s': %s", to, strerror(errno));
    return OK;
}

/* What is left of it after a crash the parameter store removes. */
static enum status copy(const char *from, int source, const char *to)
{
    char *temporary = mem_format("%s.tmp", to);
    enum status status = OK;
    const int target = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (target < 0)
        status = fail(ERR_IO, "cannot create '%s': %s", temporary, strerror(errno));
    if (status == OK)
        status = copy_bytes(from, source, temporary, target);
    if (target >= 0 && close(target) != 0 && status == OK)
        status = fail(ERR_IO, "cannot close '%s': %s", temporary, strerror(errno));
    if (status == OK)
        status = fs_rename(temporary, to);
    mem_free(temporary);
    return status;
}

enum status initial_state_take(const struct config *config, const char *directory)
{
    const char *path = config->model.init;
    char *to = snapshot_folder_path(directory, SNAPSHOT_INITIAL);
    enum status status;
    const int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        status = fail(errno == ENOENT ? ERR_INPUT : ERR_IO, "model.init: cannot open '%s': %s",
                      path, strerror(errno));
    else
        status = check(path, file, config);
    if (status == OK)
        status = copy(path, file, to);
    if (file >= 0)
        close(file);
    mem_free(to);
    return status;
}
