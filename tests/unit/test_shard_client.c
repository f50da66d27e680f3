/* test_shard_client.c - records come from whichever loader has them, however others behave. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include <stdatomic.h>
#include <unistd.h>
#include <zmq.h>

#include "common/clock.h"
#include "common/hash.h"
#include "common/mem.h"
#include "common/thread.h"
#include "loader/holders.h"
#include "loader/shard_client.h"
#include "proto/endpoint.h"
#include "proto/loader_message.h"

enum { LOADERS = 2, WAIT_MS = 30000, RECORDS = 100 };

/* A loader that the test plays: it holds the shard "s" and answers when it is told to. */
struct player {
    struct endpoint *endpoint;
    struct peer peer;
    uint64_t credit_bytes;
    int greeting_count, read_count, urge_count, forget_count;
    uint64_t request; /* of the last record asked for */
    uint32_t record;
};

static struct player players[LOADERS];
static char addresses[LOADERS][64];
static const struct planned_shard planned = {"s", RECORDS, 5};
static struct shard_client *client;
static atomic_int change_count, is_void;

static void changed(void *context)
{
    (void)context;
    atomic_fetch_add(&change_count, 1);
}

static void say(struct player *player, const struct loader_message *message)
{
    struct buf packed;
    buf_init(&packed, LOADER_MESSAGE_BYTES_MAX);
    assert_ok(loader_message_encode(message, &packed));
    assert_ok(endpoint_send_bytes(player->endpoint, &player->peer, packed.bytes, packed.length));
    buf_done(&packed);
}

static void tell_inventory(struct player *player)
{
    struct loader_shard shard = {
        .name = "s", .state = LOADER_SHARD_HELD, .records = RECORDS, .content_hash = 5};
    const struct loader_message message = {.kind = LOADER_INVENTORY,
                                           .inventory = {.protocol = LOADER_PROTOCOL_VERSION,
                                                         .is_first = 1,
                                                         .is_last = 1,
                                                         .shard_count = 1,
                                                         .shards = &shard}};
    say(player, &message);
}

/* Hears one message, if there is one; a greeting is answered. */
static void hear(struct player *player)
{
    struct loader_message message;
    struct buf packed;
    buf_init(&packed, LOADER_MESSAGE_BYTES_MAX);
    if (player->endpoint != NULL &&
        endpoint_receive_bytes(player->endpoint, &player->peer, &packed) == OK) {
        assert_ok(loader_message_decode(packed.bytes, packed.length, &message));
        if (message.kind == LOADER_GREETING) {
            player->greeting_count++;
            player->credit_bytes = message.greeting.credit_bytes;
            tell_inventory(player);
        } else if (message.kind == LOADER_READ) {
            player->read_count += (int)message.read.record_count;
            player->request = message.read.request + message.read.record_count - 1;
            player->record = message.read.records[message.read.record_count - 1];
        } else if (message.kind == LOADER_CREDIT) {
            player->credit_bytes += message.credit.bytes;
        }
        player->urge_count += message.kind == LOADER_URGE;
        player->forget_count += message.kind == LOADER_FORGET;
        loader_message_done(&message);
    }
    buf_done(&packed);
}

/* Lets loaders hear until the count is reached; fails by name. */
#define HEAR_UNTIL(condition)                                                                      \
    do {                                                                                           \
        int64_t deadline_ms = clock_ms() + WAIT_MS;                                                \
        while (!(condition)) {                                                                     \
            for (int i_ = 0; i_ < LOADERS; i_++)                                                   \
                hear(&players[i_]);                                                                \
            if (clock_ms() > deadline_ms)                                                          \
                fail_msg("waited in vain for %s", #condition);                                     \
            poll_a_moment();                                                                       \
        }                                                                                          \
    } while (0)

static void poll_a_moment(void)
{
    zmq_poll(NULL, 0, 1);
}

static void send_record(struct player *player, uint32_t length, uint32_t part_length, int is_wrong)
{
    uint8_t *bytes = mem_alloc(length);
    memset(bytes, (int)player->record, length);
    uint64_t digest = hash_bytes(bytes, length) + (uint64_t)is_wrong;
    for (uint32_t offset = 0; offset < length; offset += part_length) {
        struct loader_part part = {.request = player->request,
                                   .offset = offset,
                                   .total = length,
                                   .digest = digest,
                                   .length = length - offset < part_length ? length - offset
                                                                           : part_length,
                                   .data = bytes + offset};
        const struct loader_message message = {.kind = LOADER_RECORDS, .records = {1, &part}};
        say(player, &message);
    }
    mem_free(bytes);
}

static void refuse(struct player *player, enum loader_refusal_cause cause)
{
    const struct loader_message message = {
        .kind = LOADER_REFUSAL,
        .refusal = {.request = player->request, .cause = cause, .reason = "torn"}};
    say(player, &message);
}

/* A thread that waits for a record, as a decode thread does. */
struct waiter {
    struct thread thread;
    struct fetch *fetch;
    enum status status;
    uint32_t length;
    uint8_t first;
    atomic_int is_over;
};

static void waiter_run(void *argument)
{
    struct waiter *waiter = argument;
    const uint8_t *bytes = NULL;
    size_t length = 0;
    waiter->status = shard_client_wait(client, waiter->fetch, &is_void, &bytes, &length);
    waiter->length = (uint32_t)length;
    waiter->first = waiter->status == OK ? bytes[0] : 0;
    atomic_store(&waiter->is_over, 1);
}

static void wait_begin(struct waiter *waiter, uint32_t record)
{
    *waiter = (struct waiter){.fetch = shard_client_ask(client, &planned, record)};
    assert_ok(thread_start(&waiter->thread, "waiter", waiter_run, waiter));
}

static void wait_end(struct waiter *waiter, enum status status)
{
    HEAR_UNTIL(atomic_load(&waiter->is_over));
    thread_stop(&waiter->thread);
    assert_int_equal(waiter->status, status);
    shard_client_drop(client, &waiter->fetch);
    assert_null(waiter->fetch);
}

static void open_player(int i)
{
    assert_ok(endpoint_bind(addresses[i], NULL, &players[i].endpoint));
}

static int setup(void **state)
{
    (void)state;
    const char *list[LOADERS];
    memset(players, 0, sizeof(players));
    atomic_store(&is_void, 0);
    for (int i = 0; i < LOADERS; i++) {
        snprintf(addresses[i], sizeof(addresses[i]), "ipc:///tmp/everseer-client-%d-%d",
                 (int)getpid(), i);
        open_player(i);
        list[i] = addresses[i];
    }
    const struct shard_client_setup client_setup = {
        .worker = "w", .addresses = list, .count = LOADERS, .changed = changed};
    assert_ok(shard_client_start(&client_setup, &client));
    HEAR_UNTIL(players[0].greeting_count == 1 && players[1].greeting_count == 1);
    HEAR_UNTIL(shard_client_find(client, &planned) == OK);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    shard_client_stop(client);
    shard_client_destroy(client);
    for (int i = 0; i < LOADERS; i++) {
        endpoint_close(players[i].endpoint);
        unlink(addresses[i] + strlen("ipc://"));
    }
    return 0;
}

/* Who was asked for the record that is waited for; the other one is 1 minus it. */
static int asked_one(void)
{
    HEAR_UNTIL(players[0].urge_count + players[1].urge_count > 0);
    return players[0].urge_count > 0 ? 0 : 1;
}

static void test_a_record_in_parts_is_whole_and_its_credit_comes_back(void **state)
{
    (void)state;
    struct waiter waiter;
    enum { LENGTH = 9 << 20 };
    wait_begin(&waiter, 3);
    int one = asked_one();
    uint64_t credit = players[one].credit_bytes;
    send_record(&players[one], LENGTH, LOADER_PART_BYTES, 0);
    wait_end(&waiter, OK);
    assert_int_equal(waiter.length, LENGTH);
    assert_int_equal(waiter.first, 3);
    HEAR_UNTIL(players[one].credit_bytes == credit + LENGTH);
}

static void
test_what_does_not_match_its_digest_ends_the_connection_and_comes_from_another(void **state)
{
    (void)state;
    struct waiter waiter;
    wait_begin(&waiter, 4);
    int one = asked_one();
    send_record(&players[one], 1000, 400, 1);
    HEAR_UNTIL(players[1 - one].urge_count == 1);
    send_record(&players[1 - one], 1000, 400, 0);
    wait_end(&waiter, OK);
    HEAR_UNTIL(players[one].greeting_count == 2); /* it is given another chance */
}

static void test_a_loader_that_sends_more_than_its_credit_is_hung_up_on(void **state)
{
    (void)state;
    enum { LENGTH = 40 << 20 }; /* two are more than PEER_CREDIT_BYTES */
    struct fetch *fetches[2];
    for (uint32_t i = 0; i < 2; i++)
        fetches[i] = shard_client_ask(client, &planned, i);
    HEAR_UNTIL(players[0].read_count + players[1].read_count == 2);
    int one = players[0].read_count == 2 ? 0 : 1;
    players[one].request--;
    send_record(&players[one], LENGTH, LOADER_PART_BYTES, 0);
    struct loader_part part = {
        .request = players[one].request + 1, .total = LENGTH, .length = 1, .data = (uint8_t *)"x"};
    const struct loader_message message = {.kind = LOADER_RECORDS, .records = {1, &part}};
    say(&players[one], &message);
    HEAR_UNTIL(players[one].greeting_count == 2);
    assert_in_range(players[one].credit_bytes, 1, (64 << 20) - LENGTH);
    for (int i = 0; i < 2; i++)
        shard_client_drop(client, &fetches[i]);
}

static void test_a_record_is_bad_when_all_who_hold_the_shard_say_so(void **state)
{
    (void)state;
    struct waiter waiter;
    wait_begin(&waiter, 5);
    int one = asked_one();
    refuse(&players[one], LOADER_REFUSAL_BAD_RECORD);
    HEAR_UNTIL(players[1 - one].urge_count == 1);
    refuse(&players[1 - one], LOADER_REFUSAL_BAD_RECORD);
    wait_end(&waiter, ERR_CORRUPT);
    assert_ok(shard_client_find(client, &planned));
}

static void test_a_loader_without_the_shard_is_not_asked_again(void **state)
{
    (void)state;
    struct waiter waiter;
    wait_begin(&waiter, 6);
    int one = asked_one();
    refuse(&players[one], LOADER_REFUSAL_NOT_HELD);
    HEAR_UNTIL(players[1 - one].urge_count == 1);
    refuse(&players[1 - one], LOADER_REFUSAL_NOT_HELD);
    wait_end(&waiter, ERR_UNREACHABLE);
    assert_fails(shard_client_find(client, &planned), ERR_INPUT, "does not hold it");
}

static void test_a_silent_loader_is_given_up_for_another(void **state)
{
    (void)state;
    struct waiter waiter;
    wait_begin(&waiter, 7);
    int one = asked_one(); /* it is connected, hears, and never answers */
    int64_t start_ms = clock_ms();
    HEAR_UNTIL(players[1 - one].urge_count == 1);
    assert_true(clock_ms() - start_ms >= CLIENT_SILENT_MS - 100);
    send_record(&players[1 - one], 10, 10, 0);
    wait_end(&waiter, OK);
}

static void test_a_loader_that_ends_is_replaced_and_a_returned_one_is_asked_again(void **state)
{
    (void)state;
    struct waiter waiter;
    int before = atomic_load(&change_count);
    wait_begin(&waiter, 8);
    int one = asked_one();
    for (int i = 0; i < LOADERS; i++) {
        endpoint_close(players[i].endpoint);
        players[i].endpoint = NULL;
    }
    HEAR_UNTIL(atomic_load(&waiter.is_over));
    thread_stop(&waiter.thread);
    assert_int_equal(waiter.status, ERR_UNREACHABLE);
    assert_fails(shard_client_find(client, &planned), ERR_UNREACHABLE, "is away");
    players[one].urge_count = 0;
    open_player(one);
    HEAR_UNTIL(players[one].greeting_count == 2 && shard_client_find(client, &planned) == OK);
    assert_true(atomic_load(&change_count) > before);
    waiter.is_over = 0; /* the same fetch again */
    assert_ok(thread_start(&waiter.thread, "waiter", waiter_run, &waiter));
    HEAR_UNTIL(players[one].urge_count == 1);
    send_record(&players[one], 10, 3, 0);
    wait_end(&waiter, OK);
}

static void test_who_does_not_want_it_any_more_waits_no_longer_and_the_loader_hears_it(void **state)
{
    (void)state;
    struct waiter waiter;
    wait_begin(&waiter, 9);
    int one = asked_one();
    atomic_store(&is_void, 1);
    shard_client_wake(client);
    wait_end(&waiter, ERR_STALE);
    HEAR_UNTIL(players[one].forget_count == 1);
    uint64_t credit = players[one].credit_bytes;
    send_record(&players[one], 9 << 20, LOADER_PART_BYTES, 0); /* it was under way */
    HEAR_UNTIL(players[one].credit_bytes == credit + (9 << 20));
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_a_record_in_parts_is_whole_and_its_credit_comes_back),
        TEST(test_what_does_not_match_its_digest_ends_the_connection_and_comes_from_another),
        TEST(test_a_loader_that_sends_more_than_its_credit_is_hung_up_on),
        TEST(test_a_record_is_bad_when_all_who_hold_the_shard_say_so),
        TEST(test_a_loader_without_the_shard_is_not_asked_again),
        TEST(test_a_silent_loader_is_given_up_for_another),
        TEST(test_a_loader_that_ends_is_replaced_and_a_returned_one_is_asked_again),
        TEST(test_who_does_not_want_it_any_more_waits_no_longer_and_the_loader_hears_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
