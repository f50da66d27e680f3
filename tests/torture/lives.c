/* lives.c - forks, arms, waits, and looks what is left. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/torture/lives.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/check.h"
#include "common/clock.h"
#include "tests/test.h"
#include "tests/torture/call_faults.h"

enum {
    CALLS_MAX = 1000,
    PATIENCE_MS = 20000,
    THREADS_MS = 2000,
    TURN_NS = 1000000,
    FDS_MAX = 256,
    WORDS_BYTES = 256,
    LEFT_SOMETHING = 99, /* exit code */
};

static char *told; /* [WORDS_BYTES] shared with it: why a life came to nothing; "": it did not */

static int count_entries(const char *path)
{
    int count = 0;
    DIR *folder = opendir(path);
    CHECK(folder != NULL);
    while (readdir(folder) != NULL)
        count++;
    closedir(folder);
    return count;
}

static void list_descriptors(char is_open[FDS_MAX])
{
    for (int fd = 0; fd < FDS_MAX; fd++)
        is_open[fd] = fcntl(fd, F_GETFD) >= 0;
}

void lives_spare(void)
{
    call_faults_disarm();
}

/* One that was joined is still listed for a moment. */
static int await_threads(int count)
{
    for (int64_t deadline_ms = clock_ms() + THREADS_MS; clock_ms() < deadline_ms;) {
        if (count_entries("/proc/self/task") == count)
            return 1;
        nanosleep(&(struct timespec){.tv_nsec = TURN_NS}, NULL);
    }
    return 0;
}

/* What is left is told and is the process's exit code. */
static void assert_nothing_left(const char before[FDS_MAX], int threads)
{
    char after[FDS_MAX], path[64], target[128];
    int is_clean = 1;
    list_descriptors(after);
    for (int fd = 0; fd < FDS_MAX; fd++) {
        if (after[fd] == before[fd])
            continue;
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        ssize_t length = readlink(path, target, sizeof(target) - 1);
        target[length > 0 ? length : 0] = 0;
        fprintf(stderr, "descriptor %d was %s: %s\n", fd, after[fd] ? "left open" : "closed",
                target);
        is_clean = 0;
    }
    if (!await_threads(threads)) {
        fprintf(stderr, "a thread was left\n");
        is_clean = 0;
    }
    if (waitpid(-1, NULL, WNOHANG) >= 0 || errno != ECHILD) {
        fprintf(stderr, "a process was left\n");
        is_clean = 0;
    }
    if (!is_clean)
        _exit(LEFT_SOMETHING);
}

/* One call that fails. */
struct failing {
    const struct call_fault *fault;
    int call, is_lasting;
};

static void run_life(const struct lives *lives, const struct failing *failing)
{
    char before[FDS_MAX];
    int threads = count_entries("/proc/self/task");
    list_descriptors(before);
    call_faults_arm(failing->fault, failing->call, failing->is_lasting);
    enum status status = lives->live();
    lives_spare();
    if (status != OK)
        snprintf(told, WORDS_BYTES, "%s: %s", status_name(status), fail_message());
    assert_nothing_left(before, threads);
    _exit(0);
}

/* Its wait status. */
static int attend(const struct lives *lives, pid_t pid)
{
    int how = 0;
    int64_t deadline_ms = clock_ms() + PATIENCE_MS;
    if (lives->begin != NULL)
        lives->begin();
    while (waitpid(pid, &how, WNOHANG) == 0) {
        if (clock_ms() > deadline_ms) {
            kill(pid, SIGKILL);
            waitpid(pid, NULL, 0);
            fail_msg("it hangs");
        }
        if (lives->turn != NULL)
            lives->turn();
        nanosleep(&(struct timespec){.tv_nsec = TURN_NS}, NULL);
    }
    if (lives->end != NULL)
        lives->end();
    return how;
}

/* Was it called so often? */
static int live_once(const struct lives *lives, const struct failing *failing)
{
    print_message("[ %s, call %d, %s: ", failing->fault->name, failing->call,
                  failing->is_lasting ? "from then on" : "once");
    told[0] = 0;
    fflush(NULL);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0)
        run_life(lives, failing);
    int how = attend(lives, pid);
    int code = WIFEXITED(how) ? WEXITSTATUS(how) : -1, failed = call_faults_failed();
    print_message("%s\n", failed == 0       ? "not called"
                          : code != 0       ? "it ended"
                          : told[0] != '\0' ? told
                                            : "it went on");
    if (code != 0 && (code != lives->exit_code || failed == 0))
        fail_msg("exit code %d, signal %d", code, WIFSIGNALED(how) ? WTERMSIG(how) : 0);
    if (failed == 0)
        assert_string_equal(told, ""); /* and then all went well */
    return failed > 0;
}

/* As often as it is called. */
static int fail_each(const struct lives *lives, const struct call_fault *fault, int is_lasting)
{
    struct failing failing = {.fault = fault, .call = 1, .is_lasting = is_lasting};
    while (failing.call < CALLS_MAX && live_once(lives, &failing))
        failing.call++;
    assert_true(failing.call < CALLS_MAX);
    return failing.call - 1;
}

void lives_run(const struct lives *lives)
{
    int count = 0;
    call_faults_open();
    told = mmap(NULL, WORDS_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(told != MAP_FAILED);
    for (const struct call_fault *fault = call_faults; fault->name != NULL; fault++) {
        int once = fail_each(lives, fault, 0);
        count += once;
        if (once > 0 && !fault->is_momentary)
            count += fail_each(lives, fault, 1);
    }
    print_message("[ %d failures\n", count);
    assert_true(count >= lives->failures_min);
}
