/* ingest_command.c - `seer ingest`: options in, counts out. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <jansson.h>

#include "common/json.h"
#include "loader/commands.h"
#include "loader/ingest.h"

enum {
    EXIT_PARTLY = 4,
    EXIT_INTERRUPTED = 130,
    INGEST_SCHEMA_VERSION = 1,
    SHARD_MB_DEFAULT = 1024,
    SHARD_MB_MAX = 1 << 20,
    JOBS_DEFAULT_MAX = 16,
    /* 288 shards a day at most: 26,000 in the 90 days that they live, each a file that workers map.
     */
    SEAL_SECONDS_DEFAULT = 300,
    SEAL_SECONDS_MAX = 86400,
};

struct arguments {
    const char *store, *labels, *report, *output, *watch, *spool;
    int64_t shard_mb, seal_seconds, limit, jobs, max_pixels, min_side;
    int is_living, is_tar, is_accepting_truncated;
    int is_dry_run, is_keeping_duplicates, is_strict, is_quiet, is_zero_separated;
};

static atomic_int is_stop_asked;
static int wake = -1; /* made before signals are caught */

static void on_signal(int number)
{
    const uint64_t one = 1;
    (void)number;
    atomic_store(&is_stop_asked, 1);
    if (wake >= 0 && write(wake, &one, sizeof(one)) < 0)
        return; /* it is full, so whoever waits is awake */
}

static enum status open_wake(int *ret_file)
{
    wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (wake < 0)
        return fail(ERR_IO, "cannot make an eventfd: %s", strerror(errno));
    *ret_file = wake;
    return OK;
}

static void catch_signals(void)
{
    struct sigaction action = {
        .sa_handler = on_signal,
        .sa_flags = (int)SA_RESETHAND, /* the second Ctrl-C ends us at once */
    };
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

static enum status read_labels(const char *word, struct source_options *ret_options)
{
    if (strcmp(word, "auto") == 0 || strcmp(word, "cls") == 0) {
        ret_options->rule = LABEL_RULE_AUTO;
    } else if (strcmp(word, "none") == 0) {
        ret_options->rule = LABEL_RULE_NONE;
    } else if (strcmp(word, "dir") == 0) {
        ret_options->rule = LABEL_RULE_FOLDER;
    } else if (strncmp(word, "idx:", 4) == 0 && word[4] != '\0') {
        ret_options->rule = LABEL_RULE_AUTO;
        ret_options->idx_labels = word + 4;
    } else {
        return fail(ERR_INPUT, "--labels is auto, cls, dir, none or idx:FILE, not '%s'", word);
    }
    return OK;
}

static enum status check_range(const char *name, int64_t value, int64_t low, int64_t high)
{
    if (value < low || value > high)
        return fail(ERR_INPUT, "--%s is %lld to %lld, not %lld", name, (long long)low,
                    (long long)high, (long long)value);
    return OK;
}

static enum status check_watch(const struct arguments *arguments, int source_count)
{
    if (arguments->watch == NULL)
        return arguments->spool == NULL
                   ? OK
                   : fail(ERR_INPUT, "--spool goes with --watch: name the folder to watch");
    if (source_count > 0)
        return fail(ERR_INPUT,
                    "--watch takes no SOURCE beside it: ingest '...' by a command of its own");
    if (arguments->is_dry_run)
        return fail(ERR_INPUT, "--watch has no end, so --dry-run cannot count it: name the folder "
                               "as a SOURCE to try it");
    if (arguments->is_keeping_duplicates)
        return fail(ERR_INPUT,
                    "--watch knows by their bytes alone which files it stored before it was "
                    "started again: --keep-duplicates would store them twice");
    return OK;
}

static enum status check_arguments(const struct arguments *arguments, int source_count)
{
    TRY(check_range("shard-mb", arguments->shard_mb, 1, SHARD_MB_MAX));
    TRY(check_range("jobs", arguments->jobs, 1, INGEST_JOBS_MAX));
    TRY(check_range("limit", arguments->limit, 0, INT64_MAX));
    TRY(check_range("max-pixels", arguments->max_pixels, 1, 1 << 30));
    TRY(check_range("min-side", arguments->min_side, 1, 65500));
    TRY(check_range("seal-after", arguments->seal_seconds, 1, SEAL_SECONDS_MAX));
    TRY(check_watch(arguments, source_count));
    if (source_count < 1 && arguments->watch == NULL)
        return fail(ERR_INPUT, "name at least one SOURCE, or a folder to --watch");
    if (arguments->store == NULL || arguments->store[0] == '\0')
        return fail(ERR_INPUT, "--store DIR is missing");
    return options_check_output(arguments->output);
}

static void print_json(const struct ingest_result *result)
{
    json_t *formats = json_object();
    json_t *rejected = json_object();
    json_t *shards = json_array();
    for (int i = 0; i < IMAGE_REASON_COUNT; i++) {
        if (result->rejected[i] > 0)
            json_object_set_new(rejected, image_reason_name((enum image_reason)i),
                                json_integer((json_int_t)result->rejected[i]));
    }
    for (int i = 0; i < IMAGE_FORMAT_OTHER; i++)
        json_object_set_new(formats, image_format_name((enum image_format)i),
                            json_integer((json_int_t)result->formats[i]));
    for (uint32_t i = 0; i < result->shard_count; i++)
        json_array_append_new(shards, json_string(result->shards[i].name));
    double rate = result->seconds > 0 ? (double)result->scanned / result->seconds : 0;
    json_t *all = json_pack(
        "{si sI sI sI so sI sI so so sI sf sf sb}", "schema_version", INGEST_SCHEMA_VERSION,
        "scanned", (json_int_t)result->scanned, "accepted", (json_int_t)result->accepted,
        "labelled", (json_int_t)result->labelled, "formats", formats, "cut",
        (json_int_t)result->cut, "duplicates", (json_int_t)result->duplicates, "rejected", rejected,
        "shards", shards, "bytes", (json_int_t)result->bytes, "images_per_second", rate, "seconds",
        result->seconds, "stopped", result->is_stopped);
    json_print(all);
    json_decref(all);
}

static void print_table(const struct arguments *arguments, const struct ingest_result *result)
{
    double rate = result->seconds > 0 ? (double)result->scanned / result->seconds : 0;
    printf("%-12s %12llu\n", "scanned", (unsigned long long)result->scanned);
    printf("%-12s %12llu   %llu with a label, %.1f MB%s\n", "accepted",
           (unsigned long long)result->accepted, (unsigned long long)result->labelled,
           (double)result->bytes / 1e6, arguments->is_dry_run ? ", dry run: nothing written" : "");
    for (int i = 0; i < IMAGE_FORMAT_OTHER; i++) {
        if (result->formats[i] > 0)
            printf("  %-22s %llu\n", image_format_name((enum image_format)i),
                   (unsigned long long)result->formats[i]);
    }
    if (result->cut > 0)
        printf("  %-22s %llu\n", "without all rows", (unsigned long long)result->cut);
    printf("%-12s %12llu\n", "duplicates", (unsigned long long)result->duplicates);
    printf("%-12s %12llu\n", "refused", (unsigned long long)result->rejected_count);
    for (int i = 0; i < IMAGE_REASON_COUNT; i++) {
        if (result->rejected[i] > 0)
            printf("  %-22s %llu\n", image_reason_name((enum image_reason)i),
                   (unsigned long long)result->rejected[i]);
    }
    printf("%-12s %12u   %.0f images/s\n", "new shards", result->shard_count, rate);
    if (result->rejected_count > 0 && arguments->report == NULL)
        fprintf(stderr, "--report FILE.jsonl lists what was refused and why\n");
}

static void tell_sealed(const struct store_shard *shard)
{
    printf("sealed %s: %u images, %.1f MB\n", shard->name, shard->record_count,
           (double)shard->bytes / 1e6);
    fflush(stdout);
}

static void print_sealed(const struct store_shard *shard)
{
    printf("{\"schema_version\": %d, \"sealed\": \"%s\", \"records\": %u, \"bytes\": %llu}\n",
           INGEST_SCHEMA_VERSION, shard->name, shard->record_count,
           (unsigned long long)shard->bytes);
    fflush(stdout);
}

static void complain(const char *words)
{
    fprintf(stderr, "seer ingest: %s; it stays where it is\n", words);
}

static void tell_waiting(const char *store, int pid)
{
    fprintf(stderr, "seer ingest: another ingest (pid %d) writes into '%s': waiting for its end\n",
            pid, store);
}

static int ingest(const struct arguments *arguments, const struct ingest_options *options)
{
    struct ingest_result result;
    enum status status = ingest_run(options, &result);
    int code = command_exit("seer ingest", status);
    if (status == OK || result.shard_count > 0) {
        if (options_is_json(arguments->output))
            print_json(&result);
        else
            print_table(arguments, &result);
    }
    if (status == OK && result.is_stopped && !options->source.is_watching)
        code = EXIT_INTERRUPTED; /* a watch has no other end */
    else if (status == OK && arguments->is_strict && result.rejected_count > 0)
        code = EXIT_PARTLY;
    ingest_result_done(&result);
    return code;
}

/* All but the source's own options. */
static struct ingest_options plan(const struct arguments *arguments, const char *const *sources,
                                  int source_count)
{
    const int is_watching = arguments->watch != NULL;
    return (struct ingest_options){
        .sources = is_watching ? &arguments->watch : sources,
        .source_count = is_watching ? 1 : source_count,
        .store = arguments->store,
        .limits = {.max_pixels = arguments->max_pixels,
                   .max_side = image_limits_default.max_side,
                   .min_side = (int32_t)arguments->min_side,
                   .is_cut_fine = arguments->is_accepting_truncated},
        .shard_bytes = (uint64_t)arguments->shard_mb << 20,
        .seal_ms = is_watching ? arguments->seal_seconds * 1000 : 0,
        .is_living = arguments->is_living || is_watching,
        .spool = arguments->spool,
        .limit = (uint64_t)arguments->limit,
        .jobs = (int)arguments->jobs,
        .is_dry_run = arguments->is_dry_run,
        .is_keeping_duplicates = arguments->is_keeping_duplicates,
        .is_quiet = arguments->is_quiet,
        .report = arguments->report,
        .stop = &is_stop_asked,
        .waiting = tell_waiting,
        .sealed = !is_watching                         ? NULL
                  : options_is_json(arguments->output) ? print_sealed
                                                       : tell_sealed,
        .complain = complain,
    };
}

/* A thread per core, but not more than feed one writer. */
static int64_t default_jobs(void)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return cores < 1 ? 1 : cores > JOBS_DEFAULT_MAX ? JOBS_DEFAULT_MAX : cores;
}

static int ingest_command_run(int argc, char **argv)
{
    struct arguments arguments = {
        .labels = "auto",
        .output = "table",
        .shard_mb = SHARD_MB_DEFAULT,
        .seal_seconds = SEAL_SECONDS_DEFAULT,
        .jobs = default_jobs(),
        .max_pixels = image_limits_default.max_pixels,
        .min_side = image_limits_default.min_side,
    };
    struct arguments *a = &arguments;
    const struct option_row rows[] = {
        {"store", 0, OPTION_STRING, &a->store, "DIR", "where the shards go; made if missing"},
        {"labels", 0, OPTION_STRING, &a->labels, "RULE",
         "auto (.cls and IDX labels where they are), dir, none, idx:FILE"},
        {"shard-mb", 0, OPTION_INT, &a->shard_mb, "N",
         "begin a new shard after so many MiB (1024)"},
        {"watch", 0, OPTION_STRING, &a->watch, "DIR",
         "take in what is there and what comes, until stopped"},
        {"spool", 0, OPTION_STRING, &a->spool, "DIR",
         "--watch: move files to DIR/accepted and DIR/rejected"},
        {"seal-after", 0, OPTION_INT, &a->seal_seconds, "N",
         "--watch: seal a shard after so many seconds, however small (300)"},
        {"living", 0, OPTION_FLAG, &a->is_living, NULL,
         "what is ingested may expire, as with --watch (seer stream policy)"},
        {"limit", 0, OPTION_INT, &a->limit, "N", "stop after accepting N images"},
        {"jobs", 'j', OPTION_INT, &a->jobs, "N", "decode threads (one per core, at most 16)"},
        {"keep-duplicates", 0, OPTION_FLAG, &a->is_keeping_duplicates, NULL,
         "keep files that are in the store already"},
        {"max-pixels", 0, OPTION_INT, &a->max_pixels, "N", "refuse larger images (100000000)"},
        {"min-side", 0, OPTION_INT, &a->min_side, "N", "refuse images with a shorter side (1)"},
        {"accept-truncated", 0, OPTION_FLAG, &a->is_accepting_truncated, NULL,
         "of a JPEG that breaks off in its lower half keep what is above, as PNG"},
        {"report", 0, OPTION_STRING, &a->report, "FILE", "a line of JSON for each refused image"},
        {"strict", 0, OPTION_FLAG, &a->is_strict, NULL, "exit 4 if any image was refused"},
        {"dry-run", 'n', OPTION_FLAG, &a->is_dry_run, NULL, "decode and count, write nothing"},
        {"tar", 0, OPTION_FLAG, &a->is_tar, NULL, "what comes on stdin (-) is a tar archive"},
        {"null", '0', OPTION_FLAG, &a->is_zero_separated, NULL,
         "paths on stdin end with a 0 byte (find -print0)"},
        {"quiet", 'q', OPTION_FLAG, &a->is_quiet, NULL, "no progress"},
        {"output", 'o', OPTION_STRING, &a->output, "FORMAT", "table or json"},
        {0},
    };
    const struct usage usage = {
        .program = "seer ingest",
        .synopsis = "SOURCE... | --watch DIR  --store DIR [options]",
        .summary =
            "Decodes every image of the sources once and writes the good ones into sealed "
            "shards.\nA SOURCE is a folder, an image, a tar or zip archive (also WebDataset), "
            "an IDX file,\nan LMDB of Caffe or LSUN, or - for a list of paths, or a --tar, on "
            "stdin.",
        .examples = "  seer ingest photos/ --store store\n"
                    "  seer ingest train-*.tar --store store --report refused.jsonl\n"
                    "  seer ingest classes/ --store labelled --labels dir\n"
                    "  seer ingest --watch incoming --spool done --store store\n"
                    "  find /data -name '*.jpg' -print0 | seer ingest - -0 --store store",
        .options = rows,
    };
    int first;
    struct source_options source = {0};
    enum status status = options_parse(&usage, argc, argv, &first);
    if (status == OK)
        status = check_arguments(&arguments, argc - first);
    if (status == OK)
        status = read_labels(arguments.labels, &source);
    if (status != OK)
        return options_exit(&usage, status);
    source.is_zero_separated = arguments.is_zero_separated;
    source.is_archive_on_stdin = arguments.is_tar;
    source.is_watching = arguments.watch != NULL;
    status = open_wake(&source.wake);
    if (status != OK)
        return command_exit(usage.program, status);
    struct ingest_options options =
        plan(&arguments, (const char *const *)argv + first, argc - first);
    options.source = source;
    catch_signals();
    return ingest(&arguments, &options);
}

const struct command ingest_command = {"ingest", "put images into a store", ingest_command_run};
