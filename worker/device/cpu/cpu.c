/* cpu.c - the processor as a device: its memory, its name, its life. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/cpu/cpu.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/check.h"
#include "common/host.h"
#include "common/mem.h"

/* Pages are touched lazily; big arenas are worth 2 MiB pages, small ones would waste them. */
enum { HUGE_PAGE_BYTES = 2 << 20 };

static enum status no_memory(size_t bytes, int error)
{
    return fail(ERR_DEVICE,
                "cpu: cannot get %zu MiB of memory: %s; use a smaller batch or a machine with more",
                bytes >> 20, strerror(error));
}

/* mmap of nothing is an error; a page costs nothing. */
static size_t mapped_bytes(size_t bytes)
{
    return bytes == 0 ? 1 : bytes;
}

static enum status allocate_shared(size_t bytes, int *ret_fd, void **ret_memory)
{
    int fd = memfd_create("everseer", MFD_CLOEXEC);
    if (fd < 0)
        return no_memory(bytes, errno);
    /* Reserved now, so that running out is an error here and not SIGBUS in the middle of a step. */
    int error = posix_fallocate(fd, 0, (off_t)mapped_bytes(bytes));
    void *memory = MAP_FAILED;
    if (error == 0) {
        memory = mmap(NULL, mapped_bytes(bytes), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        error = errno;
    }
    if (memory == MAP_FAILED) {
        close(fd);
        return no_memory(bytes, error);
    }
    *ret_fd = fd;
    *ret_memory = memory;
    return OK;
}

static void hold(struct cpu *cpu, size_t bytes)
{
    cpu->held += bytes;
    cpu->peak = cpu->held > cpu->peak ? cpu->held : cpu->peak;
}

enum status cpu_allocate(struct device *device, size_t bytes, int *ret_fd, void **ret_memory)
{
    struct cpu *cpu = (struct cpu *)device;
    if (bytes > SIZE_MAX / 4)
        return no_memory(bytes, ENOMEM);
    if (ret_fd != NULL) {
        TRY(allocate_shared(bytes, ret_fd, ret_memory));
        hold(cpu, bytes);
        return OK;
    }
    void *memory =
        mmap(NULL, mapped_bytes(bytes), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return no_memory(bytes, errno);
    if (bytes >= HUGE_PAGE_BYTES)
        madvise(memory, bytes, MADV_HUGEPAGE); /* only a hint: refusal is fine */
    hold(cpu, bytes);
    *ret_memory = memory;
    return OK;
}

void cpu_release(struct device *device, void *memory, size_t bytes, int fd)
{
    if (memory != NULL) {
        CHECK(munmap(memory, mapped_bytes(bytes)) == 0);
        ((struct cpu *)device)->held -= bytes;
    }
    if (fd >= 0)
        close(fd);
}

void cpu_copy(struct device *device, void *to, const void *from, size_t bytes)
{
    (void)device;
    if (bytes > 0)
        memcpy(to, from, bytes);
}

void cpu_zero(struct device *device, void *memory, size_t bytes)
{
    (void)device;
    if (bytes > 0)
        memset(memory, 0, bytes);
}

enum status cpu_synchronize(struct device *device)
{
    (void)device; /* every operation has ended when it returns */
    return OK;
}

const char *cpu_describe(struct device *device)
{
    return ((struct cpu *)device)->description;
}

const char *cpu_address(struct device *device)
{
    (void)device;
    return "";
}

/* "AMD EPYC ..." out of /proc/cpuinfo, or "processor" where there is none. */
static void processor_name(char *name, size_t size)
{
    char line[256];
    snprintf(name, size, "processor");
    FILE *file = fopen("/proc/cpuinfo", "re");
    if (file == NULL)
        return;
    while (fgets(line, sizeof(line), file) != NULL) {
        char *value = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || value == NULL)
            continue;
        value[strcspn(value, "\n")] = '\0';
        snprintf(name, size, "%.*s", (int)size - 1, value + 1 + strspn(value + 1, " "));
        break;
    }
    fclose(file);
}

float *cpu_take(struct cpu *cpu, size_t bytes)
{
    hold(cpu, bytes);
    return cpu->is_probe ? NULL : mem_aligned(bytes);
}

void cpu_give(struct cpu *cpu, float *memory, size_t bytes)
{
    if (memory == NULL)
        return;
    mem_free(memory);
    cpu->held -= bytes;
}

void cpu_scratch_grow(struct cpu *cpu, enum cpu_scratch_use use, size_t bytes)
{
    struct cpu_scratch *scratch = &cpu->scratch[use];
    if (bytes <= scratch->bytes)
        return;
    cpu_give(cpu, scratch->memory, scratch->bytes);
    scratch->memory = cpu_take(cpu, bytes);
    scratch->bytes = bytes;
}

void cpu_memory(struct device *device, struct device_memory *ret_memory)
{
    struct cpu *cpu = (struct cpu *)device;
    *ret_memory =
        (struct device_memory){.held = cpu->held, .peak = cpu->peak, .free = host_free_bytes()};
    for (int i = 0; i < CONV_SHARED_MAX; i++)
        ret_memory->shared[i] = cpu->scratch[i].bytes;
}

void cpu_destroy(struct device *device)
{
    struct cpu *cpu = (struct cpu *)device;
    if (cpu == NULL)
        return;
    dnnl_conv_stop(cpu);
    for (int i = 0; i < CONV_SHARED_MAX; i++)
        mem_free(cpu->scratch[i].memory);
    mem_free(cpu->queue);
    mem_free(cpu);
}

int cpu_images_ahead(struct device *device, void *to, const void *host, size_t bytes)
{
    (void)device, (void)to, (void)host, (void)bytes;
    return 0;
}

void cpu_tune(struct device *device, const char *folder)
{
    (void)device, (void)folder; /* oneDNN knows what is fastest without trying */
}

void cpu_optimizer_rule(struct device *device, const struct optimizer_rule *rule)
{
    ((struct cpu *)device)->rule = *rule;
}

enum status cpu_record_begin(struct device *device)
{
    (void)device;
    return fail(ERR_DEVICE, "cpu: it records nothing");
}

enum status cpu_record_end(struct device *device, struct recording **ret_recording)
{
    (void)ret_recording;
    return cpu_record_begin(device);
}

void cpu_replay(struct device *device, struct recording *recording)
{
    (void)device, (void)recording;
    CHECK(!"there are no recordings");
}

void cpu_recording_destroy(struct device *device, struct recording *recording)
{
    (void)device, (void)recording;
}

uint64_t cpu_recordings_epoch(struct device *device)
{
    (void)device;
    return 0;
}

enum status cpu_create(const struct cpu_isa *isa, int thread_count, struct device **ret_device)
{
    char name[64];
    if (thread_count < 1)
        return fail(ERR_INPUT, "cpu: thread count %d; at least 1 is needed", thread_count);
    struct cpu *cpu = mem_zero(sizeof(*cpu));
    cpu->device.ops = isa->ops;
    cpu->isa = isa;
    cpu->thread_count = thread_count;
    cpu->device.has_bands = thread_count == 1;
    cpu->queue = mem_zero(sizeof(*cpu->queue));
    processor_name(name, sizeof(name));
    snprintf(cpu->description, sizeof(cpu->description), "%s, %s kernels, %d thread%s", name,
             isa->name, thread_count, thread_count == 1 ? "" : "s");
    enum status status = dnnl_conv_start(cpu);
    if (status != OK) {
        cpu_destroy(&cpu->device);
        return status;
    }
    *ret_device = &cpu->device;
    return OK;
}

enum status device_cpu_create(const char *activations, int thread_count, struct device **ret_device)
{
    if (activations == NULL || strcmp(activations, "fp32") == 0)
        return cpu_create(&cpu_isa_list()[0], thread_count, ret_device);
    if (strcmp(activations, "bf16") != 0)
        return fail(ERR_INPUT, "cpu: activations '%s' are not known: use fp32 or bf16",
                    activations);
    if (cpu_isa_bf16() == NULL)
        return fail(ERR_DEVICE, "cpu: this processor does not compute with bf16 (it lacks "
                                "avx512_bf16): use cpu");
    return cpu_create(cpu_isa_bf16(), thread_count, ret_device);
}
