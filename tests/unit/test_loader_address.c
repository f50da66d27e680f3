/* test_loader_address.c - which words name a loader, and what is said of those that do not. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include "proto/loader_address.h"

#define KEY "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7" /* of zmq_curve(7) */

static struct loader_address parse(const char *text)
{
    struct loader_address address;
    assert_ok(loader_address_parse(text, &address));
    return address;
}

static void loaders_of_this_host_need_no_key(void **state)
{
    (void)state;
    assert_string_equal(parse("tcp://127.0.0.1:5690").endpoint, "tcp://127.0.0.1:5690");
    assert_string_equal(parse("ipc:///run/loader").key, "");
}

static void the_key_is_what_follows_the_last_comma(void **state)
{
    (void)state;
    struct loader_address address = parse("tcp://data.example:5690," KEY);
    assert_string_equal(address.endpoint, "tcp://data.example:5690");
    assert_string_equal(address.key, KEY);
    assert_string_equal(parse("ipc:///run/a,b," KEY).endpoint, "ipc:///run/a,b");
}

static void what_names_none_is_told_with_the_remedy(void **state)
{
    (void)state;
    struct loader_address address;
    char text[2 * LOADER_ADDRESS_BYTES];
    assert_fails(loader_address_parse("tcp://data.example:5690", &address), ERR_INPUT,
                 "ADDRESS,KEY ('seer key init --keys DIR' there prints it)");
    /* A name that begins like a number of this host, and ZeroMQ's SOURCE;DESTINATION. */
    assert_fails(loader_address_parse("tcp://127.example:5690", &address), ERR_INPUT,
                 "another host");
    assert_fails(loader_address_parse("tcp://127.0.0.1:0;data.example:5690", &address), ERR_INPUT,
                 "another host");
    assert_fails(loader_address_parse("tcp://data.example:5690,", &address), ERR_INPUT,
                 "loader 'tcp://data.example:5690': ADDRESS,KEY is wanted: '' is no public key");
    assert_fails(loader_address_parse("tcp://a:1," KEY "x", &address), ERR_INPUT, "40 characters");
    memset(text, 'a', sizeof(text));
    memcpy(text + sizeof(text) - sizeof("," KEY), "," KEY, sizeof("," KEY));
    assert_fails(loader_address_parse(text, &address), ERR_INPUT, "at most 255");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loaders_of_this_host_need_no_key),
        cmocka_unit_test(the_key_is_what_follows_the_last_comma),
        cmocka_unit_test(what_names_none_is_told_with_the_remedy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
