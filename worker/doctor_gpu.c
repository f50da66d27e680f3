/* doctor_gpu.c - driver, GPUs, peers and NCCL of this machine, and whether this build can use them.
 */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/doctor.h"

#include <dlfcn.h>
#include <inttypes.h>
#include <string.h>

#include "common/fs.h"
#include "worker/device/device.h"
#include "worker/nvml.h"

enum { TOO_HOT_C = 90 };

static void check_absent(struct checkup *checkup, int needs_gpu)
{
    const int has_card = fs_exists("/dev/nvidia0");
    if (has_card || needs_gpu)
        checkup_add(checkup, "driver", FINDING_FAIL,
                    has_card ? "the driver and its library do not match, or the container lacks "
                               "it: run nvidia-smi; docker needs --gpus all"
                             : "install NVIDIA's driver, or train with --device cpu",
                    "%.200s", fail_message());
    else
        checkup_add(checkup, "driver", FINDING_OK, NULL, "none: workers compute on the cpu");
}

static void check_figures(struct checkup *checkup, const struct message_gpu *gpu)
{
    if (gpu->ecc_errors > 0)
        checkup_add(checkup, "GPU memory", FINDING_FAIL,
                    "reset the GPU or reboot; if they come back, have it replaced",
                    "%" PRId64 " uncorrected errors since the driver was loaded", gpu->ecc_errors);
    if (gpu->temperature_c >= TOO_HOT_C)
        checkup_add(checkup, "temperature", FINDING_WARN, "look after its cooling",
                    "%" PRId64 " degrees: it will slow down", gpu->temperature_c);
}

static void check_gpu(struct checkup *checkup, struct nvml *nvml, int gpu)
{
    char name[NVML_NAME_BYTES] = "";
    struct message_gpu figures;
    if (nvml_gpu_name(nvml, gpu, name, sizeof(name)) != OK || nvml_watch_index(nvml, gpu) != OK) {
        checkup_add(checkup, "GPU", FINDING_FAIL, "see dmesg for its XID; reset it or reboot",
                    "%d: %.200s", gpu, fail_message());
        return;
    }
    nvml_figures(nvml, &figures);
    checkup_add(checkup, "GPU", FINDING_OK, NULL,
                "%d: %s, %" PRId64 " of %" PRId64 " MiB used, %" PRId64 " degrees", gpu, name,
                figures.memory_used_bytes >> 20, figures.memory_total_bytes >> 20,
                figures.temperature_c);
    check_figures(checkup, &figures);
}

static void check_peers(struct checkup *checkup, struct nvml *nvml, int count)
{
    int pairs = 0, can = 0;
    for (int a = 0; a < count; a++)
        for (int b = a + 1; b < count; b++) {
            int is_peer = 0;
            if (nvml_peers(nvml, a, b, &is_peer) != OK)
                return;
            pairs++;
            can += is_peer;
        }
    if (pairs > 0)
        checkup_add(checkup, "peer access", can == pairs ? FINDING_OK : FINDING_WARN,
                    "sums go through the host: turn ACS off in the BIOS, or use GPUs of one board",
                    "%d of %d pairs of GPUs read each other's memory", can, pairs);
}

static void check_nccl(struct checkup *checkup)
{
    int version = 0;
    int (*get_version)(int *version) = NULL;
    void *library = dlopen("libnccl.so.2", RTLD_NOW | RTLD_LOCAL);
    void *symbol = library == NULL ? NULL : dlsym(library, "ncclGetVersion");
    memcpy(&get_version, &symbol, sizeof(symbol));
    if (get_version != NULL && get_version(&version) == 0)
        checkup_add(checkup, "NCCL", FINDING_OK, NULL, "%d.%d.%d", version / 10000,
                    version / 100 % 100, version % 100);
    else
        checkup_add(checkup, "NCCL", FINDING_WARN,
                    "install libnccl2: without it GPUs sum through MPI", "not found");
    if (library != NULL)
        dlclose(library);
}

/* The whole way to the GPU, as a worker goes it. */
static void check_device(struct checkup *checkup)
{
    struct device *device = NULL;
    if (device_open("cuda:0", 1, &device) != OK) {
        checkup_add(checkup, "device", FINDING_FAIL,
                    "this build must have CUDA (cmake --preset cuda) and its libraries beside the "
                    "driver",
                    "%.240s", fail_message());
        return;
    }
    checkup_add(checkup, "device", FINDING_OK, NULL, "%.240s", device->ops->describe(device));
    device_close(device);
}

void doctor_gpu(struct checkup *checkup, int needs_gpu)
{
    char driver[NVML_NAME_BYTES] = "";
    struct nvml *nvml = NULL;
    int count = 0;
    if (nvml_open(NVML_LIBRARY, &nvml) != OK) {
        check_absent(checkup, needs_gpu);
        return;
    }
    if (nvml_driver(nvml, driver, sizeof(driver)) != OK || nvml_gpu_count(nvml, &count) != OK ||
        count == 0) {
        checkup_add(checkup, "driver", FINDING_FAIL, "run nvidia-smi and follow what it says",
                    "it finds no GPU");
    } else {
        checkup_add(checkup, "driver", FINDING_OK, NULL, "%s, %d GPU%s", driver, count,
                    count == 1 ? "" : "s");
        for (int gpu = 0; gpu < count; gpu++)
            check_gpu(checkup, nvml, gpu);
        check_peers(checkup, nvml, count);
        check_nccl(checkup);
        check_device(checkup);
    }
    nvml_close(nvml);
}
