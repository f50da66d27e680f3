"""bad_clients.py URL FEED - clients of the dashboard and listeners of the feed that behave badly; exits 0 if all were dealt with."""
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The everseer authors
import re
import select
import socket
import sys
import time
import urllib.request

url = sys.argv[1]
host, port = re.match(r"http://([^:/]+):(\d+)/", url).groups()
feed_host, feed_port = re.match(r"tcp://([^:]+):(\d+)", sys.argv[2]).groups()


def connect():
    client = socket.create_connection((host, int(port)), timeout=10)
    return client


def answers():
    with urllib.request.urlopen(url + "healthz", timeout=5) as answer:
        return answer.read() == b"ok\n"


# Listeners that speak no ZeroMQ and never read.
deaf = [socket.create_connection((feed_host, int(feed_port))) for _ in range(20)]

# 200 viewers that ask for events and read nothing.
viewers = []
for _ in range(200):
    viewer = connect()
    viewer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    viewer.sendall(b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    viewers.append(viewer)
assert answers(), "with 200 viewers that do not read"

# Garbage, headers without an end and a header that is too long.
for text in (b"\0\xff" * 500, b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * (1 << 20) + b"\r\n\r\n", b"G" * 100000, b"GET /\r\n\r\n"):
    client = connect()
    try:
        client.sendall(text)
        client.recv(4096)
    except OSError:
        pass  # it was cut off in the middle
    client.close()
    assert answers(), "after garbage"

# A header that comes byte by byte is cut off although there is always another byte: in time, and others are served meanwhile.
slow = [connect() for _ in range(50)]
for client in slow:
    client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ")
began = time.monotonic()
while slow and time.monotonic() - began < 40:
    ended = select.select(slow, [], [], 0.5)[0]
    for client in ended:
        try:
            is_over = client.recv(4096) == b""
        except OSError:
            is_over = True
        if is_over:
            slow.remove(client)
            client.close()
    for client in list(slow):
        try:
            client.sendall(b"a")
        except OSError:
            slow.remove(client)
    assert answers(), "while others dribble"
assert not slow, f"{len(slow)} clients still dribble after 40 s"
