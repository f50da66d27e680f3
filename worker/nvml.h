/* nvml.h - what NVIDIA's management library says of GPUs, if it is on this machine.
 *
 * Loaded when asked for, so that nothing needs it; its header is not needed either. Calls may block
 * while a driver resets: keep them out of threads that must answer. One thread per nvml. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_NVML_H
#define WORKER_NVML_H

#include <stddef.h>

#include "common/status.h"
#include "proto/message.h"

#define NVML_LIBRARY "libnvidia-ml.so.1"

enum { NVML_NAME_BYTES = 96 };

struct nvml;

/* ERR_INPUT: there is no such library. ERR_DEVICE: it does not start, as without a driver. */
enum status nvml_open(const char *library, struct nvml **ret_nvml);
void nvml_close(struct nvml *nvml); /* NULL is fine */

enum status nvml_driver(struct nvml *nvml, char *version, size_t bytes);
enum status nvml_gpu_count(struct nvml *nvml, int *ret_count);
enum status nvml_gpu_name(struct nvml *nvml, int gpu, char *name, size_t bytes);
/* Whether two GPUs can read each other's memory. */
enum status nvml_peers(struct nvml *nvml, int gpu, int other, int *ret_can);

/* The GPU of this PCI address is what nvml_figures is about from now on. */
enum status nvml_watch(struct nvml *nvml, const char *pci_address);
/* Of the GPU `gpu`, counted by the library, likewise. */
enum status nvml_watch_index(struct nvml *nvml, int gpu);
/* What the library does not tell is -1. */
void nvml_figures(struct nvml *nvml, struct message_gpu *ret_figures);

#endif
