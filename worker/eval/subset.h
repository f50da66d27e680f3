/* subset.h - which images of a labelled store an evaluation may learn from.
 *
 * Always the same for the same store and seed: images of a class are permuted by a keyed bijection,
 * and the first ones are taken. So 10 % holds the images of 1 %, and n + 1 per class those of n. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_EVAL_SUBSET_H
#define WORKER_EVAL_SUBSET_H

#include <stdint.h>

struct subset {
    uint64_t count;
    uint64_t *items; /* [count] indices, ascending; owned */
};

/* How many of a class. */
struct subset_rule {
    uint64_t per_class; /* fewer where there are no more; 0: by percent */
    double percent;     /* of the class, rounded, and one at least */
};

void subset_done(struct subset *subset);
/* limit of total at random, or all of them with limit 0. */
void subset_sample(uint64_t total, uint64_t limit, struct subset *ret_subset);
/* labels [count] from 0 to class_count - 1, or LABEL_NONE, which is never taken. */
void subset_choose(const int32_t *labels, uint64_t count, int class_count,
                   const struct subset_rule *rule, uint64_t seed, struct subset *ret_subset);
/* Keeps items[first, end) alone. */
void subset_cut(struct subset *subset, uint64_t first, uint64_t end);
/* What stands at a position of an endless order of the items: pass after pass, each shuffled anew.
 */
uint64_t subset_at(const struct subset *subset, uint64_t seed, uint64_t position);
/* Adds what is in other and not yet in subset. */
void subset_unite(struct subset *subset, const struct subset *other);

#endif
