/* main.c - seer-worker: options, supervision, then worker_run. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include <stdint.h>
#include <unistd.h>

#include "common/command.h"
#include "common/log.h"
#include "common/notify.h"
#include "worker/respawn.h"
#include "worker/watchdog.h"
#include "worker/worker.h"

enum { THREADS_MAX = 1024 };

/* A failure is an accident of this process (device, memory): whoever supervises starts it again. */
static int run_once(void *argument)
{
    int exit_code = 0;
    enum status status = worker_run(argument, &exit_code);
    if (status == ERR_INPUT)
        return status_exit_code(status);
    return status == OK ? exit_code : WATCHDOG_EXIT;
}

int main(int argc, char **argv)
{
    const char *server = NULL, *device = "cpu", *name = "", *journal = NULL, *key = NULL,
               *log = NULL;
    int64_t threads = 1;
    int is_supervised = 0;
    struct option_list loaders = {0};
    const struct option_row rows[] = {
        {"server", 's', OPTION_STRING, &server, "ADDRESS", "the server's control socket"},
        {"key", 'k', OPTION_STRING, &key, "FILE",
         "the key to show to it, and to loaders ($SEER_KEY; none)"},
        {"device", 'd', OPTION_STRING, &device, "cpu|cuda:N",
         "where to compute (default cpu; cpu:bf16: activations in bf16)"},
        {"threads", 't', OPTION_INT, &threads, "N", "threads of the cpu device (default 1)"},
        {"name", 'n', OPTION_STRING, &name, "NAME", "for people (default: host and pid)"},
        {"journal", 'j', OPTION_STRING, &journal, "DIR",
         "write down there what it did, for seer audit"},
        {"loader", 'l', OPTION_LIST, &loaders, "ADDRESS[,KEY]",
         "a seer-loader to read shards from that are not here, and its public key; may be "
         "repeated"},
        LOG_OPTION(log),
        {"respawn", 'r', OPTION_FLAG, &is_supervised, NULL, "start again after a crash"},
        {NULL, 0, OPTION_FLAG, NULL, NULL, NULL},
    };
    const struct usage usage = {
        .program = "seer-worker",
        .synopsis = "--server ADDRESS [options]",
        .summary =
            "Trains as one member of a run. The config comes from the server. SIGTERM\n"
            "drains: it finishes its step, leaves and exits 0; a second one ends it at once.",
        .examples = "  seer-worker --server tcp://127.0.0.1:5680 --device cpu --threads 1\n"
                    "  seer-worker --server tcp://127.0.0.1:5680 --loader tcp://127.0.0.1:5690\n",
        .options = rows,
        .section = 8,
    };
    log_start("seer-worker", LOG_LEVEL_INFO);
    notify_start();
    enum status status = options_parse_all(&usage, argc, argv);
    if (status == OK)
        status = log_use_format(log);
    if (status == OK && server == NULL)
        status = fail(ERR_INPUT, "--server is missing: where is the coordinator?");
    if (status == OK && (threads < 1 || threads > THREADS_MAX))
        status = fail(ERR_INPUT, "--threads: %lld is not between 1 and %d", (long long)threads,
                      THREADS_MAX);
    if (status != OK)
        return options_exit(&usage, status);
    struct worker_options options = {.server = server,
                                     .key = key,
                                     .device = device,
                                     .name = name,
                                     .threads = (int)threads,
                                     .journal = journal,
                                     .loaders = &loaders};
    return is_supervised ? respawn(run_once, &options) : run_once(&options);
}
