#!/usr/bin/env python3
# chaos_nccl.py - NCCL fails in every way it can, and workers die beside; not a bit is lost.
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The everseer authors
"""usage: chaos_nccl.py [--seed N] [--faults N] [--workers N] [--only KIND[,KIND]] [--keep]

A real server and workers with engine nccl, on GPUs that are emulated (tests/integration/emulated.cmake) and
a NCCL of ours (tests/chaos/fakes) that hangs, completes an operation on some members only, reports
errors late, stalls while a generation forms and in aborts, whenever it is told to. Between these
faults workers are killed. After each fault all workers must train again; at the end every committed
step has the digest and loss of an undisturbed run of one worker, so have the parameters, the audit
is clean and nothing is left. 4 faults, with SEER_TEST_LONG=1 120. The seed decides what happens to
whom. Exits 0, 1 with the reason and the logs, 77 when it cannot run here."""
import argparse, collections, os, random, shutil, signal, sys, tempfile, time

import chaos_oracle as oracle
import chaos_run
from chaos import make_store
from chaos_run import BIN, CHAOS, ChaosRun, Failure

CONFIG = os.path.join(CHAOS, "micro.yaml")
# Deadlines of a hang are waited out, those of a busy machine are not to be met. An abort has less
# than the server waits for a worker.
STEP_MS, FORM_MS, ABORT_MS = 8000, 10000, 500
SETTINGS = ["server.heartbeat_ms=100", "server.lost_ms=4000", f"server.form_ms={FORM_MS}",
            f"server.step_ms={STEP_MS}", f"collective.abort_ms={ABORT_MS}", "collective.bucket_kib=4",
            "train.bn_group_slots=2",  # two groups: communicators for some members alone too
            "snapshot.every_steps=10", "snapshot.keep_last=50"]
REFERENCE_S, REFERENCE_STEP_S = 300, 5  # for the run that is compared with, on a busy machine
chaos_run.HEAL_S = 300  # a GPU that is emulated on a busy machine takes seconds for a step
SLOW_ABORT_MS, FAR_OPERATION = 200, 150
FAULTS, LONG_FAULTS = 4, 120


def worker_of(device):
    return "seer-worker-emulated" if device is None else "seer-worker"


def make_programs(directory, device=None):
    """A folder of programs in which seer-worker has this GPU, None: an emulated one; what stands in
    for NCCL then meets in `nccl` beside it."""
    programs, meeting = os.path.join(directory, "bin"), os.path.join(directory, "nccl")
    os.makedirs(programs)
    os.makedirs(meeting)
    for name in ("seer", "seer-server", "seer-helper"):
        os.symlink(os.path.join(BIN, name), os.path.join(programs, name))
    os.symlink(os.path.join(CHAOS, "emulated_worker.sh"), os.path.join(programs, "seer-worker"))
    return {"SEER_BIN": programs, "SEER_FAKE_NCCL": meeting,
            "SEER_CHAOS_DEVICE": device or "cuda:0",
            "SEER_CHAOS_WORKER": os.path.join(BIN, worker_of(device))}


def check_means(device=None):
    if not os.path.exists(os.path.join(BIN, worker_of(device))):
        print("skipped: this build has no emulated GPU")
        sys.exit(77)


class NcclFaults:
    """One after the other; the next one comes when all workers train again."""

    def __init__(self, run, rng, meeting):
        self.run, self.rng, self.meeting = run, rng, meeting
        self.counts = collections.Counter()

    def victims(self):
        self.run.wait(60, "somebody to choose from", self.run.worker_pids)
        return self.run.worker_pids()

    def order(self, pid, kind, number):
        """Taken by the worker at its next operation."""
        path = os.path.join(self.meeting, f"fault-{pid}")
        with open(path + ".new", "w") as file:
            file.write(f"{kind} {number}\n")
        os.rename(path + ".new", path)
        return path

    def order_one(self, kind, number):
        pid = self.rng.choice(list(self.victims().values()))
        path = self.order(pid, kind, number)
        self.run.wait(60, f"pid {pid} takes '{kind}'", lambda: not os.path.exists(path))

    def kill(self, pid):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def hang(self):
        self.order_one("hang", self.rng.randrange(1, FAR_OPERATION))

    def partial(self):
        self.order_one("partial", self.rng.randrange(1, FAR_OPERATION))

    def late_error(self):
        self.order_one("error", self.rng.randrange(1, FAR_OPERATION))

    def killed(self):
        self.kill(self.rng.choice(list(self.victims().values())))

    def killed_beside_a_hang(self):
        pids = list(self.victims().values())
        self.rng.shuffle(pids)
        self.order(pids[0], "hang", self.rng.randrange(1, FAR_OPERATION))
        self.kill(pids[1])

    def slow_abort(self):
        """Of a survivor; it is waited for."""
        pids = list(self.victims().values())
        self.rng.shuffle(pids)
        path = self.order(pids[0], "abort", SLOW_ABORT_MS)
        self.run.wait(60, f"pid {pids[0]} takes 'abort'", lambda: not os.path.exists(path))
        self.kill(pids[1])

    def endless_abort(self):
        """The survivor ends itself and is started again."""
        pids = list(self.victims().values())
        self.rng.shuffle(pids)
        path = self.order(pids[0], "abort", -1)
        self.run.wait(60, f"pid {pids[0]} takes 'abort'", lambda: not os.path.exists(path))
        self.kill(pids[1])

    def stalled_forming(self):
        pids = list(self.victims().values())
        self.rng.shuffle(pids)
        path = self.order(pids[0], "init", 0)
        self.run.wait(60, f"pid {pids[0]} takes 'init'", lambda: not os.path.exists(path))
        self.kill(pids[1])

    weights = {hang: 3, partial: 3, late_error: 3, killed: 3, killed_beside_a_hang: 2, slow_abort: 2,
               endless_abort: 2, stalled_forming: 2}

    def plan(self, only):
        """In rounds: every kind once, then by weight."""
        kinds = [kind for kind in self.weights if not only or kind.__name__ in only]
        if not kinds:
            raise SystemExit("no such fault: " + ",".join(only))
        while True:
            self.rng.shuffle(kinds)
            yield from kinds
            if not only:
                kinds = [kind for kind, weight in self.weights.items() for _ in range(weight)]

    def inject(self, count, only):
        start = time.monotonic()
        self.run.wait_whole()
        for number, kind in enumerate(self.plan(only), 1):
            generation = self.run.generation()
            print(f"{time.monotonic() - start:7.2f} s  fault {number:3}  generation {generation:3}  "
                  f"step {len(self.run.steps.items):5}  {kind.__name__}", flush=True)
            kind(self)
            self.counts[kind.__name__] += 1
            self.run.wait_whole(generation)
            if number == count:
                return


def make_run(options, directory, store, environment, name, workers, settings=()):
    return ChaosRun(os.path.join(directory, name), store, workers, 7, SETTINGS + list(settings),
                    f"{os.getpid()}-{options.seed}", environment, config=CONFIG)


def judge(run, reference):
    """A run that has ended, by one of as many steps. Raises with all that is wrong."""
    lines = run.steps.items
    history = oracle.surviving(lines)
    oracle.check_history(history)
    last = len(history)
    reference.cluster(*reference.start_options, "--workers", "1", "--steps", str(last),
                      seconds=REFERENCE_S + REFERENCE_STEP_S * last)
    reference.steps.read()
    counted = oracle.audit(run.directory)
    wrong = [f"{key} is {counted[key]}" for key in
             ("lost", "duplicated", "unequal_digests", *oracle.DISAGREEMENTS) if counted[key] != 0]
    if counted["steps_witnessed"] == 0:
        wrong.append("no step was witnessed by all its members")
    # A void lineage may have been further than the run is at its end: the reference is not.
    wrong += [f"lineage {lineage} step {step} differs: {what}" for lineage, step, what in
              oracle.differing([line for line in lines if line["step"] < last],
                               reference.steps.items)]
    wrong += [f"tensor '{tensor}' differs after {last} steps" for tensor in
              oracle.unequal_tensors(run.directory, reference.directory, last)]
    wrong += [f"left behind: {what}" for what in run.leftovers() + reference.leftovers()]
    wrong += run.crashes()
    if wrong:
        raise Failure("\n  ".join(wrong[:8]))
    print(f"{last} steps in {history[-1]['generation']} generations and "
          f"{history[-1]['lineage'] + 1} lineages: digests, losses and tensors equal those of one "
          f"worker; audit clean, {counted['steps_witnessed']} steps witnessed by all their members")


def disturb(options, directory, runs):
    store, environment = make_store(directory), make_programs(directory)
    runs.append(make_run(options, directory, store, environment, "run", options.workers,
                         ["collective.engine=nccl"]))
    runs[0].start()
    faults = NcclFaults(runs[0], random.Random(options.seed), environment["SEER_FAKE_NCCL"])
    faults.inject(options.faults, options.only)
    runs[0].stop()
    runs.append(make_run(options, directory, store, environment, "reference", 1, oracle.PATIENCE))
    print(f"{sum(faults.counts.values())} faults: " +
          ", ".join(f"{kind} {count}" for kind, count in sorted(faults.counts.items())), flush=True)
    judge(*runs)


def main():
    is_long = os.environ.get("SEER_TEST_LONG") == "1"
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[0].removeprefix("usage: "))
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--faults", type=int, default=LONG_FAULTS if is_long else FAULTS)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--only", type=lambda text: text.split(","), default=[])
    parser.add_argument("--keep", action="store_true", help="the folder, of a good run too")
    options = parser.parse_args()
    check_means()
    print(f"seed {options.seed}: again with {sys.argv[0]} --seed {options.seed}", flush=True)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    directory, runs = tempfile.mkdtemp(prefix="everseer-nccl-"), []
    try:
        disturb(options, directory, runs)
    except BaseException as error:
        if isinstance(error, Failure):
            print(f"FAILED (seed {options.seed}, folder {directory}): {error}", flush=True)
            for run in runs[-1:]:
                run.tell()
        for run in runs:
            run.kill_all()
        if not isinstance(error, Failure):
            raise
        sys.exit(1)
    if options.keep:
        print(f"folder {directory}")
    else:
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
