"""many_viewers.py URL FEED METRICS - 200 pages that follow, 20 listeners of the feed and 20 pages that do not read; exits 0 if all is well.

Who reads gets every step that the run decides meanwhile; who does not is cut off, and holds up nobody."""
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The everseer authors
import json
import re
import selectors
import socket
import sys
import time
import urllib.request

PAGES, LISTENERS, SLOW, STEPS, PATIENCE_S = 200, 20, 20, 30, 60
url, feed, metrics = sys.argv[1:4]
host, port = re.match(r"http://([^:/]+):(\d+)/", url).groups()
REQUEST = b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n"


def decided():
    with open(metrics) as file:
        return sum(1 for _ in file)


def follow(receive_bytes=None):
    client = socket.socket()
    if receive_bytes:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    client.connect((host, int(port)))
    client.sendall(REQUEST)
    client.setblocking(False)
    return client


class Page:
    def __init__(self):
        self.client, self.text = follow(), b""

    def read(self):
        block = self.client.recv(1 << 18)
        assert block, "a page that reads was cut off"
        self.text += block

    def steps(self):
        """Steps told live; the whole lines alone."""
        whole = self.text[:self.text.rfind(b"\n\n") + 2]
        return [json.loads(data)["step"] for data in re.findall(rb"event: step\ndata: (.*)\n", whole)]

    def has_all_kinds(self):
        """What a page is told besides: the status at once, the time that passes now and then."""
        return b"event: status\n" in self.text and b"event: present\n" in self.text


def listen():
    try:
        import zmq
    except ImportError:
        return []
    context = zmq.Context()
    sockets = [context.socket(zmq.SUB) for _ in range(LISTENERS)]
    for listener in sockets:
        listener.subscribe(b"step")
        listener.connect(feed)
    return sockets


def count(listener):
    import zmq
    heard = 0
    try:
        while True:
            listener.recv_multipart(zmq.NOBLOCK)
            heard += 1
    except zmq.Again:
        return heard


def viewers():
    """Pages that follow, as the dashboard counts them."""
    with urllib.request.urlopen(url + "metrics", timeout=5) as answer:
        return int(float(re.search(rb"^seer_dashboard_viewers (\S+)$", answer.read(), re.M).group(1)))


def read_for(seconds):
    for key, _ in picker.select(seconds):
        key.data.read()


began = decided()
listeners, heard = listen(), [0] * LISTENERS
slow = [follow(4096) for _ in range(SLOW)]
pages, picker = [Page() for _ in range(PAGES)], selectors.DefaultSelector()
for page in pages:
    picker.register(page.client, selectors.EVENT_READ, page)
deadline = time.monotonic() + PATIENCE_S
while min(len(page.steps()) for page in pages) < STEPS or not all(page.has_all_kinds() for page in pages):
    assert time.monotonic() < deadline, (f"the slowest page has {min(len(page.steps()) for page in pages)} of {STEPS} steps, "
                                         f"{sum(not page.has_all_kinds() for page in pages)} pages lack other events")
    read_for(0.5)
for i, listener in enumerate(listeners):
    heard[i] += count(listener)
for page in pages:
    steps = page.steps()
    assert steps == list(range(steps[0], steps[0] + len(steps))), f"a page was told {steps}"
assert not listeners or min(heard) >= STEPS // 2, f"listeners of the feed heard {heard} steps"
assert decided() >= began + STEPS, "the run did not go on"
deadline = time.monotonic() + PATIENCE_S
while viewers() > PAGES:
    assert time.monotonic() < deadline, f"{viewers()} pages follow, though {SLOW} of them do not read"
    read_for(0.5)
assert viewers() == PAGES, "pages that read were cut off with those that do not"
print(json.dumps({"pages": PAGES, "steps_told_least": min(len(page.steps()) for page in pages), "listeners_heard_least": min(heard) if listeners else None}))
