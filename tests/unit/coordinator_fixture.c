/* coordinator_fixture.c - see coordinator_fixture.h. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/unit/coordinator_fixture.h"

#include "common/mem.h"

void make(struct fixture *f)
{
    config_init(&f->config);
    f->config.train.batch_images = 8;
    f->config.train.slot_images = 2;
    f->config.train.steps = 0;
    f->config.data.block_records = f->config.data.window_blocks = 4;
    f->config.snapshot.every_steps = 1000;
    f->config.server.plan_ahead_steps = 2;
    f->coordinator = coordinator_create(&(struct coordinator_setup){
        .config = &f->config, .config_text = "train: {}\n", .run = 7, .entropy = 1, .boot = 5});
}

static void keep(struct fixture *f)
{
    for (uint32_t i = 0; i < f->actions.count; i++)
        if (f->actions.items[i].kind == ACTION_JOURNAL)
            journal_record_copy(&f->actions.items[i].record,
                                &actions_push(&f->journal, ACTION_JOURNAL)->record);
}

int setup(void **state)
{
    struct fixture *f = mem_zero(sizeof(*f));
    make(f);
    actions_init(&f->actions);
    actions_init(&f->journal);
    coordinator_start(f->coordinator, 0, &f->actions);
    coordinator_handle(f->coordinator,
                       &(struct coordinator_event){.kind = COORDINATOR_SHARD_FOUND,
                                                   .shard = {.path = "store/a", .records = 100}},
                       0, &f->actions);
    keep(f);
    *state = f;
    return 0;
}

int teardown(void **state)
{
    struct fixture *f = *state;
    actions_done(&f->actions);
    actions_done(&f->journal);
    coordinator_destroy(f->coordinator);
    mem_free(f);
    return 0;
}

void handle(struct fixture *f, struct coordinator_event event)
{
    actions_clear(&f->actions);
    coordinator_handle(f->coordinator, &event, f->now, &f->actions);
    keep(f);
}

void say(struct fixture *f, uint64_t id, struct message message, uint64_t step)
{
    struct coordinator_view view;
    coordinator_view(f->coordinator, &view);
    message.header.run = view.run;
    message.header.epoch = view.epoch;
    message.header.worker = id;
    message.header.sequence = ++f->sequence;
    message.header.step = step;
    message.header.lineage = view.lineage;
    if (message.kind != MESSAGE_HELLO)
        message.header.generation = view.generation;
    handle(f, (struct coordinator_event){
                  .kind = COORDINATOR_MESSAGE, .connection = id, .message = &message});
}

void hello(struct fixture *f, uint64_t id, uint32_t protocol, uint64_t fingerprint)
{
    say(f, id,
        (struct message){.kind = MESSAGE_HELLO,
                         .hello = {.protocol = protocol,
                                   .name = "w",
                                   .version = EVERSEER_VERSION,
                                   .boot = 5,
                                   .pid = (uint32_t)id,
                                   .fingerprint = fingerprint}},
        0);
}

void tick(struct fixture *f, int64_t ms)
{
    for (int64_t end = f->now + ms; f->now < end;) {
        f->now += COORDINATOR_TICK_MS;
        handle(f, (struct coordinator_event){.kind = COORDINATOR_TICK});
    }
}

void warm(struct fixture *f, uint64_t id)
{
    say(f, id, (struct message){.kind = MESSAGE_HEARTBEAT, .heartbeat = {.is_warm = 1}}, 0);
}

void vote(struct fixture *f, uint64_t id, uint64_t step, uint64_t digest, int is_finite)
{
    say(f, id,
        (struct message){
            .kind = MESSAGE_READY,
            .ready = {.is_finite = is_finite, .loss = 2.0, .digest = digest, .images = 4}},
        step);
}

int find(const struct fixture *f, enum action_kind kind, int detail)
{
    for (uint32_t i = 0; i < f->actions.count; i++) {
        const struct action *action = &f->actions.items[i];
        if (action->kind != kind)
            continue;
        if (kind == ACTION_SEND && (int)action->send.message.kind != detail)
            continue;
        if (kind == ACTION_JOURNAL && (int)action->record.kind != detail)
            continue;
        return (int)i;
    }
    return -1;
}

void train(struct fixture *f, uint64_t count)
{
    for (uint64_t id = 1; id <= count; id++) {
        hello(f, id, PROTOCOL_VERSION, 0);
        warm(f, id);
    }
    for (int i = 0; i < 20 && find(f, ACTION_SEND, MESSAGE_REGROUP) < 0; i++)
        tick(f, COORDINATOR_TICK_MS);
    for (uint64_t id = 1; id <= count; id++)
        say(f, id, (struct message){.kind = MESSAGE_FORMED, .formed = {.digest = 9}}, 0);
}

const char *event_text(const struct fixture *f, const char *kind)
{
    for (uint32_t i = 0; i < f->actions.count; i++)
        if (f->actions.items[i].kind == ACTION_EVENT &&
            strcmp(f->actions.items[i].event.kind, kind) == 0)
            return f->actions.items[i].event.text;
    return "";
}

const struct message *find_sent(const struct fixture *f, uint64_t id, enum message_kind kind)
{
    for (uint32_t i = 0; i < f->actions.count; i++) {
        const struct action *action = &f->actions.items[i];
        if (action->kind == ACTION_SEND && action->send.message.kind == kind &&
            action->send.message.header.worker == id)
            return &action->send.message;
    }
    return NULL;
}

struct message await_prepare(struct fixture *f)
{
    for (int i = 0; i < 20 && find(f, ACTION_SEND, MESSAGE_PREPARE) < 0; i++)
        tick(f, COORDINATOR_TICK_MS);
    int prepare = find(f, ACTION_SEND, MESSAGE_PREPARE);
    assert_true(prepare >= 0);
    const struct message *message = &f->actions.items[prepare].send.message;
    if (message->prepare.member_count > 1) /* beforehand: they take longest */
        assert_true(find(f, ACTION_START_HELPERS, 0) < prepare);
    return (struct message){.kind = MESSAGE_PREPARED,
                            .header.generation = message->header.generation,
                            .prepared.nonce = message->prepare.nonce};
}

void order(struct fixture *f, enum coordinator_command command, const char *name)
{
    handle(f, (struct coordinator_event){
                  .kind = COORDINATOR_COMMAND,
                  .connection = 99,
                  .command = {.command = command, .request = 1, .argument = name}});
}

int await(struct fixture *f, enum action_kind kind, int detail, int64_t ms)
{
    int found = -1;
    for (int64_t end = f->now + ms; f->now < end && found < 0; found = find(f, kind, detail))
        tick(f, COORDINATOR_TICK_MS);
    return found;
}

const struct message *answer(const struct fixture *f)
{
    int reply = find(f, ACTION_SEND, MESSAGE_REPLY);
    assert_true(reply >= 0);
    return &f->actions.items[reply].send.message;
}

void restart(struct fixture *f)
{
    coordinator_destroy(f->coordinator);
    make(f);
    for (uint32_t i = 0; i < f->journal.count; i++)
        assert_ok(coordinator_restore(f->coordinator, &f->journal.items[i].record));
    actions_clear(&f->actions);
    coordinator_start(f->coordinator, f->now, &f->actions);
    keep(f);
}

void save(struct fixture *f, uint64_t step, const char *name)
{
    vote(f, 1, step, 3, 1);
    order(f, COMMAND_SNAPSHOT, name);
    assert_int_equal(answer(f)->reply.status, OK);
    handle(f, (struct coordinator_event){.kind = COORDINATOR_SNAPSHOT_DONE,
                                         .snapshot = {name, step + 1}});
    assert_true(find(f, ACTION_JOURNAL, JOURNAL_SNAPSHOT) >= 0);
}
