#!/usr/bin/env python3
# live_watch.py - a watch over a folder is killed again and again while pictures are dropped into it.
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The everseer authors
"""usage: live_watch.py [--seed N] [--kills N]

Pictures are renamed into a folder, written in it in two halves, or come with folders of their own, while
`seer ingest --watch --spool` is killed at random instants and started again. What was moved to accepted/
must be in the store at every such instant; at the end every picture is in the store once, all files are
moved, and a broken one stands apart.
Exits 0 if all of that holds, 1 with the reason."""
import argparse, json, os, random, shutil, signal, struct, subprocess, sys, tempfile, threading, time, zlib

BIN = os.environ.get("SEER_BIN") or os.path.join(os.path.dirname(__file__), "../../build/release/bin")
SEER = os.path.join(BIN, "seer")
PICTURES = 400


class Failure(Exception):
    pass


def png(number):
    """A picture of 8 x 8 pixels that no other number has."""
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    rng = random.Random(number)
    rows = b"".join(b"\0" + rng.randbytes(24) for _ in range(8))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


class Dropper(threading.Thread):
    """Brings pictures in the ways people do, a few in each `pause`."""

    def __init__(self, folder, rng):
        super().__init__(name="dropper")
        self.folder, self.rng, self.halt = folder, rng, threading.Event()

    def drop(self, number):
        path = os.path.join(self.folder, f"{number % 7}", f"{number}.png")
        data = png(number)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if self.rng.random() < 0.5:
            with open(path + ".part", "wb") as file:
                file.write(data)
            os.rename(path + ".part", path)
        else:
            with open(path, "wb", buffering=0) as file:
                file.write(data[:60])
                self.halt.wait(0.002)
                file.write(data[60:])

    def run(self):
        for number in range(PICTURES):
            self.drop(number)
            self.halt.wait(self.rng.uniform(0, 0.01))
        with open(os.path.join(self.folder, "broken.jpg"), "wb") as file:
            file.write(b"not a picture")


def wait(seconds, what, is_true):
    deadline = time.monotonic() + seconds
    while not is_true():
        if time.monotonic() > deadline:
            raise Failure(f"never came true in {seconds} s: {what}")
        time.sleep(0.05)  # between two looks


def count_files(folder):
    return sum(len(files) for _, _, files in os.walk(folder))


class Watch:
    def __init__(self, directory):
        self.folder, self.spool = os.path.join(directory, "in"), os.path.join(directory, "spool")
        self.store, self.log = os.path.join(directory, "store"), open(os.path.join(directory, "log"), "ab")
        os.mkdir(self.folder)
        self.process = None

    def start(self):
        self.process = subprocess.Popen(
            [SEER, "ingest", "--watch", self.folder, "--spool", self.spool, "--store", self.store,
             "--seal-after", "1", "-q", "--jobs", "2"], stdout=self.log, stderr=self.log)

    def has_store(self):
        """By then it catches signals."""
        with open(os.path.join(self.store, "lock")) as file:
            return file.read().strip() == str(self.process.pid)

    def end(self, number):
        self.process.send_signal(number)
        code = self.process.wait(60)
        self.process = None
        return code

    def records(self):
        if not os.path.isdir(os.path.join(self.store, "shards")):
            return 0
        done = subprocess.run([SEER, "store", "verify", self.store, "-o", "json"], stdout=subprocess.PIPE, text=True)
        if done.returncode != 0:
            raise Failure(f"the store is damaged: {done.stdout}")
        return json.loads(done.stdout)["records"]

    def accepted(self):
        return count_files(os.path.join(self.spool, "accepted"))


def disturb(watch, rng, kills):
    dropper = Dropper(watch.folder, rng)
    dropper.start()
    done = 0
    while done < kills or dropper.is_alive():
        watch.start()
        time.sleep(rng.uniform(0, 2.2))  # the instant of the kill is what varies
        if watch.process.poll() is not None:
            raise Failure(f"the watch ended by itself with {watch.process.returncode}")
        watch.end(signal.SIGKILL)
        done += 1
        accepted, records = watch.accepted(), watch.records()
        if accepted > records:
            raise Failure(f"{accepted} files were moved as accepted, {records} pictures are in the store")
    dropper.join()
    watch.start()
    wait(60, "the last watch has the store", watch.has_store)
    wait(120, "all files are moved", lambda: count_files(watch.folder) == 0)
    code = watch.end(signal.SIGTERM)
    if code != 0:
        raise Failure(f"the last watch ended with {code}")
    print(f"watches killed: {done}")


def judge(watch):
    records, accepted = watch.records(), watch.accepted()
    rejected = os.listdir(os.path.join(watch.spool, "rejected"))
    print(f"pictures: {PICTURES}, in the store: {records}, moved as accepted: {accepted}, rejected: {rejected}")
    if (records, accepted, rejected) != (PICTURES, PICTURES, ["broken.jpg"]):
        raise Failure("that is not every picture once")
    if os.listdir(os.path.join(watch.store, "unsealed")) != ["lock"]:
        raise Failure("something half-made is left behind")


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[0].removeprefix("usage: "))
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--kills", type=int, default=40 if os.environ.get("SEER_TEST_LONG") else 6)
    options = parser.parse_args()
    print(f"seed {options.seed}: again with {sys.argv[0]} --seed {options.seed}", flush=True)
    directory = tempfile.mkdtemp(prefix="everseer-watch-")
    watch = Watch(directory)
    try:
        disturb(watch, random.Random(options.seed), options.kills)
        judge(watch)
    except Failure as failure:
        print(f"FAILED: {failure}; see {directory}")
        sys.exit(1)
    finally:
        if watch.process is not None:
            watch.end(signal.SIGKILL)
    shutil.rmtree(directory)


if __name__ == "__main__":
    main()
