/* test_verdict_recovery.c - a server whose host fell learns from its members what it had decided.
 *
 * Workers 1 and 2 are the members of generation 3; the journal ends before step 0. Worker 1 has
 * obeyed the verdict that the journal lost, worker 2 has not heard it. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include "common/mem.h"
#include "server/coordinator.h"
#include "server/journal_codec.h"

enum { BATCH = 8, GENERATION = 3, PAST_EPOCH = 4 };

struct fixture {
    struct config config;
    struct coordinator *coordinator;
    struct actions actions; /* of the last event */
    struct journal_record lost;
    uint64_t sequence;
};

static void restore(struct fixture *f, struct journal_record record)
{
    assert_ok(coordinator_restore(f->coordinator, &record));
}

static int setup(void **state)
{
    static uint32_t shards[] = {0};
    struct journal_member members[] = {{1, "w", 0, 0}, {2, "w-2", 0, 0}};
    struct fixture *f = mem_zero(sizeof(*f));
    config_init(&f->config);
    f->config.train.batch_images = BATCH;
    f->config.train.slot_images = 2;
    f->config.data.block_records = f->config.data.window_blocks = 4;
    f->coordinator = coordinator_create(&(struct coordinator_setup){
        .config = &f->config, .config_text = "train: {}\n", .entropy = 1, .boot = 6});
    actions_init(&f->actions);
    restore(f, (struct journal_record){.kind = JOURNAL_START,
                                       .start = {.run = 7,
                                                 .epoch = PAST_EPOCH,
                                                 .batch_images = BATCH,
                                                 .slot_images = 2,
                                                 .block_records = 4,
                                                 .window_blocks = 4,
                                                 .seed = (uint64_t)f->config.run.seed}});
    restore(f, (struct journal_record){.kind = JOURNAL_SHARD, .shard = {0, 100, "store/a", 0}});
    restore(f, (struct journal_record){.kind = JOURNAL_ENTRY,
                                       .entry = {.shard_count = 1, .shards = shards}});
    restore(f, (struct journal_record){.kind = JOURNAL_GENERATION,
                                       .generation = {GENERATION, 0, 2, members}});
    coordinator_start(f->coordinator, 0, &f->actions);
    f->lost = (struct journal_record){.kind = JOURNAL_STEP,
                                      .step = {.generation = GENERATION,
                                               .epoch = PAST_EPOCH,
                                               .world_size = 2,
                                               .is_commit = 1,
                                               .images = BATCH,
                                               .lr = 0.5,
                                               .loss = 3.0,
                                               .digest = 77}};
    schedule_init(&f->lost.step.schedule);
    f->lost.step.schedule.commits = 1;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    actions_done(&f->actions);
    coordinator_destroy(f->coordinator);
    mem_free(f);
    return 0;
}

/* Index of the first such action; for sends of that message to that worker. -1 = none. */
static int find(const struct fixture *f, enum action_kind kind, enum message_kind message,
                uint64_t worker)
{
    for (uint32_t i = 0; i < f->actions.count; i++) {
        const struct action *action = &f->actions.items[i];
        if (action->kind == kind &&
            (kind != ACTION_SEND || (action->send.message.kind == message &&
                                     action->send.message.header.worker == worker)))
            return (int)i;
    }
    return -1;
}

/* A worker is back with the state of `step`, and brings these bytes; or has voted on it. */
static void come_back(struct fixture *f, uint64_t worker, uint64_t step, struct buf *record)
{
    const struct message message = {
        .kind = MESSAGE_HELLO,
        .header = {.run = 7,
                   .generation = GENERATION,
                   .step = step,
                   .worker = worker,
                   .sequence = ++f->sequence},
        .hello = {.protocol = PROTOCOL_VERSION,
                  .name = "w",
                  .version = EVERSEER_VERSION,
                  .has_state = 1,
                  .is_ready_pending = record == NULL,
                  .record_length = record != NULL ? (uint32_t)record->length : 0,
                  .record = record != NULL ? record->bytes : NULL}};
    actions_clear(&f->actions);
    coordinator_handle(f->coordinator,
                       &(struct coordinator_event){
                           .kind = COORDINATOR_MESSAGE, .connection = worker, .message = &message},
                       1, &f->actions);
}

static void bring(struct fixture *f, uint64_t worker, const struct journal_record *record)
{
    struct buf bytes;
    buf_init(&bytes, MESSAGE_RECORD_BYTES);
    assert_ok(journal_encode(record, &bytes));
    come_back(f, worker, 1, &bytes);
    buf_done(&bytes);
}

static uint64_t steps(const struct fixture *f)
{
    struct coordinator_view view;
    coordinator_view(f->coordinator, &view);
    return view.step;
}

static void what_one_member_obeyed_is_journaled_again_and_told_to_the_other(void **state)
{
    struct fixture *f = *state;
    struct coordinator_view view;
    come_back(f, 2, 0, NULL);
    assert_int_equal(steps(f), 0);
    bring(f, 1, &f->lost);
    assert_int_equal(steps(f), 1);
    int journal = find(f, ACTION_JOURNAL, 0, 0), verdict = find(f, ACTION_SEND, MESSAGE_VERDICT, 2);
    assert_true(journal >= 0);
    assert_int_equal(f->actions.items[journal].record.step.digest, 77);
    assert_string_equal(f->actions.items[journal + 1].event.kind, "verdict_recovered");
    assert_true(verdict > journal);
    const struct message_verdict *told = &f->actions.items[verdict].send.message.verdict;
    assert_true(told->is_commit && told->lr == 0.5 && told->record_length > 0);
    coordinator_view(f->coordinator, &view);
    assert_int_equal(view.generation, GENERATION);
    assert_int_equal(view.state, RUN_TRAINING);
    assert_int_equal(view.schedule->commits, 1);
}

static void the_order_in_which_members_return_does_not_matter(void **state)
{
    struct fixture *f = *state;
    bring(f, 1, &f->lost);
    assert_int_equal(steps(f), 1);
    come_back(f, 2, 0, NULL);
    assert_true(find(f, ACTION_SEND, MESSAGE_VERDICT, 2) >= 0);
}

static void who_cannot_have_heard_the_verdict_is_no_holder_any_more(void **state)
{
    struct fixture *f = *state;
    struct buf nothing = {0};
    come_back(f, 2, 0, &nothing); /* it holds step 0, and says that it has not voted on it */
    bring(f, 1, &f->lost);
    assert_int_equal(steps(f), 1);
    assert_int_equal(find(f, ACTION_SEND, MESSAGE_PLAN, 2), -1);
}

static void refuses(struct fixture *f, const struct journal_record *record)
{
    bring(f, 1, record);
    assert_int_equal(steps(f), 0);
    assert_int_equal(find(f, ACTION_JOURNAL, 0, 0), -1);
}

static void a_record_of_any_other_step_is_not_taken_for_it(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 7; i++) {
        struct journal_record other = f->lost;
        struct message_skip skip = {0};
        other.step.step += i == 0;
        other.step.lineage += i == 1;
        other.step.generation += i == 2;
        other.step.epoch += i == 3; /* of the present server, which knows better */
        other.step.world_size += i == 4;
        other.step.position += i == 5;
        other.step.skip_count = i == 6;
        other.step.skips = &skip;
        refuses(f, &other);
    }
    refuses(f, &(struct journal_record){.kind = JOURNAL_PAUSE, .pause = {1}});
}

static void damaged_bytes_count_as_none(void **state)
{
    struct fixture *f = *state;
    struct buf bytes;
    buf_init(&bytes, MESSAGE_RECORD_BYTES);
    assert_ok(journal_encode(&f->lost, &bytes));
    bytes.bytes[9] ^= 1;
    come_back(f, 1, 1, &bytes);
    assert_int_equal(steps(f), 0);
    buf_done(&bytes);
}

static void who_was_no_member_is_not_believed(void **state)
{
    struct fixture *f = *state;
    bring(f, 3, &f->lost);
    assert_int_equal(steps(f), 0);
}

#define RECOVERING(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RECOVERING(what_one_member_obeyed_is_journaled_again_and_told_to_the_other),
        RECOVERING(the_order_in_which_members_return_does_not_matter),
        RECOVERING(who_cannot_have_heard_the_verdict_is_no_holder_any_more),
        RECOVERING(a_record_of_any_other_step_is_not_taken_for_it),
        RECOVERING(damaged_bytes_count_as_none),
        RECOVERING(who_was_no_member_is_not_believed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
