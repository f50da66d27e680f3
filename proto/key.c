/* key.c - JSON files of CURVE keys. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "proto/key.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>
#include <zmq.h>

#include "common/fs.h"
#include "common/options.h"

enum {
    FILE_BYTES_MAX = 4096,
    KEY_BYTES = 32,
    OTHERS = S_IRWXG | S_IRWXO,
};

static const char *const role_names[KEY_ROLES] = {
    [KEY_SERVER] = "server", [KEY_LOADER] = "loader",     [KEY_WORKER] = "worker",
    [KEY_VIEWER] = "viewer", [KEY_OPERATOR] = "operator",
};

const char *key_role_name(enum key_role role)
{
    return role_names[role];
}

enum status key_role_parse(const char *name, enum key_role *ret_role)
{
    for (int i = KEY_WORKER; i < KEY_ROLES; i++) {
        if (strcmp(name, role_names[i]) != 0)
            continue;
        *ret_role = (enum key_role)i;
        return OK;
    }
    return options_unknown("role", name, role_names + KEY_WORKER, KEY_ROLES - KEY_WORKER);
}

enum status key_name_check(const char *name)
{
    size_t length = strlen(name);
    int is_good = length > 0 && length < KEY_NAME_BYTES && name[0] != '.';
    for (size_t i = 0; i < length; i++)
        is_good &= isalnum((unsigned char)name[i]) || strchr("._-", name[i]) != NULL;
    if (!is_good)
        return fail(ERR_INPUT,
                    "'%.80s' cannot be a key's name: letters, digits, '.', '_' and '-', at most %d",
                    name, KEY_NAME_BYTES - 1);
    return OK;
}

enum status key_text_check(const char *text)
{
    uint8_t bytes[KEY_BYTES];
    if (strlen(text) != KEY_TEXT_BYTES - 1 || zmq_z85_decode(bytes, text) == NULL)
        return fail(ERR_INPUT, "'%.60s' is no public key: it is 40 characters of Z85", text);
    return OK;
}

enum status key_make(const char *name, enum key_role role, const char *server, struct key *ret_key)
{
    struct key key = {.role = role};
    TRY(key_name_check(name));
    do /* until its public half can be given on a command line: one in 85 looks like an option */
        if (zmq_curve_keypair(key.public, key.secret) != 0)
            return fail(ERR_IO, "cannot make a key: %s%s", zmq_strerror(errno),
                        errno == ENOTSUP ? ": this libzmq was built without CURVE" : "");
    while (key.public[0] == '-');
    snprintf(key.name, sizeof(key.name), "%s", name);
    snprintf(key.server, sizeof(key.server), "%s", server);
    *ret_key = key;
    return OK;
}

static enum status write_secret(const char *path, const char *text)
{
    int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, S_IRUSR | S_IWUSR);
    if (file < 0 && errno == EEXIST)
        return fail(ERR_INPUT, "'%s' is there already: a key is never written over", path);
    if (file < 0)
        return fail(ERR_IO, "cannot make '%s': %s", path, strerror(errno));
    enum status status = OK;
    size_t length = strlen(text);
    if (write(file, text, length) != (ssize_t)length || fsync(file) != 0)
        status = fail(ERR_IO, "cannot write '%s': %s", path, strerror(errno));
    close(file);
    if (status != OK)
        unlink(path);
    return status;
}

enum status key_save(const char *path, const struct key *key)
{
    json_t *object = json_pack("{s:s, s:s, s:s}", "name", key->name, "role",
                               key_role_name(key->role), "public", key->public);
    if (key->secret[0] != 0)
        json_object_set_new(object, "secret", json_string(key->secret));
    if (key->server[0] != 0)
        json_object_set_new(object, "server", json_string(key->server));
    char *text = json_dumps(object, JSON_INDENT(2));
    json_decref(object);
    enum status status =
        key->secret[0] != 0 ? write_secret(path, text) : fs_write_file(path, text, strlen(text));
    free(text);
    return status;
}

static enum status take_text(const json_t *object, const char *member, int is_needed,
                             char text[KEY_TEXT_BYTES])
{
    const char *found = json_string_value(json_object_get(object, member));
    if (found == NULL && !is_needed)
        return OK;
    if (found == NULL)
        return fail(ERR_INPUT, "it has no '%s'", member);
    TRY(key_text_check(found));
    snprintf(text, KEY_TEXT_BYTES, "%s", found);
    return OK;
}

static enum status parse_role(const char *role, enum key_role *ret_role)
{
    if (role == NULL)
        return fail(ERR_INPUT, "it has no 'role'");
    for (int i = KEY_SERVER; i < KEY_WORKER; i++) {
        if (strcmp(role, role_names[i]) != 0)
            continue;
        *ret_role = (enum key_role)i;
        return OK;
    }
    return key_role_parse(role, ret_role);
}

static enum status parse(const struct buf *text, struct key *key)
{
    json_error_t error;
    json_t *object = json_loadb((const char *)text->bytes, text->length, 0, &error);
    const char *name = json_string_value(json_object_get(object, "name"));
    enum status status = OK;
    if (object == NULL)
        TRY_OUT(fail(ERR_INPUT, "line %d: %s", error.line, error.text));
    if (name == NULL)
        TRY_OUT(fail(ERR_INPUT, "it has no 'name'"));
    TRY_OUT(key_name_check(name));
    snprintf(key->name, sizeof(key->name), "%s", name);
    TRY_OUT(parse_role(json_string_value(json_object_get(object, "role")), &key->role));
    TRY_OUT(take_text(object, "public", 1, key->public));
    TRY_OUT(take_text(object, "secret", 0, key->secret));
    TRY_OUT(take_text(object, "server", 0, key->server));
out:
    json_decref(object);
    return status;
}

static enum status check_private(const char *path)
{
    struct stat info;
    if (stat(path, &info) != 0)
        return fail(ERR_IO, "cannot look at '%s': %s", path, strerror(errno));
    if ((info.st_mode & OTHERS) != 0)
        return fail(ERR_INPUT,
                    "'%s' holds a secret that others can read: chmod 600 it, and if it lay there "
                    "for long revoke it and make another",
                    path);
    return OK;
}

enum status key_load(const char *path, struct key *ret_key)
{
    struct key key = {0};
    struct buf text;
    buf_init(&text, FILE_BYTES_MAX);
    enum status status = fs_read_file(path, &text);
    if (status == OK && parse(&text, &key) != OK)
        status = fail_add(ERR_INPUT, "'%s' is no key", path);
    if (status == OK && key.secret[0] != 0)
        status = check_private(path);
    if (status == OK)
        *ret_key = key;
    buf_done(&text);
    return status;
}
