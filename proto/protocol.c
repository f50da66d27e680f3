/* protocol.c - which versions of PROTOCOL.md this program speaks, and how two programs agree on
 * one.
 *
 * The only file that knows, by three definitions of CMakeLists.txt: the tests of upgrades build it
 * a second time with others, as an older program. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "proto/protocol.h"

#include "proto/message.h"

uint32_t protocol_newest(void)
{
    return PROTOCOL_NEWEST;
}

uint32_t protocol_oldest(void)
{
    return PROTOCOL_OLDEST;
}

const char *protocol_program(void)
{
    return PROTOCOL_PROGRAM;
}

uint32_t protocol_agree(uint32_t newest, uint32_t oldest)
{
    const uint32_t least = oldest > 0 && oldest < newest ? oldest : newest;
    const uint32_t most = newest < protocol_newest() ? newest : protocol_newest();
    return most >= least && most >= protocol_oldest() ? most : 0;
}
