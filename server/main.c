/* main.c - seer-server: the coordinator and parameter server of one run. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/command.h"
#include "common/fs.h"
#include "common/host.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/notify.h"
#include "server/dashboard_child.h"
#include "server/server.h"

struct request {
    const char *config;
    const char *directory;
    struct option_list stores, sets;
    int64_t seed, steps;
    const char *log;
};

enum { UNSET = -1 };

static enum status add_stores(struct config *config, const struct option_list *stores)
{
    for (int i = 0; i < stores->count; i++) {
        if (config->data.store_count == CONFIG_STORES_MAX)
            return fail(ERR_INPUT, "more than %d stores: put several into one", CONFIG_STORES_MAX);
        if (strlen(stores->items[i]) >= CONFIG_PATH_BYTES)
            return fail(ERR_INPUT, "--store: a path of %zu bytes, at most %d",
                        strlen(stores->items[i]), CONFIG_PATH_BYTES - 1);
        snprintf(config->data.stores[config->data.store_count++], CONFIG_PATH_BYTES, "%s",
                 stores->items[i]);
    }
    return OK;
}

static enum status load(const struct request *request, struct config *config)
{
    if (request->config == NULL || request->directory == NULL)
        return fail(ERR_INPUT, "--config FILE and --state DIR are needed");
    config_init(config);
    TRY(config_load(request->config, config));
    for (int i = 0; i < request->sets.count; i++)
        TRY(config_set(config, request->sets.items[i]));
    if (request->seed != UNSET)
        config->run.seed = request->seed;
    if (request->steps != UNSET)
        config->train.steps = request->steps;
    TRY(add_stores(config, &request->stores));
    TRY(config_check(config));
    if (config->data.store_count == 0)
        return fail(ERR_INPUT,
                    "no store to train from: give --store DIR or set data.stores in "
                    "'%s'; 'seer ingest' makes one",
                    request->config);
    return OK;
}

/* As often as the server wants to begin again: its sockets get the addresses of before, and members
 * come back as after a crash. */
static enum status serve(const char *directory, const struct config *config)
{
    for (;;) {
        struct server *server = NULL;
        TRY(server_create(config, directory, &server));
        log_info("event=listening control=%s feed=%s run=%016" PRIx64,
                 endpoint_address(server->control), feed_address(server->feed), server->run);
        notify_ready();
        enum status status = server_run(server);
        server_destroy(server);
        if (status != ERR_STALE)
            return status;
    }
}

static enum status serve_with_page(const char *directory, const struct config *config)
{
    struct dashboard_child *page = NULL;
    TRY(fs_make_directory(directory));
    TRY(dashboard_child_start(config, directory, &page));
    enum status status = serve(directory, config);
    notify_stopping();
    dashboard_child_stop(page);
    return status;
}

int main(int argc, char **argv)
{
    static struct config config; /* large */
    static struct request request = {.seed = UNSET, .steps = UNSET};
    const struct option_row rows[] = {
        {"config", 'c', OPTION_STRING, &request.config, "FILE", "what to train: configs/*.yaml"},
        {"state", 0, OPTION_STRING, &request.directory, "DIR",
         "the run's folder: journal, snapshots, metrics; made if absent, continued if not"},
        {"store", 0, OPTION_LIST, &request.stores, "DIR", "images to train on; may be repeated"},
        {"set", 0, OPTION_LIST, &request.sets, "KEY=VALUE", "override a key of the config"},
        {"seed", 0, OPTION_INT, &request.seed, "N", "override run.seed"},
        {"steps", 0, OPTION_INT, &request.steps, "N", "end after N steps; 0: never"},
        LOG_OPTION(request.log),
        {0},
    };
    const struct usage usage = {
        .program = "seer-server",
        .synopsis = "--config FILE --state DIR [--store DIR]... [options]",
        .summary = "Coordinates one training run and keeps its parameters. Workers connect to the\n"
                   "address in DIR/server.json. SIGTERM saves, dismisses the workers and ends.",
        .examples = "  seer-server --config configs/demo_cpu.yaml --state run --store store",
        .options = rows,
        .section = 8,
    };
    log_start("seer-server", LOG_LEVEL_INFO);
    notify_start();
    host_raise_file_limit();
    enum status status = options_parse_all(&usage, argc, argv);
    if (status == OK)
        status = log_use_format(request.log);
    if (status == OK)
        status = load(&request, &config);
    if (status != OK)
        return options_exit(&usage, status);
    status = serve_with_page(request.directory, &config);
    if (status == OK)
        return 0;
    log_error("event=failed reason=\"%s\"", fail_message());
    return status == ERR_END ? 1 : status_exit_code(status);
}
