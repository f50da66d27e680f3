/* safetensors_type.h - what writing and reading safetensors share. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef COMMON_SAFETENSORS_TYPE_H
#define COMMON_SAFETENSORS_TYPE_H

#include "common/safetensors.h"

/* One tensor; far above any memory, far below overflow. */
#define SAFETENSORS_BYTES_MAX (UINT64_C(1) << 48)

/* -1 = no such type. */
int safetensors_type_find(const char *name);
/* 0: a negative dimension, or more than SAFETENSORS_BYTES_MAX. */
int safetensors_shape_bytes(enum safetensors_type type, int rank, const int64_t *shape,
                            uint64_t *ret_bytes);
int safetensors_has_duplicate(const struct safetensors_header *header, const char **ret_name);

#endif
