/* loader_message_samples.h - one message of each kind of the loader protocol, for tests. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef TESTS_UNIT_LOADER_MESSAGE_SAMPLES_H
#define TESTS_UNIT_LOADER_MESSAGE_SAMPLES_H

#include "proto/loader_message.h"

enum { LOADER_SAMPLE_COUNT = 8 };

/* Texts and arrays are static: not for loader_message_done. */
struct loader_message loader_message_sample(int i);

#endif
