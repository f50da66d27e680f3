/* dashboard_command.c - `seer dashboard`: the run as a page, metrics and JSON. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include <signal.h>
#include <stddef.h>

#include "common/host.h"
#include "common/options.h"
#include "server/watch/commands.h"
#include "server/watch/dashboard.h"

static volatile int is_stopping;

static void on_signal(int number)
{
    (void)number;
    is_stopping = 1;
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static enum status check(const struct dashboard_options *options)
{
    if ((options->run == NULL) == (options->server == NULL))
        return fail(ERR_INPUT, "one of --run DIR and --server URL is needed");
    if (options->token != NULL && options->is_remote_allowed)
        return fail(ERR_INPUT,
                    "--orders does not go with --allow-remote: the token would cross the "
                    "network in plain text; put a proxy with TLS before the page");
    return OK;
}

static int dashboard_main(int argc, char **argv)
{
    struct dashboard_options options = {.listen = "127.0.0.1:5682", .is_stopping = &is_stopping};
    const struct option_row rows[] = {
        {"run", 0, OPTION_STRING, &options.run, "DIR", "the run's folder: its past is shown too"},
        {"server", 0, OPTION_STRING, &options.server, "URL", "control address of its server"},
        {"key", 0, OPTION_STRING, &options.key, "FILE",
         "the key to show to it ($SEER_KEY; the run's own)"},
        {"listen", 0, OPTION_STRING, &options.listen, "HOST:PORT",
         "where to serve (127.0.0.1:5682); port 0 takes a free one"},
        {"allow-remote", 0, OPTION_FLAG, &options.is_remote_allowed, NULL,
         "let --listen be an address that other hosts reach; nobody is asked who he is"},
        {"orders", 0, OPTION_STRING, &options.token, "FILE",
         "let the page pause, resume and drain, for who knows the token in FILE (made if absent)"},
        {0},
    };
    const struct usage usage = {
        .program = "seer dashboard",
        .synopsis =
            "--run DIR | --server URL [--listen HOST:PORT] [--allow-remote | --orders FILE]",
        .summary = "Serves a page that shows a run, /metrics for Prometheus, /healthz, /readyz,\n"
                   "/api/v1/status and /api/v1/events. Prints its address and runs until SIGTERM;\n"
                   "the server may come and go meanwhile.",
        .examples = "  seer dashboard --run run\n  curl -s http://127.0.0.1:5682/metrics",
        .options = rows,
    };
    enum status status = options_parse_all(&usage, argc, argv);
    if (status == OK)
        status = check(&options);
    if (status != OK)
        return options_exit(&usage, status);
    catch_signals();
    host_raise_file_limit();
    return command_exit(usage.program, dashboard_run(&options));
}

const struct command dashboard_command = {"dashboard", "the run as a page, and its metrics",
                                          dashboard_main};
