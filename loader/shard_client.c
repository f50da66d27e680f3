/* shard_client.c - one thread, a connection for each loader, and the fetches that others wait for.
 *
 * What others share is under one lock, which the thread holds all of a turn but for waiting and for
 * unpacking what came: sending never blocks. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "loader/shard_client.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <zmq.h>

#include "common/check.h"
#include "common/clock.h"
#include "common/mem.h"
#include "common/thread.h"
#include "loader/fetch_desk.h"

enum {
    TURN_MS = 100, /* silence is looked for so often */
    HEAR_MAX = 16, /* messages of one loader in a turn: 16 MiB */
    POLL_MAX = 1 + 2 * HOLDERS_MAX,
};

struct shard_client {
    char *worker;
    struct loader_address addresses[HOLDERS_MAX];
    struct key key; /* if has_key */
    int has_key;
    void (*changed)(void *context);
    void *context;
    int wake_fd;
    struct thread thread;
    atomic_int is_stopping;
    struct buf incoming; /* of the thread */

    pthread_mutex_t lock; /* guards what is below, and all fetches */
    pthread_cond_t settled;
    struct fetch_desk desk;
};

static void kick(const struct shard_client *client)
{
    eventfd_t one = 1;
    CHECK(eventfd_write(client->wake_fd, one) == 0);
}

/* ---- the thread, without the lock ---- */

/* ERR_END: there is nothing. */
static enum status receive(struct shard_client *client, int i, struct loader_message *ret_message)
{
    struct endpoint *endpoint = client->desk.connections[i].peer.endpoint; /* the thread's own */
    if (endpoint == NULL)
        return ERR_END;
    buf_clear(&client->incoming);
    TRY(endpoint_receive_bytes(endpoint, NULL, &client->incoming));
    return loader_message_decode(client->incoming.bytes, client->incoming.length, ret_message);
}

static void hear(struct shard_client *client, int i)
{
    for (int turn = 0; turn < HEAR_MAX; turn++) {
        struct loader_message message = {0};
        enum status status = receive(client, i, &message);
        if (status == ERR_END)
            return;
        pthread_mutex_lock(&client->lock);
        client->desk.connections[i].peer.heard_ms = clock_ms();
        if (status == OK)
            status = fetch_desk_hear(&client->desk, i, &message);
        if (status != OK)
            fetch_desk_hang_up(&client->desk, i, fail_message());
        pthread_mutex_unlock(&client->lock);
        if (message.kind != 0)
            loader_message_done(&message);
    }
}

static void wait_for_news(const struct shard_client *client)
{
    zmq_pollitem_t items[POLL_MAX] = {{.fd = client->wake_fd, .events = ZMQ_POLLIN}};
    int count = 1;
    for (int i = 0; i < client->desk.holders.count; i++) {
        struct endpoint *endpoint = client->desk.connections[i].peer.endpoint;
        if (endpoint == NULL)
            continue;
        items[count++] =
            (zmq_pollitem_t){.socket = endpoint_socket(endpoint), .events = ZMQ_POLLIN};
        items[count++] =
            (zmq_pollitem_t){.socket = endpoint_watch_socket(endpoint), .events = ZMQ_POLLIN};
    }
    zmq_poll(items, count, TURN_MS);
    eventfd_t value;
    if (items[0].revents != 0)
        CHECK(eventfd_read(client->wake_fd, &value) == 0);
}

static void client_run(void *argument)
{
    struct shard_client *client = argument;
    while (!atomic_load(&client->is_stopping)) {
        wait_for_news(client);
        for (int i = 0; i < client->desk.holders.count; i++) {
            pthread_mutex_lock(&client->lock);
            fetch_desk_see_connection(&client->desk, i);
            pthread_mutex_unlock(&client->lock);
            hear(client, i);
        }
        pthread_mutex_lock(&client->lock);
        fetch_desk_speak(&client->desk);
        int is_changed = client->desk.is_changed;
        if (client->desk.is_settled)
            pthread_cond_broadcast(&client->settled);
        client->desk.is_changed = client->desk.is_settled = 0;
        pthread_mutex_unlock(&client->lock);
        if (is_changed)
            client->changed(client->context);
    }
}

/* ---- the public functions take the lock themselves ---- */

enum status shard_client_start(const struct shard_client_setup *setup,
                               struct shard_client **ret_client)
{
    enum status status = OK;
    struct shard_client *client = mem_zero(sizeof(*client));
    pthread_mutex_init(&client->lock, NULL);
    pthread_cond_init(&client->settled, NULL);
    buf_init(&client->incoming, LOADER_MESSAGE_BYTES_MAX);
    client->worker = mem_string(setup->worker);
    client->changed = setup->changed;
    client->context = setup->context;
    client->wake_fd = -1;
    client->has_key = setup->key != NULL;
    if (client->has_key)
        client->key = *setup->key;
    for (int i = 0; i < setup->count; i++)
        TRY_OUT(loader_address_parse(setup->addresses[i], &client->addresses[i]));
    fetch_desk_init(&client->desk, client->addresses, setup->count,
                    client->has_key ? &client->key : NULL, client->worker);
    client->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (client->wake_fd < 0) {
        status = fail(ERR_DEVICE, "no descriptor is left for the connections with loaders");
        goto out;
    }
    for (int i = 0; i < setup->count; i++)
        TRY_OUT(loader_peer_open(&client->desk.connections[i].peer));
    TRY_OUT(thread_start(&client->thread, "fetch", client_run, client));
    *ret_client = client;
    client = NULL; /* given to the caller */
out:
    shard_client_stop(client);
    shard_client_destroy(client);
    return status;
}

void shard_client_stop(struct shard_client *client)
{
    if (client == NULL || client->wake_fd < 0)
        return;
    atomic_store(&client->is_stopping, 1);
    kick(client);
    thread_stop(&client->thread);
}

void shard_client_destroy(struct shard_client *client)
{
    if (client == NULL)
        return;
    if (client->wake_fd >= 0)
        close(client->wake_fd);
    fetch_desk_done(&client->desk);
    explicit_bzero(&client->key, sizeof(client->key));
    mem_free(client->worker);
    buf_done(&client->incoming);
    pthread_cond_destroy(&client->settled);
    pthread_mutex_destroy(&client->lock);
    mem_free(client);
}

enum status shard_client_find(struct shard_client *client, const struct planned_shard *shard)
{
    pthread_mutex_lock(&client->lock);
    enum status status = holders_verdict(&client->desk.holders, shard);
    pthread_mutex_unlock(&client->lock);
    return status;
}

struct fetch *shard_client_ask(struct shard_client *client, const struct planned_shard *shard,
                               uint32_t record)
{
    pthread_mutex_lock(&client->lock);
    int is_first = client->desk.wanted.first == NULL;
    struct fetch *fetch = fetch_desk_want(&client->desk, shard, record);
    pthread_mutex_unlock(&client->lock);
    if (is_first)
        kick(client);
    return fetch;
}

enum status shard_client_wait(struct shard_client *client, struct fetch *fetch,
                              const atomic_int *is_void, const uint8_t **ret_bytes,
                              size_t *ret_length)
{
    pthread_mutex_lock(&client->lock);
    if (fetch_desk_make_urgent(&client->desk, fetch))
        kick(client);
    while (!fetch_is_settled(fetch) && !atomic_load(is_void))
        pthread_cond_wait(&client->settled, &client->lock);
    fetch->is_urgent = 0;
    enum fetch_state state = fetch->state;
    pthread_mutex_unlock(&client->lock);
    if (state == FETCH_BAD)
        return fail(ERR_CORRUPT, "record %u of shard '%s': %s", fetch->record, fetch->shard.name,
                    fetch->reason);
    if (state == FETCH_NOBODY)
        return fail(ERR_UNREACHABLE, "nobody who holds shard '%s' is there", fetch->shard.name);
    if (state != FETCH_HERE)
        return fail(ERR_STALE, "nobody wants it any more");
    *ret_bytes = fetch->bytes;
    *ret_length = fetch->total;
    return OK;
}

void shard_client_drop(struct shard_client *client, struct fetch **fetch)
{
    if (*fetch == NULL)
        return;
    pthread_mutex_lock(&client->lock);
    int is_news = fetch_desk_let_go(&client->desk, *fetch);
    pthread_mutex_unlock(&client->lock);
    *fetch = NULL;
    if (is_news)
        kick(client);
}

void shard_client_wake(struct shard_client *client)
{
    pthread_mutex_lock(&client->lock);
    pthread_cond_broadcast(&client->settled);
    pthread_mutex_unlock(&client->lock);
}

int shard_client_note(struct shard_client *client, int *ret_is_there, char *words, size_t bytes)
{
    int is_note = 0;
    pthread_mutex_lock(&client->lock);
    for (int i = 0; i < client->desk.holders.count && !is_note; i++) {
        struct connection *connection = &client->desk.connections[i];
        is_note = connection->is_note;
        connection->is_note = 0;
        *ret_is_there = connection->is_noted;
        if (is_note)
            snprintf(words, bytes, "%s: %s", client->addresses[i].endpoint, connection->words);
    }
    pthread_mutex_unlock(&client->lock);
    return is_note;
}
