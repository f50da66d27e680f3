/* message_samples.h - one message of every kind with every field set, and a comparison of two. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef TESTS_UNIT_MESSAGE_SAMPLES_H
#define TESTS_UNIT_MESSAGE_SAMPLES_H

#include "proto/message.h"

/* Every kind there is; ends with 0. */
extern const enum message_kind message_sample_kinds[];
/* Owned by the caller (message_done). */
void message_sample(enum message_kind kind, struct message *ret_message);
/* Asserts that all fields are equal. */
void assert_message_equal(const struct message *a, const struct message *b);

#endif
