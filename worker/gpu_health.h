/* gpu_health.h - a thread that asks the driver every second how the worker's GPU is.
 *
 * In a thread of its own, since a driver in trouble answers late or never, and heartbeats must not
 * wait for it. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_GPU_HEALTH_H
#define WORKER_GPU_HEALTH_H

#include <pthread.h>

#include "common/thread.h"
#include "proto/message.h"

struct nvml;

struct gpu_health {
    struct thread thread;
    struct nvml *nvml;    /* the thread's, once it runs; NULL: nothing is known of this device */
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t is_stopping;
    int stops, has_figures;
    struct message_gpu figures;
    int64_t xid_logged;
};

/* Whatever fails leaves a device of which nothing is told; the log says why. library: NVML_LIBRARY.
 * pci_address: of the device, "" for none (the cpu). */
void gpu_health_start(struct gpu_health *health, const char *library, const char *pci_address);
void gpu_health_stop(struct gpu_health *health);
/* The newest figures; 0 = there are none. Any thread. */
int gpu_health_read(struct gpu_health *health, struct message_gpu *ret_figures);

#endif
