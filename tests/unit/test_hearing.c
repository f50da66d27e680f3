/* test_hearing.c - each way in which workers and server can disagree is found, and told apart.
 *
 * The run: two members of generation 1 train six slots of two images a step, three slots each; step
 * 2 is skipped, step 3 has a bad record. Every test changes one thing in what a worker says. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include "common/mem.h"
#include "server/hearing.h"

enum {
    GENERATION = 1,
    SLOT_IMAGES = 2,
    SLOTS = 6,
    OWN_SLOTS = SLOTS / 2,
    BATCH = SLOTS * SLOT_IMAGES,
    STEPS = 5,
    RECORDS = 100,
    SKIPPED = 2,
    HURT = 3, /* this step's first record is bad */
    BOOT = 5, /* of the server's host */
};

struct fixture {
    struct stream *stream;
    struct verdicts *verdicts;
    struct hearing *hearing;
    struct witness state[2], steps[2][STEPS]; /* what an honest worker says */
};

static uint64_t digest_of(uint64_t step)
{
    return 1000 + step;
}

static void add(struct fixture *f, const struct journal_record *record)
{
    assert_ok(verdicts_add(f->verdicts, record));
}

static void add_start(struct fixture *f, uint64_t boot)
{
    add(f, &(struct journal_record){.kind = JOURNAL_START, .start = {.run = 1, .boot = boot}});
}

static void add_generation(struct fixture *f, uint64_t generation, uint64_t step)
{
    struct journal_member members[] = {{.worker = 1}, {.worker = 2}};
    add(f, &(struct journal_record){.kind = JOURNAL_GENERATION,
                                    .generation = {generation, step, 2, members}});
}

static struct message_skip skip_at(const struct fixture *f, uint64_t position)
{
    struct stream_place place = stream_find(f->stream, position);
    return (struct message_skip){place.shard, place.record, position, NULL};
}

static void add_step(struct fixture *f, uint64_t step, uint32_t lineage)
{
    uint64_t position = step * BATCH;
    struct message_skip skip = skip_at(f, position);
    struct journal_record record = {.kind = JOURNAL_STEP,
                                    .step = {.step = step,
                                             .generation = GENERATION,
                                             .lineage = lineage,
                                             .position = position,
                                             .images = BATCH,
                                             .is_commit = step != SKIPPED,
                                             .digest = digest_of(step),
                                             .parameter_digest = step == 0 ? 77 : 0,
                                             .skip_count = step == HURT ? 1 : 0,
                                             .skips = &skip}};
    add(f, &record);
}

static struct witness_image image_at(const struct fixture *f, uint64_t position)
{
    struct stream_place place = stream_find(f->stream, position);
    return (struct witness_image){place.shard, place.record};
}

static struct witness make_step(const struct fixture *f, uint64_t number, uint32_t first_slot)
{
    struct witness witness = {.kind = WITNESS_STEP};
    struct witness_step *step = &witness.step;
    *step = (struct witness_step){
        .generation = GENERATION,
        .step = number,
        .is_applied = number != SKIPPED,
        .digest = digest_of(number),
        .slot_count = OWN_SLOTS,
        .slot_images = SLOT_IMAGES,
        .slots = mem_array(OWN_SLOTS, sizeof(struct witness_slot)),
        .images = mem_array(OWN_SLOTS * SLOT_IMAGES, sizeof(struct witness_image))};
    for (uint32_t i = 0; i < OWN_SLOTS; i++)
        step->slots[i] = (struct witness_slot){
            first_slot + i, number * BATCH + (uint64_t)(first_slot + i) * SLOT_IMAGES};
    for (uint32_t i = 0; i < OWN_SLOTS * SLOT_IMAGES; i++)
        step->images[i] = image_at(f, step->slots[i / SLOT_IMAGES].position + i % SLOT_IMAGES);
    if (number == HURT && first_slot == 0)
        step->images[0] = step->images[1]; /* the next good one of its slot */
    return witness;
}

static int setup(void **state)
{
    static uint32_t shards[] = {0};
    const struct stream_entry entry = {.shard_count = 1, .shards = shards};
    struct fixture *f = mem_zero(sizeof(*f));
    uint32_t id;
    f->stream =
        stream_create(&(struct stream_setup){.seed = 3, .block_records = 4, .window_blocks = 2});
    assert_ok(stream_add_shard(f->stream, RECORDS, &id));
    assert_ok(stream_append(f->stream, &entry));
    f->verdicts = verdicts_create();
    add_start(f, BOOT);
    add_generation(f, GENERATION, 0);
    for (uint64_t step = 0; step < STEPS; step++)
        add_step(f, step, 0);
    for (uint32_t rank = 0; rank < 2; rank++) {
        f->state[rank] = (struct witness){.kind = WITNESS_STATE,
                                          .state = {.generation = GENERATION, .digest = 77}};
        for (uint64_t step = 0; step < STEPS; step++)
            f->steps[rank][step] = make_step(f, step, rank * OWN_SLOTS);
    }
    f->hearing = hearing_create(f->stream, f->verdicts, SLOT_IMAGES);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    for (int rank = 0; rank < 2; rank++)
        for (int step = 0; step < STEPS; step++)
            witness_done(&f->steps[rank][step]);
    hearing_destroy(f->hearing);
    verdicts_destroy(f->verdicts);
    stream_destroy(f->stream);
    mem_free(f);
    return 0;
}

static void hear_steps(struct fixture *f, int rank, int first, int end)
{
    for (int step = first; step < end; step++)
        hearing_take(f->hearing, &f->steps[rank][step]);
}

static void hear_all(struct fixture *f, int rank)
{
    hearing_begin(f->hearing, (uint64_t)rank + 1, rank == 0 ? "one" : "two");
    hearing_take(f->hearing, &f->state[rank]);
    hear_steps(f, rank, 0, STEPS);
}

/* Counts, and checks that nothing was found but `expected`, with these words first. */
static struct hearing_result end(struct fixture *f, size_t expected, uint64_t count,
                                 const char *words)
{
    struct hearing_result result;
    uint64_t counts[sizeof(result) / sizeof(uint64_t)];
    size_t first = offsetof(struct hearing_result, lost) / sizeof(uint64_t);
    hearing_end(f->hearing, &result);
    memcpy(counts, &result, sizeof(counts));
    for (size_t i = first; i < sizeof(counts) / sizeof(counts[0]); i++) {
        uint64_t wanted = i == expected / sizeof(uint64_t) ? count : 0;
        if (counts[i] != wanted)
            fail_msg("count %zu is %llu, not %llu; %s", i, (unsigned long long)counts[i],
                     (unsigned long long)wanted, hearing_finding(f->hearing, 0));
    }
    if (words == NULL)
        assert_null(hearing_finding(f->hearing, 0));
    else
        assert_non_null(strstr(hearing_finding(f->hearing, 0), words));
    return result;
}

#define FIELD(member) offsetof(struct hearing_result, member)
#define NOTHING       0, 0, NULL

static void honest_workers_agree(void **state)
{
    struct fixture *f = *state;
    hear_all(f, 0);
    hear_all(f, 1);
    struct hearing_result result = end(f, NOTHING);
    assert_int_equal(result.workers, 2);
    assert_int_equal(result.steps_witnessed, STEPS);
}

/* Processes die, and files are read while they grow. */
static void a_journal_that_just_ends_is_no_finding(void **state)
{
    struct fixture *f = *state;
    hear_all(f, 0);
    hearing_begin(f->hearing, 2, "two");
    hearing_take(f->hearing, &f->state[1]);
    hear_steps(f, 1, 0, 2);
    struct hearing_result result = end(f, NOTHING);
    assert_int_equal(result.steps_witnessed, 2);
}

static void a_step_left_out_was_not_applied(void **state)
{
    struct fixture *f = *state;
    hear_all(f, 0);
    hearing_begin(f->hearing, 2, "two");
    hearing_take(f->hearing, &f->state[1]);
    hear_steps(f, 1, 0, 1);
    hear_steps(f, 1, 3, STEPS); /* 1 was committed, 2 was to be skipped anyway */
    end(f, FIELD(committed_not_applied), 1, "two (0000000000000002) went past step 1 ");
}

static void steps_that_could_not_be_written_are_no_finding(void **state)
{
    struct fixture *f = *state;
    f->steps[1][3].missed = 2;
    hearing_begin(f->hearing, 2, "two");
    hearing_take(f->hearing, &f->state[1]);
    hear_steps(f, 1, 0, 1);
    hear_steps(f, 1, 3, STEPS);
    end(f, NOTHING);
}

static void files_that_were_removed_are_no_finding(void **state)
{
    struct fixture *f = *state;
    hearing_begin(f->hearing, 2, "two");
    hear_steps(f, 1, 0, 1);
    hearing_pass(f->hearing);
    hear_steps(f, 1, 3, STEPS);
    end(f, NOTHING);
}

static void steps_left_out_before_a_state_of_its_own_were_not_applied(void **state)
{
    struct fixture *f = *state;
    struct witness later = {.kind = WITNESS_STATE,
                            .state = {.generation = 2, .step = STEPS, .is_own = 1}};
    hearing_begin(f->hearing, 1, "one");
    hearing_take(f->hearing, &f->state[0]);
    hear_steps(f, 0, 0, STEPS - 1);
    hearing_take(f->hearing, &later);
    end(f, FIELD(committed_not_applied), 1, "went past step 4");
}

static void a_state_that_was_received_explains_a_gap(void **state)
{
    struct fixture *f = *state;
    struct witness later = {.kind = WITNESS_STATE, .state = {.generation = 2, .step = STEPS}};
    hearing_begin(f->hearing, 1, "one");
    hearing_take(f->hearing, &f->state[0]);
    hear_steps(f, 0, 0, 2);
    hearing_take(f->hearing, &later);
    end(f, NOTHING);
}

static void a_committed_step_that_was_skipped_is_found(void **state)
{
    struct fixture *f = *state;
    f->steps[0][1].step.is_applied = 0;
    hear_all(f, 0);
    end(f, FIELD(committed_not_applied), 1, "one (0000000000000001) skipped step 1");
}

static void a_skipped_step_that_was_applied_is_found(void **state)
{
    struct fixture *f = *state;
    f->steps[0][SKIPPED].step.is_applied = 1;
    hear_all(f, 0);
    end(f, FIELD(applied_without_commit), 1, "applied step 2, which was to be skipped");
}

static void a_step_that_nobody_decided_is_found(void **state)
{
    struct fixture *f = *state;
    struct witness beyond = make_step(f, STEPS, 0);
    hear_all(f, 0);
    hearing_take(f->hearing, &beyond);
    witness_done(&beyond);
    end(f, FIELD(applied_without_commit), 1, "applied step 5 of lineage 0, which was never");
}

/* Worker one obeys a verdict on the step after the last; then the server's host falls, or not. */
static void hear_of_a_lost_verdict(struct fixture *f, uint64_t boot)
{
    struct witness beyond = make_step(f, STEPS, 0);
    struct witness held = {.kind = WITNESS_STATE,
                           .state = {.generation = 2, .step = STEPS + 1, .is_own = 1}};
    add_start(f, boot);
    hear_all(f, 0);
    hearing_take(f->hearing, &beyond);
    hearing_take(f->hearing, &held);
    witness_done(&beyond);
}

static void a_verdict_that_fell_with_the_servers_host_is_counted_and_no_finding(void **state)
{
    struct fixture *f = *state;
    hear_of_a_lost_verdict(f, BOOT + 1);
    end(f, FIELD(lost_with_host), 1, NULL);
}

static void a_verdict_that_a_server_lost_on_a_host_that_stood_is_found(void **state)
{
    struct fixture *f = *state;
    hear_of_a_lost_verdict(f, BOOT);
    struct hearing_result result;
    hearing_end(f->hearing, &result);
    assert_int_equal(result.lost_with_host, 0);
    assert_int_equal(result.applied_without_commit, 2); /* the step, and the state after it */
}

static void a_step_of_another_generation_is_found(void **state)
{
    struct fixture *f = *state;
    f->steps[0][1].step.generation = 2;
    hear_all(f, 0);
    end(f, FIELD(applied_without_commit), 1, "step 1 of generation 2, but it was decided in");
}

static void who_was_no_member_is_found(void **state)
{
    struct fixture *f = *state;
    hearing_begin(f->hearing, 3, "three");
    hearing_take(f->hearing, &f->state[0]);
    hear_steps(f, 0, 0, 1);
    end(f, FIELD(applied_without_commit), 1, "of which it was no member");
}

static void a_state_out_of_nowhere_is_found(void **state)
{
    struct fixture *f = *state;
    struct witness beyond = {.kind = WITNESS_STATE, .state = {.generation = 1, .step = STEPS + 1}};
    hearing_begin(f->hearing, 1, "one");
    hearing_take(f->hearing, &beyond);
    end(f, FIELD(applied_without_commit), 1, "held a state of step 6 in lineage 0");
}

static void another_gradient_is_found(void **state)
{
    struct fixture *f = *state;
    f->steps[1][4].step.digest ^= 1;
    hear_all(f, 1);
    end(f, FIELD(digests_differ), 1, "at step 4, decided was");
}

static void another_state_is_found(void **state)
{
    struct fixture *f = *state;
    f->state[1].state.digest ^= 1;
    hear_all(f, 0);
    hear_all(f, 1);
    end(f, FIELD(digests_differ), 1, "held different states of step 0");
}

static void another_state_than_the_servers_is_found(void **state)
{
    struct fixture *f = *state;
    f->state[1].state.digest ^= 1;
    hear_all(f, 1);
    end(f, FIELD(digests_differ), 1, "than the server's journal says");
}

/* Before the first step of a generation the server compares; whoever differs is sent away. */
static void a_state_of_a_generation_without_steps_was_healed(void **state)
{
    struct fixture *f = *state;
    f->state[1].state.digest ^= 1;
    f->state[1].state.generation = 0;
    hear_all(f, 0);
    hearing_begin(f->hearing, 2, "two");
    hearing_take(f->hearing, &f->state[1]);
    end(f, NOTHING);
}

static void a_step_done_twice_is_found(void **state)
{
    struct fixture *f = *state;
    hearing_begin(f->hearing, 1, "one");
    hear_steps(f, 0, 0, 2);
    hear_steps(f, 0, 1, 2);
    struct hearing_result result;
    hearing_end(f->hearing, &result);
    assert_true(result.duplicated >= OWN_SLOTS * SLOT_IMAGES);
    assert_non_null(strstr(hearing_finding(f->hearing, 0), "did step 1 a second time"));
}

static void a_slot_trained_by_two_is_found(void **state)
{
    struct fixture *f = *state;
    witness_done(&f->steps[1][4]);
    f->steps[1][4] = make_step(f, 4, OWN_SLOTS - 1); /* slots 2, 3, 4; 5 has nobody */
    hear_all(f, 0);
    hear_all(f, 1);
    struct hearing_result result;
    hearing_end(f->hearing, &result);
    assert_int_equal(result.duplicated, SLOT_IMAGES);
    assert_int_equal(result.lost, SLOT_IMAGES);
    assert_non_null(strstr(hearing_finding(f->hearing, 0), "slot 2 of step 4 was trained twice"));
    assert_non_null(strstr(hearing_finding(f->hearing, 1), "slot 5 of step 4 was trained by nobo"));
}

static void a_slot_that_no_member_had_is_lost(void **state)
{
    struct fixture *f = *state;
    f->steps[0][1].step.slot_count--;
    hear_all(f, 0);
    hear_all(f, 1);
    end(f, FIELD(lost), SLOT_IMAGES, "slot 2 of step 1 was trained by nobody");
}

static void another_record_than_planned_is_found(void **state)
{
    struct fixture *f = *state;
    f->steps[0][1].step.images[3].record ^= 1;
    hear_all(f, 0);
    end(f, FIELD(records_differ), 1, "at image 1 of slot 1 of step 1");
}

static void a_bad_record_that_was_trained_is_found(void **state)
{
    struct fixture *f = *state;
    f->steps[0][HURT].step.images[0] = image_at(f, HURT * BATCH);
    hear_all(f, 0);
    end(f, FIELD(records_differ), 1, "at image 0 of slot 0 of step 3");
}

static void another_position_than_planned_is_found(void **state)
{
    struct fixture *f = *state;
    f->steps[0][1].step.slots[1].position++;
    hear_all(f, 0);
    end(f, FIELD(records_differ), SLOT_IMAGES, "as slot 1 of step 1, which is not the plan");
}

/* Numbers that no honest worker says end no loop, and read no memory. */
static void nonsense_is_refused(void **state)
{
    struct fixture *f = *state;
    f->steps[0][1].step.slots[0] = (struct witness_slot){UINT32_MAX, UINT64_MAX};
    f->steps[0][1].step.step = UINT64_MAX - 1;
    f->steps[0][2].step.slots[0].position = UINT64_MAX;
    f->steps[0][3].step.lineage = 9;
    f->steps[0][4].step.slot_images = 1;
    hear_all(f, 0);
    struct hearing_result result;
    hearing_end(f->hearing, &result);
    assert_true(result.records_differ > 0 && result.journals_damaged > 0);
}

static void a_state_of_its_own_that_contradicts_its_steps_is_damage(void **state)
{
    struct fixture *f = *state;
    struct witness back = {.kind = WITNESS_STATE,
                           .state = {.generation = 2, .step = 1, .is_own = 1}};
    hearing_begin(f->hearing, 1, "one");
    hear_steps(f, 0, 0, 3);
    hearing_take(f->hearing, &back);
    end(f, FIELD(journals_damaged), 1, "was at step 3 of lineage 0 and says");
}

/* Whoever applied a step that a rollback voided later did right; it is trained again. */
static void a_voided_step_counts_for_nobody_and_against_nobody(void **state)
{
    struct fixture *f = *state;
    add(f,
        &(struct journal_record){.kind = JOURNAL_ROLLBACK, .rollback = {.step = 4, .lineage = 1}});
    add_step(f, 4, 1);
    hear_all(f, 0);
    hear_all(f, 1);
    struct witness restored = {.kind = WITNESS_STATE,
                               .state = {.generation = GENERATION, .step = 4, .lineage = 1}};
    for (int rank = 0; rank < 2; rank++) {
        hearing_begin(f->hearing, (uint64_t)rank + 1, "again");
        hearing_take(f->hearing, &restored);
        f->steps[rank][4].step.lineage = 1;
        hear_steps(f, rank, 4, 5);
    }
    assert_int_equal(end(f, NOTHING).steps_witnessed, STEPS);
}

#define ONE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ONE(honest_workers_agree),
        ONE(a_journal_that_just_ends_is_no_finding),
        ONE(a_step_left_out_was_not_applied),
        ONE(steps_that_could_not_be_written_are_no_finding),
        ONE(files_that_were_removed_are_no_finding),
        ONE(steps_left_out_before_a_state_of_its_own_were_not_applied),
        ONE(a_state_that_was_received_explains_a_gap),
        ONE(a_committed_step_that_was_skipped_is_found),
        ONE(a_skipped_step_that_was_applied_is_found),
        ONE(a_step_that_nobody_decided_is_found),
        ONE(a_verdict_that_fell_with_the_servers_host_is_counted_and_no_finding),
        ONE(a_verdict_that_a_server_lost_on_a_host_that_stood_is_found),
        ONE(a_step_of_another_generation_is_found),
        ONE(who_was_no_member_is_found),
        ONE(a_state_out_of_nowhere_is_found),
        ONE(another_gradient_is_found),
        ONE(another_state_is_found),
        ONE(another_state_than_the_servers_is_found),
        ONE(a_state_of_a_generation_without_steps_was_healed),
        ONE(a_step_done_twice_is_found),
        ONE(a_slot_trained_by_two_is_found),
        ONE(a_slot_that_no_member_had_is_lost),
        ONE(another_record_than_planned_is_found),
        ONE(a_bad_record_that_was_trained_is_found),
        ONE(another_position_than_planned_is_found),
        ONE(nonsense_is_refused),
        ONE(a_state_of_its_own_that_contradicts_its_steps_is_damage),
        ONE(a_voided_step_counts_for_nobody_and_against_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
