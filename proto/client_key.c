/* client_key.c - an option, the environment, or the run's own. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "proto/client_key.h"

#include <stdlib.h>

#include "common/fs.h"
#include "common/mem.h"

static enum status load(const char *file, struct key *key)
{
    TRY(key_load(file, key));
    if (key->secret[0] == 0)
        return fail(ERR_INPUT, "'%s' is only the public half of a key", file);
    return OK;
}

static enum status load_of_run(const char *run, struct key *key, int *ret_has)
{
    char *server = mem_format("%s/keys/server.key", run);
    char *own = mem_format("%s/keys/operator.key", run);
    enum status status = OK;
    *ret_has = fs_exists(server);
    if (*ret_has)
        status = load(own, key);
    if (status != OK)
        status = fail_add(ERR_INPUT, "this run has keys: give --key FILE or set SEER_KEY");
    mem_free(server);
    mem_free(own);
    return status;
}

enum status client_key_find(const char *file, const char *run, struct key *ret_key, int *ret_has)
{
    if (file == NULL)
        file = getenv("SEER_KEY");
    *ret_has = 1;
    if (file != NULL && file[0] != 0)
        return load(file, ret_key);
    if (run != NULL)
        return load_of_run(run, ret_key, ret_has);
    *ret_has = 0;
    return OK;
}
