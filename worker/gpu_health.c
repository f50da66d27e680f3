/* gpu_health.c - a thread that asks the driver every second how the worker's GPU is. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/gpu_health.h"

#include <inttypes.h>
#include <time.h>

#include "common/log.h"
#include "worker/nvml.h"

enum { PERIOD_MS = 1000, NS_OF_MS = 1000000, MS_OF_S = 1000 };

/* 1 when it is time to end. */
static int wait_period(struct gpu_health *health)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += PERIOD_MS / MS_OF_S;
    until.tv_nsec += PERIOD_MS % MS_OF_S * NS_OF_MS;
    pthread_mutex_lock(&health->lock);
    while (!health->stops &&
           pthread_cond_timedwait(&health->is_stopping, &health->lock, &until) == 0)
        continue;
    const int stops = health->stops;
    pthread_mutex_unlock(&health->lock);
    return stops;
}

static void keep(struct gpu_health *health, const struct message_gpu *figures)
{
    pthread_mutex_lock(&health->lock);
    health->figures = *figures;
    health->has_figures = 1;
    const int is_new = figures->xid > 0 && figures->xid != health->xid_logged;
    health->xid_logged = is_new ? figures->xid : health->xid_logged;
    pthread_mutex_unlock(&health->lock);
    if (is_new)
        log_error("event=gpu_fault xid=%" PRId64
                  " action=\"look the number up in NVIDIA's list of XIDs; dmesg has more\"",
                  figures->xid);
}

static void health_run(void *argument)
{
    struct gpu_health *health = argument;
    struct message_gpu figures;
    do {
        nvml_figures(health->nvml, &figures);
        keep(health, &figures);
    } while (!wait_period(health));
}

static enum status begin(struct gpu_health *health, const char *library, const char *pci_address)
{
    TRY(nvml_open(library, &health->nvml));
    TRY(nvml_watch(health->nvml, pci_address));
    return thread_start(&health->thread, "health", health_run, health);
}

void gpu_health_start(struct gpu_health *health, const char *library, const char *pci_address)
{
    pthread_condattr_t clock;
    *health = (struct gpu_health){0};
    pthread_mutex_init(&health->lock, NULL);
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&health->is_stopping, &clock);
    pthread_condattr_destroy(&clock);
    if (pci_address[0] == '\0' || begin(health, library, pci_address) == OK)
        return;
    log_info("event=no_gpu_health reason=\"%s\"", fail_message());
    nvml_close(health->nvml);
    health->nvml = NULL;
}

void gpu_health_stop(struct gpu_health *health)
{
    pthread_mutex_lock(&health->lock);
    health->stops = 1;
    pthread_cond_signal(&health->is_stopping);
    pthread_mutex_unlock(&health->lock);
    thread_stop(&health->thread);
    nvml_close(health->nvml);
    pthread_cond_destroy(&health->is_stopping);
    pthread_mutex_destroy(&health->lock);
    *health = (struct gpu_health){0};
}

int gpu_health_read(struct gpu_health *health, struct message_gpu *ret_figures)
{
    pthread_mutex_lock(&health->lock);
    const int has = health->has_figures;
    if (has)
        *ret_figures = health->figures;
    pthread_mutex_unlock(&health->lock);
    return has;
}
