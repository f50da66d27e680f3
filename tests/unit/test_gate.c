/* test_gate.c - who gets a connection, and for how long. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

#include "common/clock.h"
#include "common/fs.h"
#include "common/mem.h"
#include "common/random.h"
#include "proto/endpoint.h"
#include "tests/unit/message_samples.h"

enum {
    WAIT_MS = 5000,
    REFUSED_MS = 300, /* in which who is let in has long been heard */
    GARBAGE_TIMES = 200,
    GARBAGE_BYTES = 300,
};

struct scene {
    char *directory; /* RUN/keys */
    struct gate *gate;
    struct endpoint *server;
    struct key server_key;
};

static void open_to(const struct scene *scene, const struct key *key)
{
    struct key half = *key;
    memset(half.secret, 0, sizeof(half.secret));
    char *path = mem_format("%s/allowed/%s.json", scene->directory, key->name);
    assert_ok(key_save(path, &half));
    mem_free(path);
}

static void close_to(const struct scene *scene, const char *name)
{
    char *path = mem_format("%s/allowed/%s.json", scene->directory, name);
    assert_int_equal(unlink(path), 0);
    mem_free(path);
}

static int set_up(void **state)
{
    struct scene *scene = mem_zero(sizeof(*scene));
    scene->directory = mem_string("/tmp/everseer-gate-XXXXXX");
    assert_non_null(mkdtemp(scene->directory));
    char *allowed = mem_format("%s/allowed", scene->directory);
    char *path = mem_format("%s/server.key", scene->directory);
    assert_ok(fs_make_directory(allowed));
    assert_ok(key_make("server", KEY_SERVER, "", &scene->server_key));
    assert_ok(key_save(path, &scene->server_key));
    assert_ok(gate_open(scene->directory, KEY_SERVER, &scene->gate));
    assert_non_null(scene->gate);
    assert_ok(endpoint_bind("tcp://127.0.0.1:*", scene->gate, &scene->server));
    mem_free(allowed);
    mem_free(path);
    *state = scene;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *scene = *state;
    endpoint_close(scene->server);
    gate_close(scene->gate);
    assert_ok(fs_remove_tree(scene->directory));
    mem_free(scene->directory);
    mem_free(scene);
    return 0;
}

static struct key make(const struct scene *scene, const char *name, enum key_role role)
{
    struct key key;
    assert_ok(key_make(name, role, scene->server_key.public, &key));
    return key;
}

/* Whether a word of this key (NULL: of nobody) is heard within the time. */
static int is_heard(struct scene *scene, const struct key *key, int wait_ms)
{
    struct endpoint *client;
    struct message hello, received;
    assert_ok(endpoint_connect(endpoint_address(scene->server), key, &client));
    zmq_pollitem_t item = {.socket = endpoint_socket(client), .events = ZMQ_POLLOUT};
    message_sample(MESSAGE_HELLO, &hello);
    int is_heard = 0;
    if (zmq_poll(&item, 1, wait_ms) == 1 && endpoint_send(client, NULL, &hello) == OK)
        is_heard = endpoint_receive(scene->server, wait_ms, NULL, &received) == OK;
    if (is_heard)
        message_done(&received);
    message_done(&hello);
    endpoint_close(client);
    return is_heard;
}

static void who_is_let_in_is_heard_and_known_by_key(void **state)
{
    struct scene *scene = *state;
    struct key worker = make(scene, "worker-1", KEY_WORKER), found;
    open_to(scene, &worker);
    assert_true(is_heard(scene, &worker, WAIT_MS));
    assert_string_equal(endpoint_user(scene->server), worker.public);
    assert_true(gate_find(scene->gate, worker.public, &found));
    assert_string_equal(found.name, "worker-1");
    assert_int_equal(found.role, KEY_WORKER);
    assert_string_equal(found.secret, "");
    assert_int_equal(gate_refused(scene->gate), 0);
}

static void strangers_are_refused_and_counted(void **state)
{
    struct scene *scene = *state;
    struct key stranger = make(scene, "stranger", KEY_WORKER);
    assert_false(is_heard(scene, &stranger, REFUSED_MS));
    assert_true(gate_refused(scene->gate) > 0);
}

static void without_a_key_nothing_is_heard(void **state)
{
    assert_false(is_heard(*state, NULL, REFUSED_MS));
}

static void a_key_for_another_server_opens_nothing(void **state)
{
    struct scene *scene = *state;
    struct key other, worker;
    assert_ok(key_make("server", KEY_SERVER, "", &other));
    assert_ok(key_make("worker", KEY_WORKER, other.public, &worker));
    open_to(scene, &worker);
    assert_false(is_heard(scene, &worker, REFUSED_MS));
}

static void who_knows_only_the_public_half_cannot_use_it(void **state)
{
    struct scene *scene = *state;
    struct key worker = make(scene, "worker", KEY_WORKER), thief = make(scene, "thief", KEY_WORKER);
    open_to(scene, &worker);
    memcpy(thief.public, worker.public, sizeof(thief.public));
    assert_false(is_heard(scene, &thief, REFUSED_MS));
    assert_true(is_heard(scene, &worker, WAIT_MS));
}

static void a_revoked_key_is_let_in_no_more_and_has_no_say(void **state)
{
    struct scene *scene = *state;
    struct key worker = make(scene, "worker", KEY_WORKER), found;
    open_to(scene, &worker);
    assert_true(is_heard(scene, &worker, WAIT_MS));
    close_to(scene, "worker");
    gate_look(scene->gate);
    assert_false(gate_find(scene->gate, worker.public, &found));
    assert_false(is_heard(scene, &worker, REFUSED_MS));
}

/* A worker may well be started before somebody lets its key in. */
static void who_was_refused_is_heard_once_it_is_let_in(void **state)
{
    struct scene *scene = *state;
    struct key worker = make(scene, "worker", KEY_WORKER);
    struct endpoint *client;
    assert_ok(endpoint_connect_watched(endpoint_address(scene->server), &worker, &client));
    int64_t deadline_ms = clock_ms() + WAIT_MS;
    enum endpoint_change change = ENDPOINT_SAME;
    int is_refused = 0;
    while (change != ENDPOINT_UP) {
        zmq_pollitem_t item = {.socket = endpoint_watch_socket(client), .events = ZMQ_POLLIN};
        zmq_poll(&item, 1, REFUSED_MS);
        change = endpoint_watch_next(client);
        if (change == ENDPOINT_REFUSED && !is_refused)
            open_to(scene, &worker);
        is_refused |= change == ENDPOINT_REFUSED;
        assert_true(clock_ms() < deadline_ms);
    }
    assert_true(is_refused);
    endpoint_close(client);
}

static void a_file_that_is_no_key_lets_nobody_in_and_keeps_nobody_out(void **state)
{
    struct scene *scene = *state;
    struct key worker = make(scene, "worker", KEY_WORKER);
    char *path = mem_format("%s/allowed/broken.json", scene->directory);
    assert_ok(fs_write_file(path, "{", 1));
    open_to(scene, &worker);
    assert_true(is_heard(scene, &worker, WAIT_MS));
    mem_free(path);
}

static void a_loaders_gate_has_its_own_key_and_lets_in_workers_alone(void **state)
{
    struct scene *scene = *state;
    struct key own, found, worker = make(scene, "worker", KEY_WORKER);
    struct key viewer = make(scene, "viewer", KEY_VIEWER);
    struct gate *gate = NULL;
    char *path = mem_format("%s/loader.key", scene->directory);
    assert_ok(gate_open(scene->directory, KEY_LOADER, &gate));
    assert_null(gate); /* the server's key is none for it */
    assert_ok(key_make("loader", KEY_LOADER, "", &own));
    assert_ok(key_save(path, &own));
    open_to(scene, &worker);
    open_to(scene, &viewer);
    assert_ok(gate_open(scene->directory, KEY_LOADER, &gate));
    assert_string_equal(gate_server_key(gate)->public, own.public);
    assert_true(gate_find(gate, worker.public, &found));
    assert_false(gate_find(gate, viewer.public, &found));
    gate_close(gate);
    assert_int_equal(unlink(path), 0);
    assert_ok(key_save(path, &scene->server_key));
    assert_fails(gate_open(scene->directory, KEY_LOADER, &gate), ERR_INPUT,
                 "is not a loader's key");
    mem_free(path);
}

static void a_server_with_a_gate_may_listen_to_other_hosts(void **state)
{
    struct scene *scene = *state;
    struct endpoint *open = NULL;
    assert_ok(endpoint_bind("tcp://0.0.0.0:*", scene->gate, &open));
    endpoint_close(open);
    assert_fails(endpoint_bind("tcp://0.0.0.0:*", NULL, &open), ERR_INPUT, "no keys");
}

static int connect_raw(const char *address)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    to.sin_port = htons((uint16_t)atoi(strrchr(address, ':') + 1));
    int file = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(file >= 0);
    assert_int_equal(connect(file, (struct sockaddr *)&to, sizeof(to)), 0);
    return file;
}

static void random_bytes_do_no_harm(void **state)
{
    static const uint8_t greeting[] = {0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3};
    struct scene *scene = *state;
    struct key worker = make(scene, "worker", KEY_WORKER);
    struct random random;
    random_init(&random, 1, RANDOM_STREAM_TEST, 0, 0);
    open_to(scene, &worker);
    for (int i = 0; i < GARBAGE_TIMES; i++) {
        uint8_t bytes[GARBAGE_BYTES];
        size_t length = 1 + random_below(&random, sizeof(bytes));
        for (size_t j = 0; j < length; j++)
            bytes[j] = (uint8_t)random_below(&random, 256);
        if (i % 2 == 0 && length >= sizeof(greeting)) /* half of them get past the first bytes */
            memcpy(bytes, greeting, sizeof(greeting));
        int file = connect_raw(endpoint_address(scene->server));
        send(file, bytes, length, MSG_NOSIGNAL);
        close(file);
    }
    assert_true(is_heard(scene, &worker, WAIT_MS));
}

static void a_secret_that_others_can_read_is_refused(void **state)
{
    struct scene *scene = *state;
    struct key worker = make(scene, "worker", KEY_WORKER), loaded;
    char *path = mem_format("%s/worker.key", scene->directory);
    struct stat info;
    assert_ok(key_save(path, &worker));
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    assert_ok(key_load(path, &loaded));
    assert_memory_equal(&loaded, &worker, sizeof(loaded));
    assert_fails(key_save(path, &worker), ERR_INPUT, "never written over");
    assert_int_equal(chmod(path, 0640), 0);
    assert_fails(key_load(path, &loaded), ERR_INPUT, "others can read");
    mem_free(path);
}

static void names_and_texts_of_keys_are_checked(void **state)
{
    (void)state;
    struct key key;
    enum key_role role;
    assert_fails(key_make("../server", KEY_WORKER, "", &key), ERR_INPUT, "name");
    assert_fails(key_make("", KEY_WORKER, "", &key), ERR_INPUT, "name");
    assert_fails(key_text_check("short"), ERR_INPUT, "Z85");
    assert_fails(key_role_parse("operater", &role), ERR_INPUT, "did you mean 'operator'");
    assert_fails(key_role_parse("server", &role), ERR_INPUT, "role");
}

#define IN_SCENE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_SCENE(who_is_let_in_is_heard_and_known_by_key),
        IN_SCENE(strangers_are_refused_and_counted),
        IN_SCENE(without_a_key_nothing_is_heard),
        IN_SCENE(a_key_for_another_server_opens_nothing),
        IN_SCENE(who_knows_only_the_public_half_cannot_use_it),
        IN_SCENE(a_revoked_key_is_let_in_no_more_and_has_no_say),
        IN_SCENE(a_file_that_is_no_key_lets_nobody_in_and_keeps_nobody_out),
        IN_SCENE(a_server_with_a_gate_may_listen_to_other_hosts),
        IN_SCENE(random_bytes_do_no_harm),
        IN_SCENE(a_secret_that_others_can_read_is_refused),
        IN_SCENE(who_was_refused_is_heard_once_it_is_let_in),
        IN_SCENE(a_loaders_gate_has_its_own_key_and_lets_in_workers_alone),
        cmocka_unit_test(names_and_texts_of_keys_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
