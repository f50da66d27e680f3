/* test_helper.c - who may become the helper of a worker, and the engine that needs none. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "worker/collective/collective.h"
#include "worker/collective/helper.h"

enum { TIMEOUT_MS = 20000 };

/* A worker that forms a group for which no mpirun was started. */
struct lone {
    struct collective_group group;
    struct helper_door door;
};

static void lone_init(struct lone *lone)
{
    memset(lone, 0, sizeof(*lone));
    int fd = memfd_create("test", MFD_CLOEXEC);
    assert_true(fd >= 0 && ftruncate(fd, 4096) == 0);
    lone->group = (struct collective_group){.engine = COLLECTIVE_MPI,
                                            .run = 1,
                                            .generation = 7,
                                            .nonce = 99,
                                            .size = 2,
                                            .region_bytes = 4096,
                                            .region_fd = fd,
                                            .form_timeout_ms = 300,
                                            .timeout_ms = TIMEOUT_MS};
    lone->group.region = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_ok(helper_door_open(&lone->door));
    lone->group.listen_fd = lone->door.listen_fd;
}

static void lone_done(struct lone *lone)
{
    munmap(lone->group.region, 4096);
    close(lone->group.region_fd);
    helper_door_close(&lone->door);
}

struct caller {
    const char *address;
    struct helper_identity identity;
    enum status status;
};

static void *call(void *argument)
{
    struct caller *caller = argument;
    int socket, region_fd, ring_fd;
    caller->status = helper_call(caller->address, &caller->identity, &socket, &region_fd, &ring_fd);
    return NULL;
}

static void helper_of_another_attempt_is_refused_and_forming_times_out(void **state)
{
    (void)state;
    struct lone lone;
    lone_init(&lone);
    const struct helper_identity wrong[] = {
        {.run = 1, .generation = 7, .nonce = 98, .rank = 0, .size = 2},
        {.run = 1, .generation = 6, .nonce = 99, .rank = 0, .size = 2},
        {.run = 2, .generation = 7, .nonce = 99, .rank = 0, .size = 2},
        {.run = 1, .generation = 7, .nonce = 99, .rank = 1, .size = 2},
        {.run = 1, .generation = 7, .nonce = 99, .rank = 0, .size = 3},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct caller caller = {.address = lone.door.address, .identity = wrong[i], .status = OK};
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, call, &caller), 0);
        struct collective *collective = NULL;
        assert_fails(collective_form(&lone.group, &collective), ERR_TIMEOUT, "refused: helper of");
        pthread_join(thread, NULL);
        assert_int_equal(caller.status, ERR_STALE);
    }
    lone_done(&lone);
}

static void no_other_path_is_called_than_a_descriptor_of_a_worker(void **state)
{
    (void)state;
    static const char *const wrong[] = {"",           "@everseer",   "/run/some.sock",
                                        "/proc/1/fd", "/proc/1/fd/", "/proc/1/fd/2/../3"};
    const struct helper_identity identity = {.size = 1};
    int socket, region_fd, ring_fd;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_fails(helper_call(wrong[i], &identity, &socket, &region_fd, &ring_fd), ERR_INPUT,
                     "expected /proc/PID/fd/N");
}

static void nobody_and_a_silent_caller_are_told_apart(void **state)
{
    (void)state;
    struct lone lone;
    struct collective *collective = NULL;
    lone_init(&lone);
    assert_fails(collective_form(&lone.group, &collective), ERR_TIMEOUT, "no helper called");
    struct sockaddr_un where = {.sun_family = AF_UNIX};
    memcpy(where.sun_path, lone.door.address, strlen(lone.door.address));
    int caller = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(caller, (struct sockaddr *)&where, sizeof(where)), 0);
    assert_fails(collective_form(&lone.group, &collective), ERR_TIMEOUT, "said nothing");
    close(caller);
    lone_done(&lone);
}

/* From another network namespace, where no abstract address of ours would be known. */
static void call_from_elsewhere(const struct lone *lone)
{
    const struct helper_identity identity = {
        .run = 1, .generation = 7, .nonce = 98, .rank = 0, .size = 2};
    int socket, region_fd, ring_fd;
    if (unshare(CLONE_NEWNET) != 0)
        _exit(77);
    enum status status = helper_call(lone->door.address, &identity, &socket, &region_fd, &ring_fd);
    _exit(status == ERR_STALE ? 0 : 1); /* it was answered: not this one */
}

static void a_helper_calls_across_network_namespaces_and_no_file_is_left(void **state)
{
    (void)state;
    struct lone lone;
    struct collective *collective = NULL;
    struct stat info;
    int ended = 0;
    lone_init(&lone);
    lone.group.form_timeout_ms = 2000;
    assert_int_equal(fstat(lone.door.file_fd, &info), 0);
    assert_true(S_ISSOCK(info.st_mode) && (info.st_mode & 0777) == 0600 && info.st_nlink == 0);
    pid_t pid = fork();
    if (pid == 0)
        call_from_elsewhere(&lone);
    assert_true(pid > 0);
    enum status status = collective_form(&lone.group, &collective);
    assert_int_equal(waitpid(pid, &ended, 0), pid);
    lone_done(&lone);
    if (WEXITSTATUS(ended) == 77)
        skip();
    assert_int_equal(ended, 0);
    assert_int_equal(status, ERR_TIMEOUT);
}

/* Calls and hears no end of the line. Its child keeps the line open beyond its death, as the kernel
 * does while it takes much memory down, and longer than one wait. */
static void linger(const struct lone *lone, int ready_fd)
{
    const struct helper_identity identity = {
        .run = 1, .generation = 7, .nonce = 99, .rank = 0, .size = 2};
    int socket, region_fd, ring_fd;
    if (helper_call(lone->door.address, &identity, &socket, &region_fd, &ring_fd) != OK)
        _exit(1);
    pid_t pid = fork();
    if (pid == 0) {
        poll(NULL, 0, 2600);
        _exit(0);
    }
    if (pid < 0 || eventfd_write(ready_fd, 1) != 0)
        _exit(1);
    for (;;)
        pause();
}

static void a_helper_that_takes_long_to_die_is_waited_for(void **state)
{
    (void)state;
    const struct helper_identity identity = {
        .run = 1, .generation = 7, .nonce = 99, .rank = 0, .size = 2};
    struct lone lone;
    int ended = 0, socket;
    eventfd_t count;
    lone_init(&lone);
    int ready_fd = eventfd(0, EFD_CLOEXEC);
    pid_t pid = fork();
    if (pid == 0)
        linger(&lone, ready_fd);
    assert_true(pid > 0);
    assert_ok(helper_accept(lone.door.listen_fd, 0, &identity, lone.group.region_fd,
                            lone.group.region_fd, clock_ms() + TIMEOUT_MS, &socket));
    assert_int_equal(eventfd_read(ready_fd, &count), 0);
    helper_end(socket);
    char byte;
    assert_int_equal(recv(socket, &byte, 1, MSG_DONTWAIT), 0); /* the line is closed */
    assert_int_equal(waitpid(pid, &ended, 0), pid);
    assert_int_equal(WTERMSIG(ended), SIGKILL);
    close(socket);
    close(ready_fd);
    lone_done(&lone);
}

static void *cancel_soon(void *argument)
{
    assert_int_equal(eventfd_write(*(int *)argument, 1), 0);
    return NULL;
}

static void forming_ends_when_told_to_stop(void **state)
{
    (void)state;
    struct lone lone;
    lone_init(&lone);
    lone.group.form_timeout_ms = TIMEOUT_MS;
    lone.group.cancel_fd = eventfd(0, EFD_CLOEXEC);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, cancel_soon, &lone.group.cancel_fd), 0);
    struct collective *collective = NULL;
    assert_fails(collective_form(&lone.group, &collective), ERR_STALE, "told to stop");
    pthread_join(thread, NULL);
    close(lone.group.cancel_fd);
    lone_done(&lone);
}

static void self_engine_serves_one_member_and_stops_when_aborted(void **state)
{
    (void)state;
    float region[4] = {1, 2, 3, 4};
    struct collective_group group = {
        .engine = COLLECTIVE_SELF, .size = 1, .region = region, .region_bytes = sizeof(region)};
    struct collective *collective;
    uint64_t ticket;
    assert_ok(collective_form(&group, &collective));
    assert_ok(collective_allreduce(collective, region, 4, REDUCE_SUM));
    assert_ok(collective_allreduce_start(collective, region, 4, REDUCE_SUM, &ticket));
    assert_ok(collective_wait(collective, ticket));
    assert_true(region[0] == 1 && region[3] == 4);
    collective_abort(collective);
    assert_fails(collective_broadcast(collective, region, 4, 0), ERR_STALE, "aborted");
    collective_destroy(collective);
    group.size = 2;
    assert_fails(collective_form(&group, &collective), ERR_INPUT, "'self'");
}

static void command_line_names_every_member_and_this_launch_alone(void **state)
{
    (void)state;
    const char *addresses[] = {"@a", "@b"};
    struct helper_launch launch = {.helper = "/x/seer-helper",
                                   .run = UINT64_MAX,
                                   .generation = 7,
                                   .nonce = UINT64_MAX - 1,
                                   .size = 2,
                                   .addresses = addresses};
    char scratch[HELPER_SCRATCH_BYTES], other[HELPER_SCRATCH_BYTES];
    char **argv = helper_command_create(&launch);
    static const char *const tail[] = {"/x/seer-helper",       "--run", "18446744073709551615",
                                       "--generation",         "7",     "--nonce",
                                       "18446744073709551614", "@a",    "@b"};
    int count = 0, tail_count = sizeof(tail) / sizeof(tail[0]);
    while (argv[count] != NULL)
        count++;
    assert_string_equal(argv[0], "mpirun");
    assert_string_equal(argv[2], "2");
    for (int i = 0; i < tail_count; i++)
        assert_string_equal(argv[count - tail_count + i], tail[i]);
    helper_command_destroy(argv);
    helper_scratch(&launch, scratch);
    launch.nonce--;
    helper_scratch(&launch, other);
    assert_string_not_equal(scratch, other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(helper_of_another_attempt_is_refused_and_forming_times_out),
        cmocka_unit_test(no_other_path_is_called_than_a_descriptor_of_a_worker),
        cmocka_unit_test(nobody_and_a_silent_caller_are_told_apart),
        cmocka_unit_test(a_helper_calls_across_network_namespaces_and_no_file_is_left),
        cmocka_unit_test(a_helper_that_takes_long_to_die_is_waited_for),
        cmocka_unit_test(forming_ends_when_told_to_stop),
        cmocka_unit_test(self_engine_serves_one_member_and_stops_when_aborted),
        cmocka_unit_test(command_line_names_every_member_and_this_launch_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
