/* plan_advice.h - what would make a share fit that does not. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_PLAN_ADVICE_H
#define WORKER_PLAN_ADVICE_H

#include "common/config.h"
#include "worker/device/device.h"

/* Always fails, with ERR_DEVICE and the remedies that were tried and found to help: more workers,
 * and changes of the config, the mildest first. Errors of memory_plan_make too. */
enum status plan_advice(const struct config *config, struct device *device, int members, int slots);

#endif
