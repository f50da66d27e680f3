/* config_reader.h - YAML events into a config, guided by the table of keys. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef COMMON_CONFIG_READER_H
#define COMMON_CONFIG_READER_H

#include "common/config.h"

enum { CONFIG_BASES_DEEP = 8 };

/* Reads yaml over the present values. key: "" for a whole file, or the key whose value yaml is.
 * name stands for the file in messages; has_lines: they give the line too. Relations between keys
 * are not checked. On failure config may be half changed. ERR_INPUT. */
enum status config_read(const char *name, int has_lines, const char *key, const void *yaml,
                        size_t length, struct config *config);
/* A whole file. Its first key may be "base", a file or a list of files that are read before it, as
 * seen from its folder; they may have bases themselves, CONFIG_BASES_DEEP deep. ERR_INPUT too for a
 * file that cannot be read. */
enum status config_read_file(const char *path, struct config *config);

#endif
