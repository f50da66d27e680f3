/* test_endpoint.c - messages between one ROUTER and its DEALERs. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include <zmq.h>

#include "common/mem.h"
#include "proto/endpoint.h"
#include "tests/unit/message_samples.h"

enum { WAIT_MS = 5000 };

static void connect_both(struct endpoint **ret_server, struct endpoint **ret_client)
{
    assert_ok(endpoint_bind("tcp://127.0.0.1:*", NULL, ret_server));
    assert_ok(endpoint_connect(endpoint_address(*ret_server), NULL, ret_client));
}

/* Sends until the connection is up: IMMEDIATE refuses before. */
static void send_first(struct endpoint *client, const struct message *message)
{
    zmq_pollitem_t item = {.socket = endpoint_socket(client), .events = ZMQ_POLLOUT};
    assert_int_equal(zmq_poll(&item, 1, WAIT_MS), 1);
    assert_ok(endpoint_send(client, NULL, message));
}

static void messages_travel_both_ways_and_peers_are_told_apart(void **state)
{
    (void)state;
    struct endpoint *server, *a, *b;
    struct peer peer_a, peer_b, nobody;
    struct message hello, received;
    connect_both(&server, &a);
    assert_ok(endpoint_connect(endpoint_address(server), NULL, &b));
    message_sample(MESSAGE_HELLO, &hello);
    send_first(a, &hello);
    assert_ok(endpoint_receive(server, WAIT_MS, &peer_a, &received));
    assert_message_equal(&hello, &received);
    message_done(&received);
    send_first(b, &hello);
    assert_ok(endpoint_receive(server, WAIT_MS, &peer_b, &received));
    message_done(&received);
    assert_false(peer_equal(&peer_a, &peer_b));
    assert_true(peer_equal(&peer_a, &peer_a));

    assert_ok(endpoint_send(server, &peer_b, &hello));
    assert_ok(endpoint_receive(b, WAIT_MS, NULL, &received));
    message_done(&received);
    assert_int_equal(endpoint_receive(a, 0, NULL, &received), ERR_END);
    assert_int_equal(endpoint_receive(server, 0, &nobody, &received), ERR_END);
    message_done(&hello);
    endpoint_close(a);
    endpoint_close(b);
    endpoint_close(server);
}

static void garbage_is_dropped_and_the_sender_named(void **state)
{
    (void)state;
    struct endpoint *server, *client;
    struct peer peer = {0}, again = {0};
    struct message hello, received;
    connect_both(&server, &client);
    message_sample(MESSAGE_HELLO, &hello);
    send_first(client, &hello);
    assert_ok(endpoint_receive(server, WAIT_MS, &peer, &received));
    message_done(&received);
    assert_int_equal(zmq_send(endpoint_socket(client), "\xff\xff garbage", 10, 0), 10);
    assert_int_equal(endpoint_receive(server, WAIT_MS, &again, &received), ERR_PROTOCOL);
    assert_true(peer_equal(&peer, &again));
    assert_int_equal(zmq_send(endpoint_socket(client), "one", 3, ZMQ_SNDMORE), 3);
    assert_int_equal(zmq_send(endpoint_socket(client), "two", 3, 0), 3);
    assert_fails(endpoint_receive(server, WAIT_MS, &again, &received), ERR_PROTOCOL, "frames");
    assert_ok(endpoint_send(client, NULL, &hello));
    assert_ok(endpoint_receive(server, WAIT_MS, &again, &received));
    message_done(&received);
    message_done(&hello);
    endpoint_close(client);
    endpoint_close(server);
}

static void a_server_that_is_not_there_is_unreachable_at_once(void **state)
{
    (void)state;
    struct endpoint *server, *client;
    struct message hello;
    assert_ok(endpoint_bind("tcp://127.0.0.1:*", NULL, &server));
    char *address = mem_string(endpoint_address(server));
    endpoint_close(server);
    assert_ok(endpoint_connect(address, NULL, &client));
    message_sample(MESSAGE_HELLO, &hello);
    assert_int_equal(endpoint_send(client, NULL, &hello), ERR_UNREACHABLE);
    message_done(&hello);
    endpoint_close(client);
    mem_free(address);
}

static void a_peer_that_is_unknown_is_unreachable(void **state)
{
    (void)state;
    struct endpoint *server;
    struct peer peer = {.length = 5, .bytes = {0, 1, 2, 3, 4}};
    struct message hello;
    assert_ok(endpoint_bind("tcp://127.0.0.1:*", NULL, &server));
    message_sample(MESSAGE_HELLO, &hello);
    assert_int_equal(endpoint_send(server, &peer, &hello), ERR_UNREACHABLE);
    message_done(&hello);
    endpoint_close(server);
}

static void bad_addresses_name_cause_and_remedy(void **state)
{
    (void)state;
    struct endpoint *server, *second;
    assert_fails(endpoint_bind("tcp://0.0.0.0:*", NULL, &server), ERR_INPUT, "keys");
    assert_fails(endpoint_bind("tcp://127.0.0.1", NULL, &server), ERR_INPUT, "looks like");
    assert_fails(endpoint_connect("nonsense", NULL, &server), ERR_INPUT, "looks like");
    assert_ok(endpoint_bind("tcp://127.0.0.1:*", NULL, &server));
    assert_fails(endpoint_bind(endpoint_address(server), NULL, &second), ERR_IO, "in use");
    endpoint_close(server);
    endpoint_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_travel_both_ways_and_peers_are_told_apart),
        cmocka_unit_test(garbage_is_dropped_and_the_sender_named),
        cmocka_unit_test(a_server_that_is_not_there_is_unreachable_at_once),
        cmocka_unit_test(a_peer_that_is_unknown_is_unreachable),
        cmocka_unit_test(bad_addresses_name_cause_and_remedy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
