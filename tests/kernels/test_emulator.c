/* test_emulator.c - the emulated GPU does what CUDA does, and sees what a kernel does wrong. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include <pthread.h>

#include "tests/kernels/probe_kernels.h"
#include "worker/device/cuda/emulated/emulator.h"

enum { N = PROBE_THREADS, BYTES = N * sizeof(float) };

struct gpu {
    cudaStream_t stream;
    float *x, *y;
    float host[N];
};

static int gpu_open(void **state)
{
    static struct gpu gpu;
    emulator_reset();
    assert_int_equal(cudaStreamCreateWithFlags(&gpu.stream, cudaStreamNonBlocking), cudaSuccess);
    assert_int_equal(cudaMalloc((void **)&gpu.x, BYTES), cudaSuccess);
    assert_int_equal(cudaMalloc((void **)&gpu.y, BYTES), cudaSuccess);
    for (int i = 0; i < N; i++)
        gpu.host[i] = (float)i;
    cudaMemcpyAsync(gpu.x, gpu.host, BYTES, cudaMemcpyHostToDevice, gpu.stream);
    *state = &gpu;
    return 0;
}

static int gpu_close(void **state)
{
    struct gpu *gpu = *state;
    emulator_reset();
    cudaStreamDestroy(gpu->stream);
    cudaFree(gpu->x);
    cudaFree(gpu->y);
    assert_true(emulator_allocated() == 0);
    return 0;
}

static void fetch(struct gpu *gpu)
{
    assert_int_equal(cudaMemcpyAsync(gpu->host, gpu->y, BYTES, cudaMemcpyDeviceToHost, gpu->stream),
                     cudaSuccess);
    assert_int_equal(cudaStreamSynchronize(gpu->stream), cudaSuccess);
}

static int wrong_after_reverse(struct gpu *gpu, int has_barrier)
{
    int wrong = 0;
    probe_reverse(gpu->stream, gpu->x, has_barrier, gpu->y);
    fetch(gpu);
    for (int i = 0; i < N; i++)
        wrong += gpu->host[i] != (float)(N - 1 - i);
    return wrong;
}

static void a_missing_barrier_shows_under_every_seed(void **state)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        emulator_seed(seed);
        assert_int_equal(wrong_after_reverse(*state, 1), 0);
        assert_true(wrong_after_reverse(*state, 0) > 0);
    }
}

static void lanes_of_a_warp_exchange_values(void **state)
{
    struct gpu *gpu = *state;
    probe_warp_sum(gpu->stream, gpu->x, gpu->y);
    fetch(gpu);
    for (int i = 0; i < N; i++) {
        const int first = i / 32 * 32; /* first + ... + (first + 31) */
        assert_true(gpu->host[i] == (float)(32 * first + 31 * 16));
    }
}

static void a_wrong_kernel_is_named_with_its_fault(void **state)
{
    static const char *const words[PROBE_FAULTS] = {
        [PROBE_BARRIER_OF_SOME] = "has left",
        [PROBE_BARRIER_AFTER_LEAVE] = "has left",
        [PROBE_TWO_BARRIERS] = "threads diverge",
        [PROBE_EXCHANGE_OF_SOME] = "has left",
        [PROBE_TWO_EXCHANGES] = "exchange at different places",
        [PROBE_SHORT_WARP] = "fewer than 32 lanes",
        [PROBE_SHARED_MEMORY] = "shared memory",
    };
    struct gpu *gpu = *state;
    for (int fault = 0; fault < PROBE_FAULTS; fault++) {
        probe_wrong(gpu->stream, (enum probe_fault)fault, gpu->y);
        assert_int_equal(cudaGetLastError(), cudaSuccess); /* nobody knows yet */
        assert_int_equal(cudaStreamSynchronize(gpu->stream), cudaErrorLaunchFailure);
        const char *said = cudaGetErrorString(cudaErrorLaunchFailure);
        if (strstr(said, words[fault]) == NULL || strstr(said, "wrong_kernel") == NULL)
            fail_msg("fault %d: '%s' lacks '%s'", fault, said, words[fault]);
        emulator_reset();
        assert_int_equal(wrong_after_reverse(gpu, 1), 0); /* and goes on */
    }
}

static void work_waits_for_somebody_who_waits(void **state)
{
    struct gpu *gpu = *state;
    float value = 7;
    probe_set(gpu->stream, value, gpu->y);
    cudaMemcpyAsync(gpu->host, gpu->y, sizeof(float), cudaMemcpyDeviceToHost, gpu->stream);
    value = 8; /* the argument was taken along */
    assert_true(gpu->host[0] == 0);
    assert_int_equal(cudaStreamSynchronize(gpu->stream), cudaSuccess);
    assert_true(gpu->host[0] == 7 && value == 8);
}

static void what_was_uploaded_may_be_overwritten_at_once(void **state)
{
    struct gpu *gpu = *state;
    for (int i = 0; i < N; i++)
        gpu->host[i] = 3;
    cudaMemcpyAsync(gpu->y, gpu->host, BYTES, cudaMemcpyHostToDevice, gpu->stream);
    for (int i = 0; i < N; i++)
        gpu->host[i] = 4;
    fetch(gpu);
    assert_true(gpu->host[0] == 3 && gpu->host[N - 1] == 3);
}

static void wrong_calls_are_refused(void **state)
{
    struct gpu *gpu = *state;
    float local[N];
    assert_int_equal(cudaMemcpyAsync(local, gpu->host, 4, cudaMemcpyHostToDevice, gpu->stream),
                     cudaErrorInvalidValue);
    assert_int_equal(
        cudaMemcpyAsync(gpu->y + 1, gpu->x, BYTES, cudaMemcpyDeviceToDevice, gpu->stream),
        cudaErrorInvalidValue); /* four bytes too many */
    assert_int_equal(cudaMemsetAsync(local, 0, 4, gpu->stream), cudaErrorInvalidValue);
    assert_int_equal(cudaFree(gpu->x + 1), cudaErrorInvalidValue);
    assert_int_equal(cudaGetLastError(), cudaErrorInvalidValue);
    assert_int_equal(cudaGetLastError(), cudaSuccess); /* told once */
    probe_wide_block(gpu->stream, gpu->y);
    assert_int_equal(cudaGetLastError(), cudaErrorInvalidConfiguration);
    assert_int_equal(cudaSetDevice(1), cudaErrorInvalidDevice);
    cudaGetLastError();
}

static void memory_ends(void **state)
{
    void *memory = NULL;
    (void)state;
    assert_int_equal(cudaMalloc(&memory, (size_t)1 << 40), cudaErrorMemoryAllocation);
    emulator_fail_allocation(2);
    assert_int_equal(cudaMalloc(&memory, 8), cudaSuccess);
    cudaFree(memory);
    assert_int_equal(cudaMalloc(&memory, 8), cudaErrorMemoryAllocation);
    assert_int_equal(cudaMalloc(&memory, 8), cudaSuccess);
    cudaFree(memory);
    cudaGetLastError();
}

static void a_broken_gpu_stays_broken(void **state)
{
    struct gpu *gpu = *state;
    void *memory = NULL;
    emulator_fail_kernel(1);
    probe_set(gpu->stream, 1, gpu->y);
    assert_int_equal(cudaStreamSynchronize(gpu->stream), cudaErrorLaunchFailure);
    assert_int_equal(cudaGetLastError(), cudaErrorLaunchFailure);
    assert_int_equal(cudaGetLastError(), cudaErrorLaunchFailure);
    assert_int_not_equal(cudaMalloc(&memory, 8), cudaSuccess);
    assert_int_equal(cudaStreamSynchronize(gpu->stream), cudaErrorLaunchFailure);
}

static void begin(struct gpu *gpu)
{
    assert_int_equal(cudaStreamBeginCapture(gpu->stream, cudaStreamCaptureModeThreadLocal),
                     cudaSuccess);
}

/* Nothing is done while it is captured, everything at each launch, with the memory of then. */
static void a_graph_does_again_what_was_captured(void **state)
{
    struct gpu *gpu = *state;
    cudaGraph_t graph = NULL;
    cudaGraphExec_t exec = NULL;
    size_t nodes = 0;
    float *locked = NULL;
    assert_int_equal(cudaHostAlloc((void **)&locked, sizeof(float), cudaHostAllocDefault),
                     cudaSuccess);
    cudaMemsetAsync(gpu->y, 0, BYTES, gpu->stream);
    begin(gpu);
    assert_int_equal(
        cudaMemcpyAsync(gpu->x, locked, sizeof(float), cudaMemcpyHostToDevice, gpu->stream),
        cudaSuccess);
    probe_reverse(gpu->stream, gpu->x, 1, gpu->y);
    assert_int_equal(cudaStreamEndCapture(gpu->stream, &graph), cudaSuccess);
    assert_int_equal(cudaGraphGetNodes(graph, NULL, &nodes), cudaSuccess);
    assert_int_equal(nodes, 2);
    assert_int_equal(cudaGraphInstantiate(&exec, graph, 0), cudaSuccess);
    assert_int_equal(cudaGraphDestroy(graph), cudaSuccess);
    fetch(gpu);
    assert_true(gpu->host[N - 1] == 0);
    for (int i = 1; i <= 3; i++) {
        *locked = (float)(100 * i);
        assert_int_equal(cudaGraphLaunch(exec, gpu->stream), cudaSuccess);
        fetch(gpu);
        assert_true(gpu->host[N - 1] == (float)(100 * i) && gpu->host[0] == N - 1);
    }
    assert_int_equal(cudaGraphExecDestroy(exec), cudaSuccess);
    cudaFreeHost(locked);
}

enum forbidden {
    FORBIDDEN_WAIT,
    FORBIDDEN_ALLOCATE,
    FORBIDDEN_FREE,
    FORBIDDEN_UPLOAD,
    FORBIDDEN_DOWNLOAD,
    FORBIDDEN_LOCK,
    FORBIDDEN_EVENT,
    FORBIDDEN_AWAIT,
    FORBIDDEN_QUERY,
    FORBIDDEN_CALLS
};

static cudaError_t call_forbidden(struct gpu *gpu, enum forbidden call, cudaEvent_t event)
{
    void *memory = NULL;
    switch (call) {
    case FORBIDDEN_WAIT:
        return cudaStreamSynchronize(gpu->stream);
    case FORBIDDEN_ALLOCATE:
        return cudaMalloc(&memory, 8);
    case FORBIDDEN_FREE:
        return cudaFree(gpu->x);
    case FORBIDDEN_UPLOAD:
        return cudaMemcpyAsync(gpu->x, gpu->host, BYTES, cudaMemcpyHostToDevice, gpu->stream);
    case FORBIDDEN_DOWNLOAD:
        return cudaMemcpyAsync(gpu->host, gpu->x, BYTES, cudaMemcpyDeviceToHost, gpu->stream);
    case FORBIDDEN_LOCK:
        return cudaHostAlloc(&memory, 8, cudaHostAllocDefault);
    case FORBIDDEN_EVENT:
        return cudaEventRecord(event, gpu->stream);
    case FORBIDDEN_AWAIT:
        return cudaStreamWaitEvent(gpu->stream, event, 0);
    default:
        return cudaEventQuery(event);
    }
}

static void what_a_capture_forbids_spoils_it(void **state)
{
    struct gpu *gpu = *state;
    cudaEvent_t event;
    assert_int_equal(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), cudaSuccess);
    for (int call = 0; call < FORBIDDEN_CALLS; call++) {
        cudaGraph_t graph = NULL;
        begin(gpu);
        probe_set(gpu->stream, 1, gpu->y);
        const cudaError_t error = call_forbidden(gpu, (enum forbidden)call, event);
        assert_int_equal(error, call == FORBIDDEN_AWAIT ? cudaErrorStreamCaptureIsolation
                                                        : cudaErrorStreamCaptureUnsupported);
        assert_int_equal(cudaStreamEndCapture(gpu->stream, &graph),
                         cudaErrorStreamCaptureInvalidated);
        assert_null(graph);
        cudaGetLastError();
        assert_int_equal(wrong_after_reverse(gpu, 1), 0); /* and goes on */
        for (int i = 0; i < N; i++)
            gpu->host[i] = (float)i;
    }
    cudaEventDestroy(event);
}

static void *allocate_elsewhere(void *argument)
{
    void *memory = NULL;
    *(cudaError_t *)argument = cudaMalloc(&memory, 8);
    cudaFree(memory);
    return NULL;
}

static void other_threads_are_free_during_a_capture(void **state)
{
    struct gpu *gpu = *state;
    cudaGraph_t graph = NULL;
    cudaError_t error = cudaErrorInvalidValue;
    pthread_t thread;
    begin(gpu);
    assert_int_equal(pthread_create(&thread, NULL, allocate_elsewhere, &error), 0);
    pthread_join(thread, NULL);
    assert_int_equal(error, cudaSuccess);
    assert_int_equal(cudaStreamEndCapture(gpu->stream, &graph), cudaSuccess);
    cudaGraphDestroy(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_missing_barrier_shows_under_every_seed, gpu_open,
                                        gpu_close),
        cmocka_unit_test_setup_teardown(lanes_of_a_warp_exchange_values, gpu_open, gpu_close),
        cmocka_unit_test_setup_teardown(a_wrong_kernel_is_named_with_its_fault, gpu_open,
                                        gpu_close),
        cmocka_unit_test_setup_teardown(work_waits_for_somebody_who_waits, gpu_open, gpu_close),
        cmocka_unit_test_setup_teardown(what_was_uploaded_may_be_overwritten_at_once, gpu_open,
                                        gpu_close),
        cmocka_unit_test_setup_teardown(wrong_calls_are_refused, gpu_open, gpu_close),
        cmocka_unit_test_setup_teardown(memory_ends, gpu_open, gpu_close),
        cmocka_unit_test_setup_teardown(a_broken_gpu_stays_broken, gpu_open, gpu_close),
        cmocka_unit_test_setup_teardown(a_graph_does_again_what_was_captured, gpu_open, gpu_close),
        cmocka_unit_test_setup_teardown(what_a_capture_forbids_spoils_it, gpu_open, gpu_close),
        cmocka_unit_test_setup_teardown(other_threads_are_free_during_a_capture, gpu_open,
                                        gpu_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
