/* main.c - seer-loader: serves the shards of this host to workers on others. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "common/host.h"
#include "common/log.h"
#include "common/options.h"
#include "loader/shard_server.h"

int main(int argc, char **argv)
{
    static struct option_list stores;
    const char *listen = NULL, *keys = NULL, *log = NULL;
    const struct option_row rows[] = {
        {"store", 's', OPTION_LIST, &stores, "DIR",
         "a store on a local disk, as 'seer ingest' fills it; may be repeated"},
        {"listen", 'l', OPTION_STRING, &listen, "ADDRESS",
         "where workers connect: tcp://HOST:PORT (* takes a free one) or ipc://PATH"},
        {"keys", 'k', OPTION_STRING, &keys, "DIR",
         "its own key and those of the workers it lets in; needed for workers on other hosts"},
        LOG_OPTION(log),
        {0},
    };
    const struct usage usage = {
        .program = "seer-loader",
        .synopsis = "--store DIR [--store DIR]... --listen ADDRESS [--keys DIR]",
        .summary = "Serves the records of its shards to workers that do not have them. It says by\n"
                   "itself what it holds, also when shards come and go. SIGTERM ends it; workers\n"
                   "then go on with another loader that holds the shard, or wait for one.",
        .examples = "  seer-loader --store store --listen tcp://127.0.0.1:5690\n"
                    "  seer-worker --server tcp://127.0.0.1:5680 --loader tcp://127.0.0.1:5690\n"
                    "  seer key init --keys keys     # prints the loader's KEY\n"
                    "  seer key allow gpu-1 WORKERS-PUBLIC-KEY --role worker --keys keys\n"
                    "  seer-loader --store store --listen tcp://0.0.0.0:5690 --keys keys\n"
                    "  seer-worker --server tcp://train.example:5680 --key gpu-1.key "
                    "--loader 'tcp://data.example:5690,KEY'\n",
        .options = rows,
        .section = 8,
    };
    log_start("seer-loader", LOG_LEVEL_INFO);
    host_raise_file_limit();
    enum status status = options_parse_all(&usage, argc, argv);
    if (status == OK)
        status = log_use_format(log);
    if (status == OK && (stores.count == 0 || listen == NULL))
        status = fail(ERR_INPUT, "--store DIR and --listen ADDRESS are needed");
    if (status != OK)
        return options_exit(&usage, status);
    const struct shard_server_options options = {
        .stores = stores.items, .store_count = stores.count, .listen = listen, .keys = keys};
    status = shard_server_run(&options);
    if (status != OK)
        log_error("event=loader_failed reason=\"%s\"", fail_message());
    return status_exit_code(status);
}
