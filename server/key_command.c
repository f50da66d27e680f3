/* key_command.c - `seer key`: who may talk to a run, or read from a seer-loader. Works on files; no
 * server need run. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fs.h"
#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "proto/key.h"
#include "server/commands.h"

struct request {
    const char *run, *keys, *role, *out, *server_key, *output;
};

static enum status require_folder(const struct request *request)
{
    if ((request->run == NULL) == (request->keys == NULL))
        return fail(ERR_INPUT, "whose keys? Give --run DIR, or for a seer-loader --keys DIR");
    return OK;
}

/* Whose folder it is. */
static enum key_role role_of(const struct request *request)
{
    return request->keys != NULL ? KEY_LOADER : KEY_SERVER;
}

static char *path_of(const struct request *request, const char *name)
{
    return request->keys != NULL ? mem_format("%s/%s", request->keys, name)
                                 : mem_format("%s/keys/%s", request->run, name);
}

static char *own_path(const struct request *request)
{
    char *name = mem_format("%s.key", key_role_name(role_of(request)));
    char *path = path_of(request, name);
    mem_free(name);
    return path;
}

static char *allowed_path(const struct request *request, const char *name)
{
    char *file = mem_format("allowed/%s.json", name);
    char *path = path_of(request, file);
    mem_free(file);
    return path;
}

static enum status make_folders(const struct request *request)
{
    char *keys = path_of(request, ""), *allowed = path_of(request, "allowed");
    enum status status = fs_make_directory(allowed);
    if (status == OK && chmod(keys, S_IRWXU) != 0)
        status = fail(ERR_IO, "cannot keep others out of '%s': %s", keys, strerror(errno));
    mem_free(keys);
    mem_free(allowed);
    return status;
}

/* That of the server or loader whose folder it is. */
static enum status load_own(const struct request *request, struct key *key)
{
    char *path = own_path(request);
    const char *option = request->keys != NULL ? "keys" : "run";
    const char *folder = request->keys != NULL ? request->keys : request->run;
    enum status status = fs_exists(path)
                             ? key_load(path, key)
                             : fail(ERR_INPUT, "'%s' has no keys yet: 'seer key init --%s %s'",
                                    folder, option, folder);
    mem_free(path);
    return status;
}

/* Lets in its public half. */
static enum status allow_key(const struct request *request, const struct key *key)
{
    struct key half = *key;
    memset(half.secret, 0, sizeof(half.secret));
    memset(half.server, 0, sizeof(half.server));
    TRY(key_name_check(key->name));
    char *path = allowed_path(request, key->name);
    enum status status = fs_exists(path) ? fail(ERR_INPUT,
                                                "there is a key of the name '%s' already: revoke "
                                                "it first, or choose another name",
                                                key->name)
                                         : key_save(path, &half);
    mem_free(path);
    return status;
}

static enum status make_allowed(const struct request *request, const char *name, enum key_role role,
                                const char *server, const char *path)
{
    struct key key;
    TRY(key_make(name, role, server, &key));
    TRY(key_save(path, &key));
    enum status status = allow_key(request, &key);
    if (status != OK)
        unlink(path);
    return status;
}

static enum status init_run(const struct request *request, const struct key *server)
{
    char *operator_path = path_of(request, "operator.key");
    enum status status =
        make_allowed(request, "operator", KEY_OPERATOR, server->public, operator_path);
    if (status == OK)
        printf("The server of '%s' asks for keys from its next start on; its public key is\n%s\n"
               "Commands with --run %s show %s by themselves. Make a key for each worker:\n"
               "  seer key new NAME --role worker --run %s\n",
               request->run, server->public, request->run, operator_path, request->run);
    mem_free(operator_path);
    return status;
}

static void tell_loader(const struct request *request, const struct key *loader)
{
    printf(
        "Workers name this loader 'ADDRESS,KEY' (seer-worker --loader, data.loaders); its KEY is\n"
        "%s\n"
        "Start it with --keys %s, and let in each worker by its public key ('seer key ls' where "
        "the run is):\n"
        "  seer key allow NAME 'PUBLIC-KEY' --keys %s\n",
        loader->public, request->keys, request->keys);
}

static enum status init_keys(const void *argument, int count, char **words)
{
    const struct request *request = argument;
    struct key own;
    (void)count;
    (void)words;
    TRY(require_folder(request));
    TRY(make_folders(request));
    TRY(key_make(key_role_name(role_of(request)), role_of(request), "", &own));
    char *path = own_path(request);
    enum status status = key_save(path, &own);
    mem_free(path);
    if (status == OK && request->keys == NULL)
        status = init_run(request, &own);
    else if (status == OK)
        tell_loader(request, &own);
    explicit_bzero(&own, sizeof(own));
    return status;
}

static enum status take_role(const struct request *request, enum key_role *ret_role)
{
    *ret_role = KEY_WORKER;
    if (request->keys != NULL) {
        if (request->role != NULL && strcmp(request->role, key_role_name(KEY_WORKER)) != 0)
            return fail(ERR_INPUT, "a loader lets in workers, and nobody else");
        return OK;
    }
    if (request->role == NULL)
        return fail(ERR_INPUT, "--role is missing: worker, viewer or operator");
    return key_role_parse(request->role, ret_role);
}

/* Elsewhere than at the run: somebody there must allow its public half. */
static enum status make_stranger(const struct request *request, const char *name,
                                 enum key_role role, const char *path)
{
    struct key key;
    TRY(key_text_check(request->server_key));
    TRY(key_make(name, role, request->server_key, &key));
    TRY(key_save(path, &key));
    printf("Wrote %s. Where the run is, somebody must let it in:\n"
           "  seer key allow %s '%s' --role %s --run DIR\n",
           path, name, key.public, key_role_name(role));
    return OK;
}

static enum status new_key(const void *argument, int count, char **words)
{
    const struct request *request = argument;
    struct key server;
    enum key_role role;
    (void)count;
    TRY(key_name_check(words[0]));
    if (request->keys != NULL)
        return fail(ERR_INPUT,
                    "a worker has one key, of its run: make it with 'seer key new' there "
                    "and let it in here with 'seer key allow'");
    TRY(take_role(request, &role));
    if ((request->run == NULL) == (request->server_key == NULL))
        return fail(ERR_INPUT, "give either --run DIR or --server-key KEY");
    char *path = request->out != NULL ? mem_string(request->out) : mem_format("%s.key", words[0]);
    enum status status = OK;
    if (request->run == NULL) {
        status = make_stranger(request, words[0], role, path);
    } else {
        TRY_OUT(load_own(request, &server));
        TRY_OUT(make_allowed(request, words[0], role, server.public, path));
        printf("Wrote %s. Hand it over secretly: whoever has it is let in as %s.\n", path,
               key_role_name(role));
    }
out:
    mem_free(path);
    return status;
}

static enum status allow(const void *argument, int count, char **words)
{
    const struct request *request = argument;
    struct key key = {0}, server;
    (void)count;
    TRY(require_folder(request));
    TRY(key_name_check(words[0]));
    TRY(key_text_check(words[1]));
    TRY(take_role(request, &key.role));
    TRY(load_own(request, &server));
    snprintf(key.name, sizeof(key.name), "%s", words[0]);
    snprintf(key.public, sizeof(key.public), "%s", words[1]);
    return allow_key(request, &key);
}

static enum status revoke_key(const void *argument, int count, char **words)
{
    const struct request *request = argument;
    (void)count;
    TRY(require_folder(request));
    TRY(key_name_check(words[0]));
    char *path = allowed_path(request, words[0]);
    enum status status = OK;
    if (unlink(path) != 0)
        status =
            errno == ENOENT
                ? fail(ERR_INPUT, "no key of the name '%s' is let in; see 'seer key ls'", words[0])
                : fail(ERR_IO, "cannot remove '%s': %s", path, strerror(errno));
    mem_free(path);
    return status;
}

static int is_visible(const struct dirent *entry)
{
    const char *end = strrchr(entry->d_name, '.');
    return entry->d_name[0] != '.' && end != NULL && strcmp(end, ".json") == 0;
}

/* By the name of its file, which revoke takes. What lets nobody in is said, and left out. */
static void list_key(const char *folder, const char *file, json_t *list)
{
    struct key key;
    char *path = mem_format("%s/%s", folder, file);
    json_t *name = json_stringn(file, strlen(file) - strlen(".json"));
    if (key_load(path, &key) == OK && name != NULL)
        json_array_append_new(list, json_pack("{s:O, s:s, s:s}", "name", name, "role",
                                              key_role_name(key.role), "public", key.public));
    else
        log_warn("event=key_ignored reason=\"%s\"", name != NULL ? fail_message() : path);
    json_decref(name);
    mem_free(path);
}

static enum status read_allowed(const char *folder, json_t *list)
{
    struct dirent **entries = NULL;
    int count = scandir(folder, &entries, is_visible, alphasort);
    if (count < 0 && errno != ENOENT)
        return fail(ERR_IO, "cannot read '%s': %s", folder, strerror(errno));
    for (int i = 0; i < count; i++) {
        list_key(folder, entries[i]->d_name, list);
        free(entries[i]);
    }
    free(entries);
    return OK;
}

static void print_table(const json_t *list)
{
    size_t i;
    json_t *key;
    json_array_foreach(list, i, key)
        printf("%-24s %-10s %s\n", json_string_value(json_object_get(key, "name")),
               json_string_value(json_object_get(key, "role")),
               json_string_value(json_object_get(key, "public")));
}

static enum status list_keys(const void *argument, int count, char **words)
{
    const struct request *request = argument;
    struct key server;
    (void)count;
    (void)words;
    TRY(require_folder(request));
    TRY(load_own(request, &server));
    char *folder = path_of(request, "allowed");
    json_t *keys = json_array();
    enum status status = read_allowed(folder, keys);
    mem_free(folder);
    json_t *body = json_pack("{s:i, s:s, s:o}", "schema_version", 1,
                             key_role_name(role_of(request)), server.public, "keys", keys);
    if (status == OK && options_is_json(request->output))
        json_print(body);
    else if (status == OK)
        print_table(keys);
    json_decref(body);
    return status;
}

static const struct verb verbs[] = {
    {"init", "", 0, 0, init_keys,
     "make the keys of the run: from now on only who is known is let in"},
    {"new", "NAME", 1, 1, new_key, "make a key and let it in"},
    {"allow", "NAME PUBLIC-KEY", 2, 2, allow, "let in a key that was made elsewhere"},
    {"revoke", "NAME", 1, 1, revoke_key, "let it in no more"},
    {"ls", "", 0, 0, list_keys, "who is let in"},
};

enum { VERB_COUNT = sizeof(verbs) / sizeof(verbs[0]) };

static int key_run(int argc, char **argv)
{
    struct request request = {0};
    const struct option_row rows[] = {
        {"run", 0, OPTION_STRING, &request.run, "DIR", "the run's folder; keys lie in DIR/keys"},
        {"keys", 0, OPTION_STRING, &request.keys, "DIR",
         "instead of a run's: a seer-loader's folder of keys"},
        {"role", 0, OPTION_STRING, &request.role, "ROLE", "worker, viewer or operator"},
        {"out", 0, OPTION_STRING, &request.out, "FILE", "new: where it goes (NAME.key)"},
        {"server-key", 0, OPTION_STRING, &request.server_key, "KEY",
         "new: the server's public key, on a host that does not see DIR"},
        {"output", 'o', OPTION_STRING, &request.output, "FORMAT", "table (default) or json"},
        {0},
    };
    const struct usage usage = {
        .program = "seer key",
        .synopsis = "init | new NAME --role ROLE | allow NAME PUBLIC-KEY --role ROLE | revoke NAME "
                    "| ls  --run DIR | --keys DIR",
        .summary =
            "Makes the keys without which other hosts are not let in to a run, and says who\n"
            "is. A worker trains, a viewer asks and watches, an operator gives orders. A\n"
            "seer-loader has a folder of its own, with the workers that may read from it.",
        .examples = "  seer key init --run run\n"
                    "  seer key new worker-1 --role worker --run run\n"
                    "  seer-worker --server tcp://train.example:5680 --key worker-1.key\n"
                    "  seer key revoke worker-1 --run run\n"
                    "  seer key init --keys loader-keys && seer key allow worker-1 PUBLIC-KEY "
                    "--keys loader-keys",
        .options = rows,
        .verbs = verbs,
        .verb_count = VERB_COUNT,
    };
    return verbs_run(&usage, &request.output, &request, argc, argv);
}

const struct command key_command = {"key", "let workers, viewers and operators in", key_run};
