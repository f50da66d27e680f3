/* dashboard.c - the run as a page, as metrics and as JSON, over HTTP. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/watch/dashboard.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "server/watch/desk.h"
#include "server/watch/follower.h"
#include "server/watch/history.h"
#include "server/watch/http.h"
#include "server/watch/live.h"
#include "server/watch/metrics.h"
#include "server/watch/page.h"
#include "server/watch/picture_json.h"

enum {
    TURN_MS = 250,      /* deadlines of clients are looked at so often */
    PRESENT_MS = 1000,  /* workers, stream and server to the viewers */
    PATIENCE_MS = 2000, /* for an address that is in use */
    DIGITS = 7,         /* of numbers in JSON: more is noise on a page */
    ORDERS_MAX = 16,    /* that wait for the server at once */
    ORDER_MS = 5000,
};

struct dashboard {
    const char *run; /* NULL: no past */
    struct picture *picture;
    struct follower *follower;
    struct live *live;
    struct http *http;
    int64_t present_ms;
    int has_token;
    struct token token;
    struct {
        uint64_t ticket, request; /* ticket 0: free */
        int64_t until_ms;
    } orders[ORDERS_MAX];
};

/* Takes the object. */
static char *text_of(json_t *object)
{
    char *dumped = json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(DIGITS));
    char *text = mem_string(dumped != NULL ? dumped : "{}");
    free(dumped);
    json_decref(object);
    return text;
}

static json_t *whole(const struct dashboard *dashboard)
{
    json_t *object = picture_json(dashboard->picture, follower_is_live(dashboard->follower),
                                  follower_trouble(dashboard->follower));
    json_object_set_new(object, "has_orders", json_boolean(dashboard->has_token));
    return object;
}

static char *state_text(void *context)
{
    return text_of(whole(context));
}

static void publish(struct dashboard *dashboard, const char *event, json_t *object)
{
    char *text = text_of(object);
    live_publish(dashboard->live, event, text);
    mem_free(text);
}

/* ---- what the feed says ---- */

static void on_snapshot(void *context, const json_t *status)
{
    struct dashboard *dashboard = context;
    picture_status(dashboard->picture, status);
    if (dashboard->run != NULL)
        history_load(dashboard->run, dashboard->picture);
    if (live_viewers(dashboard->live) > 0)
        publish(dashboard, "status", whole(dashboard));
}

static void publish_event(struct dashboard *dashboard, uint64_t marks_before, uint64_t before)
{
    const struct picture *picture = dashboard->picture;
    if (picture->last_event == before || picture->event_count == 0)
        return; /* known already */
    publish(dashboard, "event", picture_json_event(&picture->events[picture->event_count - 1]));
    if (strcmp(picture->events[picture->event_count - 1].name, "evaluation") == 0)
        publish(dashboard, "evaluations", picture_json_evaluations(picture));
    if (picture->mark_total != marks_before)
        publish(dashboard, "mark", picture_json_mark(&picture->marks[picture->mark_count - 1]));
}

static void on_message(void *context, const struct feed_message *message)
{
    struct dashboard *dashboard = context;
    struct picture *picture = dashboard->picture;
    uint64_t marks = picture->mark_total, last_event = picture->last_event;
    picture_message(picture, message);
    if (live_viewers(dashboard->live) == 0)
        return;
    if (message->kind == FEED_STEP)
        publish(dashboard, "step", picture_json_step(&message->step, message->wall_ms));
    else if (message->kind == FEED_EVENT)
        publish_event(dashboard, marks, last_event);
    else if (message->kind == FEED_SNAPSHOT && picture->snapshot_count > 0)
        publish(dashboard, "saved",
                picture_json_snapshot(&picture->snapshots[picture->snapshot_count - 1]));
}

static void publish_present(struct dashboard *dashboard)
{
    int64_t now_ms = clock_ms();
    if (now_ms - dashboard->present_ms < PRESENT_MS)
        return;
    dashboard->present_ms = now_ms;
    if (live_viewers(dashboard->live) == 0) {
        live_publish(dashboard->live, "", ""); /* nobody may go on from what is old */
        return;
    }
    publish(dashboard, "present",
            picture_json_present(dashboard->picture, follower_is_live(dashboard->follower),
                                 follower_trouble(dashboard->follower)));
}

/* ---- orders ---- */

static unsigned take_order(void *context, struct MHD_Connection *connection, const char *path,
                           uint64_t ticket, const char **ret_words)
{
    struct dashboard *dashboard = context;
    struct desk_order order;
    int free_place = 0;
    const unsigned code = desk_read(&dashboard->token, connection, path, &order, ret_words);
    if (code == MHD_HTTP_UNAUTHORIZED)
        log_warn("event=order_refused path=%s reason=\"no token, or a wrong one\"", path);
    if (code != 0)
        return code;
    while (free_place < ORDERS_MAX && dashboard->orders[free_place].ticket != 0)
        free_place++;
    uint64_t request = 0;
    enum status status =
        free_place == ORDERS_MAX
            ? fail(ERR_UNREACHABLE, "too many orders wait for the server")
            : follower_order(dashboard->follower, order.command, order.arguments, &request);
    mem_free(order.arguments);
    if (status != OK) {
        *ret_words = fail_message();
        return desk_code(status);
    }
    log_info("event=order command=%s", order.command);
    dashboard->orders[free_place].ticket = ticket;
    dashboard->orders[free_place].request = request;
    dashboard->orders[free_place].until_ms = clock_ms() + ORDER_MS;
    return 0;
}

static void on_reply(void *context, uint64_t request, enum status status, const char *text)
{
    struct dashboard *dashboard = context;
    for (int i = 0; i < ORDERS_MAX; i++)
        if (dashboard->orders[i].ticket != 0 && dashboard->orders[i].request == request) {
            http_answer(dashboard->http, dashboard->orders[i].ticket, desk_code(status), text);
            dashboard->orders[i].ticket = 0;
        }
}

static void end_late_orders(struct dashboard *dashboard)
{
    for (int i = 0; i < ORDERS_MAX; i++)
        if (dashboard->orders[i].ticket != 0 && clock_ms() > dashboard->orders[i].until_ms) {
            http_answer(dashboard->http, dashboard->orders[i].ticket, desk_code(ERR_TIMEOUT),
                        "the server has not answered; look at the events whether it obeyed");
            dashboard->orders[i].ticket = 0;
        }
}

/* ---- pages ---- */

static unsigned write_metrics(void *context, struct buf *out)
{
    struct dashboard *dashboard = context;
    const struct metrics_self self = {follower_is_live(dashboard->follower),
                                      follower_gaps(dashboard->follower),
                                      live_viewers(dashboard->live)};
    return metrics_write(dashboard->picture, &self, out) == OK ? MHD_HTTP_OK
                                                               : MHD_HTTP_INTERNAL_SERVER_ERROR;
}

static unsigned write_status(void *context, struct buf *out)
{
    char *text = state_text(context);
    enum status status = buf_append(out, text, strlen(text));
    if (status == OK)
        status = buf_append(out, "\n", 1);
    mem_free(text);
    return status == OK ? MHD_HTTP_OK : MHD_HTTP_INTERNAL_SERVER_ERROR;
}

/* This program lives: it has just answered. */
static unsigned write_health(void *context, struct buf *out)
{
    (void)context;
    return buf_format(out, "ok\n") == OK ? MHD_HTTP_OK : MHD_HTTP_INTERNAL_SERVER_ERROR;
}

/* It also hears the server, so what it shows is the present. */
static unsigned write_readiness(void *context, struct buf *out)
{
    struct dashboard *dashboard = context;
    if (follower_is_live(dashboard->follower))
        return write_health(context, out);
    return buf_format(out, "not ready: %s\n", follower_trouble(dashboard->follower)) == OK
               ? MHD_HTTP_SERVICE_UNAVAILABLE
               : MHD_HTTP_INTERNAL_SERVER_ERROR;
}

static struct MHD_Response *follow(void *context, struct MHD_Connection *connection,
                                   const char *last_id)
{
    struct dashboard *dashboard = context;
    return live_response(dashboard->live, connection, last_id);
}

/* ---- life ---- */

/* One that was here before, and ends with its server, may take a moment. */
static enum status listen_at(struct dashboard *dashboard, const struct dashboard_options *options,
                             const struct http_route *routes)
{
    int64_t deadline_ms = clock_ms() + PATIENCE_MS;
    for (;;) {
        enum status status = http_open(options->listen, options->is_remote_allowed, routes,
                                       dashboard, &dashboard->http);
        if (status != ERR_IO || clock_ms() >= deadline_ms || *options->is_stopping)
            return status;
        TRY(follower_wait(dashboard->follower, -1, TURN_MS));
    }
}

static enum status serve(struct dashboard *dashboard, const struct dashboard_options *options)
{
    const char text[] = "text/plain; charset=utf-8";
    const struct http_route routes[] = {
        {.path = "/",
         .type = "text/html; charset=utf-8",
         .page = page_html,
         .page_bytes = page_html_bytes},
        {.path = "/metrics",
         .type = "text/plain; version=0.0.4; charset=utf-8",
         .write = write_metrics},
        {.path = "/healthz", .type = text, .write = write_health},
        {.path = "/readyz", .type = text, .write = write_readiness},
        {.path = "/api/v1/status", .type = "application/json", .write = write_status},
        {.path = "/api/v1/events", .follow = follow},
        /* Without a token the list ends here. */
        {.path = dashboard->has_token ? desk_paths[0] : NULL, .order = take_order},
        {.path = desk_paths[1], .order = take_order},
        {.path = desk_paths[2], .order = take_order},
        {0},
    };
    TRY(listen_at(dashboard, options, routes));
    printf("%s\n", http_address(dashboard->http));
    fflush(stdout);
    enum status status = OK;
    while (status == OK && !*options->is_stopping) {
        status = follower_wait(dashboard->follower, http_fd(dashboard->http), TURN_MS);
        publish_present(dashboard);
        end_late_orders(dashboard);
        live_wake(dashboard->live);
        http_turn(dashboard->http);
    }
    live_stop(dashboard->live);
    http_abandon(dashboard->http);
    http_turn(dashboard->http);
    http_turn(dashboard->http);
    return status;
}

enum status dashboard_run(const struct dashboard_options *options)
{
    struct dashboard dashboard = {.run = options->run};
    const struct follower_sink sink = {&dashboard, on_snapshot, on_message, on_reply};
    if (options->token != NULL) {
        TRY(token_load(options->token, &dashboard.token));
        dashboard.has_token = 1;
    }
    dashboard.picture = picture_create();
    dashboard.live = live_create(state_text, &dashboard);
    dashboard.follower = follower_create(options->run, options->server, options->key, sink);
    enum status status = serve(&dashboard, options);
    http_close(dashboard.http);
    live_destroy(dashboard.live);
    follower_destroy(dashboard.follower);
    picture_destroy(dashboard.picture);
    return status;
}
