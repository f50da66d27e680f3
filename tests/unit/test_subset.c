/* test_subset.c - subsets of a labelled store: fixed, stratified, nested; and an endless order. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include <string.h>

#include "common/mem.h"
#include "worker/eval/subset.h"

enum { COUNT = 1000, CLASSES = 4, SEED = 7 };

/* Classes of 600, 300, 97 and 3 images, mixed. */
static const int class_sizes[CLASSES] = {600, 300, 97, 3};
static int32_t labels[COUNT];

static int make_labels(void **state)
{
    (void)state;
    int at = 0;
    for (int32_t c = 0; c < CLASSES; c++)
        for (int i = 0; i < class_sizes[c]; i++)
            labels[at++ * 7 % COUNT] = c;
    return 0;
}

static struct subset choose(uint64_t per_class, double percent, uint64_t seed)
{
    const struct subset_rule rule = {per_class, percent};
    struct subset subset;
    subset_choose(labels, COUNT, CLASSES, &rule, seed, &subset);
    for (uint64_t i = 1; i < subset.count; i++)
        assert_true(subset.items[i - 1] < subset.items[i]);
    return subset;
}

static int count_class(const struct subset *subset, int32_t label)
{
    int count = 0;
    for (uint64_t i = 0; i < subset->count; i++)
        count += labels[subset->items[i]] == label;
    return count;
}

static int holds(const struct subset *subset, uint64_t item)
{
    for (uint64_t i = 0; i < subset->count; i++)
        if (subset->items[i] == item)
            return 1;
    return 0;
}

static void assert_within(const struct subset *small, const struct subset *large)
{
    for (uint64_t i = 0; i < small->count; i++)
        assert_true(holds(large, small->items[i]));
}

static void a_percentage_is_taken_of_every_class_and_one_image_at_least(void **state)
{
    (void)state;
    static const int expected[CLASSES] = {60, 30, 10, 1};
    struct subset subset = choose(0, 10, SEED);
    assert_int_equal(subset.count, 101);
    for (int32_t c = 0; c < CLASSES; c++)
        assert_int_equal(count_class(&subset, c), expected[c]);
    subset_done(&subset);
    subset = choose(0, 100, SEED);
    assert_int_equal(subset.count, COUNT);
    subset_done(&subset);
}

static void a_number_per_class_is_cut_to_what_there_is(void **state)
{
    (void)state;
    static const int expected[CLASSES] = {5, 5, 5, 3};
    struct subset subset = choose(5, 0, SEED);
    for (int32_t c = 0; c < CLASSES; c++)
        assert_int_equal(count_class(&subset, c), expected[c]);
    subset_done(&subset);
}

static void a_subset_depends_on_the_seed_alone_and_small_ones_lie_in_large_ones(void **state)
{
    (void)state;
    struct subset one = choose(0, 1, SEED), again = choose(0, 1, SEED), ten = choose(0, 10, SEED);
    struct subset other = choose(0, 1, SEED + 1);
    struct subset two = choose(2, 0, SEED), three = choose(3, 0, SEED);
    assert_int_equal(one.count, again.count);
    assert_memory_equal(one.items, again.items, one.count * sizeof(*one.items));
    assert_within(&one, &ten);
    assert_within(&two, &three);
    assert_int_equal(one.count, other.count);
    assert_memory_not_equal(one.items, other.items, one.count * sizeof(*one.items));
    struct subset *all[] = {&one, &again, &ten, &other, &two, &three};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        subset_done(all[i]);
}

static void images_without_a_label_are_never_taken(void **state)
{
    (void)state;
    int32_t saved[COUNT];
    memcpy(saved, labels, sizeof(labels));
    for (int i = 0; i < COUNT; i += 3)
        labels[i] = -1;
    struct subset subset = choose(0, 100, SEED);
    assert_int_equal(subset.count, COUNT - 334);
    for (uint64_t i = 0; i < subset.count; i++)
        assert_true(subset.items[i] % 3 != 0);
    subset_done(&subset);
    memcpy(labels, saved, sizeof(labels));
}

static void a_union_holds_each_item_once(void **state)
{
    (void)state;
    struct subset sum = {0}, one = choose(0, 20, 1), two = choose(0, 20, 2);
    subset_unite(&sum, &one);
    assert_int_equal(sum.count, one.count);
    subset_unite(&sum, &two);
    uint64_t both = 0;
    for (uint64_t i = 0; i < two.count; i++)
        both += (uint64_t)holds(&one, two.items[i]);
    assert_true(both > 0);
    assert_int_equal(sum.count, one.count + two.count - both);
    for (uint64_t i = 1; i < sum.count; i++)
        assert_true(sum.items[i - 1] < sum.items[i]);
    assert_within(&one, &sum);
    assert_within(&two, &sum);
    subset_done(&two);
    subset_done(&one);
    subset_done(&sum);
}

static void every_pass_shows_each_item_once_in_another_order(void **state)
{
    (void)state;
    struct subset subset = choose(5, 0, SEED);
    int differences = 0;
    for (uint64_t pass = 0; pass < 2; pass++) {
        int seen[COUNT] = {0};
        for (uint64_t i = 0; i < subset.count; i++) {
            const uint64_t item = subset_at(&subset, SEED, pass * subset.count + i);
            assert_true(holds(&subset, item));
            assert_int_equal(seen[item]++, 0);
            differences += item != subset_at(&subset, SEED, i);
        }
    }
    assert_true(differences > 0);
    subset_done(&subset);
}

static void a_sample_has_its_size_and_all_are_all(void **state)
{
    (void)state;
    struct subset subset;
    subset_sample(100, 30, &subset);
    assert_int_equal(subset.count, 30);
    for (uint64_t i = 0; i < subset.count; i++)
        assert_true(subset.items[i] < 100 && (i == 0 || subset.items[i - 1] < subset.items[i]));
    subset_done(&subset);
    subset_sample(100, 0, &subset);
    assert_int_equal(subset.count, 100);
    assert_int_equal(subset.items[99], 99);
    subset_done(&subset);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_percentage_is_taken_of_every_class_and_one_image_at_least),
        cmocka_unit_test(a_number_per_class_is_cut_to_what_there_is),
        cmocka_unit_test(a_subset_depends_on_the_seed_alone_and_small_ones_lie_in_large_ones),
        cmocka_unit_test(images_without_a_label_are_never_taken),
        cmocka_unit_test(a_union_holds_each_item_once),
        cmocka_unit_test(every_pass_shows_each_item_once_in_another_order),
        cmocka_unit_test(a_sample_has_its_size_and_all_are_all),
    };
    return cmocka_run_group_tests(tests, make_labels, NULL);
}
