/* top_screen.c - `seer top` on a terminal, by ncurses. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/watch/top_screen.h"

#include <ctype.h>
#include <curses.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/mem.h"

enum { TURN_MS = 500, PAGE = 10, ESCAPE = 27, BACKSPACE = 127 };

static void prepare_colors(void)
{
    const char *no_color = getenv("NO_COLOR"); /* no-color.org: set and not empty */
    if ((no_color != NULL && no_color[0] != 0) || !has_colors())
        return;
    start_color();
    use_default_colors();
    init_pair(TOP_GOOD, COLOR_GREEN, -1);
    init_pair(TOP_WARN, COLOR_YELLOW, -1);
    init_pair(TOP_BAD, COLOR_RED, -1);
}

/* Without colors the same things are told by weight. */
static attr_t attributes(enum top_style style)
{
    static const attr_t weights[] = {
        [TOP_PLAIN] = A_NORMAL, [TOP_BOLD] = A_BOLD, [TOP_SOFT] = A_DIM,    [TOP_HEAD] = A_REVERSE,
        [TOP_GOOD] = A_BOLD,    [TOP_WARN] = A_BOLD, [TOP_BAD] = A_STANDOUT};
    return weights[style] | (style >= TOP_GOOD ? COLOR_PAIR(style) : 0);
}

static void draw_keys(const struct top_view *view)
{
    char text[TOP_LINE_BYTES];
    if (view->is_filtering)
        snprintf(text, sizeof(text), "filter: %s_  (Enter keeps it, Esc drops it)", view->filter);
    else
        snprintf(text, sizeof(text),
                 "q quit  s sort: %s%s  r reverse  / filter%s%s  w %s  arrows scroll",
                 top_sort_name(view->sort), view->is_reverse ? " reversed" : "",
                 view->filter[0] != 0 ? ": " : "", view->filter,
                 view->only_warnings ? "all events" : "warnings only");
    attrset(A_DIM);
    mvaddnstr(LINES - 1, 0, text, COLS - 1);
    attrset(A_NORMAL);
}

static void draw(const struct picture *picture, struct top_view *view, struct top_lines *lines)
{
    view->width = COLS;
    view->height = LINES;
    top_render(picture, view, lines);
    erase();
    for (int i = 0; i < lines->count; i++) {
        attrset(attributes(lines->lines[i].style));
        mvaddstr(i, 0, lines->lines[i].text);
    }
    attrset(A_NORMAL);
    draw_keys(view);
    refresh();
}

static void type_filter(struct top_view *view, int key)
{
    size_t length = strlen(view->filter);
    if (key == '\n' || key == KEY_ENTER || key == ESCAPE)
        view->is_filtering = 0;
    if (key == ESCAPE)
        view->filter[0] = 0;
    else if ((key == KEY_BACKSPACE || key == BACKSPACE || key == '\b') && length > 0)
        view->filter[length - 1] = 0;
    else if (key < BACKSPACE && isprint(key) && length + 1 < TOP_FILTER_BYTES) {
        view->filter[length] = (char)key;
        view->filter[length + 1] = 0;
    }
}

static void scroll_by(struct top_view *view, const struct picture *picture, int lines)
{
    int last = picture->worker_count > 0 ? (int)picture->worker_count - 1 : 0;
    int to = view->scroll + lines;
    view->scroll = to < 0 ? 0 : to > last ? last : to;
}

/* Returns 0 for q. */
static int handle_key(struct top_view *view, const struct picture *picture, int key)
{
    if (view->is_filtering) {
        type_filter(view, key);
        return 1;
    }
    switch (key) {
    case 'q':
        return 0;
    case 's':
        view->sort = (enum top_sort)((view->sort + 1) % TOP_SORT_COUNT);
        break;
    case 'r':
        view->is_reverse = !view->is_reverse;
        break;
    case 'w':
        view->only_warnings = !view->only_warnings;
        break;
    case '/':
        view->is_filtering = 1;
        break;
    case KEY_UP:
    case 'k':
        scroll_by(view, picture, -1);
        break;
    case KEY_DOWN:
    case 'j':
        scroll_by(view, picture, 1);
        break;
    case KEY_PPAGE:
        scroll_by(view, picture, -PAGE);
        break;
    case KEY_NPAGE:
        scroll_by(view, picture, PAGE);
        break;
    default: /* KEY_RESIZE: LINES and COLS are new */
        break;
    }
    return 1;
}

static enum status open_screen(SCREEN **ret_screen)
{
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
        return fail(ERR_INPUT, "this is no terminal: use --once or -o json");
    SCREEN *screen = newterm(NULL, stdout, stdin);
    if (screen == NULL)
        return fail(ERR_INPUT, "the terminal '%s' is not known here: use --once, or set TERM",
                    getenv("TERM") != NULL ? getenv("TERM") : "");
    set_term(screen);
    prepare_colors();
    cbreak();
    noecho();
    keypad(stdscr, TRUE);
    nodelay(stdscr, TRUE);
    set_escdelay(50);
    curs_set(0);
    *ret_screen = screen;
    return OK;
}

enum status top_screen_run(struct follower *follower, const struct picture *picture,
                           struct top_view *view, const volatile int *is_stopping)
{
    SCREEN *screen = NULL;
    TRY(open_screen(&screen));
    struct top_lines *lines = mem_zero(sizeof(*lines));
    enum status status = OK;
    int is_wanted = 1;
    int64_t drawn_ms = 0;
    while (status == OK && is_wanted && !*is_stopping) {
        int has_key = 0;
        for (int key; is_wanted && (key = getch()) != ERR; has_key = 1)
            is_wanted = handle_key(view, picture, key);
        if (has_key || clock_ms() - drawn_ms >= TURN_MS) {
            view->is_live = follower_is_live(follower);
            view->trouble = follower_trouble(follower);
            view->now_ms = clock_wall_ms();
            draw(picture, view, lines);
            drawn_ms = clock_ms();
        }
        status = follower_wait(follower, STDIN_FILENO, TURN_MS);
    }
    mem_free(lines);
    endwin();
    delscreen(screen);
    return status;
}
