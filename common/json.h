/* json.h - what jansson leaves to its users: text that is not UTF-8, numbers that are not finite,
 * and one way of printing.
 *
 * The values are the caller's. Any thread. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef COMMON_JSON_H
#define COMMON_JSON_H

#include <jansson.h>

/* A string; in text that is not UTF-8, such as a file's name, each byte above ASCII becomes '?'. */
json_t *json_text(const char *text);
/* A number, or null for NaN and infinity, which JSON does not have. */
json_t *json_number(double value);
/* Prints a document on stdout as every command does. */
void json_print(const json_t *document);

#endif
