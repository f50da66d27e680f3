/* protocol.h - which versions of PROTOCOL.md this program speaks, and how two programs agree on
 * one.
 *
 * A Hello names the range of the worker, the Welcome the newest that server and worker both speak:
 * from then on each says to the other only what that version knows. A version counts up with
 * whatever an older program could not live with: messages, the state's layout and the handshake of
 * helpers included. What it can pass over (new fields of protobuf) needs no version. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef PROTO_PROTOCOL_H
#define PROTO_PROTOCOL_H

#include <stdint.h>

uint32_t protocol_newest(void);
uint32_t protocol_oldest(void);
/* Of the program, for people: "0.1.0". */
const char *protocol_program(void);
/* The newest version of both ranges; 0: there is none. oldest 0: the peer knows of no range and
 * speaks `newest` alone, as all did up to version 3. */
uint32_t protocol_agree(uint32_t newest, uint32_t oldest);

#endif
