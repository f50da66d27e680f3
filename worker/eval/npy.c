/* npy.c - the header of NumPy's array files. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/eval/npy.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

enum { PREAMBLE_BYTES = 10 };

enum status npy_write_header(FILE *file, const char *path, uint64_t rows, int columns)
{
    static const char preamble[PREAMBLE_BYTES] = {
        '\x93', 'N', 'U', 'M', 'P', 'Y', 1, 0, NPY_HEADER_BYTES - PREAMBLE_BYTES, 0};
    char header[NPY_HEADER_BYTES];
    memset(header, ' ', sizeof(header));
    memcpy(header, preamble, sizeof(preamble));
    int length = snprintf(header + PREAMBLE_BYTES, sizeof(header) - PREAMBLE_BYTES,
                          "{'descr': '<f4', 'fortran_order': False, 'shape': (%" PRIu64 ", %d), }",
                          rows, columns);
    header[PREAMBLE_BYTES + length] = ' ';
    header[sizeof(header) - 1] = '\n';
    if (fwrite(header, 1, sizeof(header), file) != sizeof(header))
        return fail(ERR_IO, "cannot write '%s': %s", path, strerror(errno));
    return OK;
}
