/* test_read_queue.c - a worker gets what it asked for in order, and no more than it has room for.
 */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include "common/random.h"
#include "loader/read_queue.h"

static struct read_queue queue_of(uint32_t count)
{
    struct read_queue queue = {0};
    for (uint32_t i = 0; i < count; i++)
        assert_ok(read_queue_add(&queue, 100 + i, 7, i));
    return queue;
}

/* Sends whole records of so many bytes as far as credit goes; returns how many. */
static uint32_t send_all(struct read_queue *queue, uint32_t bytes)
{
    uint32_t count = 0;
    struct queued_read *read;
    while ((read = read_queue_next(queue)) != NULL && read_queue_may_send(queue, read, bytes)) {
        read_queue_sent(queue, read, bytes, bytes);
        count++;
    }
    return count;
}

static void test_nothing_is_sent_without_credit_and_no_byte_beyond_it(void **state)
{
    (void)state;
    struct read_queue queue = queue_of(10);
    assert_int_equal(send_all(&queue, 30), 0);
    read_queue_grant(&queue, 100, 10);
    assert_int_equal(send_all(&queue, 30), 3);
    assert_int_equal(queue.credit_bytes, 10);
    read_queue_grant(&queue, 20, 0);
    assert_int_equal(send_all(&queue, 30), 1);
    assert_int_equal(queue.credit_bytes, 0);
    read_queue_done(&queue);
}

static void test_credit_in_records_bounds_small_ones(void **state)
{
    (void)state;
    struct read_queue queue = queue_of(10);
    read_queue_grant(&queue, 1000, 4);
    assert_int_equal(send_all(&queue, 1), 4);
    assert_int_equal(read_queue_next(&queue)->record, 4);
    read_queue_done(&queue);
}

static void test_an_urged_read_goes_first_without_credit_and_is_charged(void **state)
{
    (void)state;
    struct read_queue queue = queue_of(10);
    read_queue_urge(&queue, 105);
    read_queue_urge(&queue, 105);
    read_queue_urge(&queue, 99); /* never asked for: fine */
    read_queue_urge(&queue, 500);
    assert_int_equal(read_queue_next(&queue)->request, 105);
    assert_int_equal(send_all(&queue, 30), 1);
    assert_int_equal(queue.credit_bytes, -30);
    assert_int_equal(queue.credit_records, -1);
    assert_int_equal(read_queue_next(&queue)->request, 100);
    read_queue_grant(&queue, 60, 3); /* what it took before is paid first */
    assert_int_equal(send_all(&queue, 30), 1);
    read_queue_done(&queue);
}

static void test_a_large_record_is_charged_once_and_goes_on_when_credit_is_used_up(void **state)
{
    (void)state;
    struct read_queue queue = queue_of(2);
    read_queue_grant(&queue, 100, 2);
    struct queued_read *read = read_queue_next(&queue);
    assert_true(read_queue_may_send(&queue, read, 100));
    read_queue_sent(&queue, read, 40, 100);
    assert_int_equal(queue.credit_bytes, 0);
    assert_ptr_equal(read_queue_next(&queue), read);
    assert_int_equal(read->offset, 40);
    assert_true(read_queue_may_send(&queue, read, 100));
    read_queue_sent(&queue, read, 60, 100);
    assert_int_equal(read_queue_next(&queue)->request, 101);
    assert_false(read_queue_may_send(&queue, read_queue_next(&queue), 1));
    read_queue_done(&queue);
}

static void test_what_is_forgotten_is_not_sent_and_not_charged(void **state)
{
    (void)state;
    struct read_queue queue = queue_of(10);
    read_queue_urge(&queue, 101);
    read_queue_grant(&queue, 1000, 100);
    read_queue_forget(&queue, 98, 103);
    read_queue_forget(&queue, 105, 107);
    assert_int_equal(queue.urged_count, 0);
    assert_int_equal(read_queue_next(&queue)->request, 103);
    assert_int_equal(send_all(&queue, 1), 5);
    assert_int_equal(queue.credit_records, 95);
    assert_null(read_queue_next(&queue));
    assert_ok(read_queue_add(&queue, 200, 1, 1));
    assert_int_equal(read_queue_next(&queue)->request, 200);
    read_queue_done(&queue);
}

static void test_requests_that_do_not_grow_or_are_too_many_break_the_protocol(void **state)
{
    (void)state;
    struct read_queue queue = queue_of(2);
    assert_fails(read_queue_add(&queue, 101, 7, 0), ERR_PROTOCOL, "again");
    for (uint32_t i = 2; i < READ_QUEUE_MAX; i++)
        assert_ok(read_queue_add(&queue, 100 + i, 7, i));
    assert_fails(read_queue_add(&queue, UINT64_MAX, 7, 0), ERR_PROTOCOL, "more than");
    read_queue_grant(&queue, UINT64_MAX, UINT32_MAX);
    read_queue_grant(&queue, UINT64_MAX, UINT32_MAX);
    assert_int_equal(send_all(&queue, 1), READ_QUEUE_MAX);
    read_queue_done(&queue);
}

/* Beside a plain list that does the same slowly. */
static void
test_any_order_of_asking_urging_forgetting_and_sending_keeps_every_read_once(void **state)
{
    (void)state;
    enum { READS = 4000 };
    static uint8_t fate[READS]; /* 0: not asked, 1: waits, 2: sent, 3: forgotten */
    struct read_queue queue = {0};
    struct random random;
    random_init(&random, 5, RANDOM_STREAM_TEST, 0, 0);
    uint32_t asked = 0;
    memset(fate, 0, sizeof(fate));
    while (asked < READS || queue.count > 0) {
        uint32_t what = random_below(&random, 10), which = random_below(&random, asked + 1);
        if (what < 5 && asked < READS) {
            assert_ok(read_queue_add(&queue, asked, asked % 3, asked));
            fate[asked++] = 1;
        } else if (what == 6) {
            read_queue_urge(&queue, which);
        } else if (what == 7) {
            read_queue_forget(&queue, which, which + 3);
            for (uint32_t i = which; i < which + 3 && i < asked; i++)
                if (fate[i] == 1)
                    fate[i] = 3;
        } else {
            read_queue_grant(&queue, 1, 1);
            struct queued_read *read = read_queue_next(&queue);
            if (read == NULL)
                continue;
            assert_int_equal(fate[read->record], 1);
            if (!read->is_urged)
                for (uint32_t i = 0; i < read->record; i++)
                    assert_int_not_equal(fate[i], 1);
            if (!read_queue_may_send(&queue, read, 1))
                continue;
            fate[read->record] = 2;
            read_queue_sent(&queue, read, 1, 1);
        }
    }
    for (uint32_t i = 0; i < READS; i++)
        assert_true(fate[i] == 2 || fate[i] == 3);
    read_queue_done(&queue);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_sent_without_credit_and_no_byte_beyond_it),
        cmocka_unit_test(test_credit_in_records_bounds_small_ones),
        cmocka_unit_test(test_an_urged_read_goes_first_without_credit_and_is_charged),
        cmocka_unit_test(test_a_large_record_is_charged_once_and_goes_on_when_credit_is_used_up),
        cmocka_unit_test(test_what_is_forgotten_is_not_sent_and_not_charged),
        cmocka_unit_test(test_requests_that_do_not_grow_or_are_too_many_break_the_protocol),
        cmocka_unit_test(
            test_any_order_of_asking_urging_forgetting_and_sending_keeps_every_read_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
