/* safetensors_digest.h - digests of a file's header and tensors, in its own metadata.
 *
 * One entry (SAFETENSORS_DIGESTS) holds 16 hex digits for the header (as it is with zeros in this
 * place), then 16 for each tensor's data, in file order; all XXH3. Whoever writes a file in pieces
 * reserves the place in the header, and fills it in when all the data are there; a place that holds
 * zeros only was not filled in. Everything here reads the file, not a map of it: a disk that fails
 * is a status. All calls block. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef COMMON_SAFETENSORS_DIGEST_H
#define COMMON_SAFETENSORS_DIGEST_H

#include "common/safetensors.h"
#include "common/status.h"

#define SAFETENSORS_DIGESTS "everseer.digests"

/* Before encode, after all tensors were added. */
void safetensors_reserve_digests(struct safetensors_header *header);
/* Reads the header of an open file and checks it against the file's size. name: for messages.
 * header must be initialised and empty. ERR_IO, ERR_CORRUPT. */
enum status safetensors_read_header(const char *name, int file, struct safetensors_header *header);
/* Fills in the reserved place; a header without one is left as it is. ERR_IO. */
enum status safetensors_write_digests(const char *name, int file,
                                      const struct safetensors_header *header);
/* Compares the data with the digests. *ret_has_digests: 0: there are none to compare with.
 * ERR_CORRUPT names the first tensor that differs, or the header; ERR_IO. */
enum status safetensors_check_digests(const char *name, int file,
                                      const struct safetensors_header *header,
                                      int *ret_has_digests);

#endif
