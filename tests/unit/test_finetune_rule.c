/* test_finetune_rule.c - how long finetuning takes, and when its rate falls. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include "worker/eval/finetune_rule.h"

static struct finetune_rule usual(int64_t epochs, const char *milestones)
{
    struct finetune_rule rule = {
        .class_count = 1000,
        .batch = 256,
        .slot_images = 32,
        .epochs = epochs,
        .factor = 0.1,
        .lr = 0.0125,
        .classifier_lr = 0.05,
    };
    assert_ok(finetune_rule_milestones(milestones, &rule));
    return rule;
}

/* ImageNet: 1,281,167 images, 35 epochs of batches of 256. */
static void the_rate_falls_by_ten_after_thirty_of_thirty_five_epochs(void **state)
{
    (void)state;
    const uint64_t images = 1281167;
    const struct finetune_rule rule = usual(35, NULL);
    const uint64_t steps = finetune_rule_steps(&rule, images, 30);
    assert_true(rule.milestones[0] == 30);
    assert_int_equal(steps, 150137);
    assert_int_equal(finetune_rule_steps(&rule, images, 35), 175160);
    assert_float_equal(finetune_rule_rate(&rule, rule.lr, images, 0), 0.0125, 1e-12);
    assert_float_equal(finetune_rule_rate(&rule, rule.lr, images, steps - 1), 0.0125, 1e-12);
    assert_float_equal(finetune_rule_rate(&rule, rule.lr, images, steps), 0.00125, 1e-12);
    assert_float_equal(finetune_rule_rate(&rule, rule.classifier_lr, images, 175159), 0.005, 1e-12);
}

static void milestones_and_batch_may_be_others(void **state)
{
    (void)state;
    struct finetune_rule rule = usual(100, "30,60.5,90");
    rule.batch = 64;
    assert_int_equal(rule.milestone_count, 3);
    assert_float_equal(finetune_rule_rate(&rule, 1, 64, 29), 0.25, 1e-12);
    assert_float_equal(finetune_rule_rate(&rule, 1, 64, 30), 0.025, 1e-12);
    assert_float_equal(finetune_rule_rate(&rule, 1, 64, 61), 0.0025, 1e-12);
    assert_float_equal(finetune_rule_rate(&rule, 1, 64, 99), 0.00025, 1e-12);
    assert_float_equal(usual(70, NULL).milestones[0], 60, 1e-12);
}

/* Passes run over the ends of batches, so that none is short. */
static void epochs_of_few_images_may_share_a_batch(void **state)
{
    (void)state;
    const struct finetune_rule rule = usual(35, NULL);
    assert_int_equal(finetune_rule_steps(&rule, 100, 0), 0);
    assert_int_equal(finetune_rule_steps(&rule, 100, 1), 1);
    assert_int_equal(finetune_rule_steps(&rule, 100, 2), 1);
    assert_int_equal(finetune_rule_steps(&rule, 100, 3), 2);
    assert_int_equal(finetune_rule_steps(&rule, 100, 35), 14);
}

static void a_slot_is_the_largest_part_of_a_batch_up_to_a_gpus(void **state)
{
    (void)state;
    assert_int_equal(finetune_rule_slot(256), 32);
    assert_int_equal(finetune_rule_slot(48), 24);
    assert_int_equal(finetune_rule_slot(20), 20);
    assert_int_equal(finetune_rule_slot(100), 25);
    assert_int_equal(finetune_rule_slot(37), 1);
}

static void milestones_that_are_none_are_refused(void **state)
{
    static const char *const words[] = {"", "x", "0", "-3", "30,", "30,20", "30 60", "nan", "1e9"};
    struct finetune_rule rule = {.epochs = 35};
    (void)state;
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        assert_fails(finetune_rule_milestones(words[i], &rule), ERR_INPUT, "rising numbers");
    assert_fails(finetune_rule_milestones("1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17", &rule),
                 ERR_INPUT, "at most 16");
}

static void rules_that_train_otherwise_have_other_words(void **state)
{
    (void)state;
    char text[FINETUNE_RULE_BYTES], other[FINETUNE_RULE_BYTES];
    const struct finetune_rule rule = usual(35, NULL);
    finetune_rule_print(&rule, text);
    struct finetune_rule changed = rule;
    finetune_rule_print(&changed, other);
    assert_string_equal(text, other);
    changed.milestones[0] = 29;
    finetune_rule_print(&changed, other);
    assert_string_not_equal(text, other);
    changed = rule;
    changed.is_nesterov = 1;
    finetune_rule_print(&changed, other);
    assert_string_not_equal(text, other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_rate_falls_by_ten_after_thirty_of_thirty_five_epochs),
        cmocka_unit_test(milestones_and_batch_may_be_others),
        cmocka_unit_test(epochs_of_few_images_may_share_a_batch),
        cmocka_unit_test(a_slot_is_the_largest_part_of_a_batch_up_to_a_gpus),
        cmocka_unit_test(milestones_that_are_none_are_refused),
        cmocka_unit_test(rules_that_train_otherwise_have_other_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
