/* test_sim.c - thousands of lives of a run under fire; or, with --bug, the proof that this sees.
 * With SEER_TEST_LONG nine times as many more, from a seed that nobody has tried yet.
 *
 *   test_sim [--first N] [--seeds N] [--seed N] [--verbose] [--bug NAME]
 *            [--peaceful] [--straggler] */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "tests/sim/world.h"

static enum world_bug parse_bug(const char *name)
{
    static const char *const names[] = {
        [BUG_SEND_BEFORE_JOURNAL] = "send-first", [BUG_APPLY_WITHOUT_VERDICT] = "apply-first",
        [BUG_COUNT_STALE_VOTES] = "stale-votes",  [BUG_ACCUSE] = "accuse",
        [BUG_SPOIL_SNAPSHOT] = "spoilt-snapshot", [BUG_OWN_WORD] = "own-word",
        [BUG_KEEP_NO_SLICE] = "no-slice",
    };
    for (size_t i = 1; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(names[i], name) == 0)
            return (enum world_bug)i;
    fprintf(stderr, "test_sim: no bug '%s'\n", name);
    exit(2);
}

static double calm_step_ms(uint64_t seed, int64_t slot_ms, int is_by_speed)
{
    struct world *world = world_create(seed, BUG_NONE, 0);
    world->config.server.deal_by_speed = is_by_speed;
    double step_ms = world_run_calmly(world, slot_ms);
    world_destroy(world);
    return step_ms;
}

/* One of six members becomes four times slower: that takes an eighth of what they can do together.
 * Dealt evenly the step lasts four times longer; by speed it may last as long as whole slots allow
 * (one slot of the slow member instead of three of the others), half as long again at most. */
static int try_straggler(uint64_t seed)
{
    double healthy_ms = calm_step_ms(seed, WORLD_CALM_SLOT_MS, 1);
    double even_ms = calm_step_ms(seed, 4 * WORLD_CALM_SLOT_MS, 0);
    double dealt_ms = calm_step_ms(seed, 4 * WORLD_CALM_SLOT_MS, 1);
    printf("seed %llu: a step takes %.0f ms, with a straggler %.0f ms dealt evenly, %.0f ms by "
           "speed\n",
           (unsigned long long)seed, healthy_ms, even_ms, dealt_ms);
    return even_ms > 2.0 * healthy_ms && dealt_ms < 1.5 * healthy_ms ? 0 : 1;
}

struct tally {
    uint64_t events, commits, kills, server_kills, rollbacks, deals, takeovers, witnessed, falls,
        recovered, broken, closed;
};

struct choices {
    enum world_bug bug;
    int is_verbose, is_peaceful;
};

static void live_through(uint64_t first, uint64_t seeds, const struct choices *choices,
                         struct tally *tally)
{
    printf("seeds %llu to %llu\n", (unsigned long long)first,
           (unsigned long long)(first + seeds - 1));
    for (uint64_t seed = first; seed < first + seeds; seed++) {
        struct world *world = world_create(seed, choices->bug, choices->is_verbose);
        world->is_peaceful = choices->is_peaceful;
        world_run(world);
        tally->events += world->event_count;
        tally->commits += world->commits;
        tally->kills += world->kills;
        tally->server_kills += world->server_kills;
        tally->rollbacks += world->rollbacks;
        tally->deals += world->deals;
        tally->witnessed += world->witnessed;
        tally->takeovers += world->takeovers;
        tally->falls += world->falls;
        tally->recovered += world->recovered;
        tally->broken += world->broken;
        tally->closed += world->closed;
        world_destroy(world);
    }
}

int main(int argc, char **argv)
{
    uint64_t first = 1, seeds = 2000;
    struct choices choices = {.bug = BUG_NONE};
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "0";
        if (strcmp(argv[i], "--verbose") == 0) {
            choices.is_verbose = 1;
            continue;
        }
        if (strcmp(argv[i], "--peaceful") == 0) {
            choices.is_peaceful = 1;
            continue;
        }
        if (strcmp(argv[i], "--straggler") == 0)
            return try_straggler(1);
        if (strcmp(argv[i], "--first") == 0)
            first = strtoull(value, NULL, 10);
        else if (strcmp(argv[i], "--seeds") == 0)
            seeds = strtoull(value, NULL, 10);
        else if (strcmp(argv[i], "--bug") == 0)
            choices.bug = parse_bug(value);
        else if (strcmp(argv[i], "--seed") == 0) {
            first = strtoull(value, NULL, 10);
            seeds = 1;
        }
        i++;
    }
    struct tally tally = {0};
    live_through(first, seeds, &choices, &tally);
    if (getenv("SEER_TEST_LONG") != NULL && choices.bug == BUG_NONE && seeds > 1) {
        struct random fresh;
        random_init(&fresh, (uint64_t)clock_wall_ms(), RANDOM_STREAM_TEST, first, 0);
        live_through(random_u64(&fresh) >> 16, 9 * seeds, &choices, &tally);
    }
    printf(
        "%llu events, %llu steps committed, %llu workers and %llu servers killed, %llu "
        "rollbacks, %llu verdicts lost with the server's host and %llu of them brought back, %llu "
        "deals by speed, %llu members took over a prepared generation, %llu steps "
        "witnessed by all members, %llu shards broken and %llu closed, every promise kept\n",
        (unsigned long long)tally.events, (unsigned long long)tally.commits,
        (unsigned long long)tally.kills, (unsigned long long)tally.server_kills,
        (unsigned long long)tally.rollbacks, (unsigned long long)tally.falls,
        (unsigned long long)tally.recovered, (unsigned long long)tally.deals,
        (unsigned long long)tally.takeovers, (unsigned long long)tally.witnessed,
        (unsigned long long)tally.broken, (unsigned long long)tally.closed);
    if (choices.bug != BUG_NONE) {
        printf("but a bug was planted and not found\n");
        return 1;
    }
    return 0;
}
