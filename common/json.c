/* json.c - what jansson leaves to its users. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "common/json.h"

#include <math.h>
#include <stdio.h>

#include "common/mem.h"

/* Digits that any decimal of so many survives: 0.1 is printed as 0.1. */
enum { PRINTED_DIGITS = 15 };

json_t *json_text(const char *text)
{
    json_t *string = json_string(text);
    if (string != NULL)
        return string;
    char *ascii = mem_string(text);
    for (char *at = ascii; *at != '\0'; at++)
        *at = (unsigned char)*at < 0x80 ? *at : '?';
    string = json_string(ascii);
    mem_free(ascii);
    return string;
}

json_t *json_number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

void json_print(const json_t *document)
{
    json_dumpf(document, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(PRINTED_DIGITS));
    printf("\n");
}
