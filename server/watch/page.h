/* page.h - the dashboard's page, page.html and what belongs in it, as CMake puts it into the
 * program. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_WATCH_PAGE_H
#define SERVER_WATCH_PAGE_H

#include <stddef.h>

extern const unsigned char page_html[];
extern const size_t page_html_bytes;

#endif
