/* test_collective.c - sums among real processes through mpirun, and every way to die in one. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include <dirent.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/hash.h"
#include "worker/collective/local_group.h"
#include "worker/collective/ring.h"

enum { REGION_BYTES = 48 << 20, TIMEOUT_MS = 20000, MEMBERS_MAX = 5 };

/* In memory shared with the members. */
struct board {
    uint64_t digests[MEMBERS_MAX];
    _Atomic uint32_t started[MEMBERS_MAX]; /* operations that this member got through */
    _Atomic int64_t failed_ms[MEMBERS_MAX];
    struct bell bell; /* rung whenever `started` moves */
};

static struct board *board;

static void await_started(int rank, uint32_t wanted)
{
    for (;;) {
        uint32_t seen = bell_count(&board->bell);
        if (atomic_load(&board->started[rank]) >= wanted)
            return;
        bell_wait(&board->bell, seen, 1000000);
    }
}

static void note_started(int rank)
{
    atomic_fetch_add(&board->started[rank], 1);
    bell_ring(&board->bell);
}

static float value_of(int rank, size_t i)
{
    return (float)((i * 2654435761u + (size_t)rank * 40503u) % 1000) / 256.0f - 1.7f;
}

static void fill(float *data, size_t count, int rank)
{
    for (size_t i = 0; i < count; i++)
        data[i] = value_of(rank, i);
}

static int sum_is_right(const float *data, size_t count, int size, enum reduce_op op)
{
    for (size_t i = 0; i < count; i++) {
        double expected = op == REDUCE_SUM ? 0 : -1e30;
        for (int rank = 0; rank < size; rank++) {
            double value = value_of(rank, i);
            expected = op == REDUCE_SUM ? expected + value : fmax(expected, value);
        }
        if (fabs(data[i] - expected) > 1e-5 * size)
            return 0;
    }
    return 1;
}

static const size_t counts[] = {1, 2, 3, 7, 64, 1000, 4097, 65536, 1000003, 2500001};

static int check_sums(struct collective *collective, float *region, void *argument)
{
    (void)argument;
    int rank = collective_rank(collective), size = collective_size(collective);
    uint64_t digest = 0;
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        for (int op = REDUCE_SUM; op <= REDUCE_MAX; op++) {
            fill(region, counts[i], rank);
            if (collective_allreduce(collective, region, counts[i], op) != OK ||
                !sum_is_right(region, counts[i], size, op))
                return 1;
            digest = hash_bytes_seed(region, counts[i] * sizeof(float), digest);
        }
    }
    board->digests[rank] = digest;
    return 0;
}

static int check_copies(struct collective *collective, float *region, void *argument)
{
    (void)argument;
    int rank = collective_rank(collective), size = collective_size(collective);
    for (int root = 0; root < size; root++) {
        fill(region, 3000000, rank);
        if (collective_broadcast(collective, region, 3000000 * sizeof(float), root) != OK)
            return 1;
        for (size_t i = 0; i < 3000000; i++) {
            if (region[i] != value_of(root, i))
                return 2;
        }
    }
    static const size_t parts[] = {1, 5, 1024, 2000000};
    for (int p = 0; p < 4; p++) {
        size_t part = parts[p];
        fill(region + (size_t)rank * part, part, rank);
        if (collective_allgather(collective, region, part * sizeof(float)) != OK)
            return 3;
        for (int other = 0; other < size; other++) {
            for (size_t i = 0; i < part; i++) {
                if (region[(size_t)other * part + i] != value_of(other, i))
                    return 4;
            }
        }
    }
    return 0;
}

/* Buckets in the background, and small blocking sums between them that do not wait for them. */
static int check_overlap(struct collective *collective, float *region, void *argument)
{
    enum { BUCKETS = 40, BUCKET = 200000, SMALL = 64 };
    (void)argument;
    int rank = collective_rank(collective), size = collective_size(collective);
    uint64_t tickets[BUCKETS];
    float *small = region + (size_t)BUCKETS * BUCKET;
    for (int b = 0; b < BUCKETS; b++) {
        fill(region + (size_t)b * BUCKET, BUCKET, rank);
        if (collective_allreduce_start(collective, region + (size_t)b * BUCKET, BUCKET, REDUCE_SUM,
                                       &tickets[b]) != OK)
            return 1;
        fill(small, SMALL, rank);
        if (collective_allreduce(collective, small, SMALL, REDUCE_SUM) != OK ||
            !sum_is_right(small, SMALL, size, REDUCE_SUM))
            return 2;
    }
    if (collective_wait(collective, tickets[BUCKETS / 2]) != OK ||
        collective_wait(collective, tickets[3]) != OK ||
        collective_wait(collective, tickets[BUCKETS - 1]) != OK)
        return 3;
    for (int b = 0; b < BUCKETS; b++) {
        if (!sum_is_right(region + (size_t)b * BUCKET, BUCKET, size, REDUCE_SUM))
            return 4;
    }
    return 0;
}

/* Neighbours in pairs, then the pairs between them, cut anew at every round; buckets in the
 * background do not mind. */
static int check_subgroups(struct collective *collective, float *region, void *argument)
{
    enum { ROUNDS = 5, BUCKET = 2000000 };
    (void)argument;
    const int rank = collective_rank(collective), size = collective_size(collective);
    const size_t some[] = {5, 1300000}; /* more than one piece */
    for (int round = 0; round < ROUNDS; round++) {
        const int pair = (rank + round) / 2, between = (rank + round + 1) / 2;
        const int is_alone = (rank == 0 && between == (round + 1) / 2 && (round + 1) % 2 != 0) ||
                             (rank == size - 1 && (rank + round + 1) % 2 == 0);
        const int colors[COLLECTIVE_CUTS] = {pair, is_alone ? COLLECTIVE_NO_COLOR : between};
        uint64_t ticket = 0;
        if (collective_split(collective, (uint64_t)round + 1, colors) != OK)
            return 1;
        for (int i = 0; i < 2; i++) {
            struct collective_part parts[COLLECTIVE_CUTS] = {
                {region, some[i]}, {region + some[i], is_alone ? 0 : some[i]}};
            float *bucket = region + 2 * some[i];
            fill(bucket, BUCKET, rank);
            if (collective_allreduce_start(collective, bucket, BUCKET, REDUCE_SUM, &ticket) != OK)
                return 2;
            for (size_t k = 0; k < 2 * some[i]; k++)
                region[k] = (float)(1 << rank);
            if (collective_allreduce_within(collective, parts, REDUCE_SUM) != OK ||
                collective_wait(collective, ticket) != OK)
                return 3;
            float wanted[COLLECTIVE_CUTS] = {0, 0};
            for (int other = 0; other < size; other++) {
                wanted[0] += (other + round) / 2 == pair ? (float)(1 << other) : 0;
                wanted[1] += (other + round + 1) / 2 == between ? (float)(1 << other) : 0;
            }
            for (size_t k = 0; k < 2 * some[i]; k++)
                if (region[k] != wanted[k / some[i]])
                    return 4;
            if (!sum_is_right(bucket, BUCKET, size, REDUCE_SUM))
                return 5;
        }
    }
    return 0;
}

/* More operations than the ring has places. */
static int check_many(struct collective *collective, float *region, void *argument)
{
    (void)argument;
    uint64_t ticket = 0;
    for (int round = 0; round < 3000; round++) {
        region[round] = (float)round;
        if (collective_allreduce_start(collective, region + round, 1, REDUCE_SUM, &ticket) != OK)
            return 1;
        if (round % COLLECTIVE_PENDING_MAX == 0 && collective_wait(collective, ticket) != OK)
            return 2;
    }
    if (collective_wait(collective, ticket) != OK)
        return 3;
    for (int round = 0; round < 3000; round++) {
        if (region[round] != (float)(round * collective_size(collective)))
            return 4;
    }
    return 0;
}

/* Sums for ever until it fails, which must be "somebody died" and not the deadline. */
static int sum_until_death(struct collective *collective, float *region, void *argument)
{
    size_t count = *(const size_t *)argument;
    int rank = collective_rank(collective);
    for (;;) {
        enum status status = collective_allreduce(collective, region, count, REDUCE_MAX);
        if (status == OK) {
            note_started(rank);
            continue;
        }
        board->failed_ms[rank] = clock_ms();
        /* What comes after fails alike, at once. */
        return status == ERR_UNREACHABLE &&
                       collective_broadcast(collective, region, 64, 0) == ERR_UNREACHABLE
                   ? 42
                   : 1;
    }
}

static void group_passes(int size, int (*run)(struct collective *, float *, void *))
{
    struct local_group group;
    struct local_member member = {.run = run, .timeout_ms = TIMEOUT_MS};
    int ended[LOCAL_MEMBERS_MAX];
    memset(board, 0, sizeof(*board));
    assert_ok(local_group_start(&group, size, REGION_BYTES, &member));
    local_group_end(&group, ended);
    for (int rank = 0; rank < size; rank++)
        assert_int_equal(ended[rank], 0);
}

static void sums_are_right_and_equal_bits_on_all_of_1_to_5_members(void **state)
{
    (void)state;
    for (int size = 1; size <= MEMBERS_MAX; size++) {
        group_passes(size, check_sums);
        for (int rank = 1; rank < size; rank++)
            assert_true(board->digests[rank] == board->digests[0]);
    }
}

static void copies_arrive_from_every_root_and_every_part(void **state)
{
    (void)state;
    group_passes(1, check_copies);
    group_passes(3, check_copies);
}

static void background_sums_overlap_with_small_blocking_ones(void **state)
{
    (void)state;
    group_passes(2, check_overlap);
    group_passes(3, check_overlap);
}

static void members_are_cut_into_subgroups_and_cut_anew(void **state)
{
    (void)state;
    group_passes(1, check_subgroups);
    group_passes(2, check_subgroups);
    group_passes(5, check_subgroups);
}

static void more_operations_than_places_in_the_ring_are_fine(void **state)
{
    (void)state;
    group_passes(2, check_many);
}

/* Calls found(pid) for every live process whose arguments hold this launch's nonce. */
static int helper_pids(const struct local_group *group, pid_t *pids, int pids_max)
{
    char nonce[32];
    snprintf(nonce, sizeof(nonce), "%llu", (unsigned long long)group->launch.nonce);
    int n = 0;
    DIR *proc = opendir("/proc");
    assert_non_null(proc);
    for (struct dirent *entry; (entry = readdir(proc)) != NULL && n < pids_max;) {
        char path[300], line[8192];
        snprintf(path, sizeof(path), "/proc/%s/cmdline", entry->d_name);
        FILE *file = strtol(entry->d_name, NULL, 10) > 0 ? fopen(path, "r") : NULL;
        if (file == NULL)
            continue;
        size_t length = fread(line, 1, sizeof(line) - 1, file);
        fclose(file);
        line[length] = 0;
        if (strstr(line, "seer-helper") != NULL && memmem(line, length, nonce, strlen(nonce)))
            pids[n++] = (pid_t)strtol(entry->d_name, NULL, 10);
    }
    closedir(proc);
    return n;
}

/* A process that is being killed may be seen for a moment still. */
static void await_no_helpers(const struct local_group *group)
{
    pid_t left[16];
    int count = helper_pids(group, left, 16);
    for (int i = 0; i < count; i++) {
        int fd = (int)syscall(SYS_pidfd_open, left[i], 0);
        struct pollfd polled = {.fd = fd, .events = POLLIN};
        assert_true(fd < 0 || poll(&polled, 1, TIMEOUT_MS) == 1);
        if (fd >= 0)
            close(fd);
    }
}

static void wait_for_sums(int size, uint32_t wanted)
{
    for (int rank = 0; rank < size; rank++)
        await_started(rank, wanted);
}

enum victim { VICTIM_MEMBER, VICTIM_HELPER, VICTIM_MPIRUN };

static void kill_one(struct local_group *group, enum victim victim)
{
    pid_t pids[16];
    switch (victim) {
    case VICTIM_MEMBER:
        kill(group->members[1], SIGKILL);
        break;
    case VICTIM_HELPER:
        assert_true(helper_pids(group, pids, 16) >= group->size);
        kill(pids[0] == group->mpirun ? pids[1] : pids[0], SIGKILL);
        break;
    case VICTIM_MPIRUN:
        kill(group->mpirun, SIGKILL);
        break;
    }
}

static void all_others_fail_fast(size_t count, int size, enum victim victim)
{
    struct local_group group;
    struct local_member member = {
        .run = sum_until_death, .argument = &count, .timeout_ms = TIMEOUT_MS};
    int ended[LOCAL_MEMBERS_MAX];
    memset(board, 0, sizeof(*board));
    assert_ok(local_group_start(&group, size, REGION_BYTES, &member));
    wait_for_sums(size, 3);
    int64_t killed_ms = clock_ms();
    kill_one(&group, victim);
    local_group_end(&group, ended);
    for (int rank = 0; rank < size; rank++) {
        if (victim == VICTIM_MEMBER && rank == 1) {
            assert_true(WIFSIGNALED(ended[rank]));
            continue;
        }
        assert_int_equal(WEXITSTATUS(ended[rank]), 42);
        int64_t took_ms = board->failed_ms[rank] - killed_ms;
        print_message("victim=%d floats=%zu rank=%d failed_after_ms=%lld\n", (int)victim, count,
                      rank, (long long)took_ms);
        assert_true(took_ms < TIMEOUT_MS / 2);
    }
    await_no_helpers(&group);
    char scratch[HELPER_SCRATCH_BYTES];
    helper_scratch(&group.launch, scratch);
    assert_int_not_equal(access(scratch, F_OK), 0);
}

static enum status open_unless_second(void *argument, struct collective_group *form)
{
    (void)argument;
    (void)form;
    if (form->rank == 1)
        return fail(ERR_CORRUPT, "no room for the second");
    pause(); /* one that has much to open */
    return OK;
}

static int never_runs(struct collective *collective, float *region, void *argument)
{
    (void)collective;
    (void)region;
    (void)argument;
    return 1;
}

static void who_cannot_open_ends_a_group_that_cannot_form(void **state)
{
    (void)state;
    struct local_group group;
    struct local_member member = {.run = never_runs,
                                  .open = open_unless_second,
                                  .timeout_ms = TIMEOUT_MS,
                                  .form_timeout_ms = 3600 * 1000};
    int ended[LOCAL_MEMBERS_MAX];
    assert_ok(local_group_start(&group, 3, 0, &member));
    local_group_end(&group, ended);
    for (int rank = 0; rank < 3; rank++)
        assert_int_equal(WEXITSTATUS(ended[rank]), 100 + ERR_CORRUPT);
    await_no_helpers(&group);
}

static void death_of_a_member_a_helper_or_mpirun_ends_all_waits_and_leaves_nothing(void **state)
{
    (void)state;
    for (int victim = VICTIM_MEMBER; victim <= VICTIM_MPIRUN; victim++) {
        all_others_fail_fast(16, 3, victim);
        all_others_fail_fast(4 << 20, 3, victim);
    }
}

static void twenty_groups_in_a_row_die_and_form_again(void **state)
{
    (void)state;
    int64_t start_ms = clock_ms();
    for (int i = 0; i < 20; i++)
        all_others_fail_fast(1 << 18, 2, i % 3);
    print_message("ms_per_cycle=%lld\n", (long long)(clock_ms() - start_ms) / 20);
}

static void *abort_it(void *argument)
{
    collective_abort(argument); /* before or while the other waits: right either way */
    return NULL;
}

/* Rank 0 waits for a sum that rank 1 never joins, until its own thread aborts it. */
static int wait_until_aborted(struct collective *collective, float *region, void *argument)
{
    (void)argument;
    if (collective_rank(collective) == 1) {
        await_started(0, 1);
        return 0;
    }
    pthread_t thread;
    pthread_create(&thread, NULL, abort_it, collective);
    enum status status = collective_allreduce(collective, region, 1000, REDUCE_SUM);
    pthread_join(thread, NULL);
    note_started(0);
    return status == ERR_STALE ? 0 : 1;
}

static void abort_from_another_thread_ends_a_wait(void **state)
{
    (void)state;
    group_passes(2, wait_until_aborted);
}

/* Rank 1 stays away: rank 0 must not wait longer than the deadline. */
static int wait_past_deadline(struct collective *collective, float *region, void *argument)
{
    (void)argument;
    if (collective_rank(collective) == 1) {
        await_started(0, 1);
        return 0;
    }
    enum status status = collective_allreduce(collective, region, 1000, REDUCE_SUM);
    note_started(0);
    return status == ERR_TIMEOUT ? 0 : 1;
}

static void wait_ends_at_its_deadline(void **state)
{
    (void)state;
    struct local_group group;
    struct local_member member = {.run = wait_past_deadline, .timeout_ms = 100};
    int ended[LOCAL_MEMBERS_MAX];
    memset(board, 0, sizeof(*board));
    assert_ok(local_group_start(&group, 2, REGION_BYTES, &member));
    local_group_end(&group, ended);
    assert_int_equal(ended[0], 0);
    assert_int_equal(ended[1], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_are_right_and_equal_bits_on_all_of_1_to_5_members),
        cmocka_unit_test(who_cannot_open_ends_a_group_that_cannot_form),
        cmocka_unit_test(copies_arrive_from_every_root_and_every_part),
        cmocka_unit_test(background_sums_overlap_with_small_blocking_ones),
        cmocka_unit_test(members_are_cut_into_subgroups_and_cut_anew),
        cmocka_unit_test(more_operations_than_places_in_the_ring_are_fine),
        cmocka_unit_test(death_of_a_member_a_helper_or_mpirun_ends_all_waits_and_leaves_nothing),
        cmocka_unit_test(twenty_groups_in_a_row_die_and_form_again),
        cmocka_unit_test(abort_from_another_thread_ends_a_wait),
        cmocka_unit_test(wait_ends_at_its_deadline),
    };
    board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (board == MAP_FAILED)
        return 1;
    if (system("mpirun --version >/dev/null 2>&1") != 0)
        test_skip("mpirun is not installed (deploy/install-deps.sh)");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
