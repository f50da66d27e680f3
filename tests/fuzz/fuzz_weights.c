/* fuzz_weights.c - any bytes as a file of weights: refused, or tensors that can be read. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/check.h"
#include "common/mem.h"
#include "worker/export/weights.h"

/* A view of one number may be as large as it likes: whoever reads has compared its shape. */
enum { ELEMENTS_MAX = 1 << 16 };

static int64_t elements(const struct weights_tensor *tensor)
{
    int64_t count = 1;
    for (int i = 0; i < tensor->rank; i++)
        if (__builtin_mul_overflow(count, tensor->shape[i], &count))
            return INT64_MAX;
    return count;
}

static void read_all(struct weights *weights)
{
    for (int i = 0; i < weights->tensor_count; i++) {
        CHECK(weights_find(weights, weights->tensors[i].name) == &weights->tensors[i]);
        weights_want(weights, &weights->tensors[i]);
    }
    if (weights_load(weights) != OK)
        return;
    for (int i = 0; i < weights->tensor_count; i++) {
        const struct weights_tensor *tensor = &weights->tensors[i];
        const int64_t count = elements(tensor);
        if (!weights_is_real(tensor) || count > ELEMENTS_MAX)
            continue;
        float *values = mem_array((size_t)count, sizeof(*values));
        weights_read(weights, tensor, values);
        mem_free(values);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    char path[64];
    struct weights weights;
    const int file = memfd_create("fuzz", MFD_CLOEXEC);
    CHECK(file >= 0 && write(file, bytes, length) == (ssize_t)length);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
    if (weights_open(path, &weights) == OK) {
        read_all(&weights);
        weights_close(&weights);
    }
    close(file);
    return 0;
}
