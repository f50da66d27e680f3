/* actions.c - the list of what is to be done. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/actions.h"

#include <stdarg.h>
#include <stdio.h>

#include "common/mem.h"

enum { EVENT_TEXT_BYTES = 1024 };

static void action_done(struct action *action)
{
    if (action->kind == ACTION_SEND)
        message_done(&action->send.message);
    else if (action->kind == ACTION_JOURNAL)
        journal_record_done(&action->record);
    else if (action->kind == ACTION_START_HELPERS)
        mem_free(action->helpers.helpers);
    else if (action->kind == ACTION_EVENT)
        mem_free(action->event.text);
}

void actions_init(struct actions *actions)
{
    *actions = (struct actions){0};
}

void actions_clear(struct actions *actions)
{
    for (uint32_t i = 0; i < actions->count; i++)
        action_done(&actions->items[i]);
    actions->count = 0;
}

void actions_done(struct actions *actions)
{
    actions_clear(actions);
    mem_free(actions->items);
    *actions = (struct actions){0};
}

struct action *actions_push(struct actions *actions, enum action_kind kind)
{
    if (actions->count == actions->capacity) {
        actions->capacity = actions->capacity * 2 + 16;
        actions->items = mem_resize(actions->items, actions->capacity * sizeof(*actions->items));
    }
    struct action *action = &actions->items[actions->count++];
    *action = (struct action){.kind = kind};
    return action;
}

void actions_move(struct action *action, struct actions *to)
{
    struct action *moved = actions_push(to, action->kind);
    *moved = *action;
    *action = (struct action){.kind = ACTION_NONE};
}

void actions_event(struct actions *actions, const char *kind, int is_warning, const char *format,
                   ...)
{
    char text[EVENT_TEXT_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    struct action *action = actions_push(actions, ACTION_EVENT);
    action->event.kind = kind;
    action->event.is_warning = is_warning;
    action->event.text = mem_string(text);
}
