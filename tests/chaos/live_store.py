#!/usr/bin/env python3
# live_store.py - a run reads a store into which ingests write that are killed again and again.
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The everseer authors
"""usage: live_store.py [--seed N] [--kills N] [--workers N]

Three workers train on a store while `seer ingest` adds pictures to it, is killed N times at random
instants and at last runs to its end; a worker is killed between, too. Every picture must then be in
the store once, the run must have taken up all shards and train on, and nothing of the half-made ones
may ever have been seen. What is trained when depends on the instants, so the judge is `seer audit`,
which recounts every position from the journals of server and workers.
Exits 0 if all of that holds, 1 with the reason, 77 when it cannot run here."""
import argparse, json, os, random, signal, subprocess, sys, tempfile, time

import chaos_oracle as oracle
from chaos import SETTINGS, make_store
from chaos_faults import send
from chaos_run import BIN, ChaosRun, Failure, to_its_end

FIRST, MORE = 512, 3000  # pictures before and during the run


class LiveStore:
    def __init__(self, run, store, rng, directory):
        self.run, self.store, self.rng = run, store, rng
        self.tar = os.path.join(directory, "more", "colour-fashion-train.tar")
        # The first FIRST of them are in the store already.
        subprocess.run([os.path.join(BIN, "colour-fashion"), os.path.dirname(self.tar), "--train",
                        str(MORE), "--test", "1"], check=True, stdout=subprocess.DEVNULL)
        self.log = open(os.path.join(run.directory, "ingest.log"), "ab")

    def ingest(self, store):
        return subprocess.Popen([os.path.join(BIN, "seer"), "ingest", self.tar, "--store", store,
                                 "--shard-mb", "1", "--jobs", "1"], env=self.run.environment,
                                stdout=self.log, stderr=self.log)

    def finish(self, process, what):
        self.run.wait(60, what, lambda: process.poll() is not None)
        if process.returncode != 0:
            raise Failure(f"{what}: it ended with {process.returncode}")

    def seconds(self, directory):
        """That an ingest takes beside the run."""
        start = time.monotonic()
        self.finish(self.ingest(os.path.join(directory, "measured")), "an ingest elsewhere")
        return time.monotonic() - start

    def kill(self, seconds):
        process = self.ingest(self.store)
        self.run.pause(self.rng.uniform(0, seconds))
        was_alive = process.poll() is None
        process.kill()
        process.wait()
        return was_alive

    def records(self):
        done = subprocess.run([os.path.join(BIN, "seer"), "store", "stat", self.store, "-o", "json"],
                              stdout=subprocess.PIPE, text=True, check=True)
        return json.loads(done.stdout)["records"]

    def shards(self):
        return sorted(os.listdir(os.path.join(self.store, "shards")))

    def added(self):
        return len(self.run.events_from(0, "shard_added"))

    def judge(self):
        run = self.run
        if self.records() != MORE:
            raise Failure(f"the store has {self.records()} pictures, {MORE} were ingested")
        subprocess.run([os.path.join(BIN, "seer"), "store", "verify", self.store], check=True,
                       stdout=subprocess.DEVNULL)
        run.wait(30, f"the run takes up {len(self.shards())} shards",
                 lambda: self.added() == len(self.shards()))
        images = run.steps.items[-1]["images"]
        last = len(run.steps.items) + MORE // images
        run.wait(120, "a pass over all of them", lambda: len(run.steps.items) > last)
        bad = [event for event in run.events.items if event["kind"] in
               ("record_quarantined", "shard_refused", "step_skipped", "state_differs")]
        if bad:
            raise Failure(f"{bad[0]['kind']}: {bad[0]['text']}")


def judge_end(run):
    counted = oracle.audit(run.directory)
    wrong = [f"{key} is {counted[key]}" for key in
             ("lost", "duplicated", "unequal_digests", *oracle.DISAGREEMENTS) if counted[key] != 0]
    wrong += run.crashes() + [f"left behind: {what}" for what in run.leftovers()]
    print(f"steps: {counted['steps']}, lost: {counted['lost']}, duplicated: "
          f"{counted['duplicated']}, unequal digests: {counted['unequal_digests']}")
    if wrong:
        raise Failure("\n  ".join(wrong))


def disturb(live, directory, kills):
    run = live.run
    run.start()
    run.wait_whole()
    seconds = live.seconds(directory)
    done = 0
    for _ in range(10 * kills):
        done += live.kill(seconds)
        if done == kills:
            break
    if done < kills:
        raise Failure(f"only {done} of {kills} ingests were alive to be killed")
    send(live.rng.choice(sorted(run.worker_pids().items()))[1], signal.SIGKILL)
    live.finish(live.ingest(live.store), "the last ingest")
    live.judge()
    print(f"ingests killed: {done}, shards taken up: {live.added()}")
    run.stop()
    judge_end(run)


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[0].removeprefix("usage: "))
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--kills", type=int, default=8)
    parser.add_argument("--workers", type=int, default=3)
    options = parser.parse_args()
    print(f"seed {options.seed}: again with {sys.argv[0]} --seed {options.seed}", flush=True)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    directory = tempfile.mkdtemp(prefix="everseer-live-")
    store = make_store(directory)
    run = ChaosRun(os.path.join(directory, "run"), store, options.workers, 7, SETTINGS,
                   f"{os.getpid()}-live")
    live = LiveStore(run, store, random.Random(options.seed), directory)
    with to_its_end(run, directory):
        disturb(live, directory, options.kills)


if __name__ == "__main__":
    main()
