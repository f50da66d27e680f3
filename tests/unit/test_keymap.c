/* test_keymap.c - every tensor that a network of ours has, has a name in every layout. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include "common/mem.h"
#include "worker/export/keymap.h"
#include "worker/state.h"

static int compare_targets(const void *left, const void *right)
{
    const struct keymap_target *a = left, *b = right;
    int groups = strcmp(a->group, b->group);
    return groups != 0 ? groups : strcmp(a->name, b->name);
}

static void assert_distinct(struct keymap_target *targets, size_t count)
{
    qsort(targets, count, sizeof(*targets), compare_targets);
    for (size_t i = 1; i < count; i++) {
        if (compare_targets(&targets[i - 1], &targets[i]) == 0)
            fail_msg("two tensors are called '%s'", targets[i].name);
    }
}

static void translate_all(const struct config *config)
{
    struct state_layout layout;
    state_layout_init(&layout, config);
    struct keymap_target *targets = mem_array((size_t)layout.tensor_count, sizeof(*targets));
    for (int map = 0; map < KEYMAP_COUNT; map++) {
        size_t count = 0;
        for (int i = 0; i < layout.tensor_count; i++) {
            const struct state_tensor *tensor = &layout.tensors[i];
            if (tensor->kind == STATE_PARAMETER || tensor->kind == STATE_STATISTIC)
                assert_ok(
                    keymap_translate((enum keymap_layout)map, tensor->name, &targets[count++]));
        }
        assert_true(count > 100);
        assert_distinct(targets, count);
    }
    mem_free(targets);
    state_layout_done(&layout);
}

static void every_tensor_of_every_kind_of_network_has_its_own_name(void **state)
{
    (void)state;
    struct config config;
    config_init(&config);
    translate_all(&config);
    assert_ok(config_set(&config, "model.head_batch_norm=true"));
    assert_ok(config_set(&config, "model.stem_stride=1"));
    assert_ok(config_set(&config, "model.prototypes=[30, 30, 20]"));
    translate_all(&config);
    assert_ok(config_set(&config, "model.family=resnet"));
    assert_ok(config_set(&config, "model.stage_blocks=[3, 4, 6, 3]"));
    translate_all(&config);
}

static void names_that_are_not_of_a_model_are_refused(void **state)
{
    (void)state;
    static const char *const names[] = {
        "",
        "trunk",
        "trunk.",
        "trunk.stem.2.weight",
        "trunk.trunk_output.block1.block1-0.f.d.0.weight",
        "trunk.trunk_output.block1.block1-0",
        "momentum/trunk.stem.0.weight",
        "queue/embeddings",
        "prototypesque.weight",
    };
    struct keymap_target target;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        assert_fails(keymap_translate(KEYMAP_TIMM, names[i], &target), ERR_INPUT, "is no tensor");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_tensor_of_every_kind_of_network_has_its_own_name),
        cmocka_unit_test(names_that_are_not_of_a_model_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
