/* journal_samples.h - one journal record of every kind with every field set. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef TESTS_UNIT_JOURNAL_SAMPLES_H
#define TESTS_UNIT_JOURNAL_SAMPLES_H

#include "server/journal_record.h"

/* What it points to is static: it needs no journal_record_done. */
struct journal_record journal_sample(enum journal_kind kind);

#endif
