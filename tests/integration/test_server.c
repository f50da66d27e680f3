/* test_server.c - the real server against workers made of the real member and nothing else.
 *
 * They train nothing: a step is a made-up loss. So everything around the learner is tested in
 * milliseconds: admission, plans, votes, verdicts, snapshots, restarts, commands, and strangers. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.h>

#include <jansson.h>

#include "common/clock.h"
#include "common/config.h"
#include "common/fs.h"
#include "common/hash.h"
#include "common/host.h"
#include "common/mem.h"
#include "common/safetensors.h"
#include "loader/store.h"
#include "proto/endpoint.h"
#include "server/audit.h"
#include "server/journal.h"
#include "server/run_address.h"
#include "worker/member.h"

enum { WAIT_MS = 20000, STEPS = 30 };

struct fixture {
    char *directory, *run, *store, *config;
    pid_t server;
    struct run_address address;
};

static const char config_text[] = "train: {batch_images: 8, slot_images: 2}\n"
                                  "data: {block_records: 4, window_blocks: 2}\n"
                                  "snapshot: {every_steps: 10}\n"
                                  "server: {heartbeat_ms: 50, lost_ms: 2000}\n";

static void make_store(const char *store)
{
    char *shard = mem_format("%s/shards/a", store);
    assert_ok(fs_make_directory(shard));
    struct store_shard info = {
        .name = "a", .path = shard, .record_count = 100, .has_manifest = 1, .created_ms = 1};
    assert_ok(store_manifest_save(shard, &info));
    mem_free(shard);
}

static int setup(void **state)
{
    struct fixture *fixture = mem_zero(sizeof(*fixture));
    char pattern[] = "/tmp/seer-server-XXXXXX";
    fixture->directory = mem_string(mkdtemp(pattern));
    fixture->run = mem_format("%s/run", fixture->directory);
    fixture->store = mem_format("%s/store", fixture->directory);
    fixture->config = mem_format("%s/config.yaml", fixture->directory);
    assert_ok(fs_write_file(fixture->config, config_text, strlen(config_text)));
    make_store(fixture->store);
    *state = fixture;
    return 0;
}

/* Returns once the server has written where it listens. */
static void start_server(struct fixture *fixture, const char *steps)
{
    const char *bin = getenv("SEER_BIN");
    if (bin == NULL)
        test_skip("SEER_BIN does not say where the programs are");
    char *program = mem_format("%s/seer-server", bin);
    fixture->server = fork();
    if (fixture->server == 0) {
        setenv("SEER_LOG", "error", 1);
        execl(program, program, "--config", fixture->config, "--state", fixture->run, "--store",
              fixture->store, "--steps", steps, "--set", "server.listen=tcp://127.0.0.1:*", "--set",
              "server.feed=tcp://127.0.0.1:*", (char *)NULL);
        _exit(127);
    }
    mem_free(program);
    int64_t deadline_ms = clock_ms() + WAIT_MS;
    while (run_address_load(fixture->run, &fixture->address) != OK ||
           fixture->address.pid != fixture->server) {
        assert_int_equal(waitpid(fixture->server, NULL, WNOHANG), 0);
        assert_true(clock_ms() < deadline_ms);
        poll(NULL, 0, 5);
    }
}

static int await_server(struct fixture *fixture)
{
    int result = -1;
    assert_int_equal(waitpid(fixture->server, &result, 0), fixture->server);
    fixture->server = 0;
    return result;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    if (fixture->server != 0) {
        kill(fixture->server, SIGKILL);
        await_server(fixture);
    }
    assert_ok(fs_remove_tree(fixture->directory));
    mem_free(fixture->directory);
    mem_free(fixture->run);
    mem_free(fixture->store);
    mem_free(fixture->config);
    mem_free(fixture);
    return 0;
}

/* ---- a worker that trains nothing ---- */

struct actor {
    struct endpoint *endpoint;
    struct member *member;
    struct member_actions actions;
    uint64_t applied;
    int is_connected, has_left, exit_code;
};

static void actor_start(struct actor *actor, const char *address, const char *name)
{
    memset(actor, 0, sizeof(*actor));
    assert_ok(endpoint_connect(address, NULL, &actor->endpoint));
    actor->member = member_create(&(struct member_setup){
        .worker = host_entropy(),
        .name = name,
        .host = "test",
        .device = "none",
        .version = EVERSEER_VERSION,
        .helper_address = "",
    });
    member_actions_init(&actor->actions);
}

static void actor_stop(struct actor *actor)
{
    member_actions_done(&actor->actions);
    member_destroy(actor->member);
    endpoint_close(actor->endpoint);
}

static void actor_handle(struct actor *actor, const struct member_event *event);

static void push_image(struct actor *actor, const struct message *begin, uint64_t step,
                       const struct buf *image)
{
    struct message part = {
        .kind = MESSAGE_SNAPSHOT_PART,
        .header = begin->header,
        .snapshot_part = {.name = begin->snapshot_begin.name,
                          .total = image->length,
                          .checksum = hash_bytes(image->bytes, image->length),
                          .length = (uint32_t)image->length,
                          .data = image->bytes},
    };
    part.header.step = step;
    assert_ok(endpoint_send(actor->endpoint, NULL, &part));
}

/* Its only tensor is 1. Before, what is left of another one that had this name and was 2. */
static void push_snapshot(struct actor *actor, const struct message *begin)
{
    struct safetensors_header header;
    struct buf image;
    char step[32];
    snprintf(step, sizeof(step), "%llu", (unsigned long long)begin->header.step);
    safetensors_init(&header);
    assert_ok(safetensors_add(&header, "w", SAFETENSORS_F32, 1, (int64_t[]){1}, NULL));
    safetensors_add_metadata(&header, "everseer.step", step);
    buf_init(&image, 4096);
    assert_ok(safetensors_encode(&header, &image));
    const size_t head = image.length;
    assert_ok(buf_append(&image, &(float){2}, sizeof(float)));
    push_image(actor, begin, begin->header.step - 1, &image);
    image.length = head;
    assert_ok(buf_append(&image, &(float){1}, sizeof(float)));
    push_image(actor, begin, begin->header.step, &image);
    safetensors_done(&header);
    buf_done(&image);
}

static struct message_ready vote_of(uint64_t step)
{
    return (struct message_ready){.is_finite = 1,
                                  .loss = 3.0 - (double)step / 100,
                                  .grad_norm = 1,
                                  .images = 8,
                                  .digest = step + 1};
}

static void configure(struct actor *actor, const char *yaml)
{
    static struct config config;
    config_init(&config);
    assert_ok(config_load_text("welcome", yaml, strlen(yaml), &config));
    actor_handle(actor, &(struct member_event){.kind = MEMBER_CONFIGURED,
                                               .fingerprint = config_fingerprint(&config)});
}

static void actor_do(struct actor *actor, const struct member_action *action)
{
    struct message_ready vote = vote_of(action->step);
    switch (action->kind) {
    case MEMBER_SEND:
        endpoint_send(actor->endpoint, NULL, &action->message); /* said again if it is lost */
        break;
    case MEMBER_CONFIGURE:
        configure(actor, action->text);
        break;
    case MEMBER_FORM:
        actor_handle(actor, &(struct member_event){
                                .kind = MEMBER_FORMED, .ticket = action->ticket, .digest = 5});
        break;
    case MEMBER_COMPUTE:
        actor_handle(actor, &(struct member_event){
                                .kind = MEMBER_COMPUTED, .ticket = action->ticket, .ready = &vote});
        break;
    case MEMBER_APPLY:
        assert_int_equal(action->step, actor->applied); /* each step once, in order */
        actor->applied++;
        break;
    case MEMBER_SNAPSHOT:
        push_snapshot(actor, &action->message);
        break;
    case MEMBER_EXIT:
        actor->has_left = 1;
        actor->exit_code = action->exit_code;
        break;
    default: /* loader's */
        break;
    }
}

static void actor_handle(struct actor *actor, const struct member_event *event)
{
    struct member_actions actions;
    member_actions_init(&actions);
    member_handle(actor->member, event, &actions);
    for (uint32_t i = 0; i < actions.count; i++)
        actor_do(actor, &actions.items[i]);
    member_actions_done(&actions);
}

/* Connected or not, as the socket says. */
static void actor_notice(struct actor *actor)
{
    zmq_pollitem_t item = {.socket = endpoint_socket(actor->endpoint), .events = ZMQ_POLLOUT};
    int is_connected = zmq_poll(&item, 1, 0) > 0;
    if (is_connected == actor->is_connected)
        return;
    actor->is_connected = is_connected;
    actor_handle(actor, &(struct member_event){.kind = is_connected ? MEMBER_CONNECTED
                                                                    : MEMBER_DISCONNECTED});
}

/* Lives until it was told to go or has applied so many steps. */
static void actor_live(struct actor *actor, uint64_t until)
{
    int64_t deadline_ms = clock_ms() + WAIT_MS;
    while (!actor->has_left && actor->applied < until) {
        struct message message;
        struct message_heartbeat heartbeat = {.phase = PHASE_IDLE, .is_warm = 1};
        assert_true(clock_ms() < deadline_ms);
        actor_notice(actor);
        enum status status = endpoint_receive(actor->endpoint, 20, NULL, &message);
        if (status == OK) {
            if (message.kind != MESSAGE_SNAPSHOT_ACK)
                actor_handle(actor,
                             &(struct member_event){.kind = MEMBER_MESSAGE, .message = &message});
            message_done(&message);
        } else if (actor->is_connected) {
            actor_handle(actor,
                         &(struct member_event){.kind = MEMBER_TICK, .heartbeat = &heartbeat});
        }
    }
}

static enum status add_record(void *audit, const struct journal_record *record)
{
    return audit_add(audit, record);
}

static struct audit_result audit_run(const struct fixture *fixture)
{
    struct audit_result result;
    struct journal *journal = NULL;
    struct audit *audit = audit_create();
    char *state = mem_format("%s/state", fixture->run);
    assert_ok(journal_open_reader(state, &journal));
    assert_ok(journal_each(journal, add_record, audit));
    audit_count(audit, &result);
    audit_destroy(audit);
    journal_close(journal);
    mem_free(state);
    return result;
}

/* ---- the tests ---- */

static void a_run_goes_to_its_end_and_every_position_counts_once(void **state)
{
    struct fixture *fixture = *state;
    struct actor actor;
    start_server(fixture, "30");
    actor_start(&actor, fixture->address.control, "w");
    actor_live(&actor, UINT64_MAX);
    assert_int_equal(actor.applied, STEPS);
    assert_int_equal(actor.exit_code, 0);
    actor_stop(&actor);
    assert_int_equal(await_server(fixture), 0);
    struct audit_result result = audit_run(fixture);
    assert_int_equal(result.steps, STEPS);
    assert_int_equal(result.positions_trained, STEPS * 8);
    assert_int_equal(result.lost + result.duplicated + result.unequal_digests, 0);
    char *snapshot = mem_format("%s/snapshots/step-000000030.safetensors", fixture->run);
    struct buf file;
    buf_init(&file, 1 << 16);
    assert_ok(fs_read_file(snapshot, &file));
    assert_memory_equal(file.bytes + file.length - sizeof(float), &(float){1}, sizeof(float));
    buf_done(&file);
    mem_free(snapshot);
}

static void a_killed_server_goes_on_where_it_was_with_the_same_worker(void **state)
{
    struct fixture *fixture = *state;
    struct actor actor;
    start_server(fixture, "30");
    actor_start(&actor, fixture->address.control, "w");
    for (uint64_t kill_at = 5; kill_at <= 20; kill_at += 5) {
        actor_live(&actor, kill_at);
        kill(fixture->server, SIGKILL);
        await_server(fixture);
        start_server(fixture, "30");
    }
    actor_live(&actor, UINT64_MAX);
    assert_int_equal(actor.applied, STEPS); /* none twice, none left out: see actor_do */
    actor_stop(&actor);
    assert_int_equal(await_server(fixture), 0);
    struct audit_result result = audit_run(fixture);
    assert_int_equal(result.steps, STEPS);
    assert_int_equal(result.lineages, 1);
    assert_int_equal(result.lost + result.duplicated, 0);
}

static void ask(struct endpoint *client, const char *name, const char *arguments,
                struct message *ret_reply)
{
    struct message question = {
        .kind = MESSAGE_COMMAND,
        .command = {77, (char *)(uintptr_t)name, (char *)(uintptr_t)arguments}};
    zmq_pollitem_t item = {.socket = endpoint_socket(client), .events = ZMQ_POLLOUT};
    assert_int_equal(zmq_poll(&item, 1, WAIT_MS), 1);
    assert_ok(endpoint_send(client, NULL, &question));
    assert_ok(endpoint_receive(client, WAIT_MS, NULL, ret_reply));
    assert_int_equal(ret_reply->kind, MESSAGE_REPLY);
    assert_int_equal(ret_reply->reply.request, 77);
}

static void operators_get_an_answer_to_whatever_they_ask(void **state)
{
    struct fixture *fixture = *state;
    struct endpoint *client;
    static const struct {
        const char *name, *arguments;
        enum status expected;
    } questions[] = {
        {"status", "", OK},
        {"snapshot_list", "{}", OK},
        {"pause", "", OK},
        {"resume", "", OK},
        {"make_coffee", "{}", ERR_INPUT},
        {"status", "[1, 2", ERR_INPUT},
        {"worker_drain", "{\"name\": \"nobody\"}", ERR_INPUT},
        {"snapshot_pin", "{\"name\": \"../../etc/passwd\"}", ERR_INPUT},
        {"snapshot_save", "{}", ERR_STALE},
        {"stream_retire", "{\"name\": 5}", ERR_INPUT},
    };
    start_server(fixture, "0");
    assert_ok(endpoint_connect(fixture->address.control, NULL, &client));
    for (size_t i = 0; i < sizeof(questions) / sizeof(questions[0]); i++) {
        struct message reply;
        ask(client, questions[i].name, questions[i].arguments, &reply);
        assert_int_equal(reply.reply.status, questions[i].expected);
        assert_true(reply.reply.body[0] != 0);
        message_done(&reply);
    }
    endpoint_close(client);
    kill(fixture->server, SIGTERM);
    assert_int_equal(await_server(fixture), 0);
}

static void strangers_and_garbage_change_nothing(void **state)
{
    struct fixture *fixture = *state;
    struct endpoint *stranger;
    struct message message;
    start_server(fixture, "0");
    assert_ok(endpoint_connect(fixture->address.control, NULL, &stranger));
    ask(stranger, "status", "", &message);
    message_done(&message);
    srand48(1);
    for (int i = 0; i < 300; i++) {
        uint8_t noise[200];
        for (size_t j = 0; j < sizeof(noise); j++)
            noise[j] = (uint8_t)lrand48();
        zmq_send(endpoint_socket(stranger), noise, (size_t)lrand48() % sizeof(noise), 0);
    }
    /* Words of a member that the server never met, and of a server. */
    static const enum message_kind kinds[] = {MESSAGE_READY,   MESSAGE_FORMED,
                                              MESSAGE_BYE,     MESSAGE_VERDICT,
                                              MESSAGE_DISMISS, MESSAGE_SNAPSHOT_PART};
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        message = (struct message){.kind = kinds[i], .header = {.generation = 1, .step = 3}};
        assert_ok(endpoint_send(stranger, NULL, &message));
    }
    message = (struct message){
        .kind = MESSAGE_HELLO,
        .header = {.worker = 1, .sequence = 1},
        .hello = {.protocol = PROTOCOL_VERSION + 1, .name = "w", .version = EVERSEER_VERSION}};
    assert_ok(endpoint_send(stranger, NULL, &message));
    int was_rejected = 0;
    while (!was_rejected) {
        assert_ok(endpoint_receive(stranger, WAIT_MS, NULL, &message));
        was_rejected = message.kind == MESSAGE_REJECT && message.reject.is_final;
        message_done(&message);
    }
    ask(stranger, "status", "", &message);
    json_t *status = json_loads(message.reply.body, 0, NULL);
    assert_int_equal(json_integer_value(json_object_get(status, "step")), 0);
    assert_int_equal(json_array_size(json_object_get(status, "workers")), 0);
    json_decref(status);
    message_done(&message);
    endpoint_close(stranger);
}

#define WITH_RUN(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_RUN(a_run_goes_to_its_end_and_every_position_counts_once),
        WITH_RUN(a_killed_server_goes_on_where_it_was_with_the_same_worker),
        WITH_RUN(operators_get_an_answer_to_whatever_they_ask),
        WITH_RUN(strangers_and_garbage_change_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
