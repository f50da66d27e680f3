/* test_gpu_health.c - what a driver says of a GPU reaches the heartbeat, and one that says little
 * or nothing hurts nobody.
 *
 * With fake_nvml.c for a driver: argv[1]. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include <stdlib.h>

#include "worker/gpu_health.h"
#include "worker/nvml.h"

static const char *library;
static const char address[] = "0000:65:00.0";

static int mood(void **state, const char *word)
{
    (void)state;
    return setenv("SEER_FAKE_NVML", word, 1);
}

static int healthy(void **state)
{
    return mood(state, "healthy");
}

static int faulty(void **state)
{
    return mood(state, "faulty");
}

static int quiet(void **state)
{
    return mood(state, "quiet");
}

static int broken(void **state)
{
    return mood(state, "broken");
}

/* Figures of a GPU, once there are any. */
static struct message_gpu figures_of(const char *pci_address)
{
    struct nvml *nvml = NULL;
    struct message_gpu figures;
    assert_ok(nvml_open(library, &nvml));
    assert_ok(nvml_watch(nvml, pci_address));
    nvml_figures(nvml, &figures);
    nvml_close(nvml);
    return figures;
}

static void a_healthy_gpu_tells_its_figures(void **state)
{
    (void)state;
    const struct message_gpu gpu = figures_of(address);
    assert_int_equal(gpu.utilization_percent, 97);
    assert_true(gpu.memory_used_bytes == INT64_C(30) << 30);
    assert_true(gpu.memory_total_bytes == INT64_C(80) << 30);
    assert_int_equal(gpu.temperature_c, 61);
    assert_int_equal(gpu.power_mw, 550000);
    assert_int_equal(gpu.ecc_errors, 0);
    assert_int_equal(gpu.xid, 0);
}

static void of_several_faults_the_last_is_told_and_stays(void **state)
{
    (void)state;
    struct nvml *nvml = NULL;
    struct message_gpu gpu;
    assert_ok(nvml_open(library, &nvml));
    assert_ok(nvml_watch(nvml, address));
    for (int i = 0; i < 2; i++) {
        nvml_figures(nvml, &gpu);
        assert_int_equal(gpu.xid, 79);
        assert_int_equal(gpu.ecc_errors, 3);
    }
    nvml_close(nvml);
}

static void what_a_driver_does_not_tell_is_unknown(void **state)
{
    (void)state;
    const struct message_gpu gpu = figures_of(address), unknown = {-1, -1, -1, -1, -1, -1, -1};
    assert_memory_equal(&gpu, &unknown, sizeof(gpu));
}

static void a_driver_that_is_missing_or_broken_is_a_status(void **state)
{
    (void)state;
    struct nvml *nvml = NULL;
    assert_fails(nvml_open("libnvidia-of-nobody.so", &nvml), ERR_INPUT, "nobody");
    assert_fails(nvml_open(library, &nvml), ERR_DEVICE, "Driver Not Loaded");
    assert_null(nvml);
    nvml_close(NULL);
}

static void gpus_are_counted_named_and_asked_for_their_peers(void **state)
{
    (void)state;
    struct nvml *nvml = NULL;
    char text[NVML_NAME_BYTES];
    int count = 0, is_peer = 0;
    assert_ok(nvml_open(library, &nvml));
    assert_ok(nvml_driver(nvml, text, sizeof(text)));
    assert_string_equal(text, "999.1");
    assert_ok(nvml_gpu_count(nvml, &count));
    assert_int_equal(count, 2);
    assert_ok(nvml_gpu_name(nvml, 1, text, sizeof(text)));
    assert_string_equal(text, "Imaginary 1");
    assert_ok(nvml_peers(nvml, 0, 1, &is_peer));
    assert_true(is_peer);
    assert_fails(nvml_gpu_name(nvml, 7, text, sizeof(text)), ERR_DEVICE, "Not Found");
    assert_fails(nvml_watch(nvml, "0000:01:00.0"), ERR_DEVICE, "0000:01:00.0");
    nvml_close(nvml);
}

static void a_thread_keeps_the_newest_figures(void **state)
{
    (void)state;
    struct gpu_health health;
    struct message_gpu gpu = {0};
    gpu_health_start(&health, library, address);
    while (!gpu_health_read(&health, &gpu)) /* it begins at once */
        test_rest();
    assert_int_equal(gpu.temperature_c, 61);
    gpu_health_stop(&health);
}

static void a_device_without_a_driver_has_no_figures(void **state)
{
    (void)state;
    static const struct {
        const char *library, *address;
    } cases[] = {{"libnvidia-of-nobody.so", address}, {NULL, ""}, {NULL, "0000:01:00.0"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct gpu_health health;
        struct message_gpu gpu;
        gpu_health_start(&health, cases[i].library == NULL ? library : cases[i].library,
                         cases[i].address);
        assert_false(gpu_health_read(&health, &gpu));
        gpu_health_stop(&health);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_healthy_gpu_tells_its_figures, healthy),
        cmocka_unit_test_setup(of_several_faults_the_last_is_told_and_stays, faulty),
        cmocka_unit_test_setup(what_a_driver_does_not_tell_is_unknown, quiet),
        cmocka_unit_test_setup(a_driver_that_is_missing_or_broken_is_a_status, broken),
        cmocka_unit_test_setup(gpus_are_counted_named_and_asked_for_their_peers, healthy),
        cmocka_unit_test_setup(a_thread_keeps_the_newest_figures, healthy),
        cmocka_unit_test_setup(a_device_without_a_driver_has_no_figures, healthy),
    };
    assert_true(argc == 2);
    library = argv[1];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
