/* subset.c - which images of a labelled store an evaluation may learn from. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/eval/subset.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "common/random.h"

void subset_done(struct subset *subset)
{
    mem_free(subset->items);
    *subset = (struct subset){0};
}

static int compare_items(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return a < b ? -1 : a > b;
}

void subset_sample(uint64_t total, uint64_t limit, struct subset *ret_subset)
{
    enum { SEED = 0 };
    struct subset subset = {.count = limit == 0 || limit > total ? total : limit};
    subset.items = mem_array(subset.count, sizeof(*subset.items));
    for (uint64_t i = 0; i < subset.count; i++)
        subset.items[i] =
            subset.count == total ? i : random_permute(i, total, SEED, RANDOM_STREAM_BLOCKS, 0);
    qsort(subset.items, subset.count, sizeof(*subset.items), compare_items);
    *ret_subset = subset;
}

/* Images by class: members[first[c]] to members[first[c + 1]] are those of class c, ascending. */
struct classes {
    uint64_t *first;   /* [class_count + 1] */
    uint64_t *members; /* [count] */
};

static void classes_init(struct classes *classes, const int32_t *labels, uint64_t count,
                         int class_count)
{
    classes->first = mem_array((size_t)class_count + 1, sizeof(*classes->first));
    classes->members = mem_array(count, sizeof(*classes->members));
    uint64_t *next = mem_array((size_t)class_count, sizeof(*next));
    for (uint64_t i = 0; i < count; i++)
        if (labels[i] >= 0)
            classes->first[labels[i] + 1]++;
    for (int c = 0; c < class_count; c++) {
        next[c] = classes->first[c];
        classes->first[c + 1] += classes->first[c];
    }
    for (uint64_t i = 0; i < count; i++)
        if (labels[i] >= 0)
            classes->members[next[labels[i]]++] = i;
    mem_free(next);
}

static uint64_t wanted_of(const struct subset_rule *rule, uint64_t size)
{
    if (rule->per_class > 0)
        return rule->per_class < size ? rule->per_class : size;
    const uint64_t share = (uint64_t)llround((double)size * rule->percent / 100);
    return share == 0 && size > 0 ? 1 : share;
}

static void take(const struct classes *classes, int label, const struct subset_rule *rule,
                 uint64_t seed, struct subset *subset)
{
    const uint64_t *members = classes->members + classes->first[label];
    const uint64_t size = classes->first[label + 1] - classes->first[label];
    const uint64_t wanted = wanted_of(rule, size);
    for (uint64_t i = 0; i < wanted; i++)
        subset->items[subset->count++] =
            members[random_permute(i, size, seed, RANDOM_STREAM_SUBSET, (uint64_t)label)];
}

void subset_choose(const int32_t *labels, uint64_t count, int class_count,
                   const struct subset_rule *rule, uint64_t seed, struct subset *ret_subset)
{
    struct classes classes;
    struct subset subset = {.items = mem_array(count, sizeof(*subset.items))};
    classes_init(&classes, labels, count, class_count);
    for (int c = 0; c < class_count; c++)
        take(&classes, c, rule, seed, &subset);
    qsort(subset.items, subset.count, sizeof(*subset.items), compare_items);
    mem_free(classes.members);
    mem_free(classes.first);
    *ret_subset = subset;
}

void subset_cut(struct subset *subset, uint64_t first, uint64_t end)
{
    subset->count = end - first;
    memmove(subset->items, subset->items + first, subset->count * sizeof(*subset->items));
}

uint64_t subset_at(const struct subset *subset, uint64_t seed, uint64_t position)
{
    return subset->items[random_permute(position % subset->count, subset->count, seed,
                                        RANDOM_STREAM_BLOCKS, position / subset->count)];
}

void subset_unite(struct subset *subset, const struct subset *other)
{
    uint64_t *items = mem_array(subset->count + other->count, sizeof(*items));
    uint64_t count = 0, i = 0, j = 0;
    while (i < subset->count || j < other->count) {
        const int is_ours =
            j == other->count || (i < subset->count && subset->items[i] <= other->items[j]);
        const uint64_t item = is_ours ? subset->items[i++] : other->items[j++];
        if (count == 0 || items[count - 1] != item)
            items[count++] = item;
    }
    mem_free(subset->items);
    *subset = (struct subset){.count = count, .items = items};
}
