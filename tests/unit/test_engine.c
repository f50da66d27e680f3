/* test_engine.c - by what members of a generation add up, and by what they find each other. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/mem.h"
#include "server/coordinator.h"
#include "server/core.h"
#include "server/engine.h"
#include "server/rendezvous.h"
#include "worker/device/device_name.h"
#include "worker/meeting.h"

#include <sys/eventfd.h>
#include <unistd.h>

enum { MEMBERS = 3 };

/* A coordinator with three members by rank; the coordinator's own messages are looked at in out. */
struct fixture {
    struct config config;
    struct coordinator c;
    struct actions out;
};

static int setup(void **state)
{
    struct fixture *f = mem_zero(sizeof(*f));
    config_init(&f->config);
    assert_ok(config_load_text("test", "", 0, &f->config));
    actions_init(&f->out);
    f->c.config = &f->config;
    f->c.out = &f->out;
    f->c.epoch = 3;
    f->c.generation = 7;
    f->c.group.nonce = 70;
    f->c.state = RUN_FORMING;
    for (int i = 0; i < MEMBERS; i++) {
        char device[32];
        snprintf(device, sizeof(device), "cuda:%d", i);
        const struct message_hello hello = {
            .name = "w", .host = "host", .device = device, .version = "1", .helper_address = ""};
        struct worker *worker = roster_add(&f->c.roster, (uint64_t)i + 1, &hello);
        worker->connection = (uint64_t)i + 1;
        worker->rank = i;
        worker->next_rank = -1;
    }
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    actions_done(&f->out);
    mem_free(f->c.roster.workers);
    mem_free(f);
    return 0;
}

static void choose(struct fixture *f, const char *engine)
{
    snprintf(f->config.collective.engine, sizeof(f->config.collective.engine), "%s", engine);
}

static void set_device(struct fixture *f, int rank, const char *device)
{
    struct worker *worker = roster_find_rank(&f->c.roster, rank);
    snprintf(worker->device, sizeof(worker->device), "%s", device);
}

static uint32_t engine(struct fixture *f, uint32_t count)
{
    return engine_of(&f->c, count, roster_find_rank);
}

static void gpus_of_their_own_are_for_nccl_and_all_else_for_mpi(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(engine(f, MEMBERS), ENGINE_NCCL);
    assert_int_equal(engine(f, 1), ENGINE_SELF);
    set_device(f, 2, "cuda:0"); /* two on one GPU: NCCL would refuse them */
    assert_int_equal(engine(f, MEMBERS), ENGINE_MPI);
    assert_int_equal(engine(f, 2), ENGINE_NCCL);
    struct worker *worker = roster_find_rank(&f->c.roster, 2);
    snprintf(worker->host, sizeof(worker->host), "elsewhere");
    assert_int_equal(engine(f, MEMBERS), ENGINE_NCCL);
    set_device(f, 1, "cpu");
    assert_int_equal(engine(f, MEMBERS), ENGINE_MPI);
    choose(f, "nccl");
    assert_int_equal(engine(f, MEMBERS), ENGINE_NCCL);
    set_device(f, 1, "cuda:1");
    choose(f, "mpi");
    assert_int_equal(engine(f, MEMBERS), ENGINE_MPI);
}

static void with_engine_self_one_worker_has_a_seat(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(engine_seats(&f->c), config_slots(&f->config));
    choose(f, "self");
    assert_int_equal(engine_seats(&f->c), 1);
}

static void say(struct fixture *f, int rank, uint64_t generation, uint64_t nonce, uint8_t byte)
{
    uint8_t id[MESSAGE_ID_BYTES] = {byte};
    const struct message message = {.kind = MESSAGE_RENDEZVOUS,
                                    .header = {.epoch = 3, .generation = generation},
                                    .rendezvous = {.nonce = nonce, .length = sizeof(id), .id = id}};
    struct worker *worker = roster_find(&f->c.roster, (uint64_t)rank + 1);
    actions_clear(&f->out);
    rendezvous_note(&f->c, worker, &message);
}

static void assert_told(struct fixture *f, uint32_t index, uint64_t to, uint64_t generation,
                        uint8_t byte)
{
    const struct action *action = &f->out.items[index];
    assert_int_equal(action->kind, ACTION_SEND);
    assert_int_equal(action->send.connection, to);
    assert_int_equal(action->send.message.kind, MESSAGE_RENDEZVOUS);
    assert_int_equal(action->send.message.header.generation, generation);
    assert_int_equal(action->send.message.rendezvous.id[0], byte);
}

static void where_to_meet_goes_from_rank_0_to_all_others_once(void **state)
{
    struct fixture *f = *state;
    say(f, 0, 7, 70, 5);
    assert_int_equal(f->out.count, 2);
    assert_told(f, 0, 2, 7, 5);
    assert_told(f, 1, 3, 7, 5);
    say(f, 0, 7, 70, 5); /* a server that came back is told again */
    assert_int_equal(f->out.count, 0);
    assert_int_equal(f->c.stale[STALE_GENERATION], 0);
}

static void nobody_else_says_where_to_meet(void **state)
{
    struct fixture *f = *state;
    say(f, 1, 7, 70, 5);
    say(f, 0, 6, 70, 5);
    say(f, 0, 7, 71, 5);
    f->c.state = RUN_TRAINING; /* it stands already */
    say(f, 0, 7, 70, 5);
    assert_int_equal(f->out.count, 0);
    assert_int_equal(f->c.stale[STALE_GENERATION], 4);
    assert_int_equal(f->c.group.rendezvous.length, 0);
}

static void the_next_generation_meets_while_the_present_one_trains(void **state)
{
    struct fixture *f = *state;
    f->c.state = RUN_TRAINING;
    f->c.next.state = NEXT_PREPARING;
    f->c.next.generation = 8;
    f->c.next.nonce = 80;
    roster_find(&f->c.roster, 3)->next_rank = 0;
    roster_find(&f->c.roster, 1)->next_rank = 1;
    say(f, 0, 8, 80, 6); /* rank 0 of the present one */
    assert_int_equal(f->out.count, 0);
    say(f, 2, 8, 80, 6);
    assert_int_equal(f->out.count, 1);
    assert_told(f, 0, 1, 8, 6);
}

static void put(struct meeting *meeting, uint64_t generation, uint64_t nonce, uint32_t length)
{
    uint8_t id[MESSAGE_ID_BYTES] = {(uint8_t)generation};
    meeting_put(meeting, &(struct message){.kind = MESSAGE_RENDEZVOUS,
                                           .header.generation = generation,
                                           .rendezvous = {nonce, length, id}});
}

static void a_member_waits_for_its_own_generation_and_no_longer_than_it_lasts(void **state)
{
    (void)state;
    struct meeting meeting;
    uint8_t id[MESSAGE_ID_BYTES];
    const int cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    assert_ok(meeting_init(&meeting));
    put(&meeting, 4, 40, sizeof(id)); /* of the past */
    assert_int_equal(meeting_await(&meeting, 5, 50, cancel_fd, clock_ms() + 5, sizeof(id), id),
                     ERR_TIMEOUT);
    put(&meeting, 5, 50, sizeof(id));
    put(&meeting, 4, 40, sizeof(id)); /* long under way */
    assert_ok(meeting_await(&meeting, 5, 50, cancel_fd, clock_ms() + 5, sizeof(id), id));
    assert_int_equal(id[0], 5);
    assert_int_equal(meeting_await(&meeting, 5, 50, cancel_fd, clock_ms() + 5, 64, id),
                     ERR_PROTOCOL);
    put(&meeting, 6, 60, sizeof(id));
    assert_int_equal(meeting_await(&meeting, 5, 50, cancel_fd, clock_ms() + 9000, sizeof(id), id),
                     ERR_STALE);
    assert_int_equal(eventfd_write(cancel_fd, 1), 0);
    assert_int_equal(meeting_await(&meeting, 7, 70, cancel_fd, clock_ms() + 9000, sizeof(id), id),
                     ERR_STALE);
    meeting_done(&meeting);
    close(cancel_fd);
}

static void assert_public(const char *name, const char *expected)
{
    char found[16];
    device_public_name(name, found, sizeof(found));
    assert_string_equal(found, expected);
}

static void gpus_are_named_as_their_host_counts_them(void **state)
{
    (void)state;
    assert_int_equal(unsetenv("CUDA_VISIBLE_DEVICES"), 0);
    assert_public("cpu", "cpu");
    assert_public("cuda", "cuda:0");
    assert_public("cuda:3:fp32", "cuda:3");
    assert_int_equal(setenv("CUDA_VISIBLE_DEVICES", "5,GPU-abc", 1), 0);
    assert_public("cuda:0", "cuda:5");
    assert_public("cuda:1:bf16", "cuda:GPU-abc");
    assert_public("cuda:2", "cuda:2");
    assert_int_equal(unsetenv("CUDA_VISIBLE_DEVICES"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(gpus_of_their_own_are_for_nccl_and_all_else_for_mpi, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(with_engine_self_one_worker_has_a_seat, setup, teardown),
        cmocka_unit_test_setup_teardown(where_to_meet_goes_from_rank_0_to_all_others_once, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(nobody_else_says_where_to_meet, setup, teardown),
        cmocka_unit_test_setup_teardown(the_next_generation_meets_while_the_present_one_trains,
                                        setup, teardown),
        cmocka_unit_test(gpus_are_named_as_their_host_counts_them),
        cmocka_unit_test(a_member_waits_for_its_own_generation_and_no_longer_than_it_lasts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
