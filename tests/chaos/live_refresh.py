#!/usr/bin/env python3
# live_refresh.py - a run trains for minutes while its pictures are exchanged under it: a writer, a watch, an expiry.
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The everseer authors
"""usage: live_refresh.py [--minutes M] [--rate N] [--workers N] [--wait-percent P]

Pictures are dropped into a folder that `seer ingest --watch --spool` takes in; sealed shards are given an age at which
they expire within the run, and moved into the run's store. At the end everything must have been refreshed: shards
taken up, retired by age, their files removed; `seer audit` clean; and by the workers' own journals, read here without
our code, no image of a shard was trained after the step in which its files were removed.
--wait-percent: fail also if p99 of the wait for data is over this part of the step (needs a quiet machine).
Exits 0 if all of that holds, 1 with the reason, 77 when it cannot run here."""
import argparse, bisect, glob, json, os, signal, struct, subprocess, sys, tarfile, tempfile, threading, time

from chaos import make_store
from chaos_run import BIN, ChaosRun, Failure, to_its_end
from live_store import judge_end

SETTINGS = ["snapshot.every_steps=40", "snapshot.keep_last=1", "data.max_age_days=1"]
DAY_MS = 24 * 3600 * 1000
PHASE_DATA = 2  # enum worker_phase of proto/message.h
PHASES = {2: "data", 3: "forward", 4: "loss", 5: "backward", 6: "reduce", 7: "ready", 8: "apply"}
FIRST = 512  # pictures that make_store put in by hand, which never expire


class Writer(threading.Thread):
    """Drops pictures into the watched folder, and hands sealed shards on: back-dated, so that they are a day old
    after `life` seconds."""

    def __init__(self, directory, store, rate, seconds):
        super().__init__(name="writer")
        self.incoming, self.staging = os.path.join(directory, "incoming"), os.path.join(directory, "staging")
        self.store, self.rate, self.halt = store, rate, threading.Event()
        self.seal, self.life = max(1, int(seconds / 30)), seconds / 6
        self.dropped = self.moved = 0
        tar = os.path.join(directory, "more")
        subprocess.run([os.path.join(BIN, "colour-fashion"), tar, "--train", str(FIRST + int(rate * seconds)), "--test",
                        "1"], check=True, stdout=subprocess.DEVNULL)
        self.tar = tarfile.open(os.path.join(tar, "colour-fashion-train.tar"))
        os.mkdir(self.incoming)
        self.watch = subprocess.Popen(
            [os.path.join(BIN, "seer"), "ingest", "--watch", self.incoming, "--spool", os.path.join(directory, "spool"),
             "--store", self.staging, "--seal-after", str(self.seal), "-q", "--jobs", "1"], stdout=subprocess.DEVNULL,
            stderr=open(os.path.join(directory, "watch.log"), "ab"))

    def drop(self, member):
        path = os.path.join(self.incoming, f"{self.dropped}.png")
        with open(path + ".part", "wb") as file:
            file.write(self.tar.extractfile(member).read())
        os.rename(path + ".part", path)
        self.dropped += 1

    def hand_on(self):
        for path in glob.glob(os.path.join(self.staging, "shards", "[!.]*")):
            manifest = os.path.join(path, "manifest.json")
            with open(manifest) as file:
                facts = json.load(file)
            facts["created_ms"] += int(self.life * 1000) - DAY_MS
            with open(manifest + ".new", "w") as file:
                json.dump(facts, file)
            os.rename(manifest + ".new", manifest)
            os.rename(path, os.path.join(self.store, "shards", os.path.basename(path)))
            self.moved += 1

    def pictures(self):
        images = (member for member in self.tar if member.name.endswith(".png"))
        for number, member in enumerate(images):
            if number >= FIRST:
                yield member

    def run(self):
        start = time.monotonic()
        for member in self.pictures():
            self.drop(member)
            if self.halt.wait(max(0, start + self.dropped / self.rate - time.monotonic())):
                break
            if self.dropped % self.rate == 0:
                self.hand_on()

    def end(self):
        self.halt.set()
        self.join()
        self.watch.send_signal(signal.SIGTERM)
        if self.watch.wait(60) != 0:
            raise Failure(f"the watch ended with {self.watch.returncode}")


def trained_images(directory):
    """(step, shard, record) of every image of every worker's journal (proto/witness.h)."""
    for path in glob.glob(os.path.join(directory, "workers", "**", "*.journal"), recursive=True):
        with open(path, "rb") as file:
            data = file.read()
        at = 0
        while at + 16 <= len(data):
            length, complement = struct.unpack_from("<II", data, at)
            if length ^ complement != 0xFFFFFFFF or at + 16 + length > len(data):
                break
            record = data[at + 16:at + 16 + length]
            at += 16 + length
            if struct.unpack_from("<I", record)[0] != 3:
                continue
            step, = struct.unpack_from("<Q", record, 16)
            images_per_slot, slots = struct.unpack_from("<II", record, 8 + 8 + 8 + 4 + 1 + 8)
            first = 8 + 8 + 8 + 4 + 1 + 8 + 8 + 12 * slots
            for i in range(slots * images_per_slot):
                yield (step, *struct.unpack_from("<II", record, first + 8 * i))


def number_of(event):
    return int(event["text"].split("shard=")[1].split()[0])


def steps_at(run, kind):
    """shard -> steps that were committed when this befell it."""
    ends = [line["seen_s"] for line in run.steps.items]
    return {number_of(event): bisect.bisect_right(ends, event["seen_s"]) for event in run.events_from(0, kind)}


def judge_refresh(run, writer):
    retired, unlinked = steps_at(run, "shard_retired"), steps_at(run, "shard_unlinked")
    last_trained, trained = {}, 0
    for step, shard, _ in trained_images(run.directory):
        last_trained[shard] = max(step, last_trained.get(shard, 0))
        trained += 1
    images = sum(line["images"] for line in run.steps.items)
    print(f"pictures dropped: {writer.dropped}, shards handed on: {writer.moved}, retired: {len(retired)}, removed: "
          f"{len(unlinked)}, images trained by the workers' journals: {trained}, by the server's lines: {images}")
    if trained < images:
        raise Failure(f"the workers' journals hold {trained} images, {images} were counted")
    late = [(shard, step, last_trained[shard]) for shard, step in unlinked.items()
            if last_trained.get(shard, 0) > step]
    if late:
        raise Failure(f"shard, step in which it was removed, last step that trained it: {late}")
    if not any(shard in last_trained for shard in retired):
        raise Failure("no shard was ever trained and then retired: nothing was tried")
    after = [last_trained[shard] - step for shard, step in retired.items() if shard in last_trained]
    print(f"steps from a retirement to the last image that was planned before it: at most {max(0, *after)}")
    bad = [event for event in run.events.items if event["kind"] in
           ("record_quarantined", "shard_refused", "step_skipped", "state_differs", "worker_lost", "stream_dry")]
    if bad:
        raise Failure(f"{bad[0]['kind']}: {bad[0]['text']}")


def part(values, percent):
    return sorted(values)[min(len(values) - 1, int(len(values) * percent / 100))]


def judge_waits(run, first, wait_percent):
    lines = run.steps.items[first:]
    if len(lines) < 100:
        raise Failure(f"only {len(lines)} steps: too few to say anything of a p99")
    step, wait = [line["step_ms"] for line in lines], [line["phase_us"][PHASE_DATA] / 1000 for line in lines]
    shares = [100 * w / max(s, 1) for s, w in zip(step, wait)]
    print(f"steps: {len(lines)}; step_ms p50 {part(step, 50)}, p99 {part(step, 99)}, max {max(step)}; wait for data p50 "
          f"{part(wait, 50):.2f} ms, p99 {part(wait, 99):.2f} ms, max {max(wait):.2f} ms; of the step p99 {part(shares, 99):.2f} %")
    print("p50 and p99 of each phase, ms: " + ", ".join(
        f"{name} {part(times, 50):.1f} {part(times, 99):.1f}" for name, times in
        ((name, [line["phase_us"][i] / 1000 for line in lines]) for i, name in PHASES.items())))
    if wait_percent is not None and part(shares, 99) > wait_percent:
        raise Failure(f"p99 of the wait for data is {part(shares, 99):.2f} % of the step, {wait_percent} % are allowed")


def refresh(run, writer, seconds, wait_percent):
    run.start()
    run.wait_whole()
    first = len(run.steps.items)
    writer.start()
    run.pause(seconds)
    writer.end()
    run.wait(60, "shards are retired by age and removed", lambda: len(run.events_from(0, "shard_unlinked")) >= 2)
    run.stop()
    judge_waits(run, first, wait_percent)
    judge_refresh(run, writer)
    judge_end(run)


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[0].removeprefix("usage: "))
    parser.add_argument("--minutes", type=float, default=10 if os.environ.get("SEER_TEST_LONG") else 1 / 3)
    parser.add_argument("--rate", type=int, default=20, help="pictures a second")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--wait-percent", type=float)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    directory = tempfile.mkdtemp(prefix="everseer-refresh-")
    store = make_store(directory)
    run = ChaosRun(os.path.join(directory, "run"), store, options.workers, 7, SETTINGS, f"{os.getpid()}-refresh")
    writer = None
    try:
        with to_its_end(run, directory):
            writer = Writer(directory, store, options.rate, options.minutes * 60)
            refresh(run, writer, options.minutes * 60, options.wait_percent)
    finally:
        if writer is not None:
            writer.halt.set()
            if writer.watch.poll() is None:
                writer.watch.kill()


if __name__ == "__main__":
    main()
