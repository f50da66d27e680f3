/* check.c - the end of a process that found itself wrong. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "common/check.h"

#include <stdlib.h>

#include "common/log.h"

void check_failed(const char *file, int line, const char *expression)
{
    log_error("bug file=%s line=%d check=\"%s\"", file, line, expression);
    abort();
}
