/* test_feed_message.c - what the status feed says survives the wire. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include "proto/feed_message.h"

static void travel(const struct feed_message *sent, struct feed_message *ret_received)
{
    struct buf packed;
    const char *topic = feed_topic(sent->kind);
    buf_init(&packed, FEED_BYTES_MAX);
    assert_ok(feed_message_encode(sent, &packed));
    assert_ok(feed_message_decode(topic, strlen(topic), packed.bytes, packed.length, ret_received));
    assert_int_equal(ret_received->kind, sent->kind);
    assert_int_equal(ret_received->sequence, sent->sequence);
    assert_int_equal(ret_received->wall_ms, sent->wall_ms);
    assert_int_equal(ret_received->epoch, sent->epoch);
    buf_done(&packed);
}

static void a_step_arrives_as_it_was_sent(void **state)
{
    (void)state;
    struct feed_message received, sent = {.kind = FEED_STEP, .epoch = 3, .sequence = 9};
    sent.step = (struct feed_step){
        1, 2, 3, 4, 5, 1, 0.5, 0.25, 0.125, 20.5, 1.5, UINT64_MAX, {1, 2, 3, 4, 5, 6, 7, 8, 9}};
    travel(&sent, &received);
    assert_memory_equal(&sent.step, &received.step, sizeof(sent.step));
    feed_message_done(&received);
}

static void a_worker_arrives_as_it_was_sent(void **state)
{
    (void)state;
    struct feed_message received, sent = {.kind = FEED_WORKER, .sequence = 10, .wall_ms = -1};
    sent.worker = (struct feed_worker){
        "w1", 2,      3,   "h", "cpu", "member", -1,
        7,    "loss", 8.5, 9,   10,    11,       {9, 8, 7, 6, 5, 4, 3, 2, INT64_MAX},
        97,   98,     61,  99,  3,     79,       "0.1.0",
        4};
    travel(&sent, &received);
    assert_string_equal(received.worker.name, "w1");
    assert_string_equal(received.worker.host, "h");
    assert_string_equal(received.worker.device, "cpu");
    assert_string_equal(received.worker.state, "member");
    assert_string_equal(received.worker.phase, "loss");
    assert_int_equal(received.worker.worker, 2);
    assert_int_equal(received.worker.pid, 3);
    assert_int_equal(received.worker.rank, -1);
    assert_int_equal(received.worker.step, 7);
    assert_true(received.worker.images_per_second == 8.5);
    assert_int_equal(received.worker.memory_bytes, 9);
    assert_int_equal(received.worker.heartbeat_age_ms, 10);
    assert_int_equal(received.worker.images_trained, 11);
    assert_memory_equal(received.worker.phase_us, sent.worker.phase_us,
                        sizeof(sent.worker.phase_us));
    assert_int_equal(received.worker.gpu_utilization_percent, 97);
    assert_int_equal(received.worker.gpu_memory_used_bytes, 98);
    assert_int_equal(received.worker.gpu_temperature_c, 61);
    assert_int_equal(received.worker.gpu_power_mw, 99);
    assert_int_equal(received.worker.gpu_ecc_errors, 3);
    assert_int_equal(received.worker.gpu_xid, 79);
    assert_string_equal(received.worker.version, "0.1.0");
    assert_int_equal(received.worker.protocol, 4);
    feed_message_done(&received);
}

static void streams_events_and_snapshots_arrive_as_they_were_sent(void **state)
{
    (void)state;
    struct feed_message received, sent = {.kind = FEED_STREAM, .sequence = 1};
    sent.stream = (struct feed_stream){10, 20, 30, 40};
    travel(&sent, &received);
    assert_int_equal(received.stream.position, 10);
    assert_int_equal(received.stream.shards, 20);
    assert_int_equal(received.stream.backlog_images, 30);
    assert_int_equal(received.stream.newest_wall_ms, 40);
    feed_message_done(&received);
    sent.kind = FEED_EVENT;
    sent.event = (struct feed_event){"regroup", "a=b", 1, 77};
    travel(&sent, &received);
    assert_string_equal(received.event.name, "regroup");
    assert_string_equal(received.event.text, "a=b");
    assert_true(received.event.is_warning);
    assert_int_equal(received.event.number, 77);
    feed_message_done(&received);
    sent.kind = FEED_SNAPSHOT;
    sent.snapshot = (struct feed_snapshot){"step-1", 1, 100, 1, "none"};
    travel(&sent, &received);
    assert_string_equal(received.snapshot.name, "step-1");
    assert_int_equal(received.snapshot.step, 1);
    assert_int_equal(received.snapshot.bytes, 100);
    assert_true(received.snapshot.is_complete);
    assert_string_equal(received.snapshot.reason, "none");
    feed_message_done(&received);
}

static void the_server_arrives_as_it_was_sent(void **state)
{
    (void)state;
    struct feed_message received, sent = {.kind = FEED_SERVER, .sequence = 1};
    sent.server =
        (struct feed_server){"training", 3,
                             4,          5,
                             6,          7,
                             8,          9,
                             10,         11,
                             12,         13,
                             14,         15,
                             16,         17,
                             18,         "step-9",
                             19,         20,
                             1,          {21, 22, 23, 24, 0.25, 0.5, 27, 28, 0.75, 30, 31, 32}};
    travel(&sent, &received);
    assert_string_equal(received.server.state, "training");
    size_t numbers = offsetof(struct feed_server, stale_run);
    assert_memory_equal((char *)&sent.server + numbers, (char *)&received.server + numbers,
                        offsetof(struct feed_server, snapshot) - numbers);
    assert_string_equal(received.server.snapshot, "step-9");
    assert_int_equal(received.server.snapshot_step, 19);
    assert_int_equal(received.server.snapshot_wall_ms, 20);
    assert_int_equal(received.server.has_learning, 1);
    assert_memory_equal(&sent.server.learning, &received.server.learning,
                        sizeof(sent.server.learning));
    feed_message_done(&received);
}

static void unknown_topics_and_garbage_are_refused(void **state)
{
    (void)state;
    struct feed_message received;
    assert_fails(feed_message_decode("steps", 5, "", 0, &received), ERR_PROTOCOL, "topic");
    assert_int_equal(feed_message_decode("step", 4, "\xff", 1, &received), ERR_PROTOCOL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_step_arrives_as_it_was_sent),
        cmocka_unit_test(a_worker_arrives_as_it_was_sent),
        cmocka_unit_test(streams_events_and_snapshots_arrive_as_they_were_sent),
        cmocka_unit_test(the_server_arrives_as_it_was_sent),
        cmocka_unit_test(unknown_topics_and_garbage_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
