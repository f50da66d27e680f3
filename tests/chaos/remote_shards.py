#!/usr/bin/env python3
# remote_shards.py - workers without a store live on two loaders that are killed, stopped and cut off.
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The everseer authors
"""usage: remote_shards.py [--seed N] [--faults N] [--workers N]

Two workers see no store: theirs is covered up in mount namespaces of their own. One loader serves the
shards from a network namespace of its own, through a socket file; the other over TCP, on an address
that rules can cut off. Loaders are killed and started again, stopped for a while, cut off without a
word, and taken away both at once; a worker is killed between. Every step must be committed once, with
the bits of a run that reads its own disk, no shard may be called broken, and `seer audit` be clean.
Five faults, one of each kind; with SEER_TEST_LONG=1 sixty. Exits 0, 1 with the reason, 77 when it cannot
run here."""
import argparse, glob, os, random, re, shutil, signal, sys, tempfile

import chaos_means
import chaos_oracle as oracle
from chaos import make_store
from chaos_faults import send
from chaos_run import BIN, CHAOS, ChaosRun, Failure, to_its_end

TCP = "127.0.3.2"
LONG_FAULTS = 60
QUIET_S = (0.2, 4.5)  # a loader is away for so long, so that deadlines fall on both sides
SETTINGS = ["server.heartbeat_ms=100", "server.lost_ms=4000", "server.form_ms=30000",
            "server.step_ms=60000", "swav.queue_images=48", "swav.queue_start_step=10"]


class Loader:
    def __init__(self, run, name, words, address):
        self.run, self.name, self.address = run, name, address
        self.words = [*words, os.path.join(BIN, "seer-loader"), "--store", run.served, "--listen", address]
        self.process = None

    def start(self):
        self.process = self.run.spawn(self.name, self.words)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def end(self):
        """As an operator does."""
        self.process.terminate()
        if self.process.wait(30) != 0:
            raise Failure(f"{self.name} was asked to end and ended with {self.process.returncode}")


class Faults:
    def __init__(self, run, rng, loaders, network):
        self.run, self.rng, self.loaders, self.network = run, rng, loaders, network
        self.kinds = [self.kill, self.hang, self.cut, self.both, self.worker]

    def quiet(self):
        self.run.pause(self.rng.uniform(*QUIET_S))

    def kill(self):
        loader = self.rng.choice(self.loaders)
        loader.kill()
        self.quiet()
        loader.start()

    def hang(self):
        loader = self.rng.choice(self.loaders)
        send(loader.process.pid, signal.SIGSTOP)
        try:
            self.quiet()
        finally:
            send(loader.process.pid, signal.SIGCONT)

    def cut(self):
        self.network.set([f"ip daddr {TCP} drop", f"ip saddr {TCP} drop"])
        try:
            self.quiet()
        finally:
            self.network.clear()

    def both(self):
        for loader in self.loaders:
            loader.kill()
        self.quiet()
        self.rng.choice(self.loaders).start()
        self.quiet()
        for loader in self.loaders:
            if loader.process.poll() is not None:
                loader.start()

    def worker(self):
        send(self.rng.choice(sorted(self.run.worker_pids().items()))[1], signal.SIGKILL)

    def inject(self, count):
        kinds = self.kinds * (count // len(self.kinds)) + self.rng.sample(self.kinds, count % len(self.kinds))
        self.rng.shuffle(kinds)
        self.run.wait_whole()
        for kind in kinds:
            kind()
            self.run.wait_whole()
            self.run.pause(self.rng.uniform(0, 0.5))
        print("faults: " + ", ".join(f"{kind.__name__} {kinds.count(kind)}" for kind in self.kinds), flush=True)


def records_served(run):
    """By loaders that lived to say so."""
    found = []
    for path in glob.glob(os.path.join(run.directory, "loader-*.log")):
        with open(path) as file:
            found += re.findall(r"event=worker_gone .* records=(\d+)", file.read())
    return sum(map(int, found))


def judge(run, reference):
    lines = run.steps.items
    history = oracle.surviving(lines)
    oracle.check_history(history)
    last = len(history)
    reference.cluster(*reference.start_options, "--workers", "1", "--steps", str(last), seconds=600)
    reference.steps.read()
    different = oracle.differing([line for line in lines if line["step"] < last], reference.steps.items)
    counted = oracle.audit(run.directory)
    broken = run.events_from(0, "shard_broken")
    wrong = [f"{key} is {counted[key]}" for key in
             ("lost", "duplicated", "unequal_digests", *oracle.DISAGREEMENTS) if counted[key] != 0]
    wrong += [f"lineage {lineage} step {step} differs: {what}" for lineage, step, what in different[:3]]
    wrong += [f"{event['kind']}: {event['text']}" for event in broken[:3]]
    if records_served(run) == 0:
        wrong.append("nobody read from the loaders")
    wrong += run.crashes() + [f"left behind: {what}" for what in run.leftovers()]
    print(f"steps: {last}, lost: {counted['lost']}, duplicated: {counted['duplicated']}, steps different "
          f"from the run that reads its own disk: {len(different)}", flush=True)
    if wrong:
        raise Failure("\n  ".join(wrong))


def make_programs(directory, store, loaders):
    os.makedirs(directory)
    for name in ("seer", "seer-server", "seer-helper"):
        os.symlink(os.path.join(BIN, name), os.path.join(directory, name))
    os.symlink(os.path.join(CHAOS, "remote_worker.sh"), os.path.join(directory, "seer-worker"))
    return {"SEER_BIN": directory, "SEER_CHAOS_WORKER": os.path.join(BIN, "seer-worker"),
            "SEER_CHAOS_STORE": store,
            "SEER_CHAOS_LOADERS": " ".join(f"--loader {address}" for address in loaders)}


def disturb(options, directory, store):
    addresses = [f"ipc://{directory}/loader-1", f"tcp://{TCP}:5690"]
    mark = f"{os.getpid()}-remote"
    run = ChaosRun(os.path.join(directory, "run"), store, options.workers, 7, SETTINGS, mark,
                   make_programs(os.path.join(directory, "programs"), store, addresses))
    reference = ChaosRun(os.path.join(directory, "reference"), store, 1, 7, SETTINGS, mark)
    run.served = os.path.join(directory, "served")
    shutil.copytree(store, run.served)
    loaders = [Loader(run, "loader-1", ["unshare", "--net"], addresses[0]),
               Loader(run, "loader-2", [], addresses[1])]
    network = chaos_means.Network()
    with to_its_end(run, directory):
        for loader in loaders:
            loader.start()
        run.start()
        Faults(run, random.Random(options.seed), loaders, network).inject(options.faults)
        run.stop()
        for loader in loaders:
            loader.end()
        judge(run, reference)


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[0].removeprefix("usage: "))
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--faults", type=int,
                        default=LONG_FAULTS if os.environ.get("SEER_TEST_LONG") else 5)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    chaos_means.enter()
    missing = chaos_means.Network().missing
    if missing:
        print(f"skipped: {missing}")
        sys.exit(77)
    print(f"seed {options.seed}: again with {sys.argv[0]} --seed {options.seed}", flush=True)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    directory = tempfile.mkdtemp(prefix="everseer-remote-")
    disturb(options, directory, make_store(directory))


if __name__ == "__main__":
    main()
