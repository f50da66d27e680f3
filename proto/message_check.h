/* message_check.h - what must hold among the fields of a message, beyond the limits of each. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef PROTO_MESSAGE_CHECK_H
#define PROTO_MESSAGE_CHECK_H

#include "proto/message.h"

/* For a message that was just unpacked. ERR_PROTOCOL with what is wrong. */
enum status message_check(const struct message *message);

#endif
