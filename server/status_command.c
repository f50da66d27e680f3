/* status_command.c - `seer status`: what a run is doing now. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include <stdio.h>

#include "common/json.h"
#include "server/client.h"
#include "server/commands.h"

static long long integer(const json_t *object, const char *key)
{
    return (long long)json_integer_value(json_object_get(object, key));
}

static double number(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

static const char *text(const json_t *object, const char *key)
{
    const char *value = json_string_value(json_object_get(object, key));
    return value != NULL ? value : "";
}

static void print_workers(const json_t *workers)
{
    size_t i;
    json_t *worker;
    if (json_array_size(workers) == 0)
        return;
    printf("\n%-16s %4s %-9s %-9s %9s %8s %10s %7s %s\n", "WORKER", "RANK", "STATE", "PHASE",
           "STEP", "IMAGES/S", "HEARD MS", "PID", "HOST");
    json_array_foreach(workers, i, worker)
        printf("%-16s %4lld %-9s %-9s %9lld %8.1f %10lld %7lld %s\n", text(worker, "name"),
               integer(worker, "rank"), text(worker, "state"), text(worker, "phase"),
               integer(worker, "step"), number(worker, "images_per_second"),
               integer(worker, "heartbeat_age_ms"), integer(worker, "pid"), text(worker, "host"));
}

/* A figure of a GPU, in units of `unit`; "-" where it is not told. */
static void print_figure(const json_t *gpu, const char *key, long long unit, int width)
{
    const json_t *value = json_object_get(gpu, key);
    if (json_is_integer(value))
        printf(" %*lld", width, (long long)json_integer_value(value) / unit);
    else
        printf(" %*s", width, "-");
}

static void print_gpu(const json_t *worker)
{
    const json_t *gpu = json_object_get(worker, "gpu");
    printf("%-16s", text(worker, "name"));
    print_figure(gpu, "utilization_percent", 1, 5);
    print_figure(gpu, "memory_used_bytes", 1 << 20, 9);
    print_figure(gpu, "memory_total_bytes", 1 << 20, 9);
    print_figure(gpu, "temperature_c", 1, 6);
    print_figure(gpu, "power_mw", 1000, 6);
    print_figure(gpu, "ecc_errors", 1, 4);
    print_figure(gpu, "xid", 1, 4);
    printf(" %s\n", text(worker, "device"));
}

/* Of workers that have one and can tell. */
static void print_gpus(const json_t *workers)
{
    size_t i;
    json_t *worker;
    int is_first = 1;
    json_array_foreach(workers, i, worker)
    {
        if (json_object_get(worker, "gpu") == NULL)
            continue;
        if (is_first)
            printf("\n%-16s %5s %9s %9s %6s %6s %4s %4s %s\n", "GPU OF", "BUSY%", "USED MIB",
                   "OF MIB", "TEMP C", "WATTS", "ECC", "XID", "DEVICE");
        is_first = 0;
        print_gpu(worker);
    }
}

static void print_table(const json_t *status)
{
    const json_t *stream = json_object_get(status, "stream");
    printf("run        %s (%s)\n", text(status, "name"), text(status, "run"));
    printf("state      %s\n", text(status, "state"));
    printf("step       %lld", integer(status, "step"));
    if (integer(status, "steps") > 0)
        printf(" of %lld", integer(status, "steps"));
    printf("\nloss       %.6g\nlr         %.6g\n", number(status, "loss"), number(status, "lr"));
    printf("generation %lld, %lld members, lineage %lld\n", integer(status, "generation"),
           integer(status, "world_size"), integer(status, "lineage"));
    printf("stream     at image %lld, %lld known ahead, %lld shards\n", integer(stream, "position"),
           integer(stream, "backlog_images"), integer(stream, "shards"));
    printf("snapshot   %s\n", text(status, "snapshot")[0] != 0 ? text(status, "snapshot") : "none");
    print_workers(json_object_get(status, "workers"));
    print_gpus(json_object_get(status, "workers"));
}

static int status_run(int argc, char **argv)
{
    struct client_options options = {0};
    const struct option_row rows[] = {CLIENT_OPTIONS(options), {0}};
    const struct usage usage = {
        .program = "seer status",
        .synopsis = "--run DIR | --server URL [-o json]",
        .summary = "Shows what a run is doing now.",
        .examples = "  seer status --run run\n  seer status --server tcp://127.0.0.1:5680 -o json",
        .options = rows,
    };
    json_t *status_body = NULL;
    enum status status = options_parse_all(&usage, argc, argv);
    if (status == OK)
        status = client_options_check(&options);
    if (status != OK)
        return options_exit(&usage, status);
    status = client_ask(&options, "status", NULL, &status_body);
    if (status == OK && options_is_json(options.output))
        json_print(status_body);
    else if (status == OK)
        print_table(status_body);
    json_decref(status_body);
    return command_exit(usage.program, status);
}

const struct command status_command = {"status", "what a run is doing now", status_run};
