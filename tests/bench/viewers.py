#!/usr/bin/env python3
# viewers.py - what viewers cost a step: its time without and with 200 of them, in turns.
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The everseer authors
"""usage: viewers.py [--viewers N] [--listeners N] [--dribblers N] [--turns N] [--steps N] [--config FILE] [--workers N]

A run with its page trains --steps steps without viewers, then as many with N pages that follow
live, N listeners of the feed and N clients that send a byte of their request a second (slowloris),
and so on in --turns turns. Prints the median step of each turn and, as the last line, JSON with the
median of the turns' ratios. A step is the sum of its phases, in microseconds.

Viewers have processors of their own elsewhere; here they get what is left (SCHED_IDLE) of the
processors that the workers are kept from, if there are two. The programs are those of SEER_BIN,
else of build/release. Run it on a quiet machine. Exits 1 if a viewer heard nothing in a turn."""
import argparse, json, multiprocessing, os, re, selectors, shutil, socket, statistics, sys, tempfile, time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../chaos"))
import chaos_run  # noqa: E402
from chaos import make_store  # noqa: E402

try:
    import zmq
except ImportError:
    sys.exit(f"zmq is not installed for {sys.executable}: take Debian's /usr/bin/python3 (python3-zmq)")

SETTLE_STEPS = 3   # at the beginning of a turn
DRIBBLE_S = 1.0
FOLLOW = b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Crowd:
    """All viewers, in one process, until it is told to end; answers how often each was heard."""

    def __init__(self, page, feed, counts):
        self.page, self.picker = page, selectors.DefaultSelector()
        self.heard = [0] * counts["viewers"]
        for i in range(counts["viewers"]):
            self.open(i, FOLLOW)
        for i in range(counts["dribblers"]):
            self.open(-1 - i, b"G")
        self.listeners = []
        if counts["listeners"]:
            context = zmq.Context()
            for _ in range(counts["listeners"]):
                listener = context.socket(zmq.SUB)
                listener.subscribe(b"")
                listener.connect(feed)
                self.listeners.append(listener)

    def open(self, number, first):
        client = socket.create_connection(self.page)
        client.sendall(first)
        client.setblocking(False)
        self.picker.register(client, selectors.EVENT_READ, number)

    def read(self, key):
        try:
            text = key.fileobj.recv(1 << 16)
        except OSError:
            text = b""
        if text and key.data >= 0:
            self.heard[key.data] += text.count(b"\nevent: ")
        if not text:  # who dribbles is cut off, and comes again
            self.picker.unregister(key.fileobj)
            key.fileobj.close()
            self.open(key.data, FOLLOW if key.data >= 0 else b"G")

    def dribble(self):
        for key in list(self.picker.get_map().values()):
            if isinstance(key.data, int) and key.data < 0:
                try:
                    key.fileobj.send(b"E")
                except OSError:
                    pass  # read() sees its end

    def drain(self):
        for listener in self.listeners:
            try:
                while True:
                    listener.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                pass

    def run(self, pipe):
        self.picker.register(pipe, selectors.EVENT_READ, None)
        pipe.send("here")
        due = time.monotonic() + DRIBBLE_S
        while True:
            for key, _ in self.picker.select(0.2):
                if key.data is None:
                    pipe.send(self.heard)
                    return
                self.read(key)
            if self.listeners:
                self.drain()
            if time.monotonic() >= due:
                due += DRIBBLE_S
                self.dribble()


def crowd_main(pipe, page, feed, counts, processors):
    os.sched_setaffinity(0, processors)
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    Crowd(page, feed, counts).run(pipe)


def threads_of(pid):
    return [int(name) for name in os.listdir(f"/proc/{pid}/task")]


def place(run):
    """Workers and their helpers on all processors but the last, everybody else on that."""
    processors = sorted(os.sched_getaffinity(0))
    if len(processors) == 1:
        return set(processors)
    for pid, program in chaos_run.processes_with(run.mark).items():
        mine = processors[:-1] if program in ("seer-worker", "seer-helper") else processors[-1:]
        for thread in threads_of(pid):
            os.sched_setaffinity(thread, mine)
    return set(processors[-1:])


def page_of(run):
    with open(os.path.join(run.directory, "server.log")) as file:
        host, port = re.findall(r"event=dashboard address=http://([\d.]+):(\d+)/", file.read())[-1]
    return host, int(port)


def turn(run, steps):
    """The median of the next steps, in microseconds."""
    first = len(run.steps.items) + SETTLE_STEPS
    run.wait(3600, f"{steps} steps", lambda: len(run.steps.items) >= first + steps)
    return statistics.median(sum(line["phase_us"]) for line in run.steps.items[first:first + steps])


def turn_with_viewers(run, steps, counts, processors):
    with open(os.path.join(run.directory, "server.json")) as file:
        feed = json.load(file)["feed"]
    ours, theirs = multiprocessing.Pipe()
    crowd = multiprocessing.Process(target=crowd_main, args=(theirs, page_of(run), feed, counts, processors))
    crowd.start()
    theirs.close()  # so that its end is seen here
    ours.recv()
    median = turn(run, steps)
    ours.send("end")
    heard = ours.recv()
    crowd.join()
    return median, heard


def measure(run, options):
    counts = {"viewers": options.viewers, "listeners": options.listeners, "dribblers": options.dribblers}
    processors = place(run)
    ratios, deaf = [], 0
    turn(run, options.steps)
    print("| turn | without, ms | with, ms | ratio |\n|--:|--:|--:|--:|")
    for number in range(options.turns):
        without = turn(run, options.steps)
        watched, heard = turn_with_viewers(run, options.steps, counts, processors)
        deaf += sum(count == 0 for count in heard)
        ratios.append(watched / without)
        print(f"| {number + 1} | {without / 1000:.3f} | {watched / 1000:.3f} | {ratios[-1]:.4f} |", flush=True)
    return {**counts, "turns": options.turns, "steps": options.steps, "ratio_median": round(statistics.median(ratios), 4),
            "ratio_min": round(min(ratios), 4), "ratio_max": round(max(ratios), 4), "viewers_that_heard_nothing": deaf}


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[0].removeprefix("usage: "))
    parser.add_argument("--viewers", type=int, default=200)
    parser.add_argument("--listeners", type=int, default=20)
    parser.add_argument("--dribblers", type=int, default=50)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--config", default=os.path.join(chaos_run.SOURCE, "configs/demo_cpu.yaml"))
    options = parser.parse_args()
    directory = tempfile.mkdtemp(prefix="everseer-viewers-")
    run = chaos_run.ChaosRun(os.path.join(directory, "run"), make_store(directory), options.workers, 7,
                             ["server.dashboard=127.0.0.1:0", "train.steps=0"], f"{os.getpid()}-viewers", config=options.config)
    try:
        run.start()
        found = measure(run, options)
        run.stop()
    except BaseException as error:
        print(f"FAILED (folder {directory}): {error}", flush=True)
        run.kill_all()
        sys.exit(1)
    shutil.rmtree(directory)
    print(json.dumps(found))
    sys.exit(1 if found["viewers_that_heard_nothing"] else 0)


if __name__ == "__main__":
    main()
