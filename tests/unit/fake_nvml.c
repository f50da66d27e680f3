/* fake_nvml.c - a libnvidia-ml.so.1 with two GPUs that do not exist, for machines without one.
 *
 * SEER_FAKE_NVML chooses: "broken" does not start, "faulty" has an XID and bad memory, "quiet"
 * tells nothing but the names. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SUCCESS = 0,
    NOT_SUPPORTED = 3,
    NOT_FOUND = 6,
    DRIVER_NOT_LOADED = 9,
    TIMEOUT = 10,
    GPUS = 2
};

static char gpus[GPUS];
static int events_left;

int nvmlInit_v2(void);
int nvmlShutdown(void);
const char *nvmlErrorString(int result);
int nvmlSystemGetDriverVersion(char *version, unsigned bytes);
int nvmlDeviceGetCount_v2(unsigned *count);
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device);
int nvmlDeviceGetHandleByPciBusId_v2(const char *address, void **device);
int nvmlDeviceGetName(void *device, char *name, unsigned bytes);
int nvmlDeviceGetUtilizationRates(void *device, unsigned *utilization);
int nvmlDeviceGetMemoryInfo(void *device, unsigned long long *memory);
int nvmlDeviceGetTemperature(void *device, int sensor, unsigned *celsius);
int nvmlDeviceGetPowerUsage(void *device, unsigned *milliwatts);
int nvmlDeviceGetTotalEccErrors(void *device, int type, int counter, unsigned long long *count);
int nvmlDeviceGetP2PStatus(void *device, void *other, int index, int *status);
int nvmlEventSetCreate(void **set);
int nvmlEventSetFree(void *set);
int nvmlDeviceRegisterEvents(void *device, unsigned long long types, void *set);
int nvmlEventSetWait_v2(void *set, void *data, unsigned timeout_ms);

static int is(const char *mood)
{
    const char *chosen = getenv("SEER_FAKE_NVML");
    return chosen != NULL && strcmp(chosen, mood) == 0;
}

int nvmlInit_v2(void)
{
    events_left = 2;
    return is("broken") ? DRIVER_NOT_LOADED : SUCCESS;
}

int nvmlShutdown(void)
{
    return SUCCESS;
}

const char *nvmlErrorString(int result)
{
    return result == DRIVER_NOT_LOADED ? "Driver Not Loaded" : "Not Found";
}

int nvmlSystemGetDriverVersion(char *version, unsigned bytes)
{
    snprintf(version, bytes, "999.1");
    return SUCCESS;
}

int nvmlDeviceGetCount_v2(unsigned *count)
{
    *count = GPUS;
    return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device)
{
    if (index >= GPUS)
        return NOT_FOUND;
    *device = &gpus[index];
    return SUCCESS;
}

int nvmlDeviceGetHandleByPciBusId_v2(const char *address, void **device)
{
    if (strcmp(address, "0000:65:00.0") != 0)
        return NOT_FOUND;
    *device = &gpus[0];
    return SUCCESS;
}

int nvmlDeviceGetName(void *device, char *name, unsigned bytes)
{
    snprintf(name, bytes, "Imaginary %d", (int)((char *)device - gpus));
    return SUCCESS;
}

int nvmlDeviceGetUtilizationRates(void *device, unsigned *utilization)
{
    (void)device;
    utilization[0] = 97;
    utilization[1] = 40;
    return is("quiet") ? NOT_SUPPORTED : SUCCESS;
}

int nvmlDeviceGetMemoryInfo(void *device, unsigned long long *memory)
{
    (void)device;
    memory[0] = 80ULL << 30; /* total, free, used */
    memory[1] = 50ULL << 30;
    memory[2] = 30ULL << 30;
    return is("quiet") ? NOT_SUPPORTED : SUCCESS;
}

int nvmlDeviceGetTemperature(void *device, int sensor, unsigned *celsius)
{
    (void)device;
    *celsius = 61;
    return is("quiet") || sensor != 0 ? NOT_SUPPORTED : SUCCESS;
}

int nvmlDeviceGetPowerUsage(void *device, unsigned *milliwatts)
{
    (void)device;
    *milliwatts = 550000;
    return is("quiet") ? NOT_SUPPORTED : SUCCESS;
}

int nvmlDeviceGetTotalEccErrors(void *device, int type, int counter, unsigned long long *count)
{
    (void)device;
    *count = is("faulty") && type == 1 && counter == 0 ? 3 : 0;
    return is("quiet") ? NOT_SUPPORTED : SUCCESS;
}

int nvmlDeviceGetP2PStatus(void *device, void *other, int index, int *status)
{
    *status = device != other && index == 0 && !is("faulty") ? 0 : 1;
    return SUCCESS;
}

int nvmlEventSetCreate(void **set)
{
    *set = gpus;
    return is("quiet") ? NOT_SUPPORTED : SUCCESS;
}

int nvmlEventSetFree(void *set)
{
    (void)set;
    return SUCCESS;
}

int nvmlDeviceRegisterEvents(void *device, unsigned long long types, void *set)
{
    (void)device, (void)set;
    return types == 8 ? SUCCESS : NOT_SUPPORTED;
}

int nvmlEventSetWait_v2(void *set, void *data, unsigned timeout_ms)
{
    struct {
        void *device;
        unsigned long long type, data;
        unsigned gpu_instance, compute_instance;
    } *event = data;
    (void)set, (void)timeout_ms;
    if (!is("faulty") || events_left == 0)
        return TIMEOUT;
    event->type = 8;
    event->data = events_left-- == 2 ? 31 : 79;
    return SUCCESS;
}
