/* witness_samples.h - records of a worker's journal for tests and the fuzz corpus. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef TESTS_UNIT_WITNESS_SAMPLES_H
#define TESTS_UNIT_WITNESS_SAMPLES_H

#include "proto/witness.h"

/* The caller frees it (witness_done). */
void witness_sample(enum witness_kind kind, struct witness *ret_witness);

#endif
