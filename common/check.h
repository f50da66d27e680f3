/* check.h - CHECK(x): our own bugs end the process with file, line and expression. Never for input.
 */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef COMMON_CHECK_H
#define COMMON_CHECK_H

#ifdef __cplusplus
extern "C" {
#endif

void check_failed(const char *file, int line, const char *expression)
    __attribute__((noreturn, cold));

#define CHECK(x) ((x) ? (void)0 : check_failed(__FILE__, __LINE__, #x))

#ifdef __cplusplus
}
#endif
#endif
