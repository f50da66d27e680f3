/* client.h - how commands reach a server: a question in JSON, an answer in JSON. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_CLIENT_H
#define SERVER_CLIENT_H

#include <jansson.h>

#include "common/command.h"
#include "common/options.h"
#include "common/status.h"

/* The options that every such command has; CLIENT_OPTIONS(options) are the rows of its table. */
struct client_options {
    const char *run;    /* --run DIR */
    const char *server; /* --server URL */
    const char *output; /* -o json|table */
    const char *key;    /* --key FILE */
    const char *reason; /* --reason TEXT; NULL = none. Goes with whatever is asked. */
};

#define CLIENT_OPTIONS(options)                                                                    \
    {"run", 0, OPTION_STRING, &(options).run, "DIR", "the run's folder (server.json in it)"},      \
        {"server", 0, OPTION_STRING, &(options).server, "URL", "address of its server"},           \
        {"key",          0,      OPTION_STRING,                                                    \
         &(options).key, "FILE", "the key to show to it ($SEER_KEY; the run's own)"},              \
    {                                                                                              \
        "output", 'o', OPTION_STRING, &(options).output, "FORMAT", "table (default) or json"       \
    }

/* The row of commands that change something. */
#define CLIENT_REASON(options)                                                                     \
    {                                                                                              \
        "reason", 0, OPTION_STRING, &(options).reason, "TEXT", "why: for the run's event log"      \
    }

/* ERR_INPUT for neither or both of run and server, or an unknown output. */
enum status client_options_check(const struct client_options *options);

/* A command whose first word says what is to be done: reads options and words, runs the verb on
 * request. options is where usage's rows put them. Returns the exit code. */
int client_run(const struct usage *usage, const struct client_options *options, const void *request,
               int argc, char **argv);

/* Asks and waits for the answer, some seconds at most. Takes *arguments and leaves NULL; arguments
 * NULL: none. *ret_body is the caller's. ERR_UNREACHABLE: nobody there; ERR_TIMEOUT: no answer; or
 * what the server says. */
enum status client_ask(const struct client_options *options, const char *name, json_t **arguments,
                       json_t **ret_body);
/* For orders whose answer says nothing to people: asks, and prints the answer under -o json. */
enum status client_order(const struct client_options *options, const char *name,
                         json_t **arguments);

#endif
