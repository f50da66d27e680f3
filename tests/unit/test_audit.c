/* test_audit.c - the audit finds what is missing and what counted twice. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include "server/audit.h"

enum { BATCH = 8, RECORDS = 100 };

static void add(struct audit *audit, const struct journal_record *record)
{
    assert_ok(audit_add(audit, record));
}

static struct audit *begin(void)
{
    static uint32_t shards[] = {0};
    struct audit *audit = audit_create();
    add(audit, &(struct journal_record){.kind = JOURNAL_START,
                                        .start = {.seed = 3,
                                                  .batch_images = BATCH,
                                                  .slot_images = 4,
                                                  .block_records = 4,
                                                  .window_blocks = 2}});
    add(audit, &(struct journal_record){.kind = JOURNAL_SHARD, .shard = {0, RECORDS, "/s", 0}});
    add(audit, &(struct journal_record){.kind = JOURNAL_ENTRY,
                                        .entry = {.shard_count = 1, .shards = shards}});
    return audit;
}

static struct message_skip skips_of_step[BATCH];
static uint32_t lineage; /* of the steps to come */

static void add_step(struct audit *audit, uint64_t step, uint64_t position, int is_commit,
                     uint32_t skips)
{
    struct journal_record record = {.kind = JOURNAL_STEP,
                                    .step = {.step = step,
                                             .position = position,
                                             .images = BATCH,
                                             .is_commit = is_commit,
                                             .skip_count = skips,
                                             .skips = skips_of_step,
                                             .lineage = lineage,
                                             .unequal_digests = step == 1}};
    add(audit, &record);
}

static struct audit_result end(struct audit *audit)
{
    struct audit_result result;
    audit_count(audit, &result);
    audit_destroy(audit);
    return result;
}

static void a_clean_run_adds_up(void **state)
{
    (void)state;
    struct audit *audit = begin();
    for (uint64_t step = 0; step < 10; step++)
        add_step(audit, step, step * BATCH, step != 4, step == 5 ? 3 : 0);
    struct audit_result result = end(audit);
    assert_int_equal(result.steps, 10);
    assert_int_equal(result.positions_trained, 10 * BATCH - BATCH - 3);
    assert_int_equal(result.positions_quarantined, 3);
    assert_int_equal(result.positions_passed_over, BATCH);
    assert_int_equal(result.lost, 0);
    assert_int_equal(result.duplicated, 0);
    assert_int_equal(result.unequal_digests, 1);
    assert_int_equal(result.lineages, 1);
}

static void a_gap_is_lost(void **state)
{
    (void)state;
    struct audit *audit = begin();
    add_step(audit, 0, 0, 1, 0);
    add_step(audit, 1, 2 * BATCH, 1, 0);
    struct audit_result result = end(audit);
    assert_int_equal(result.lost, BATCH);
    assert_int_equal(result.duplicated, 0);
}

static void an_overlap_counts_twice(void **state)
{
    (void)state;
    struct audit *audit = begin();
    add_step(audit, 0, 0, 1, 0);
    add_step(audit, 1, BATCH - 2, 1, 0);
    struct audit_result result = end(audit);
    assert_int_equal(result.lost, 0);
    assert_true(result.duplicated >= 2);
}

static void the_same_pass_described_twice_counts_twice(void **state)
{
    (void)state;
    static uint32_t shards[] = {0};
    struct audit *audit = begin();
    /* A catalogue that serves pass 0 again where it should go on: each record comes up again. */
    add(audit,
        &(struct journal_record){.kind = JOURNAL_ENTRY,
                                 .entry = {.start = RECORDS, .shard_count = 1, .shards = shards}});
    for (uint64_t step = 0; step < 2 * RECORDS / BATCH; step++)
        add_step(audit, step, step * BATCH, 1, 0);
    struct audit_result result = end(audit);
    assert_int_equal(result.lost, 0);
    assert_int_equal(result.duplicated, RECORDS);
}

static void a_rollback_voids_what_is_trained_again(void **state)
{
    (void)state;
    struct audit *audit = begin();
    for (uint64_t step = 0; step < 6; step++)
        add_step(audit, step, step * BATCH, 1, 0);
    add(audit,
        &(struct journal_record){.kind = JOURNAL_ROLLBACK, .rollback = {.step = 2, .lineage = 1}});
    lineage = 1;
    for (uint64_t step = 2; step < 5; step++)
        add_step(audit, step, step * BATCH, 1, 0);
    struct audit_result result = end(audit);
    assert_int_equal(result.steps, 5);
    assert_int_equal(result.positions_trained, 5 * BATCH);
    assert_int_equal(result.lost, 0);
    assert_int_equal(result.duplicated, 0);
    assert_int_equal(result.voided_steps, 4);
    assert_int_equal(result.lineages, 2);
}

static void records_that_cannot_follow_are_refused(void **state)
{
    (void)state;
    struct audit *audit = audit_create();
    struct journal_record record = {.kind = JOURNAL_PAUSE};
    assert_int_equal(audit_add(audit, &record), ERR_CORRUPT);
    audit_destroy(audit);
    audit = begin();
    record =
        (struct journal_record){.kind = JOURNAL_ROLLBACK, .rollback = {.step = 1, .lineage = 1}};
    assert_int_equal(audit_add(audit, &record), ERR_CORRUPT);
    record = (struct journal_record){.kind = JOURNAL_RETIRE, .retire = {.shard = 1}};
    assert_int_equal(audit_add(audit, &record), ERR_CORRUPT);
    audit_destroy(audit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_clean_run_adds_up),
        cmocka_unit_test(a_gap_is_lost),
        cmocka_unit_test(an_overlap_counts_twice),
        cmocka_unit_test(the_same_pass_described_twice_counts_twice),
        cmocka_unit_test(a_rollback_voids_what_is_trained_again),
        cmocka_unit_test(records_that_cannot_follow_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
