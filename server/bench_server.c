/* bench_server.c - forks a server. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/bench_server.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/fs.h"
#include "common/host.h"
#include "common/log.h"
#include "common/mem.h"
#include "loader/store.h"
#include "server/server.h"

enum {
    START_MS = 10000,
    LOOK_MS = 5,                /* between two looks whether it listens */
    SLOT_IMAGES = 4,            /* of the records in a plan: no more, for plans of a few bytes */
    SHARD_RECORDS = 1000000000, /* made up; nobody reads them */
    LOST_MS = 10000, /* on a busy host nobody is lost; what is late shows in the figures */
};

void bench_server_config(int64_t workers, struct config *ret_config)
{
    struct config *config = ret_config;
    config_init(config);
    config->train.slot_images = SLOT_IMAGES;
    config->train.batch_images = SLOT_IMAGES * workers;
    config->train.steps = 0;
    config->snapshot.every_steps = 0;
    config->server.heartbeat_ms = 100;
    config->server.lost_ms = LOST_MS;
    config->server.step_ms = LOST_MS;
    snprintf(config->collective.engine, sizeof(config->collective.engine), "nccl");
    snprintf(config->server.listen, sizeof(config->server.listen), "tcp://127.0.0.1:*");
    snprintf(config->server.feed, sizeof(config->server.feed), "tcp://127.0.0.1:*");
}

static enum status make_store(const char *directory, struct config *config)
{
    char *store = mem_format("%s/store", directory);
    char *path = mem_format("%s/shards/a", store);
    struct store_shard shard = {.name = "a",
                                .path = path,
                                .record_count = SHARD_RECORDS,
                                .has_manifest = 1,
                                .created_ms = 1};
    enum status status = OK;
    if (strlen(store) >= CONFIG_PATH_BYTES)
        status = fail(ERR_INPUT, "'%s' is too long for a path of a store", store);
    if (status == OK)
        status = fs_make_directory(path);
    if (status == OK)
        status = store_manifest_save(path, &shard);
    config->data.store_count = 1;
    snprintf(config->data.stores[0], CONFIG_PATH_BYTES, "%s", store);
    mem_free(store);
    mem_free(path);
    return status;
}

/* Never returns. */
static void serve(const char *run, const struct config *config)
{
    struct server *server = NULL;
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* ends with the benchmark, however that ends */
    enum status status = server_create(config, run, &server);
    if (status == OK)
        status = server_run(server);
    if (status != OK)
        log_error("event=failed reason=\"%s\"", fail_message());
    _exit(status_exit_code(status));
}

static enum status await_server(struct bench_server *server, const char *run)
{
    int64_t deadline_ms = clock_ms() + START_MS;
    while (run_address_load(run, &server->address) != OK) {
        if (waitpid(server->process, NULL, WNOHANG) != 0) {
            server->process = 0;
            return fail(ERR_UNREACHABLE, "the server to be measured has ended; see above");
        }
        if (clock_ms() > deadline_ms)
            return fail(ERR_UNREACHABLE, "the server to be measured does not listen after %d s",
                        START_MS / 1000);
        poll(NULL, 0, LOOK_MS); /* a file appears: nothing to wait for but time */
    }
    return OK;
}

static enum status launch(struct bench_server *server, const struct config *config)
{
    char *run = mem_format("%s/run", server->directory);
    enum status status = fs_make_directory(run);
    if (status == OK) {
        fflush(NULL); /* or what is buffered would be printed twice */
        server->process = fork();
        if (server->process == 0)
            serve(run, config);
        status = server->process > 0 ? await_server(server, run)
                                     : fail(ERR_IO, "cannot fork: %s", strerror(errno));
    }
    mem_free(run);
    return status;
}

enum status bench_server_start(const char *parent, struct config *config,
                               struct bench_server *ret_server)
{
    struct bench_server server = {.directory = mem_format("%s/seer-bench-XXXXXX", parent)};
    enum status status = OK;
    host_raise_file_limit();
    if (mkdtemp(server.directory) == NULL) {
        status = fail(ERR_IO, "cannot make a folder in '%s': %s", parent, strerror(errno));
        mem_free(server.directory);
        return status;
    }
    status = make_store(server.directory, config);
    if (status == OK)
        status = launch(&server, config);
    if (status != OK) {
        bench_server_stop(&server);
        return status;
    }
    *ret_server = server;
    return OK;
}

int64_t bench_server_cpu_us(const struct bench_server *server)
{
    clockid_t clock;
    struct timespec time = {0};
    if (clock_getcpuclockid(server->process, &clock) == 0)
        clock_gettime(clock, &time);
    return (int64_t)time.tv_sec * 1000000 + time.tv_nsec / 1000;
}

void bench_server_stop(struct bench_server *server)
{
    if (server->process > 0) {
        kill(server->process, SIGKILL);
        waitpid(server->process, NULL, 0);
    }
    if (server->directory != NULL && fs_remove_tree(server->directory) != OK)
        log_warn("event=folder_left reason=\"%s\"", fail_message());
    mem_free(server->directory);
    *server = (struct bench_server){0};
}
