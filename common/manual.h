/* manual.h - what a usage tells people and shells: --help, the page of the manual, the words to
 * complete.
 *
 * All come from the same table as the parser, so that none can be out of date. A page
 * is roff with the macros of man(7); escaping is done here, tables hold plain text. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef COMMON_MANUAL_H
#define COMMON_MANUAL_H

#include <stdio.h>

#include "common/options.h"

void manual_help(const struct usage *usage, FILE *to);
/* What --help=FORM prints on stdout; form NULL is --help itself. ERR_INPUT: there is no such form.
 *
 * man: the page. words: a line "KIND TAB WORD TAB VALUE TAB HELP" for each word that may come next;
 * KIND is command (has words of its own), verb or option; VALUE is empty or what must follow. */
enum status manual_print(const struct usage *usage, const char *form);

#endif
