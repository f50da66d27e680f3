/* token.c - a secret that whoever gives orders over HTTP must know. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/watch/token.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/host.h"

enum { OTHERS = S_IRWXG | S_IRWXO };

static enum status fill(int file, const char *path)
{
    char text[4 * 16 + 2];
    const int length =
        snprintf(text, sizeof(text), "%016" PRIx64 "%016" PRIx64 "%016" PRIx64 "%016" PRIx64 "\n",
                 host_entropy(), host_entropy(), host_entropy(), host_entropy());
    if (write(file, text, (size_t)length) == length)
        return OK;
    return fail(ERR_IO, "cannot write the token '%s': %s", path, strerror(errno));
}

static enum status make(const char *path)
{
    const int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, S_IRUSR | S_IWUSR);
    if (file < 0)
        return errno == EEXIST
                   ? OK
                   : fail(ERR_IO, "cannot make the token '%s': %s", path, strerror(errno));
    enum status status = fill(file, path);
    if (close(file) != 0 && status == OK)
        status = fail(ERR_IO, "cannot write the token '%s': %s", path, strerror(errno));
    if (status != OK)
        unlink(path); /* half a token would be taken for one */
    return status;
}

static enum status read_line(int file, const char *path, struct token *token)
{
    struct stat facts;
    if (fstat(file, &facts) != 0)
        return fail(ERR_IO, "cannot look at the token '%s': %s", path, strerror(errno));
    if ((facts.st_mode & OTHERS) != 0)
        return fail(ERR_INPUT,
                    "others may read the token '%s': chmod 600 it, or remove it for a new one",
                    path);
    const ssize_t length = read(file, token->text, TOKEN_BYTES_MAX);
    if (length < 0)
        return fail(ERR_IO, "cannot read the token '%s': %s", path, strerror(errno));
    token->text[length] = 0;
    token->text[strcspn(token->text, "\r\n")] = 0;
    if (strlen(token->text) < TOKEN_BYTES_MIN || strlen(token->text) == TOKEN_BYTES_MAX)
        return fail(
            ERR_INPUT,
            "the token '%s' has %zu characters: %d to %d are wanted; remove it for a new one", path,
            strlen(token->text), TOKEN_BYTES_MIN, TOKEN_BYTES_MAX - 1);
    return OK;
}

enum status token_load(const char *path, struct token *ret_token)
{
    TRY(make(path));
    const int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return fail(ERR_IO, "cannot open the token '%s': %s", path, strerror(errno));
    const enum status status = read_line(file, path, ret_token);
    close(file);
    return status;
}

int token_matches(const struct token *token, const char *text)
{
    unsigned char differs = 0;
    if (text == NULL)
        return 0;
    const size_t length = strlen(text), wanted = strlen(token->text);
    for (size_t i = 0; i < wanted; i++)
        differs |= (unsigned char)(token->text[i] ^ (i < length ? text[i] : 0));
    return differs == 0 && length == wanted;
}
