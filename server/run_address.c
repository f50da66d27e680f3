/* run_address.c - where the server of a run can be reached. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/run_address.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "common/fs.h"
#include "common/log.h"
#include "common/mem.h"

enum { FILE_BYTES_MAX = 16 << 10 };

static int is_any_port(const char *address)
{
    size_t length = strlen(address);
    return length >= 2 && strcmp(address + length - 2, ":*") == 0;
}

static enum status require_keys(const char *directory, const char *address, const struct gate *gate)
{
    if (gate != NULL || endpoint_is_local(address))
        return OK;
    return fail(ERR_INPUT,
                "address '%s' can be reached from other hosts, and the run has no keys to tell "
                "friends from strangers: make some with 'seer key init --run %s', or use "
                "tcp://127.0.0.1:PORT or ipc://PATH",
                address, directory);
}

/* "tcp://127.0.0.1:*" covers what begins like it up to the port. */
static const char *prefer(const char *wanted, const char *before)
{
    if (!is_any_port(wanted) || strncmp(wanted, before, strlen(wanted) - 1) != 0)
        return wanted;
    return before;
}

static enum status bind_control(const char *wanted, const char *before, struct gate *gate,
                                struct endpoint **ret)
{
    const char *first = prefer(wanted, before);
    enum status status = endpoint_bind(first, gate, ret);
    if (status == OK || first == wanted)
        return status;
    log_warn("event=address_changed before=%s reason=\"%s\"", before, fail_message());
    return endpoint_bind(wanted, gate, ret);
}

static enum status bind_feed(const char *wanted, const char *before, struct gate *gate,
                             struct feed **ret)
{
    const char *first = prefer(wanted, before);
    enum status status = feed_open(first, gate, ret);
    return status == OK || first == wanted ? status : feed_open(wanted, gate, ret);
}

enum status run_address_bind(const char *directory, const struct config *config, struct gate *gate,
                             struct endpoint **ret_control, struct feed **ret_feed)
{
    struct run_address before = {0};
    TRY(require_keys(directory, config->server.listen, gate));
    TRY(require_keys(directory, config->server.feed, gate));
    if (run_address_load(directory, &before) != OK)
        before = (struct run_address){0};
    TRY(bind_control(config->server.listen, before.control, gate, ret_control));
    return bind_feed(config->server.feed, before.feed, gate, ret_feed);
}

static char *path_of(const char *directory)
{
    return mem_format("%s/server.json", directory);
}

enum status run_address_save(const char *directory, uint64_t run, const char *control,
                             const char *feed)
{
    char *path = path_of(directory);
    char *text = mem_format("{\"pid\": %d, \"control\": \"%s\", \"feed\": \"%s\", "
                            "\"run\": \"%016" PRIx64 "\"}\n",
                            (int)getpid(), control, feed, run);
    enum status status = fs_write_file(path, text, strlen(text));
    mem_free(text);
    mem_free(path);
    return status;
}

static enum status parse(const char *path, const struct buf *text, struct run_address *address)
{
    json_t *root = json_loadb((const char *)text->bytes, text->length, 0, NULL);
    const char *control = json_string_value(json_object_get(root, "control"));
    const char *feed = json_string_value(json_object_get(root, "feed"));
    const char *run = json_string_value(json_object_get(root, "run"));
    enum status status = OK;
    if (control == NULL || feed == NULL || run == NULL) {
        status = fail(ERR_CORRUPT, "'%s' does not say where the server is: start it again", path);
    } else {
        address->pid = json_integer_value(json_object_get(root, "pid"));
        address->run = strtoull(run, NULL, 16);
        snprintf(address->control, sizeof(address->control), "%s", control);
        snprintf(address->feed, sizeof(address->feed), "%s", feed);
    }
    json_decref(root);
    return status;
}

enum status run_address_load(const char *directory, struct run_address *ret_address)
{
    struct run_address address = {0};
    struct buf text;
    char *path = path_of(directory);
    buf_init(&text, FILE_BYTES_MAX);
    enum status status = fs_read_file(path, &text);
    if (status == ERR_INPUT)
        status = fail(ERR_UNREACHABLE, "no server was started in '%s': it has no server.json",
                      directory);
    if (status == OK)
        status = parse(path, &text, &address);
    if (status == OK)
        *ret_address = address;
    buf_done(&text);
    mem_free(path);
    return status;
}
