/* install.h - what was installed with the running program. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef COMMON_INSTALL_H
#define COMMON_INSTALL_H

#include <stddef.h>

#include "common/status.h"

/* The folder of the running program. ERR_IO. */
enum status install_programs(char *path, size_t path_bytes);
/* An executable that is for programs alone: beside the running one in a build folder, else where it
 * is installed to from there. ERR_INPUT: it is not there; ERR_IO. */
enum status install_find(const char *name, char *path, size_t path_bytes);

#endif
