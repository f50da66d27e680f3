/* test_stream.c - every record of a pass once, seeking at once, and a planned future that stays. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include "common/mem.h"
#include "common/random.h"
#include "server/pass.h"
#include "server/stream.h"

enum { SHARDS_MAX = 16, RECORDS_MAX = 80 };

uint64_t __real_random_permute(uint64_t position, uint64_t size, uint64_t seed,
                               enum random_stream stream, uint64_t index);
uint64_t __wrap_random_permute(uint64_t position, uint64_t size, uint64_t seed,
                               enum random_stream stream, uint64_t index);

static uint64_t permuted; /* places, since it was set to 0 */

uint64_t __wrap_random_permute(uint64_t position, uint64_t size, uint64_t seed,
                               enum random_stream stream, uint64_t index)
{
    permuted++;
    return __real_random_permute(position, size, seed, stream, index);
}

static struct stream *make(uint64_t seed, uint64_t block, uint64_t window, int is_repeating)
{
    return stream_create(&(struct stream_setup){.seed = seed,
                                                .block_records = block,
                                                .window_blocks = window,
                                                .is_repeating = is_repeating});
}

static void extend(struct stream *stream, uint64_t planned, uint64_t wanted)
{
    const struct stream_entry *entry;
    while (stream_next_entry(stream, planned, wanted, &entry))
        assert_ok(stream_append(stream, entry));
}

uint64_t __real_random_unpermute(uint64_t position, uint64_t size, uint64_t seed,
                                 enum random_stream stream, uint64_t index);
uint64_t __wrap_random_unpermute(uint64_t position, uint64_t size, uint64_t seed,
                                 enum random_stream stream, uint64_t index);

uint64_t __wrap_random_unpermute(uint64_t position, uint64_t size, uint64_t seed,
                                 enum random_stream stream, uint64_t index)
{
    permuted++;
    return __real_random_unpermute(position, size, seed, stream, index);
}

/* What passes promise and what was served of it. */
enum { PASSES_MAX = 1024 }; /* a stream of one image has many */

struct tally {
    uint8_t counts[PASSES_MAX][SHARDS_MAX][RECORDS_MAX]; /* how often each record was served */
    uint8_t is_listed[PASSES_MAX][SHARDS_MAX];           /* is the shard in the pass? */
};

static uint32_t add(struct stream *stream, uint64_t records)
{
    uint32_t id = 0;
    assert_ok(stream_add_shard(stream, records, &id));
    return id;
}

static void each_record_comes_once_per_pass(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct random random;
        random_init(&random, seed, RANDOM_STREAM_TEST, 0, 0);
        struct stream *stream =
            make(seed, 1 + random_below(&random, 9), 1 + random_below(&random, 5), 1);
        uint64_t records = 0;
        uint32_t shards = 1 + random_below(&random, 6);
        uint64_t sizes[8];
        for (uint32_t i = 0; i < shards; i++) {
            sizes[i] = 1 + random_below(&random, 60);
            records += sizes[i];
            add(stream, sizes[i]);
        }
        extend(stream, 0, 3 * records);
        struct tally *tally = mem_zero(sizeof(*tally));
        for (uint64_t position = 0; position < 3 * records; position++) {
            struct stream_place place = stream_find(stream, position);
            assert_true(place.record < sizes[place.shard]);
            assert_int_equal(place.pass, 1 + position / records);
            tally->counts[place.pass][place.shard][place.record]++;
        }
        for (uint64_t pass = 1; pass <= 3; pass++)
            for (uint32_t shard = 0; shard < shards; shard++)
                for (uint64_t record = 0; record < sizes[shard]; record++)
                    assert_int_equal(tally->counts[pass][shard][record], 1);
        mem_free(tally);
        stream_destroy(stream);
    }
}

static void passes_and_seeds_differ_in_order(void **state)
{
    (void)state;
    struct stream *one = make(1, 4, 4, 1), *two = make(2, 4, 4, 1);
    add(one, 200);
    add(two, 200);
    extend(one, 0, 400);
    extend(two, 0, 200);
    int same_pass = 0, same_seed = 0;
    for (uint64_t i = 0; i < 200; i++) {
        uint32_t record = stream_find(one, i).record;
        same_pass += record == stream_find(one, 200 + i).record;
        same_seed += record == stream_find(two, i).record;
    }
    assert_true(same_pass < 20);
    assert_true(same_seed < 20);
    stream_destroy(one);
    stream_destroy(two);
}

static void any_place_of_a_billion_images_is_found_at_once(void **state)
{
    (void)state;
    struct stream *stream = make(7, 1024, 16, 0);
    uint64_t calls = mem_call_count();
    add(stream, 400000000);
    add(stream, 600000000);
    extend(stream, 0, 1);
    assert_int_equal(stream_end(stream), 1000000000);
    assert_true(mem_call_count() - calls < 40); /* no table of records, blocks or windows */
    uint32_t seen[2] = {0, 0};
    for (uint64_t position = 0; position < 1000000000; position += 999983) {
        permuted = 0;
        struct stream_place place = stream_find(stream, position);
        assert_true(permuted <= 3); /* its window's records, and its block; wherever it is */
        assert_true(place.record < (place.shard == 0 ? 400000000u : 600000000u));
        seen[place.shard]++;
    }
    assert_true(seen[0] > 300 && seen[1] > 450);
    stream_destroy(stream);
}

/* As extend, and notes which shards each pass is of. */
static void extend_noted(struct stream *stream, uint64_t planned, uint64_t wanted,
                         struct tally *tally)
{
    const struct stream_entry *entry;
    while (stream_next_entry(stream, planned, wanted, &entry)) {
        assert_true(entry->pass < PASSES_MAX);
        for (uint32_t i = 0; i < entry->shard_count; i++)
            tally->is_listed[entry->pass][entry->shards[i]] = 1;
        assert_ok(stream_append(stream, entry));
    }
}

/* One shard of a pass that has been served to its end. What retired, before, in the midst of the
 * pass or after it, may be missing; all else came once. */
static void check_shard(uint64_t seed, const struct stream *stream, const struct tally *tally,
                        uint32_t pass, uint32_t shard)
{
    const uint8_t *counts = tally->counts[pass][shard];
    const uint8_t most = tally->is_listed[pass][shard];
    const uint8_t least = stream_is_retired(stream, shard) ? 0 : most;
    for (uint64_t record = 0; record < stream_shard_records(stream, shard); record++)
        if (counts[record] < least || counts[record] > most)
            fail_msg("seed %llu: pass %u served shard %u record %llu %u times, not %u to %u",
                     (unsigned long long)seed, pass, shard, (unsigned long long)record,
                     counts[record], least, most);
}

/* Serves all that is promised, and looks whether each pass kept its word. Each shard that is left
 * is in a pass; in one alone, unless the stream repeats. */
static void end_life(uint64_t seed, struct stream *stream, uint64_t horizon, int is_repeating,
                     struct tally *tally)
{
    stream_set_repeating(stream, 0);
    extend_noted(stream, horizon, UINT64_MAX, tally);
    for (; horizon < stream_end(stream); horizon++) {
        struct stream_place place = stream_find(stream, horizon);
        tally->counts[place.pass][place.shard][place.record]++;
    }
    for (uint32_t shard = 0; shard < stream_shard_count(stream); shard++) {
        uint32_t passes = 0;
        for (uint32_t pass = 0; pass < PASSES_MAX; pass++) {
            passes += tally->is_listed[pass][shard];
            check_shard(seed, stream, tally, pass, shard);
        }
        if (!stream_is_retired(stream, shard))
            assert_true(is_repeating ? passes >= 1 : passes == 1);
    }
}

/* One random life of a stream: shards come and retire, positions get planned. What was planned is
 * noted and must stay; what each pass served must be everything that was not retired, once. */
static void live_randomly(uint64_t seed)
{
    struct random random;
    random_init(&random, seed, RANDOM_STREAM_TEST, 1, 0);
    uint64_t block = 1 + random_below(&random, 7), window = 1 + random_below(&random, 4);
    int is_repeating = (int)random_below(&random, 2);
    struct stream *stream = make(seed, block, window, is_repeating);
    struct stream_place *planned = mem_array(4000, sizeof(*planned));
    struct tally *tally = mem_zero(sizeof(*tally));
    uint64_t horizon = 0;
    uint32_t shards = 0;
    for (int turn = 0; turn < 60 && horizon < 3000; turn++) {
        uint32_t choice = random_below(&random, 10);
        if ((choice < 2 || shards == 0) && shards < SHARDS_MAX)
            shards = add(stream, 1 + random_below(&random, RECORDS_MAX)) + 1;
        else if (choice == 2 && shards > 1)
            stream_retire_shard(stream, random_below(&random, shards));
        uint64_t wanted = horizon + random_below(&random, 60);
        extend_noted(stream, horizon, wanted, tally);
        for (uint64_t i = 0; i < horizon; i++)
            assert_memory_equal(&planned[i].record, &(uint32_t){stream_find(stream, i).record}, 4);
        for (; horizon < wanted && horizon < stream_end(stream); horizon++) {
            struct stream_place place = planned[horizon] = stream_find(stream, horizon);
            tally->counts[place.pass][place.shard][place.record]++;
        }
    }
    end_life(seed, stream, horizon, is_repeating, tally);
    mem_free(tally);
    mem_free(planned);
    stream_destroy(stream);
}

static void adding_and_retiring_never_changes_what_is_planned(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 80; seed++)
        live_randomly(seed);
}

static void new_shards_are_served_first_and_the_cut_pass_goes_on(void **state)
{
    (void)state;
    struct stream *stream = make(3, 4, 2, 0);
    add(stream, 100);
    extend(stream, 0, 10);
    uint32_t fresh = add(stream, 24);
    extend(stream, 10, 100);
    extend(stream, 10, 124);
    assert_int_equal(stream_end(stream), 124);
    uint8_t seen[100] = {0};
    for (uint64_t i = 0; i < 124; i++) {
        struct stream_place place = stream_find(stream, i);
        /* windows hold 8 records: the first boundary at or beyond 10 is 16 */
        assert_int_equal(place.shard == fresh, i >= 16 && i < 40);
        if (place.shard != fresh)
            seen[place.record]++;
    }
    for (int i = 0; i < 100; i++)
        assert_int_equal(seen[i], 1);
    stream_destroy(stream);
}

/* An entry of shards 0.. with some of them dropped, those of `dropped` among them. */
static void drop_more(struct random *random, struct stream_entry *entry, uint64_t windows)
{
    uint8_t is_dropped[SHARDS_MAX] = {0};
    for (uint32_t i = 0; i < entry->dropped_count; i++)
        is_dropped[entry->dropped[i]] = 1;
    entry->dropped_count = 0;
    for (uint32_t i = 0; i < entry->shard_count; i++)
        if (is_dropped[i] || random_below(random, 3) == 0)
            entry->dropped[entry->dropped_count++] = i;
    entry->first_window += random_below(random, (uint32_t)(windows - entry->first_window) + 1);
}

static void what_is_kept_counts_on_from_an_earlier_entry(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct random random;
        random_init(&random, seed, RANDOM_STREAM_TEST, 2, 0);
        const struct stream_setup setup = {.seed = seed,
                                           .block_records = 1 + random_below(&random, 9),
                                           .window_blocks = 1 + random_below(&random, 4)};
        uint32_t shards[SHARDS_MAX], dropped[SHARDS_MAX];
        uint64_t records[SHARDS_MAX];
        struct stream_entry entry = {
            .pass = 1 + random_below(&random, 5), .shards = shards, .dropped = dropped};
        entry.shard_count = 1 + random_below(&random, SHARDS_MAX);
        for (uint32_t i = 0; i < entry.shard_count; i++) {
            shards[i] = i;
            records[i] = 1 + random_below(&random, RECORDS_MAX);
        }
        struct pass *before = pass_create(&setup, &entry, records, NULL);
        for (int turn = 0; turn < 4; turn++) {
            drop_more(&random, &entry, before->windows);
            struct pass *anew = pass_create(&setup, &entry, records, NULL);
            struct pass *on = pass_create(&setup, &entry, records, before);
            for (uint64_t window = entry.first_window; window <= on->windows; window++)
                assert_int_equal(pass_window_start(on, window), pass_window_start(anew, window));
            pass_destroy(anew);
            pass_destroy(before);
            before = on;
        }
        pass_destroy(before);
    }
}

/* Counting anew what a pass keeps took the server a third of a second at 10^8 images, and as much
 * for every such entry of the journal when it started. */
static void retiring_costs_the_blocks_of_the_shard_not_of_the_pass(void **state)
{
    (void)state;
    struct stream *stream = make(7, 64, 16, 1);
    for (int i = 0; i < 100; i++)
        add(stream, 64000);
    extend(stream, 0, 1);
    for (uint32_t shard = 0; shard < 20; shard++) {
        stream_retire_shard(stream, shard);
        permuted = 0;
        extend(stream, 100 * shard, 100 * shard + 1);
        assert_true(permuted >= 1000 && permuted <= 1001); /* of 100000 */
    }
    assert_int_equal(stream_end(stream) + stream_retired_records(stream, UINT64_MAX), 6400000);
    stream_destroy(stream);
}

static void a_retired_shard_is_passed_over_and_counted(void **state)
{
    (void)state;
    struct stream *stream = make(3, 4, 2, 0);
    add(stream, 90);
    uint32_t old = add(stream, 70);
    extend(stream, 0, 20);
    stream_retire_shard(stream, old);
    extend(stream, 20, 160);
    uint64_t end = stream_end(stream), served = 0, of_old = 0;
    for (; served < end; served++) {
        struct stream_place place = stream_find(stream, served);
        of_old += place.shard == old;
        assert_true(place.shard != old || served < 24);
    }
    assert_int_equal(served - of_old, 90);
    assert_int_equal(stream_retired_records(stream, end), 70 - of_old);
    assert_false(stream_uses_shard(stream, old, 24));
    stream_destroy(stream);
}

static void a_rollback_serves_the_rest_of_a_cut_pass_once(void **state)
{
    (void)state;
    struct stream *stream = make(5, 4, 2, 0);
    add(stream, 100);
    extend(stream, 0, 40);
    add(stream, 16);
    extend(stream, 40, 116); /* the pass is cut at 40 */
    add(stream, 8);
    extend(stream, 16,
           124); /* planned fell back to 16: the pass is cut again, before the first cut */
    assert_int_equal(stream_end(stream), 124);
    uint8_t seen[3][100] = {{0}};
    for (uint64_t i = 0; i < 124; i++) {
        struct stream_place place = stream_find(stream, i);
        seen[place.shard][place.record]++;
    }
    for (int i = 0; i < 100; i++)
        assert_int_equal(seen[0][i], 1);
    for (int i = 0; i < 16; i++)
        assert_int_equal(seen[1][i], 1);
    stream_destroy(stream);
}

static void forgetting_the_past_leaves_the_future_alone(void **state)
{
    (void)state;
    struct stream *stream = make(9, 4, 2, 1);
    add(stream, 50);
    extend(stream, 0, 1000);
    struct stream_place before = stream_find(stream, 777);
    stream_forget(stream, 700);
    struct stream_place after = stream_find(stream, 777);
    assert_memory_equal(&before, &after, sizeof(before));
    stream_destroy(stream);
}

static void entries_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    struct stream *stream = make(9, 4, 2, 1);
    uint32_t unknown = 3, id;
    assert_fails(
        stream_append(stream, &(struct stream_entry){.shards = &unknown, .shard_count = 1}),
        ERR_CORRUPT, "unknown shards");
    add(stream, 10);
    uint32_t known = 0;
    assert_fails(
        stream_append(stream,
                      &(struct stream_entry){.start = 5, .shards = &known, .shard_count = 1}),
        ERR_CORRUPT, "gap");
    assert_fails(stream_add_shard(stream, 0, &id), ERR_INPUT, "records");
    stream_destroy(stream);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_record_comes_once_per_pass),
        cmocka_unit_test(passes_and_seeds_differ_in_order),
        cmocka_unit_test(any_place_of_a_billion_images_is_found_at_once),
        cmocka_unit_test(adding_and_retiring_never_changes_what_is_planned),
        cmocka_unit_test(new_shards_are_served_first_and_the_cut_pass_goes_on),
        cmocka_unit_test(what_is_kept_counts_on_from_an_earlier_entry),
        cmocka_unit_test(retiring_costs_the_blocks_of_the_shard_not_of_the_pass),
        cmocka_unit_test(a_retired_shard_is_passed_over_and_counted),
        cmocka_unit_test(a_rollback_serves_the_rest_of_a_cut_pass_once),
        cmocka_unit_test(forgetting_the_past_leaves_the_future_alone),
        cmocka_unit_test(entries_that_do_not_fit_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
