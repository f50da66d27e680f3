/* test_follower.c - a listener misses nothing without knowing it: against a server made of its two
 * sockets. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include <inttypes.h>

#include "common/clock.h"
#include "common/mem.h"
#include "proto/endpoint.h"
#include "server/feed.h"
#include "server/watch/follower.h"

enum { WAIT_MS = 20000, TURN_MS = 5, TOO_LONG = 100000 };

struct scene {
    struct endpoint *control;
    struct feed *feed;
    struct follower *follower;
    uint64_t epoch;
    uint32_t asked; /* questions answered */
    uint32_t snapshots, heard;
    uint64_t last; /* position of the last message told */
};

static void on_snapshot(void *context, const json_t *status)
{
    struct scene *scene = context;
    assert_true(json_is_object(status));
    scene->snapshots++;
}

static void on_message(void *context, const struct feed_message *message)
{
    struct scene *scene = context;
    assert_int_equal(message->kind, FEED_STREAM);
    assert_true(message->stream.position > scene->last);
    scene->last = message->stream.position;
    scene->heard++;
}

static int set_up(void **state)
{
    struct scene *scene = mem_zero(sizeof(*scene));
    scene->epoch = 3;
    assert_ok(endpoint_bind("tcp://127.0.0.1:*", NULL, &scene->control));
    assert_ok(feed_open("tcp://127.0.0.1:*", NULL, &scene->feed));
    feed_begin(scene->feed, scene->epoch);
    scene->follower = follower_create(NULL, endpoint_address(scene->control), NULL,
                                      (struct follower_sink){scene, on_snapshot, on_message, NULL});
    *state = scene;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *scene = *state;
    follower_destroy(scene->follower);
    feed_close(scene->feed);
    endpoint_close(scene->control);
    mem_free(scene);
    return 0;
}

static void say(struct scene *scene, uint64_t position)
{
    struct feed_message message = {.kind = FEED_STREAM, .stream = {.position = position}};
    feed_send(scene->feed, &message);
}

static void answer(struct scene *scene)
{
    struct message question;
    struct peer peer;
    while (endpoint_receive(scene->control, 0, &peer, &question) == OK) {
        assert_string_equal(question.command.name, "status");
        char *body = mem_format(
            "{\"feed\": {\"address\": \"%s\", \"epoch\": %" PRIu64 ", \"sequence\": %" PRIu64 "}}",
            feed_address(scene->feed), scene->epoch, feed_sequence(scene->feed));
        struct message reply = {.kind = MESSAGE_REPLY,
                                .reply = {question.command.request, OK, body}};
        assert_ok(endpoint_send(scene->control, &peer, &reply));
        scene->asked++;
        mem_free(body);
        message_done(&question);
    }
}

/* Speaks on, so that a gap can be seen, until the follower has been told `more` messages. */
static void talk_until_heard(struct scene *scene, uint32_t more, uint64_t *position)
{
    uint32_t wanted = scene->heard + more;
    int64_t deadline_ms = clock_ms() + WAIT_MS;
    while (scene->heard < wanted) {
        assert_true(clock_ms() < deadline_ms);
        say(scene, ++*position);
        answer(scene);
        assert_ok(follower_wait(scene->follower, -1, TURN_MS));
    }
}

static void who_comes_late_hears_all_from_the_snapshot_on(void **state)
{
    struct scene *scene = *state;
    uint64_t position = 0;
    for (int i = 0; i < 100; i++)
        say(scene, ++position);
    talk_until_heard(scene, 50, &position);
    assert_true(scene->snapshots >= 1);
    assert_true(follower_is_live(scene->follower));
    uint32_t asked = scene->asked;
    talk_until_heard(scene, 200, &position);
    assert_int_equal(scene->asked, asked); /* no gap, no question */
}

static void a_missing_message_makes_it_ask_again(void **state)
{
    struct scene *scene = *state;
    uint64_t position = 0;
    talk_until_heard(scene, 10, &position);
    uint32_t asked = scene->asked;
    uint64_t gaps = follower_gaps(scene->follower);
    /* What cannot be packed uses up a number, and nobody hears of it. */
    char *endless = mem_alloc(TOO_LONG + 1);
    memset(endless, 'x', TOO_LONG);
    endless[TOO_LONG] = 0;
    struct feed_message unheard = {.kind = FEED_EVENT, .event = {.name = endless, .text = ""}};
    feed_send(scene->feed, &unheard);
    mem_free(endless);
    talk_until_heard(scene, 10, &position);
    assert_true(scene->asked > asked);
    assert_true(follower_gaps(scene->follower) > gaps);
}

static void a_server_that_is_started_again_is_followed(void **state)
{
    struct scene *scene = *state;
    uint64_t position = 0;
    talk_until_heard(scene, 10, &position);
    uint32_t snapshots = scene->snapshots;
    feed_begin(scene->feed, ++scene->epoch);
    talk_until_heard(scene, 10, &position);
    assert_true(scene->snapshots > snapshots);
}

static void a_server_that_is_not_there_is_waited_for(void **state)
{
    struct scene *scene = *state;
    struct follower *follower = follower_create(
        "/nonexistent", NULL, NULL, (struct follower_sink){scene, on_snapshot, on_message, NULL});
    assert_ok(follower_wait(follower, -1, TURN_MS));
    assert_false(follower_is_live(follower));
    assert_non_null(strstr(follower_trouble(follower), "no server was started in '/nonexistent'"));
    follower_destroy(follower);
}

#define TEST(name_) cmocka_unit_test_setup_teardown(name_, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(who_comes_late_hears_all_from_the_snapshot_on),
        TEST(a_missing_message_makes_it_ask_again),
        TEST(a_server_that_is_started_again_is_followed),
        TEST(a_server_that_is_not_there_is_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
