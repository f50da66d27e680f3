/* fuzz_main.c - runs a fuzz target without libFuzzer: its corpus, then seeded mutations of it.
 *
 * fuzz_X [-seed=N] [-runs=N] [-max_total_time=SECONDS] [-artifact_prefix=P] FILE|DIR..., as
 * libFuzzer takes them. Input n is f(seed, n) and the corpus, so the printed seed repeats a
 * failure. The inputs run in a child that reads them from memory shared with us: however it dies,
 * the input that did it is written to PcrashN for another run with that file alone. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/fs.h"
#include "common/mem.h"
#include "common/random.h"
#include "tests/fuzz/fuzz.h"

enum {
    INPUT_BYTES_MAX = 1 << 20,
    FILES_MAX = 4096,
    EDITS_MAX = 6,
    HANG_SECONDS = 60, /* for one input; under sanitizers the slowest take less than one */
};

static struct {
    uint64_t seed, runs;
    int64_t seconds;
    const char *prefix;
} options = {.seed = 1, .runs = UINT64_MAX, .seconds = 5, .prefix = ""};

static struct buf files[FILES_MAX]; /* the corpus */
static uint32_t file_count;

/* What the child is at; shared with its parent. */
static struct trial {
    uint64_t number;
    size_t length;
    uint8_t bytes[INPUT_BYTES_MAX];
} * trial;

static void load_file(const char *path)
{
    struct buf *file = &files[file_count];
    buf_init(file, INPUT_BYTES_MAX);
    if (file_count == FILES_MAX || fs_read_file(path, file) != OK) {
        fprintf(stderr, "cannot take '%s': %s\n", path, fail_message());
        exit(2);
    }
    file_count++;
}

/* Sorted, so that the seed means the same on every file system. */
static void load(const char *path)
{
    struct dirent **names = NULL;
    int count = scandir(path, &names, NULL, alphasort);
    if (count < 0)
        load_file(path);
    for (int i = 0; i < count; i++) {
        char *child = mem_format("%s/%s", path, names[i]->d_name);
        if (names[i]->d_name[0] != '.' && names[i]->d_type != DT_DIR)
            load_file(child);
        mem_free(child);
        free(names[i]);
    }
    free(names);
}

/* Replaces `removed` bytes at `at` by others; what does not fit is left out. */
static void splice(size_t at, size_t removed, const uint8_t *bytes, size_t length)
{
    if (trial->length - removed + length > INPUT_BYTES_MAX)
        return;
    uint8_t *to = trial->bytes + at;
    memmove(to + length, to + removed, trial->length - at - removed);
    memcpy(to, bytes, length);
    trial->length += length - removed;
}

/* A number that is often a limit, in 1, 2, 4 or 8 bytes, in either order. */
static void put_limit(struct random *random, size_t at)
{
    static const uint64_t limits[] = {0,          1,          0x7F,      0x80,
                                      0xFF,       0x7FFF,     0xFFFF,    0x7FFFFFFF,
                                      0x80000000, 0xFFFFFFFF, INT64_MAX, UINT64_MAX};
    uint64_t value = limits[random_below(random, sizeof(limits) / sizeof(*limits))];
    size_t width = (size_t)1 << random_below(random, 4);
    int is_big = (int)random_below(random, 2);
    uint8_t bytes[8];
    for (size_t i = 0; i < width; i++)
        bytes[is_big ? width - 1 - i : i] = (uint8_t)(value >> 8 * i);
    size_t left = trial->length - at;
    splice(at, width < left ? width : left, bytes, width);
}

static void edit(struct random *random)
{
    uint8_t piece[256];
    size_t at = random_below(random, (uint32_t)trial->length + 1);
    size_t left = trial->length - at;
    size_t length = left == 0 ? 0 : random_below(random, left < 256 ? (uint32_t)left : 256);
    const struct buf *other = &files[random_below(random, file_count)];
    memcpy(piece, trial->bytes + at, length);
    switch (random_below(random, 6)) {
    case 0: /* one bit */
        if (left > 0)
            trial->bytes[at] ^= (uint8_t)(1 << random_below(random, 8));
        return;
    case 1: /* one byte */
        piece[0] = (uint8_t)random_u32(random);
        splice(at, left > 0, piece, 1);
        return;
    case 2:
        put_limit(random, at);
        return;
    case 3: /* a piece goes */
        splice(at, length, piece, 0);
        return;
    case 4: /* a piece comes twice */
        splice(at, 0, piece, length);
        return;
    case 5: /* the end of another file */
        if (other->length > 0) {
            size_t from = random_below(random, (uint32_t)other->length);
            splice(at, left, other->bytes + from, other->length - from);
        }
        return;
    }
}

/* Inputs 0 to file_count - 1 are the corpus as it is. */
static void make_input(uint64_t number)
{
    struct random random;
    random_init(&random, options.seed, RANDOM_STREAM_TEST, number, 0);
    const struct buf *file =
        &files[number < file_count ? (uint32_t)number : random_below(&random, file_count)];
    trial->number = number;
    trial->length = file->length;
    memcpy(trial->bytes, file->bytes, file->length);
    for (uint32_t i = 0; number >= file_count && i <= random_below(&random, EDITS_MAX); i++)
        edit(&random);
}

static void run_all(void)
{
    int64_t end_ms = clock_ms() + 1000 * options.seconds;
    for (uint64_t i = 0; i < file_count || (i < options.runs && clock_ms() < end_ms); i++) {
        make_input(i);
        uint8_t *exact = mem_alloc(trial->length); /* ASan sees a read behind it */
        memcpy(exact, trial->bytes, trial->length);
        alarm(HANG_SECONDS);
        LLVMFuzzerTestOneInput(exact, trial->length);
        mem_free(exact);
    }
}

static int report(int wait_status)
{
    uint64_t inputs = trial->number + 1;
    if (WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0) {
        printf("%llu inputs, %u of them the corpus\n", (unsigned long long)inputs, file_count);
        return 0;
    }
    char *path = mem_format("%scrash%llu", options.prefix, (unsigned long long)trial->number);
    fprintf(stderr, "input %llu of seed %llu killed the target (wait status %d)%s: it is in '%s'\n",
            (unsigned long long)trial->number, (unsigned long long)options.seed, wait_status,
            WIFSIGNALED(wait_status) && WTERMSIG(wait_status) == SIGALRM ? " by hanging" : "",
            path);
    if (fs_write_file(path, trial->bytes, trial->length) != OK)
        fprintf(stderr, "%s\n", fail_message());
    mem_free(path);
    return 1;
}

static int take_option(const char *argument)
{
    const char *value = strchr(argument, '=');
    if (argument[0] != '-' || value++ == NULL)
        return 0;
    if (strncmp(argument, "-seed=", 6) == 0)
        options.seed = strtoull(value, NULL, 10);
    else if (strncmp(argument, "-runs=", 6) == 0)
        options.runs = strtoull(value, NULL, 10);
    else if (strncmp(argument, "-max_total_time=", 16) == 0)
        options.seconds = strtoll(value, NULL, 10);
    else if (strncmp(argument, "-artifact_prefix=", 17) == 0)
        options.prefix = value;
    else
        return 0;
    return 1;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (!take_option(argv[i]))
            load(argv[i]);
    }
    if (file_count == 0) {
        fprintf(stderr,
                "usage: %s [-seed=N] [-runs=N] [-max_total_time=SECONDS] "
                "[-artifact_prefix=P] FILE|DIR...\n",
                argv[0]);
        return 2;
    }
    printf("seed=%llu\n", (unsigned long long)options.seed);
    fflush(stdout);
    trial = mmap(NULL, sizeof(*trial), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (trial == MAP_FAILED)
        return 2;
    int wait_status = 0;
    pid_t child = fork();
    if (child == 0) {
        run_all();
        for (uint32_t i = 0; i < file_count; i++)
            buf_done(&files[i]);
        exit(0); /* LeakSanitizer looks now */
    }
    if (child < 0 || waitpid(child, &wait_status, 0) != child)
        return 2;
    int failed = report(wait_status);
    for (uint32_t i = 0; i < file_count; i++)
        buf_done(&files[i]);
    munmap(trial, sizeof(*trial));
    return failed;
}
