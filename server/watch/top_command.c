/* top_command.c - `seer top`: a run on a terminal, live. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include <langinfo.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/mem.h"
#include "common/options.h"
#include "server/client.h"
#include "server/watch/commands.h"
#include "server/watch/follower.h"
#include "server/watch/history.h"
#include "server/watch/picture_json.h"
#include "server/watch/top_screen.h"

enum { PATIENCE_MS = 5000, LINE_MS = 1000, WIDTH_UNKNOWN = 100, WIDTH_MIN = 20 };

static volatile int is_stopping;

static void on_signal(int number)
{
    (void)number;
    is_stopping = 1;
}

struct top {
    struct client_options client;
    const char *sort, *filter;
    int is_once;
    int64_t width;
    struct picture *picture;
    struct follower *follower;
    struct top_view view;
};

static void on_snapshot(void *context, const json_t *status)
{
    struct top *top = context;
    picture_status(top->picture, status);
    if (top->client.run != NULL)
        history_load(top->client.run, top->picture);
}

static void on_message(void *context, const struct feed_message *message)
{
    picture_message(((struct top *)context)->picture, message);
}

/* The first time that all is there: a snapshot, and a round of the feed behind it. */
static enum status await_picture(struct top *top)
{
    int64_t deadline_ms = clock_ms() + PATIENCE_MS;
    while (top->picture->round == 0 && !is_stopping) {
        if (clock_ms() >= deadline_ms)
            return fail(ERR_UNREACHABLE, "%s", follower_trouble(top->follower));
        TRY(follower_wait(top->follower, -1, LINE_MS / 10));
    }
    return OK;
}

static void print_once(struct top *top)
{
    struct winsize size = {0};
    struct top_lines *lines = mem_zero(sizeof(*lines));
    int is_terminal = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
    top->view.width = top->width > 0 ? (int)top->width : is_terminal ? size.ws_col : WIDTH_UNKNOWN;
    top->view.is_live = 1;
    top->view.now_ms = clock_wall_ms();
    top_render(top->picture, &top->view, lines);
    for (int i = 0; i < lines->count; i++)
        printf("%s\n", lines->lines[i].text);
    mem_free(lines);
}

/* One object a line, each second. */
static enum status print_stream(struct top *top)
{
    int64_t printed_ms = 0;
    enum status status = OK;
    while (status == OK && !is_stopping && !ferror(stdout)) {
        int64_t now_ms = clock_ms();
        if (now_ms - printed_ms >= LINE_MS) {
            printed_ms = now_ms;
            json_t *present = picture_json_present(top->picture, follower_is_live(top->follower),
                                                   follower_trouble(top->follower));
            json_dumpf(present, stdout, JSON_COMPACT);
            fputc('\n', stdout);
            fflush(stdout);
            json_decref(present);
        }
        status = follower_wait(top->follower, -1, LINE_MS / 4);
    }
    return status;
}

static enum status show(struct top *top)
{
    int is_json = options_is_json(top->client.output);
    if (!top->is_once && !is_json)
        return top_screen_run(top->follower, top->picture, &top->view, &is_stopping);
    TRY(await_picture(top));
    if (!top->is_once)
        return print_stream(top);
    if (!is_json) {
        print_once(top);
        return OK;
    }
    json_t *all = picture_json(top->picture, 1, "");
    json_print(all);
    json_decref(all);
    return OK;
}

static enum status check(struct top *top)
{
    const char *names[TOP_SORT_COUNT];
    TRY(client_options_check(&top->client));
    if (top->width != 0 && (top->width < WIDTH_MIN || top->width >= TOP_LINE_BYTES))
        return fail(ERR_INPUT, "--width %lld: from %d to %d", (long long)top->width, WIDTH_MIN,
                    TOP_LINE_BYTES - 1);
    if (top->filter != NULL)
        snprintf(top->view.filter, sizeof(top->view.filter), "%s", top->filter);
    if (top->sort == NULL)
        return OK;
    for (int i = 0; i < TOP_SORT_COUNT; i++) {
        names[i] = top_sort_name((enum top_sort)i);
        top->view.sort = strcmp(names[i], top->sort) == 0 ? (enum top_sort)i : top->view.sort;
    }
    if (strcmp(names[top->view.sort], top->sort) != 0)
        return options_unknown("order", top->sort, names, TOP_SORT_COUNT);
    return OK;
}

static enum status run_top(struct top *top)
{
    const struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    setlocale(LC_CTYPE, "");
    top->view.is_utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
    top->picture = picture_create();
    top->follower = follower_create(top->client.run, top->client.server, top->client.key,
                                    (struct follower_sink){top, on_snapshot, on_message, NULL});
    enum status status = show(top);
    follower_destroy(top->follower);
    picture_destroy(top->picture);
    return status;
}

static int top_main(int argc, char **argv)
{
    static struct top top;
    const struct option_row rows[] = {
        CLIENT_OPTIONS(top.client),
        {"once", 0, OPTION_FLAG, &top.is_once, NULL, "print it once and end"},
        {"sort", 0, OPTION_STRING, &top.sort, "ORDER",
         "rank (default), name, images, step-ms, wait, memory or heard"},
        {"filter", 0, OPTION_STRING, &top.filter, "TEXT", "only workers with TEXT in their line"},
        {"width", 0, OPTION_INT, &top.width, "N", "columns with --once; default: the terminal's"},
        {0},
    };
    const struct usage usage = {
        .program = "seer top",
        .synopsis = "--run DIR | --server URL [--once] [-o json] [options]",
        .summary =
            "Shows a run live: workers, curves, stream and events. Follows the server when it\n"
            "is started again. NO_COLOR is respected.",
        .examples = "  seer top --run run\n  seer top --run run --once --sort wait\n"
                    "  seer top --run run -o json | jq .images_per_second",
        .options = rows,
    };
    enum status status = options_parse_all(&usage, argc, argv);
    if (status == OK)
        status = check(&top);
    if (status != OK)
        return options_exit(&usage, status);
    return command_exit(usage.program, run_top(&top));
}

const struct command top_command = {"top", "a run on the terminal, live", top_main};
