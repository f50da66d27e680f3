#!/usr/bin/env python3
# same_bits.py - one seed, any workers, any history of them: every bit of every step is the same.
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The everseer authors
"""usage: same_bits.py [--seed N] [--schedules N] [--only sizes|uneven|groups|schedules] [--keep]

Trains the tiny model for 50 steps and more with real daemons, train.reduction exact: with 1, 2, 3, 4,
5 and 7 workers; with two of whom one is slowed until the slots are dealt unevenly; with BN groups
that members cut; and through random schedules of joins, drains and kills, each at a random step. Every step's digest, loss and rate
and all tensors after 50 steps must equal those of the run with one worker. Three schedules, with
SEER_TEST_LONG=1 twenty. Exits 0, 1 with the reason, 77 when it cannot run here."""
import argparse, os, random, shutil, signal, sys, tempfile, threading, time

import chaos_oracle as oracle
from chaos import make_store
from chaos_run import ChaosRun, Failure

STEPS = 50            # tensors are compared after so many
REFERENCE_STEPS = 120 # what others do beyond is not compared
SIZES = (1, 2, 3, 4, 5, 7)
LONG_SCHEDULES = 20
CHANGES = (4, 7)      # of a schedule: so many
MEMBERS_MAX = 6       # of a schedule
RUN_S = 120           # for one run to get so far, on a busy machine
# Eight slots, so that seven workers have one each; deadlines that no busy machine meets by itself.
SETTINGS = ["train.batch_images=32", f"snapshot.every_steps={STEPS}", "snapshot.keep_last=50",
            "server.heartbeat_ms=100", "server.lost_ms=4000", "server.form_ms=30000",
            "server.step_ms=30000", "swav.queue_images=64", "swav.queue_start_step=10"]
GROUPS = ["train.bn_group_slots=4"]  # two groups: of three workers the second is in both
RUNS_S, STOPPED_S = 0.004, 0.016  # of a worker at a fifth of its speed


def committed(run):
    """Steps that count: those of a lineage that is void do not."""
    return run.steps.items[-1]["step"] + 1 if run.steps.items else 0


def await_steps(run, count):
    run.wait(RUN_S, f"{count} steps", lambda: committed(run) >= count)


class Slowed:
    """A process that stands still most of the time."""

    def __init__(self, pid):
        self.pid, self.is_over = pid, threading.Event()
        self.thread = threading.Thread(target=self.slow)

    def slow(self):
        while not self.is_over.wait(RUNS_S):
            os.kill(self.pid, signal.SIGSTOP)
            self.is_over.wait(STOPPED_S)
            os.kill(self.pid, signal.SIGCONT)

    def __enter__(self):
        self.thread.start()

    def __exit__(self, *_):
        self.is_over.set()
        self.thread.join()


def train_reference(run):
    await_steps(run, REFERENCE_STEPS)


def train_undisturbed(run):
    await_steps(run, STEPS + 1)


def train_uneven(run):
    """Returns when steps were committed that one of two has fewer slots of than the other."""
    def uneven():
        for event in run.events_from(0, "slots_dealt"):
            words = dict(word.split("=") for word in event["text"].split())
            if len(set(words["slots"].split(","))) > 1:
                return words
        return None
    run.wait_whole()
    with Slowed(run.worker_pids()["worker-2"]):
        run.wait(RUN_S, "an uneven deal", uneven)
        words = uneven()
        await_steps(run, max(STEPS, int(words["step"]) + 10) + 1)
    print(f"    slots {words['slots']} from step {words['step']} on", flush=True)


def kill(run, rng):
    name, pid = rng.choice(sorted(run.worker_pids().items()))
    os.kill(pid, signal.SIGKILL)
    return f"{name} killed"


def drain(run, rng):
    name, pid = rng.choice(sorted(run.worker_pids().items()))
    if name in run.guests:
        run.leaving[name] = run.guests.pop(name)
    else:
        run.supervised.remove(name)
    run.ask_to_leave(name, pid)
    return f"{name} drained"


def join(run, rng):
    name = f"guest-{committed(run)}-{rng.randrange(1000)}"
    run.start_guest(name)
    return f"{name} joins"


def train_by_schedule(run, rng):
    """Changes of members at random steps; somebody always stays, nobody stands by."""
    for step in sorted(rng.randrange(2, STEPS - 5) for _ in range(rng.randint(*CHANGES))):
        await_steps(run, step)
        is_alone = run.wanted() == 1
        kinds = [] if is_alone else [kill, drain]
        kinds += [join] if is_alone or run.wanted() < MEMBERS_MAX else []
        run.wait(RUN_S, "somebody to choose from", run.worker_pids)
        print(f"    step {committed(run)}: {rng.choice(kinds)(run, rng)}", flush=True)
    await_steps(run, STEPS + 1)


class Bits:
    """Runs, each judged by the first one, which must be that of one undisturbed worker."""

    def __init__(self, directory, seed, settings=SETTINGS, steps=STEPS, **means):
        """means: what else a ChaosRun is made of."""
        self.directory, self.mark = directory, f"{os.getpid()}-{seed}"
        self.settings, self.steps, self.means = settings, steps, means
        self.store, self.reference, self.run = make_store(directory), None, None

    def compare(self, name, workers, train, settings=()):
        """Returns the run, which has ended."""
        start = time.monotonic()
        run = ChaosRun(os.path.join(self.directory, name), self.store, workers, 7,
                       [*self.settings, *settings], self.mark, **self.means)
        self.run = run  # for tidying up, whatever happens
        run.start()
        train(run)
        run.stop()
        history = oracle.surviving(run.steps.items)
        oracle.check_history(history)
        wrong = [f"left behind: {what}" for what in run.leftovers()]
        if self.reference is None:
            self.reference = run
        same = min(len(history), len(self.reference.steps.items))
        wrong += [f"step {step} differs: {what}" for _, step, what in oracle.differing(
            [line for line in run.steps.items if line["step"] < same],
            self.reference.steps.items)]
        wrong += [f"tensor '{tensor}' differs after {self.steps} steps" for tensor in
                  oracle.unequal_tensors(run.directory, self.reference.directory, self.steps)]
        sizes = sorted({line["world_size"] for line in history})
        print(f"{name}: {same} steps compared, by {','.join(map(str, sizes))} workers in "
              f"{history[-1]['generation']} generations, digest {history[self.steps]['digest']}, "
              f"{time.monotonic() - start:.1f} s", flush=True)
        if wrong:
            raise Failure("\n  ".join([name] + wrong[:5]))
        return run


def compare_groups(bits):
    """By a reference of their own, since groups are part of the mathematics."""
    reference, bits.reference = bits.reference, None
    bits.compare("groups-1", 1, train_undisturbed, GROUPS)
    for workers in (3, 5):
        bits.compare(f"groups-{workers}", workers, train_undisturbed, GROUPS)
    bits.reference = reference


def compare_all(bits, options):
    if options.only != "groups":
        bits.compare("workers-1", 1, train_reference)
    for workers in SIZES[1:] if options.only in (None, "sizes") else ():
        run = bits.compare(f"workers-{workers}", workers, train_undisturbed)
        if max(line["world_size"] for line in run.steps.items) != workers:
            raise Failure(f"of {workers} workers not all took part")
    if options.only in (None, "uneven"):
        bits.compare("uneven", 2, train_uneven)
    if options.only in (None, "groups"):
        compare_groups(bits)
    for number in range(options.schedules if options.only in (None, "schedules") else 0):
        seed = options.seed + number
        rng = random.Random(seed)
        print(f"schedule {number + 1} of {options.schedules}, seed {seed}", flush=True)
        bits.compare(f"schedule-{seed}", rng.randint(1, 4),
                     lambda run, rng=rng: train_by_schedule(run, rng))


def to_their_end(bits, options, compare, which=""):
    """Exits 1 with the reason if they differ; nothing that was started is left."""
    try:
        compare(bits, options)
    except BaseException as error:
        if isinstance(error, Failure):
            print(f"FAILED ({which}folder {bits.directory}): {error}", flush=True)
            bits.run.tell()
        if bits.run is not None:
            bits.run.kill_all()
        if not isinstance(error, Failure):
            raise
        sys.exit(1)
    print("the same bits everywhere")
    if options.keep:
        print(f"folder {bits.directory}")
    else:
        shutil.rmtree(bits.directory)


def main():
    is_long = os.environ.get("SEER_TEST_LONG") == "1"
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[0].removeprefix("usage: "))
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--schedules", type=int, default=LONG_SCHEDULES if is_long else 3)
    parser.add_argument("--only", choices=("sizes", "uneven", "groups", "schedules"))
    parser.add_argument("--keep", action="store_true", help="the folder, of a good run too")
    options = parser.parse_args()
    print(f"seed {options.seed}: again with {sys.argv[0]} --seed {options.seed}", flush=True)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    directory = tempfile.mkdtemp(prefix="everseer-bits-")
    bits = Bits(directory, options.seed)
    to_their_end(bits, options, compare_all, f"seed {options.seed}, ")


if __name__ == "__main__":
    main()
