/* nvml.c - what NVIDIA's management library says of GPUs, if it is on this machine.
 *
 * Names, numbers and structs are those of NVML's stable interface (nvml.h of CUDA 11 to 13). */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/nvml.h"

#include <dlfcn.h>
#include <string.h>

#include "common/mem.h"

enum {
    SUCCESS = 0,
    SENSOR_GPU = 0,
    ECC_UNCORRECTED = 1, /* nvmlMemoryErrorType_t */
    ECC_VOLATILE = 0,    /* since the driver was loaded */
    EVENT_XID = 8,       /* nvmlEventTypeXidCriticalError */
    PEER_READ = 0,       /* NVML_P2P_CAPS_INDEX_READ */
    PEER_OK = 0,
};

struct utilization {
    unsigned gpu, memory;
};

struct memory_info {
    unsigned long long total, free, used;
};

struct event_data {
    void *device;
    unsigned long long type, data;
    unsigned gpu_instance, compute_instance;
};

/* NULL: the library has no such call. */
struct calls {
    int (*init)(void);
    int (*shutdown)(void);
    const char *(*error_string)(int result);
    int (*driver_version)(char *version, unsigned bytes);
    int (*count)(unsigned *count);
    int (*by_index)(unsigned index, void **device);
    int (*by_address)(const char *address, void **device);
    int (*name)(void *device, char *name, unsigned bytes);
    int (*utilization)(void *device, struct utilization *utilization);
    int (*memory)(void *device, struct memory_info *memory);
    int (*temperature)(void *device, int sensor, unsigned *celsius);
    int (*power)(void *device, unsigned *milliwatts);
    int (*ecc)(void *device, int type, int counter, unsigned long long *count);
    int (*peers)(void *device, void *other, int index, int *status);
    int (*set_create)(void **set);
    int (*set_free)(void *set);
    int (*set_add)(void *device, unsigned long long types, void *set);
    int (*set_wait)(void *set, struct event_data *data, unsigned timeout_ms);
};

struct nvml {
    void *library;
    struct calls calls;
    int is_started;
    void *device; /* that is watched */
    void *events; /* its XIDs; NULL: they are not told */
    int64_t xid;  /* the last one */
};

static const struct {
    const char *name;
    size_t offset;
    int is_needed;
} symbols[] = {
    {"nvmlInit_v2", offsetof(struct calls, init), 1},
    {"nvmlShutdown", offsetof(struct calls, shutdown), 1},
    {"nvmlErrorString", offsetof(struct calls, error_string), 1},
    {"nvmlSystemGetDriverVersion", offsetof(struct calls, driver_version), 1},
    {"nvmlDeviceGetCount_v2", offsetof(struct calls, count), 1},
    {"nvmlDeviceGetHandleByIndex_v2", offsetof(struct calls, by_index), 1},
    {"nvmlDeviceGetHandleByPciBusId_v2", offsetof(struct calls, by_address), 1},
    {"nvmlDeviceGetName", offsetof(struct calls, name), 1},
    {"nvmlDeviceGetUtilizationRates", offsetof(struct calls, utilization), 0},
    {"nvmlDeviceGetMemoryInfo", offsetof(struct calls, memory), 0},
    {"nvmlDeviceGetTemperature", offsetof(struct calls, temperature), 0},
    {"nvmlDeviceGetPowerUsage", offsetof(struct calls, power), 0},
    {"nvmlDeviceGetTotalEccErrors", offsetof(struct calls, ecc), 0},
    {"nvmlDeviceGetP2PStatus", offsetof(struct calls, peers), 0},
    {"nvmlEventSetCreate", offsetof(struct calls, set_create), 0},
    {"nvmlEventSetFree", offsetof(struct calls, set_free), 0},
    {"nvmlDeviceRegisterEvents", offsetof(struct calls, set_add), 0},
    {"nvmlEventSetWait_v2", offsetof(struct calls, set_wait), 0},
};

static enum status check(const struct nvml *nvml, const char *what, int result)
{
    if (result == SUCCESS)
        return OK;
    return fail(ERR_DEVICE, "NVML: %s: %s", what, nvml->calls.error_string(result));
}

static enum status find_calls(struct nvml *nvml, const char *library)
{
    for (size_t i = 0; i < sizeof(symbols) / sizeof(*symbols); i++) {
        void *symbol = dlsym(nvml->library, symbols[i].name);
        if (symbol == NULL && symbols[i].is_needed)
            return fail(ERR_DEVICE, "%s has no %s: the driver is too old", library,
                        symbols[i].name);
        memcpy((char *)&nvml->calls + symbols[i].offset, &symbol, sizeof(symbol));
    }
    return OK;
}

enum status nvml_open(const char *library, struct nvml **ret_nvml)
{
    enum status status = OK;
    struct nvml *nvml = mem_zero(sizeof(*nvml));
    nvml->library = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (nvml->library == NULL) {
        status = fail(ERR_INPUT, "%s", dlerror());
        goto out;
    }
    TRY_OUT(find_calls(nvml, library));
    TRY_OUT(check(nvml, "start", nvml->calls.init()));
    nvml->is_started = 1;
    *ret_nvml = nvml;
    nvml = NULL; /* given to the caller */
out:
    nvml_close(nvml);
    return status;
}

static void end_watch(struct nvml *nvml)
{
    if (nvml->events != NULL && nvml->calls.set_free != NULL)
        nvml->calls.set_free(nvml->events);
    nvml->events = NULL;
    nvml->device = NULL;
}

void nvml_close(struct nvml *nvml)
{
    if (nvml == NULL)
        return;
    end_watch(nvml);
    if (nvml->is_started)
        nvml->calls.shutdown();
    if (nvml->library != NULL)
        dlclose(nvml->library);
    mem_free(nvml);
}

enum status nvml_driver(struct nvml *nvml, char *version, size_t bytes)
{
    return check(nvml, "driver", nvml->calls.driver_version(version, (unsigned)bytes));
}

enum status nvml_gpu_count(struct nvml *nvml, int *ret_count)
{
    unsigned count = 0;
    TRY(check(nvml, "count", nvml->calls.count(&count)));
    *ret_count = (int)count;
    return OK;
}

enum status nvml_gpu_name(struct nvml *nvml, int gpu, char *name, size_t bytes)
{
    void *device = NULL;
    TRY(check(nvml, "GPU", nvml->calls.by_index((unsigned)gpu, &device)));
    return check(nvml, "name", nvml->calls.name(device, name, (unsigned)bytes));
}

enum status nvml_peers(struct nvml *nvml, int gpu, int other, int *ret_can)
{
    void *a = NULL, *b = NULL;
    int peer = -1;
    if (nvml->calls.peers == NULL)
        return fail(ERR_DEVICE, "NVML: this driver does not tell which GPUs are peers");
    TRY(check(nvml, "GPU", nvml->calls.by_index((unsigned)gpu, &a)));
    TRY(check(nvml, "GPU", nvml->calls.by_index((unsigned)other, &b)));
    TRY(check(nvml, "peers", nvml->calls.peers(a, b, PEER_READ, &peer)));
    *ret_can = peer == PEER_OK;
    return OK;
}

/* XIDs come as events; without them only they are missing. */
static void begin_watch(struct nvml *nvml, void *device)
{
    const struct calls *calls = &nvml->calls;
    end_watch(nvml);
    nvml->device = device;
    nvml->xid = -1;
    if (calls->set_create == NULL || calls->set_add == NULL || calls->set_wait == NULL ||
        calls->set_create(&nvml->events) != SUCCESS)
        return;
    if (calls->set_add(device, EVENT_XID, nvml->events) == SUCCESS) {
        nvml->xid = 0;
        return;
    }
    calls->set_free(nvml->events);
    nvml->events = NULL;
}

enum status nvml_watch(struct nvml *nvml, const char *pci_address)
{
    void *device = NULL;
    TRY(check(nvml, pci_address, nvml->calls.by_address(pci_address, &device)));
    begin_watch(nvml, device);
    return OK;
}

enum status nvml_watch_index(struct nvml *nvml, int gpu)
{
    void *device = NULL;
    TRY(check(nvml, "GPU", nvml->calls.by_index((unsigned)gpu, &device)));
    begin_watch(nvml, device);
    return OK;
}

/* All that happened since the last call; a fault may bring several, so not without an end. */
static int64_t last_xid(struct nvml *nvml)
{
    enum { EVENTS_MAX = 64 };
    struct event_data event = {0};
    for (int i = 0; i < EVENTS_MAX && nvml->events != NULL &&
                    nvml->calls.set_wait(nvml->events, &event, 0) == SUCCESS;
         i++)
        if (event.type == EVENT_XID)
            nvml->xid = (int64_t)event.data;
    return nvml->xid;
}

void nvml_figures(struct nvml *nvml, struct message_gpu *ret_figures)
{
    const struct calls *calls = &nvml->calls;
    struct utilization utilization = {0};
    struct memory_info memory = {0};
    unsigned number = 0;
    unsigned long long count = 0;
    struct message_gpu figures = {-1, -1, -1, -1, -1, -1, -1};
    if (calls->utilization != NULL && calls->utilization(nvml->device, &utilization) == SUCCESS)
        figures.utilization_percent = (int64_t)utilization.gpu;
    if (calls->memory != NULL && calls->memory(nvml->device, &memory) == SUCCESS) {
        figures.memory_used_bytes = (int64_t)memory.used;
        figures.memory_total_bytes = (int64_t)memory.total;
    }
    if (calls->temperature != NULL &&
        calls->temperature(nvml->device, SENSOR_GPU, &number) == SUCCESS)
        figures.temperature_c = (int64_t)number;
    if (calls->power != NULL && calls->power(nvml->device, &number) == SUCCESS)
        figures.power_mw = (int64_t)number;
    if (calls->ecc != NULL &&
        calls->ecc(nvml->device, ECC_UNCORRECTED, ECC_VOLATILE, &count) == SUCCESS)
        figures.ecc_errors = (int64_t)count;
    figures.xid = last_xid(nvml);
    *ret_figures = figures;
}
