/* test_nccl.c - the nccl engine among real processes on emulated GPUs, and every way NCCL can fail.
 */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/hash.h"
#include "worker/collective/collective.h"
#include "worker/device/device.h"

enum {
    MEMBERS_MAX = 4,
    FLOATS = 3 << 19, /* of the region: more than one piece of the fake's */
    LONG_MS = 60000,
    SHORT_MS = 1500,
    SLEEP_MS = 4000, /* beyond every short deadline */
};

/* One member of a group, in a process of its own. */
struct member {
    int rank, size;
    int cancel_fd;
    enum collective_wire wire;
    void *wire_memory;
    size_t wire_bytes;
    int64_t form_ms, timeout_ms, abort_ms;
    struct device *device;
    float *region;
    struct collective *collective;
};

/* Shared by all members: how they meet, what they saw. */
static struct board {
    _Atomic int is_published;
    uint8_t id[COLLECTIVE_ID_BYTES];
    uint64_t digests[MEMBERS_MAX];
    _Atomic int through;
} * board;

static char folder[] = "/tmp/everseer-nccl-XXXXXX";

static void publish(void *errand, const uint8_t id[COLLECTIVE_ID_BYTES])
{
    (void)errand;
    memcpy(board->id, id, COLLECTIVE_ID_BYTES);
    atomic_store(&board->is_published, 1);
}

static void nap(void)
{
    const struct timespec moment = {.tv_nsec = 1000000};
    nanosleep(&moment, NULL);
}

static enum status await(void *errand, int64_t deadline_ms, uint8_t ret_id[COLLECTIVE_ID_BYTES])
{
    (void)errand;
    for (; !atomic_load(&board->is_published); nap())
        if (clock_ms() > deadline_ms)
            return fail(ERR_TIMEOUT, "nobody published");
    memcpy(ret_id, board->id, COLLECTIVE_ID_BYTES);
    return OK;
}

static enum status form(struct member *member)
{
    const struct collective_group group = {
        .engine = COLLECTIVE_NCCL,
        .run = 1,
        .generation = 9,
        .rank = member->rank,
        .size = member->size,
        .region = member->region,
        .region_bytes = FLOATS * sizeof(float),
        .device = member->device,
        .region_fd = -1,
        .listen_fd = -1,
        .cancel_fd = member->cancel_fd,
        .form_timeout_ms = member->form_ms,
        .timeout_ms = member->timeout_ms,
        .abort_timeout_ms = member->abort_ms,
        .wire = member->wire,
        .wire_memory = member->wire_memory,
        .wire_bytes = member->wire_bytes,
        .publish = publish,
        .await = await,
    };
    return collective_form(&group, &member->collective);
}

/* What goes wrong at the n-th operation from now in this process. */
static void order_fault(const char *kind, int number)
{
    char path[64];
    snprintf(path, sizeof(path), "%s/fault-%d", folder, (int)getpid());
    FILE *file = fopen(path, "w");
    if (file == NULL || fprintf(file, "%s %d\n", kind, number) < 0 || fclose(file) != 0)
        _exit(99);
}

static float value_of(int rank, size_t i)
{
    return (float)((i * 2654435761u + (size_t)rank * 40503u) % 1000) / 256.0f - 1.7f;
}

static void fill(const struct member *m, size_t at, size_t count)
{
    float *values = malloc(count * sizeof(*values));
    for (size_t i = 0; i < count; i++)
        values[i] = value_of(m->rank, i);
    m->device->ops->upload(m->device, m->region + at, values, count * sizeof(*values));
    free(values);
}

/* The sum of all members' values is at `at`, within `error` of each. */
static int is_sum(const struct member *m, size_t at, size_t count, double error, uint64_t *digest)
{
    float *values = malloc(count * sizeof(*values));
    int is_right = 1;
    m->device->ops->download(m->device, values, m->region + at, count * sizeof(*values));
    for (size_t i = 0; i < count; i++) {
        double expected = 0;
        for (int rank = 0; rank < m->size; rank++)
            expected += value_of(rank, i);
        is_right &= fabs(values[i] - expected) <= error;
    }
    *digest = hash_bytes_seed(values, count * sizeof(*values), *digest);
    free(values);
    return is_right;
}

/* Runs in each member; the exit code of its process. */
static int check_sums(struct member *m)
{
    const size_t counts[] = {1, 7, 4097, 600001};
    uint64_t ticket = 0, digest = 0;
    if (form(m) != OK)
        return 1;
    for (size_t i = 0; i < sizeof(counts) / sizeof(*counts); i++) {
        fill(m, 0, counts[i]);
        if (collective_allreduce(m->collective, m->region, counts[i], REDUCE_SUM) != OK ||
            !is_sum(m, 0, counts[i], 1e-5 * m->size, &digest))
            return 2;
    }
    for (size_t i = 0; i < 8; i++) { /* small ones overtake buckets */
        fill(m, i * 65536, 65536);
        if (collective_allreduce_start(m->collective, m->region + i * 65536, 65536, REDUCE_SUM,
                                       &ticket) != OK)
            return 3;
        fill(m, 8 * 65536, 64);
        if (collective_allreduce(m->collective, m->region + 8 * 65536, 64, REDUCE_SUM) != OK ||
            !is_sum(m, 8 * 65536, 64, 1e-5 * m->size, &digest))
            return 4;
    }
    if (collective_wait(m->collective, ticket) != OK)
        return 5;
    for (size_t i = 0; i < 8; i++)
        if (!is_sum(m, i * 65536, 65536, 1e-5 * m->size, &digest))
            return 6;
    board->digests[m->rank] = digest;
    return 0;
}

static int check_copies(struct member *m)
{
    float values[100];
    if (form(m) != OK)
        return 1;
    for (int root = 0; root < m->size; root++) {
        fill(m, 0, 300001);
        if (collective_broadcast(m->collective, m->region, 300001 * sizeof(float), root) != OK)
            return 2;
        m->device->ops->download(m->device, values, m->region + 300001 - 100, sizeof(values));
        for (size_t i = 0; i < 100; i++)
            if (values[i] != value_of(root, 300001 - 100 + i))
                return 3;
    }
    fill(m, (size_t)m->rank * 1000, 1000);
    if (collective_allgather(m->collective, m->region, 1000 * sizeof(float)) != OK)
        return 4;
    for (int rank = 0; rank < m->size; rank++) {
        m->device->ops->download(m->device, values, m->region + (size_t)rank * 1000,
                                 sizeof(values));
        if (values[99] != value_of(rank, 99))
            return 5;
    }
    return 0;
}

/* The colour of a member in a cut of four, by round: pairs and the pair between them; three and
 * one; nobody. */
static const int cuts[3][COLLECTIVE_CUTS][MEMBERS_MAX] = {
    {{0, 0, 1, 1}, {COLLECTIVE_NO_COLOR, 5, 5, COLLECTIVE_NO_COLOR}},
    {{7, 7, 7, COLLECTIVE_NO_COLOR}, {-1, -1, -1, -1}},
    {{-1, -1, -1, -1}, {-1, -1, -1, -1}},
};

static enum status split(struct member *m, int round)
{
    const int colors[COLLECTIVE_CUTS] = {cuts[round][0][m->rank], cuts[round][1][m->rank]};
    return collective_split(m->collective, (uint64_t)round + 1, colors);
}

/* Each member's own value, summed within its subgroups. */
static enum status sum_within(struct member *m, int round, size_t count)
{
    struct collective_part parts[COLLECTIVE_CUTS] = {{0}};
    for (int cut = 0; cut < COLLECTIVE_CUTS; cut++) {
        float *at = m->region + (size_t)cut * count;
        fill(m, (size_t)cut * count, count);
        if (cuts[round][cut][m->rank] != COLLECTIVE_NO_COLOR)
            parts[cut] = (struct collective_part){at, count};
    }
    return collective_allreduce_within(m->collective, parts, REDUCE_SUM);
}

static int is_sum_within(const struct member *m, int round, size_t count)
{
    float *values = malloc(count * sizeof(*values));
    int is_right = 1;
    for (int cut = 0; cut < COLLECTIVE_CUTS; cut++) {
        const int *colors = cuts[round][cut];
        m->device->ops->download(m->device, values, m->region + (size_t)cut * count,
                                 count * sizeof(*values));
        for (size_t i = 0; i < count; i++) {
            double expected = 0;
            for (int rank = 0; rank < m->size; rank++)
                if (rank == m->rank || (colors[m->rank] >= 0 && colors[rank] == colors[m->rank]))
                    expected += value_of(rank, i);
            is_right &= fabs(values[i] - expected) <= 1e-5 * m->size;
        }
    }
    free(values);
    return is_right;
}

/* Cut anew in the course of a generation, beside sums of all; the same key again is no cut. */
static int check_subgroups(struct member *m)
{
    uint64_t ticket = 0, digest = 0;
    if (form(m) != OK)
        return 1;
    for (int i = 0; i < 6; i++) {
        const int round = i / 2;
        if (split(m, round) != OK)
            return 2;
        fill(m, 100000, 65536);
        if (collective_allreduce_start(m->collective, m->region + 100000, 65536, REDUCE_SUM,
                                       &ticket) != OK ||
            sum_within(m, round, i % 2 == 0 ? 7 : 40000) != OK ||
            collective_wait(m->collective, ticket) != OK)
            return 3;
        if (!is_sum_within(m, round, i % 2 == 0 ? 7 : 40000) ||
            !is_sum(m, 100000, 65536, 1e-5 * m->size, &digest))
            return 4;
    }
    return 0;
}

/* Rank 1 hangs in a subgroup's sum: those with it wait until the deadline, and so do those who wait
 * for them; an abort ends the subgroups too. */
static int check_hang_within(struct member *m)
{
    uint64_t ticket = 0;
    if (form(m) != OK || split(m, 0) != OK)
        return 1;
    if (m->rank == 1)
        order_fault("hang", 1);
    if (sum_within(m, 0, 100) != OK ||
        collective_allreduce_start(m->collective, m->region, 100, REDUCE_SUM, &ticket) != OK)
        return 2;
    if (collective_wait(m->collective, ticket) != ERR_TIMEOUT)
        return 3;
    collective_destroy(m->collective);
    m->collective = NULL;
    return m->device->ops->synchronize(m->device) == OK ? 0 : 4;
}

static int check_stalled_split(struct member *m)
{
    if (form(m) != OK)
        return 1;
    if (m->rank == 1)
        order_fault("init", 0);
    return split(m, 0) == ERR_TIMEOUT ? 0 : 2;
}

/* Gradients rounded on the wire are near, and the same bits everywhere; all else is as it was. */
static int check_wire(struct member *m)
{
    uint64_t ticket = 0, digest = 0;
    m->wire = WIRE_BF16;
    m->wire_bytes = 100000 * sizeof(uint16_t) + COLLECTIVE_WIRE_SPARE;
    if (m->device->ops->allocate(m->device, m->wire_bytes, NULL, &m->wire_memory) != OK ||
        form(m) != OK)
        return 1;
    for (int round = 0; round < 12; round++) { /* more than there is room for at once */
        fill(m, 0, 100000);
        fill(m, 100000, 1000);
        if (collective_allreduce_start(m->collective, m->region + 100000, 1000, REDUCE_SUM,
                                       &ticket) != OK ||
            collective_allreduce_start(m->collective, m->region, 100000, REDUCE_SUM_GRADIENTS,
                                       &ticket) != OK ||
            collective_wait(m->collective, ticket) != OK)
            return 2;
        if (!is_sum(m, 100000, 1000, 1e-5 * m->size, &digest) ||
            is_sum(m, 0, 100000, 1e-5 * m->size, &digest) || /* it was rounded */
            !is_sum(m, 0, 100000, 0.02 * m->size, &digest))
            return 3;
    }
    board->digests[m->rank] = digest;
    return 0;
}

static enum status five_sums(struct member *m)
{
    uint64_t ticket = 0;
    for (int i = 0; i < 4; i++)
        TRY(collective_allreduce(m->collective, m->region, 1000, REDUCE_SUM));
    TRY(collective_allreduce_start(m->collective, m->region, 1000, REDUCE_SUM, &ticket));
    return collective_wait(m->collective, ticket);
}

/* Rank 1 hangs at an operation, of either kind: everybody's deadline passes, and all get away. */
static int check_hang(struct member *m, const char *kind, enum status own)
{
    if (form(m) != OK)
        return 1;
    m->device->ops->zero(m->device, m->region, 4000);
    if (five_sums(m) != OK)
        return 2;
    if (m->rank == 1)
        order_fault(kind, 3);
    const enum status status = five_sums(m);
    const enum status wanted = m->rank == 1 ? own : ERR_TIMEOUT;
    if (status != wanted || five_sums(m) != wanted) /* what comes after fails alike */
        return 3;
    /* What waited for the sum in the device's stream is let go by the abort. */
    collective_destroy(m->collective);
    m->collective = NULL;
    return m->device->ops->synchronize(m->device) == OK ? 0 : 4;
}

static int check_hang_plain(struct member *m)
{
    return check_hang(m, "hang", ERR_TIMEOUT);
}

static int check_late_error(struct member *m)
{
    return check_hang(m, "error", ERR_UNREACHABLE);
}

/* The others have the sum, rank 1 never sees it. */
static int check_partial(struct member *m)
{
    if (form(m) != OK)
        return 1;
    if (m->rank == 1)
        order_fault("partial", 5);
    const enum status status = five_sums(m);
    if (status != (m->rank == 1 ? ERR_TIMEOUT : OK))
        return 2;
    collective_destroy(m->collective);
    m->collective = NULL;
    return 0;
}

static int check_stalled_forming(struct member *m)
{
    if (m->rank == 1)
        order_fault("init", 0);
    return form(m) == ERR_TIMEOUT ? 0 : 1;
}

/* Told that the generation has ended, a member that waits gets away at once. */
static int check_cancel(struct member *m)
{
    m->cancel_fd = eventfd(0, EFD_CLOEXEC);
    m->timeout_ms = LONG_MS;
    if (form(m) != OK)
        return 1;
    if (m->rank == 1) /* it never takes part */
        return 0;
    const int64_t start_ms = clock_ms();
    uint64_t ticket;
    if (collective_allreduce_start(m->collective, m->region, 1000, REDUCE_SUM, &ticket) != OK ||
        eventfd_write(m->cancel_fd, 1) != 0)
        return 2;
    if (collective_wait(m->collective, ticket) != ERR_STALE || clock_ms() - start_ms > LONG_MS / 2)
        return 3;
    return collective_allreduce(m->collective, m->region, 1, REDUCE_SUM) == ERR_STALE ? 0 : 4;
}

static int check_cancel_while_forming(struct member *m)
{
    m->cancel_fd = eventfd(0, EFD_CLOEXEC);
    m->form_ms = LONG_MS;
    if (m->rank == 1)
        return 0; /* it never comes */
    return eventfd_write(m->cancel_fd, 1) == 0 && form(m) == ERR_STALE ? 0 : 1;
}

/* An abort within its deadline is waited for; one beyond ends the process, to be started again. */
static int check_slow_abort(struct member *m)
{
    if (form(m) != OK || five_sums(m) != OK)
        return 1;
    order_fault("abort", m->rank == 1 ? SLEEP_MS : SHORT_MS / 5);
    collective_destroy(m->collective);
    m->collective = NULL;
    atomic_store(&board->through, m->size); /* the other does not come so far */
    return 0;
}

static int check_endless_abort(struct member *m)
{
    if (form(m) != OK)
        return 1;
    order_fault("abort", -1);
    collective_destroy(m->collective);
    return 2;
}

/* Nobody may leave while another is still at the last operation: its abort would be the end of it.
 */
static void leave_together(const struct member *m)
{
    atomic_fetch_add(&board->through, 1);
    for (int64_t end_ms = clock_ms() + LONG_MS; atomic_load(&board->through) < m->size; nap())
        if (clock_ms() > end_ms)
            return;
}

static void member_main(int rank, int size, int (*run)(struct member *))
{
    struct member m = {.rank = rank,
                       .size = size,
                       .form_ms = SHORT_MS,
                       .timeout_ms = SHORT_MS,
                       .abort_ms = SHORT_MS};
    void *memory = NULL;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (run == check_sums || run == check_copies || run == check_wire || run == check_subgroups)
        m.form_ms = m.timeout_ms = LONG_MS;
    if (device_open("cuda:0:fp32", 1, &m.device) != OK ||
        m.device->ops->allocate(m.device, FLOATS * sizeof(float), NULL, &memory) != OK)
        _exit(98);
    m.region = memory;
    const int code = run(&m);
    if (code != 0)
        fprintf(stderr, "member %d: %d: %s\n", rank, code, fail_message());
    if (code == 0)
        leave_together(&m);
    collective_destroy(m.collective);
    m.device->ops->release(m.device, m.region, FLOATS * sizeof(float), -1);
    m.device->ops->release(m.device, m.wire_memory, m.wire_bytes, -1);
    device_close(m.device);
    _exit(code);
}

/* The members' exit codes are as given; nothing stays in the fake's folder. */
static void run_group(int size, int (*run)(struct member *), const int *codes)
{
    pid_t pids[MEMBERS_MAX];
    memset(board, 0, sizeof(*board));
    fflush(NULL);
    for (int rank = 0; rank < size; rank++) {
        pids[rank] = fork();
        assert_true(pids[rank] >= 0);
        if (pids[rank] == 0)
            member_main(rank, size, run);
    }
    for (int rank = 0; rank < size; rank++) {
        int state = 0;
        assert_int_equal(waitpid(pids[rank], &state, 0), pids[rank]);
        assert_true(WIFEXITED(state));
        assert_int_equal(WEXITSTATUS(state), codes == NULL ? 0 : codes[rank]);
    }
    assert_int_equal(rmdir(folder), 0);
    assert_int_equal(mkdir(folder, 0700), 0);
}

static void all_have_the_same_bits(int size)
{
    for (int rank = 1; rank < size; rank++)
        assert_true(board->digests[rank] == board->digests[0]);
}

static void sums_are_right_and_small_ones_overtake_buckets(void **state)
{
    (void)state;
    for (int size = 1; size <= MEMBERS_MAX; size++) {
        run_group(size, check_sums, NULL);
        all_have_the_same_bits(size);
    }
}

static void copies_arrive_from_every_root(void **state)
{
    (void)state;
    run_group(3, check_copies, NULL);
}

static void gradients_may_travel_as_bf16_and_nothing_else_does(void **state)
{
    (void)state;
    run_group(3, check_wire, NULL);
    all_have_the_same_bits(3);
}

static void members_are_cut_into_subgroups_and_cut_anew(void **state)
{
    (void)state;
    run_group(4, check_subgroups, NULL);
}

static void what_hangs_in_a_subgroup_ends_at_its_deadline(void **state)
{
    (void)state;
    run_group(4, check_hang_within, NULL);
    run_group(4, check_stalled_split, NULL);
}

static void a_sum_that_hangs_ends_at_its_deadline(void **state)
{
    (void)state;
    run_group(3, check_hang_plain, NULL);
}

static void an_error_that_comes_late_is_told(void **state)
{
    (void)state;
    run_group(3, check_late_error, NULL);
}

static void a_sum_that_some_have_is_none_for_the_one_that_has_it_not(void **state)
{
    (void)state;
    run_group(3, check_partial, NULL);
}

static void a_member_that_stalls_in_forming_holds_nobody_longer_than_the_deadline(void **state)
{
    (void)state;
    run_group(3, check_stalled_forming, NULL);
}

static void an_abandoned_generation_is_left_at_once(void **state)
{
    (void)state;
    run_group(2, check_cancel, NULL);
    run_group(2, check_cancel_while_forming, NULL);
}

static void an_abort_that_takes_too_long_ends_the_process(void **state)
{
    (void)state;
    run_group(2, check_slow_abort, (const int[]){0, EX_SOFTWARE});
    run_group(2, check_endless_abort, (const int[]){EX_SOFTWARE, EX_SOFTWARE});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_are_right_and_small_ones_overtake_buckets),
        cmocka_unit_test(copies_arrive_from_every_root),
        cmocka_unit_test(gradients_may_travel_as_bf16_and_nothing_else_does),
        cmocka_unit_test(members_are_cut_into_subgroups_and_cut_anew),
        cmocka_unit_test(what_hangs_in_a_subgroup_ends_at_its_deadline),
        cmocka_unit_test(a_sum_that_hangs_ends_at_its_deadline),
        cmocka_unit_test(an_error_that_comes_late_is_told),
        cmocka_unit_test(a_sum_that_some_have_is_none_for_the_one_that_has_it_not),
        cmocka_unit_test(a_member_that_stalls_in_forming_holds_nobody_longer_than_the_deadline),
        cmocka_unit_test(an_abandoned_generation_is_left_at_once),
        cmocka_unit_test(an_abort_that_takes_too_long_ends_the_process),
    };
    board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (board == MAP_FAILED || mkdtemp(folder) == NULL || setenv("SEER_FAKE_NCCL", folder, 1) != 0)
        return 1;
    const int failures = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(folder);
    return failures;
}
