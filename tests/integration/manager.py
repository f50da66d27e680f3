#!/usr/bin/env python3
"""manager.py SOCKET - a service manager that only listens: prints "PID LINE" for each line of a notification, until it is ended."""
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The everseer authors
import socket
import struct
import sys

manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
manager.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
manager.bind(sys.argv[1])
while True:
    text, ancillary, _, _ = manager.recvmsg(4096, socket.CMSG_SPACE(struct.calcsize("3i")))
    pid = struct.unpack("3i", ancillary[0][2])[0]
    for line in text.decode().splitlines():
        print(pid, line, flush=True)
