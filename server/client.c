/* client.c - how commands reach a server. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/client.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "common/clock.h"
#include "common/host.h"
#include "common/json.h"
#include "proto/client_key.h"
#include "proto/endpoint.h"
#include "server/run_address.h"

enum {
    CONNECT_MS = 3000, /* for a server that is there: milliseconds; it may be starting again */
    ANSWER_MS = 10000, /* a server busy with a slow disk */
};

enum status client_options_check(const struct client_options *options)
{
    if ((options->run == NULL) == (options->server == NULL))
        return fail(ERR_INPUT, "give either --run DIR or --server URL");
    return options_check_output(options->output);
}

int client_run(const struct usage *usage, const struct client_options *options, const void *request,
               int argc, char **argv)
{
    int first = argc;
    const struct verb *verb = NULL;
    enum status status = options_parse(usage, argc, argv, &first);
    if (status == OK)
        status = verb_find(usage, argc - first, argv + first, &verb);
    if (status == OK)
        status = client_options_check(options);
    if (status != OK)
        return options_exit(usage, status);
    return command_exit(usage->program, verb->run(request, argc - first - 1, argv + first + 1));
}

static enum status find_address(const struct client_options *options, char *address, size_t bytes)
{
    struct run_address found;
    if (options->server != NULL) {
        snprintf(address, bytes, "%s", options->server);
        return OK;
    }
    TRY(run_address_load(options->run, &found));
    if (kill((pid_t)found.pid, 0) != 0 && errno == ESRCH)
        return fail(ERR_UNREACHABLE, "the server of '%s' (pid %d) does not run: start it again",
                    options->run, (int)found.pid);
    snprintf(address, bytes, "%s", found.control);
    return OK;
}

static enum status await_connection(struct endpoint *endpoint)
{
    zmq_pollitem_t item = {.socket = endpoint_socket(endpoint), .events = ZMQ_POLLOUT};
    int64_t deadline_ms = clock_ms() + CONNECT_MS;
    for (;;) {
        int64_t left_ms = deadline_ms - clock_ms();
        if (left_ms <= 0)
            return fail(ERR_UNREACHABLE,
                        "no server answers at '%s', or it does not let us in (seer key)",
                        endpoint_address(endpoint));
        if (zmq_poll(&item, 1, (long)left_ms) > 0)
            return OK;
    }
}

static enum status take_reply(struct endpoint *endpoint, uint64_t request, struct message *answer)
{
    int64_t deadline_ms = clock_ms() + ANSWER_MS;
    for (;;) {
        int64_t left_ms = deadline_ms - clock_ms();
        if (left_ms <= 0)
            return fail(ERR_TIMEOUT, "the server at '%s' did not answer within %d s",
                        endpoint_address(endpoint), ANSWER_MS / 1000);
        enum status status = endpoint_receive(endpoint, (int)left_ms, NULL, answer);
        if (status == ERR_END)
            continue;
        TRY(status);
        if (answer->kind == MESSAGE_REPLY && answer->reply.request == request)
            return OK;
        message_done(answer);
    }
}

static enum status read_reply(const struct message *answer, json_t **ret_body)
{
    json_error_t error;
    if (answer->reply.status != OK)
        return fail((enum status)answer->reply.status, "%s", answer->reply.body);
    json_t *body = json_loads(answer->reply.body, 0, &error);
    if (body == NULL)
        return fail(ERR_PROTOCOL, "the server's answer is no JSON: %s", error.text);
    *ret_body = body;
    return OK;
}

static enum status ask(struct endpoint *endpoint, const char *name, const char *arguments,
                       json_t **ret_body)
{
    struct message answer;
    struct message question = {
        .kind = MESSAGE_COMMAND,
        .command = {host_entropy(), (char *)(uintptr_t)name, (char *)(uintptr_t)arguments},
    };
    TRY(await_connection(endpoint));
    TRY(endpoint_send(endpoint, NULL, &question));
    TRY(take_reply(endpoint, question.command.request, &answer));
    enum status status = read_reply(&answer, ret_body);
    message_done(&answer);
    return status;
}

enum status client_ask(const struct client_options *options, const char *name, json_t **arguments,
                       json_t **ret_body)
{
    char address[CONFIG_PATH_BYTES];
    struct endpoint *endpoint = NULL;
    struct key key;
    int has_key = 0;
    json_t *all = arguments == NULL ? json_object() : *arguments;
    if (options->reason != NULL)
        json_object_set_new(all, "reason", json_text(options->reason));
    char *text = json_dumps(all, JSON_COMPACT);
    enum status status = find_address(options, address, sizeof(address));
    if (status == OK)
        status = client_key_find(options->key, options->run, &key, &has_key);
    if (status == OK)
        status = endpoint_connect(address, has_key ? &key : NULL, &endpoint);
    if (status == OK)
        status = text == NULL ? fail(ERR_INPUT, "a name that is not UTF-8")
                              : ask(endpoint, name, text, ret_body);
    endpoint_close(endpoint);
    free(text);
    json_decref(all);
    if (arguments != NULL)
        *arguments = NULL;
    return status;
}

enum status client_order(const struct client_options *options, const char *name, json_t **arguments)
{
    json_t *body = NULL;
    TRY(client_ask(options, name, arguments, &body));
    if (options_is_json(options->output))
        json_print(body);
    json_decref(body);
    return OK;
}
