/* install.c - ways from the running program to what belongs to it. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "common/install.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum status install_programs(char *path, size_t path_bytes)
{
    ssize_t length = readlink("/proc/self/exe", path, path_bytes - 1);
    if (length < 0)
        return fail(ERR_IO, "cannot read /proc/self/exe: %s", strerror(errno));
    path[length] = 0;
    *strrchr(path, '/') = 0;
    return OK;
}

enum status install_find(const char *name, char *path, size_t path_bytes)
{
    char programs[4096];
    TRY(install_programs(programs, sizeof(programs)));
    snprintf(path, path_bytes, "%s/%s", programs, name);
    if (access(path, X_OK) != 0) /* not a build folder: installed */
        snprintf(path, path_bytes, "%s/" HELPER_FROM_PROGRAMS "/%s", programs, name);
    if (access(path, X_OK) != 0)
        return fail(ERR_INPUT, "'%s', which belongs to this program: %s; install both together",
                    path, strerror(errno));
    return OK;
}
