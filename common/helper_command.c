/* helper_command.c - the command line of mpirun, and the child that runs it. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "common/helper_command.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/fs.h"
#include "common/install.h"
#include "common/log.h"
#include "common/mem.h"

/* Shared memory, because the segments between helpers lie there too. */
#define SCRATCH_BASE "/dev/shm/everseer-"

/* What every launch passes to Open MPI 4.1. */
static const char *const mpirun_options[] = {
    "--allow-run-as-root", /* containers; helpers may do no more than the workers they serve */
    "--oversubscribe",     /* the server counts members, Open MPI's slots do not matter */
    "--bind-to",           /* helpers work while their workers compute: the kernel places both */
    "none",
    "--quiet", /* a death is reported by the server, once */
    "--mca",   /* one host: shared memory only */
    "btl",
    "self,vader",
    "--mca", /* nor is a fabric's library loaded to ask whether there is one: 200 ms of 340 */
    "pml",
    "ob1",
    "--mca", /* and no ssh is looked for */
    "plm",
    "isolated",
    "--mca", /* CMA would need ptrace rights */
    "btl_vader_single_copy_mechanism",
    "none",
    "--mca", /* when one dies, kill the others now, not after a second's grace */
    "odls_base_sigkill_timeout",
    "0",
    /* Helpers sleep between their polls (helper_main.c). Open MPI would call sched_yield in each,
     * which --oversubscribe turns on; on Linux 6.18 that starved whole cores for up to a minute,
     * the kernel's own threads among them. */
    "--mca",
    "mpi_yield_when_idle",
    "0",
};
enum { MPIRUN_OPTIONS = sizeof(mpirun_options) / sizeof(mpirun_options[0]) };

/* What mpirun and each helper need not find out, which halves the time in which a death stops the
 * training (three helpers on two cores: 144 ms to 62 ms). A person's own values go first. */
static const struct {
    const char *name, *value;
} environment_defaults[] = {
    {"HWLOC_COMPONENTS", "no_os,stop"},     /* nobody is bound: the host's topology is not asked */
    {"HWLOC_PLUGINS_PATH", "/nonexistent"}, /* they load OpenCL and X11 */
    {"PMIX_MCA_psec", "native"},            /* not munge's library: all are of one user */
    {"PMIX_MCA_gds", "hash"},               /* no files in shared memory for a few short keys */
};
enum { DEFAULTS = sizeof(environment_defaults) / sizeof(environment_defaults[0]) };

void helper_scratch(const struct helper_launch *launch, char path[HELPER_SCRATCH_BYTES])
{
    snprintf(path, HELPER_SCRATCH_BYTES, SCRATCH_BASE "%016" PRIx64 "-%" PRIu64 "-%016" PRIx64,
             launch->run, launch->generation, launch->nonce);
}

char **helper_command_create(const struct helper_launch *launch)
{
    enum { OWN_MAX = 20 }; /* arguments besides options and addresses, with the NULL */
    char **argv = mem_array((size_t)(MPIRUN_OPTIONS + OWN_MAX + launch->size), sizeof(*argv));
    char scratch[HELPER_SCRATCH_BYTES];
    helper_scratch(launch, scratch);
    int n = 0;
    argv[n++] = mem_string("mpirun");
    argv[n++] = mem_string("-n");
    argv[n++] = mem_format("%d", launch->size);
    for (int i = 0; i < MPIRUN_OPTIONS; i++)
        argv[n++] = mem_string(mpirun_options[i]);
    argv[n++] = mem_string("--mca");
    argv[n++] = mem_string("orte_tmpdir_base");
    argv[n++] = mem_string(scratch);
    argv[n++] = mem_string("--mca");
    argv[n++] = mem_string("btl_vader_backing_directory");
    argv[n++] = mem_string(scratch);
    argv[n++] = mem_string(launch->helper);
    argv[n++] = mem_string("--run");
    argv[n++] = mem_format("%" PRIu64, launch->run);
    argv[n++] = mem_string("--generation");
    argv[n++] = mem_format("%" PRIu64, launch->generation);
    argv[n++] = mem_string("--nonce");
    argv[n++] = mem_format("%" PRIu64, launch->nonce);
    for (int rank = 0; rank < launch->size; rank++)
        argv[n++] = mem_string(launch->addresses[rank]);
    return argv;
}

void helper_command_destroy(char **argv)
{
    if (argv == NULL)
        return;
    for (char **argument = argv; *argument != NULL; argument++)
        mem_free(*argument);
    mem_free(argv);
}

/* Our environment with the defaults that it does not set itself; helper_command_destroy frees. */
static char **environment_create(void)
{
    size_t count = 0, defaults = 0;
    while (environ[count] != NULL)
        count++;
    char **copy = mem_array(count + DEFAULTS + 1, sizeof(*copy));
    for (size_t i = 0; i < count; i++)
        copy[i] = mem_string(environ[i]);
    for (size_t i = 0; i < DEFAULTS; i++)
        if (getenv(environment_defaults[i].name) == NULL)
            copy[count + defaults++] =
                mem_format("%s=%s", environment_defaults[i].name, environment_defaults[i].value);
    return copy;
}

enum status helper_find(char *path, size_t path_bytes)
{
    const char *given = getenv("SEER_HELPER");
    if (given == NULL)
        return install_find("seer-helper", path, path_bytes);
    snprintf(path, path_bytes, "%s", given);
    if (access(path, X_OK) != 0)
        return fail(ERR_INPUT, "$SEER_HELPER is '%s': %s", path, strerror(errno));
    return OK;
}

static int is_redirected(int input, int output)
{
    return dup2(input, STDIN_FILENO) >= 0 && dup2(output, STDOUT_FILENO) >= 0 &&
           dup2(output, STDERR_FILENO) >= 0;
}

/* In the child, between fork and exec: only async-signal-safe calls. What goes wrong is said where
 * mpirun would have said it; in no case does it get the server's own input and output. */
static void child_run(char **argv, char **environment, int output_fd)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setpgid(0, 0); /* Ctrl-C in a terminal is for the server, which ends its helpers itself */
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int output = output_fd >= 0 ? output_fd : null;
    const char *words = "mpirun cannot be given its input and output: no descriptor is left\n";
    if (is_redirected(null, output)) {
        execvpe(argv[0], argv, environment);
        words = errno == ENOENT ? "mpirun cannot be run: install Open MPI (openmpi-bin)\n"
                                : "mpirun cannot be run: no memory, or no permission\n";
    }
    ssize_t written = write(output, words, strlen(words));
    (void)written; /* nowhere is left to report it */
    _exit(127);
}

enum status helper_start(const struct helper_launch *launch, int output_fd, pid_t *ret_pid)
{
    char scratch[HELPER_SCRATCH_BYTES];
    helper_scratch(launch, scratch);
    if (mkdir(scratch, 0700) != 0)
        return fail(ERR_IO, "scratch directory '%s': %s", scratch, strerror(errno));
    char **argv = helper_command_create(launch);
    char **environment = environment_create();
    pid_t pid = fork();
    if (pid == 0)
        child_run(argv, environment, output_fd);
    helper_command_destroy(argv);
    helper_command_destroy(environment);
    if (pid < 0) {
        int error = errno;
        helper_clean(launch);
        return fail(ERR_IO, "cannot fork for mpirun: %s", strerror(error));
    }
    *ret_pid = pid;
    return OK;
}

void helper_clean(const struct helper_launch *launch)
{
    char scratch[HELPER_SCRATCH_BYTES];
    helper_scratch(launch, scratch);
    if (fs_remove_tree(scratch) != OK)
        log_debug("event=scratch_left path=%s reason=\"%s\"", scratch, fail_message());
}

/* Is a command line, arguments ended by zeros, that of an mpirun of this run? */
static int parse_launch(const char *words, size_t length, struct helper_launch *launch)
{
    static const char program[] = "mpirun";
    char prefix[HELPER_SCRATCH_BYTES];
    snprintf(prefix, sizeof(prefix), SCRATCH_BASE "%016" PRIx64 "-", launch->run);
    if (length < sizeof(program) || memcmp(words, program, sizeof(program)) != 0)
        return 0;
    for (const char *word = words; word < words + length; word += strlen(word) + 1)
        if (strncmp(word, prefix, strlen(prefix)) == 0)
            return sscanf(word + strlen(prefix), "%" SCNu64 "-%" SCNx64, &launch->generation,
                          &launch->nonce) == 2;
    return 0;
}

/* 0: no such process, or another kind. */
static int read_launch(pid_t pid, struct helper_launch *launch)
{
    enum { WORDS_BYTES = 8192 }; /* our options come first; addresses of many members may be cut */
    char path[64], words[WORDS_BYTES + 1];
    snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return 0;
    ssize_t length = read(file, words, WORDS_BYTES);
    close(file);
    if (length <= 0)
        return 0;
    words[length] = 0;
    return parse_launch(words, (size_t)length, launch);
}

/* Looked at again once its pidfd is held: only then the number cannot be another's. */
static int find_left(pid_t pid, uint64_t run, struct helper_left *left)
{
    *left = (struct helper_left){.launch.run = run, .pid = pid};
    if (!read_launch(pid, &left->launch))
        return 0;
    left->process = (int)syscall(SYS_pidfd_open, pid, 0);
    if (left->process >= 0 && read_launch(pid, &left->launch))
        return 1;
    if (left->process >= 0)
        close(left->process);
    return 0;
}

void helper_each_left(uint64_t run, void (*visit)(void *context, const struct helper_left *left),
                      void *context)
{
    DIR *processes = opendir("/proc");
    if (processes == NULL)
        return;
    for (struct dirent *entry; (entry = readdir(processes)) != NULL;) {
        struct helper_left left;
        pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10); /* 0: not a process */
        if (pid > 0 && find_left(pid, run, &left))
            visit(context, &left);
    }
    closedir(processes);
}

void helper_clean_run(uint64_t run, const struct helper_launch *kept)
{
    char scratch[HELPER_SCRATCH_BYTES] = "";
    if (kept != NULL)
        helper_scratch(kept, scratch);
    char pattern[HELPER_SCRATCH_BYTES];
    snprintf(pattern, sizeof(pattern), SCRATCH_BASE "%016" PRIx64 "-*", run);
    glob_t found;
    if (glob(pattern, GLOB_NOSORT, NULL, &found) != 0)
        return;
    for (size_t i = 0; i < found.gl_pathc; i++) {
        if (strcmp(found.gl_pathv[i], scratch) != 0 && fs_remove_tree(found.gl_pathv[i]) != OK)
            log_debug("event=scratch_left path=%s reason=\"%s\"", found.gl_pathv[i],
                      fail_message());
    }
    globfree(&found);
}
