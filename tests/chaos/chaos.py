#!/usr/bin/env python3
# chaos.py - faults of every kind against a real cluster; nothing may be lost, not even a bit.
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The everseer authors
"""usage: chaos.py [--seed N] [--faults N] [--workers N] [--haste P] [--only KIND[,KIND]]
                [--set KEY=VALUE] [--keep]

Throws faults at random instants at a server and workers that train the tiny model, then judges:
every committed step has the same digest and loss as in an undisturbed run of one worker, and so
have the parameters at the end; `seer audit` counts nothing lost, duplicated or unequal; no process
and no shared memory is left. Faults with a known outcome are checked on the spot: a pause within
the limits loses nobody, a longer one is evicted and comes back, a server's death restarts nobody.
The seed decides what happens in which order to whom; instants are as exact as the machine allows.
Exits 0 when all promises held, 1 with the reason and the logs, 77 when it cannot run here."""
import argparse, collections, os, random, shutil, signal, statistics, subprocess, sys, tempfile, time

import chaos_oracle as oracle
from chaos_run import BIN, ChaosRun, Failure, state_of, words_of

# As tight as a busy machine of two cores bears without a false alarm.
LOST_MS, FORM_MS, STEP_MS = 1500, 6000, 5000
SETTINGS = ["server.heartbeat_ms=100", f"server.lost_ms={LOST_MS}", f"server.form_ms={FORM_MS}",
            f"server.step_ms={STEP_MS}",
            # All state there is must survive, and snapshots are to be under way when it strikes.
            "swav.queue_images=48", "swav.queue_start_step=10", "snapshot.every_steps=7"]
MARGIN_S = 5    # for a thing that is to happen at a limit
GUESTS_MAX = 2  # with 4 workers as many members as the tiny config has slots


def send(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


class Chaos:
    def __init__(self, run, rng, haste):
        self.run, self.rng, self.haste = run, rng, haste
        self.is_whole = True   # everybody trains: nothing of the last fault is left
        self.ended = -1        # the generation that the last fault ends, even if it does not show yet
        self.ended_before = -1 # and the one before it
        self.may_be_lost = collections.Counter()
        self.counts = collections.Counter()
        self.after_worker_kill_s, self.after_server_start_s = [], []
        self.guest_number = self.events_judged = 0

    # ---- means ----

    def any_worker(self):
        pids = self.run.worker_pids()
        name = self.rng.choice(sorted(pids))
        return name, pids[name]

    def kill_worker(self, name, pid):
        self.may_be_lost[name] += 1
        send(pid, signal.SIGKILL)

    def any_program(self, program):
        """Of one member there are no helpers; then the run must become whole first. One of a past
        generation may still be about to end: its death ends no other."""
        pids = self.run.programs(program)
        if not pids:
            self.heal()
            pids = self.run.programs(program)
        pid = self.rng.choice(pids)
        words = words_of(pid)
        if "--generation" in words:
            self.ended = int(words[words.index("--generation") + 1])
        return pid

    def heal(self):
        self.run.wait_whole(self.ended)
        self.is_whole = True
        self.judge_events()
        self.judge_processes()

    def judge_events(self):
        """Nobody may be lost to whom nothing was done."""
        for event in self.run.events.items[self.events_judged:]:
            if event["kind"] == "worker_lost":
                name = event["text"].split()[0].removeprefix("worker=")
                if self.may_be_lost[name] == 0:
                    raise Failure(f"a healthy worker was lost: {event['text']}")
                self.may_be_lost[name] -= 1
            if event["kind"] in ("state_differs", "record_quarantined"):
                raise Failure(f"{event['kind']}: {event['text']}")
        self.events_judged = len(self.run.events.items)

    def judge_processes(self):
        """Helpers of the present generation only, in moments in which it does not change."""
        def is_tidy():
            return (len(self.run.programs("seer-helper")) in (0, self.run.wanted()) and
                    len(self.run.programs("mpirun")) <= 1)
        self.run.wait(MARGIN_S, "helpers of past generations end", is_tidy)

    def restart_server(self):
        """And how long until it commits; no worker may notice more than a pause."""
        first, start = len(self.run.steps.items), time.monotonic()
        self.run.start_server()
        return self.run.wait_step(first, 30, what="a step after the server's restart") - start

    # ---- faults; those in `sudden` leave the run to recover while the next one may come ----

    def worker_killed(self):
        name, pid = self.any_worker()
        generation, was_whole, start = self.run.generation(), self.is_whole, time.monotonic()
        first = len(self.run.steps.items)
        self.kill_worker(name, pid)
        if was_whole:
            seen = self.run.wait_step(first, 30, lambda line: line["generation"] > generation,
                                      f"a step after the death of {name}")
            self.after_worker_kill_s.append(seen - start)

    def two_workers_killed(self):
        pids = self.run.worker_pids()
        for name in self.rng.sample(sorted(pids), min(2, len(pids))):
            self.kill_worker(name, pids[name])

    def all_workers_killed(self):
        for name, pid in self.run.worker_pids().items():
            self.kill_worker(name, pid)

    def helper_killed(self):
        send(self.any_program("seer-helper"), signal.SIGKILL)

    def mpirun_killed(self):
        send(self.any_program("mpirun"), signal.SIGKILL)

    def server_killed(self):
        before, was_whole = self.run.worker_pids(), self.is_whole
        self.ended = self.ended_before  # the present generation outlives its server
        send(self.run.server_pid(), signal.SIGKILL)
        self.run.pause(self.rng.choice([0, self.rng.uniform(0, 0.3), self.rng.uniform(0, 3)]))
        seconds = self.restart_server()
        if was_whole:
            self.after_server_start_s.append(seconds)
            self.heal()
            if self.run.worker_pids() != before:
                raise Failure(f"workers restarted because the server did: {before} became "
                              f"{self.run.worker_pids()}")

    def server_killed_twice(self):
        self.ended = self.ended_before
        send(self.run.server_pid(), signal.SIGKILL)
        self.run.start_server()
        self.run.pause(self.rng.uniform(0, 0.8))
        send(self.run.servers[-1].pid, signal.SIGKILL)
        self.restart_server()

    def server_and_worker_killed(self):
        send(self.run.server_pid(), signal.SIGKILL)
        self.kill_worker(*self.any_worker())
        self.run.pause(self.rng.uniform(0, 0.5))
        self.restart_server()

    def everything_killed(self):
        self.all_workers_killed()
        send(self.run.server_pid(), signal.SIGKILL)
        self.restart_server()

    def joiner_killed(self):
        """At any moment between its first instruction and its first step."""
        self.guest_number += 1
        name = f"guest-{self.guest_number}"
        self.run.start_guest(name)
        self.run.pause(self.rng.uniform(0, 1.0))
        self.kill_worker(name, self.run.guests.pop(name).pid)
        self.ended = self.run.generation()  # if it was not let in, none ends
        self.run.pause(0.3)
        self.ended -= self.run.generation() == self.ended

    def worker_paused(self):
        """Within the limits: no generation ends."""
        name, pid = self.any_worker()
        generation = self.run.generation()
        seconds = self.rng.uniform(0.05, 0.6 * LOST_MS / 1000)
        send(pid, signal.SIGSTOP)
        self.run.pause(seconds)
        send(pid, signal.SIGCONT)
        self.ended = -1
        self.run.wait_whole()
        if self.run.generation() != generation:
            raise Failure(f"{name} paused {seconds:.3f} s of the {LOST_MS} ms it may, and "
                          f"generation {generation} became {self.run.generation()}")

    def worker_frozen(self):
        """Beyond the limits: evicted, the others go on; thawed, it is back."""
        name, pid = self.any_worker()
        event, generation = len(self.run.events.items), self.run.generation()
        self.may_be_lost[name] += 1
        send(pid, signal.SIGSTOP)
        try:
            self.run.wait(LOST_MS / 1000 + MARGIN_S, f"{name} is evicted",
                          lambda: self.run.events_from(event, "worker_lost", f"worker={name} "))
            first = len(self.run.steps.items)
            self.run.wait(30, f"the others go on without {name}", lambda: [
                line for line in self.run.steps.items[first:] if line["generation"] > generation])
        finally:
            send(pid, signal.SIGCONT)
        if state_of(pid) == "":
            raise Failure(f"{name} did not live to be thawed")

    def helper_frozen(self):
        """A collective that hangs: the step's deadline ends it."""
        pid, generation = self.any_program("seer-helper"), self.run.generation()
        first = len(self.run.steps.items)
        self.may_be_lost.update(self.run.worker_pids().keys())  # one of them is blamed
        send(pid, signal.SIGSTOP)
        self.run.wait_step(first, STEP_MS / 1000 + 2 * MARGIN_S,
                           lambda line: line["generation"] > generation,
                           "a step after a helper froze")
        self.heal()
        self.may_be_lost.clear()
        if state_of(pid):
            raise Failure(f"helper {pid} stays frozen behind its generation")

    def mpirun_frozen(self):
        """It cannot see that a member dies; the server must."""
        send(self.any_program("mpirun"), signal.SIGSTOP)
        self.worker_killed()

    def server_frozen(self):
        """Its own standstill is nobody's fault, however long."""
        generation = self.run.generation()
        pid = self.run.server_pid()
        send(pid, signal.SIGSTOP)
        self.run.pause(self.rng.uniform(0.2, 3) * LOST_MS / 1000)
        send(pid, signal.SIGCONT)
        self.ended = -1
        self.run.wait_whole()
        if self.run.generation() != generation:
            raise Failure(f"the server stood still, and generation {generation} became "
                          f"{self.run.generation()}")

    def worker_drained(self):
        """It ends its step and leaves with 0; then it is back. Sometimes a guest goes for good."""
        name, pid = self.any_worker()
        is_guest = name in self.run.guests
        if is_guest:
            self.run.leaving[name] = self.run.guests.pop(name)
        else:
            self.run.supervised.remove(name)
        send(pid, signal.SIGTERM)
        self.run.wait(30, f"{name} is drained", lambda: not state_of(pid))
        if not is_guest or name.startswith("worker-"):
            self.run.start_guest(name)

    def worker_joins(self):
        if len([name for name in self.run.guests if name.startswith("guest-")]) == GUESTS_MAX:
            self.worker_drained()
            return
        self.guest_number += 1
        self.run.start_guest(f"guest-{self.guest_number}")

    # ---- the plan ----

    weights = {worker_killed: 5, server_killed: 4, helper_killed: 2, mpirun_killed: 2,
               worker_paused: 2, worker_frozen: 2, worker_drained: 2, worker_joins: 2,
               joiner_killed: 1, two_workers_killed: 1, all_workers_killed: 1,
               everything_killed: 1, server_killed_twice: 1, server_and_worker_killed: 1,
               helper_frozen: 1, mpirun_frozen: 1, server_frozen: 1}
    sudden = {worker_killed, two_workers_killed, helper_killed, mpirun_killed, server_killed,
              server_killed_twice, server_and_worker_killed, joiner_killed, all_workers_killed,
              everything_killed}

    def plan(self, count, only):
        kinds = [kind for kind, weight in self.weights.items() for _ in range(weight)
                 if not only or kind.__name__ in only]
        if not kinds:
            raise SystemExit("no such fault: " + ",".join(only))
        planned = []
        while len(planned) < count:
            self.rng.shuffle(kinds)
            planned += kinds
        return planned[:count]

    def inject(self, count, only):
        start = time.monotonic()
        self.heal()
        for number, kind in enumerate(self.plan(count, only), 1):
            is_chained = kind in self.sudden and self.rng.random() < self.haste
            if not is_chained and not self.is_whole:
                self.heal()
            self.run.pause(self.rng.uniform(0, 0.4))
            print(f"{time.monotonic() - start:7.2f} s  fault {number:3}  step "
                  f"{len(self.run.steps.items):5}  {kind.__name__}"
                  f"{'' if self.is_whole else ' while it recovers'}", flush=True)
            self.ended_before, self.ended = self.ended, self.run.generation()
            kind(self)
            self.counts[kind.__name__] += 1
            self.is_whole = False
        self.heal()


def make_store(directory):
    if not os.path.isdir("/usr/share/datasets/fashion-mnist"):
        print("skipped: package dataset-fashion-mnist is not installed")
        sys.exit(77)
    pictures, store = os.path.join(directory, "pictures"), os.path.join(directory, "store")
    for words in (["colour-fashion", pictures, "--train", "512", "--test", "1"],
                  ["seer", "ingest", os.path.join(pictures, "colour-fashion-train.tar"), "--store",
                   store]):
        subprocess.run([os.path.join(BIN, words[0]), *words[1:]], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return store


def quantiles(name, values):
    if values:
        print(f"{name}: median {statistics.median(values) * 1000:.0f} ms, "
              f"max {max(values) * 1000:.0f} ms, n {len(values)}")


def judge(chaos, reference):
    """Everything about a run that has ended. Raises with all that is wrong."""
    run, wrong = chaos.run, []
    lines = run.steps.items
    history = oracle.surviving(lines)
    oracle.check_history(history)
    last = len(history)
    reference.cluster(*reference.start_options, "--workers", "1", "--steps", str(last), seconds=600)
    reference.steps.read()
    different = oracle.differing(lines, reference.steps.items)
    tensors = oracle.unequal_tensors(run.directory, reference.directory, last)
    counted = oracle.audit(run.directory)
    print("faults: " + ", ".join(f"{kind} {n}" for kind, n in sorted(chaos.counts.items())) +
          f"; together {sum(chaos.counts.values())}")
    print(f"steps: {last}, generations: {history[-1]['generation']}, lineages: "
          f"{history[-1]['lineage'] + 1}, voided steps: {len(lines) - last}")
    quantiles("SIGKILL of a worker to the next generation's first step", chaos.after_worker_kill_s)
    quantiles("restart of the server to the next step", chaos.after_server_start_s)
    print(f"lost: {counted['lost']}, duplicated: {counted['duplicated']}, unequal digests: "
          f"{counted['unequal_digests']}, steps different from the undisturbed run: "
          f"{len(different)}, tensors different at the end: {len(tensors)}", flush=True)
    print(f"workers that testified: {counted['workers']}, of all members of "
          f"{counted['steps_witnessed']} steps; they disagree with the server in "
          f"{sum(counted[key] for key in oracle.DISAGREEMENTS)} places")
    wrong += [f"{key} is {counted[key]}" for key in
              ("lost", "duplicated", "unequal_digests", *oracle.DISAGREEMENTS) if counted[key] != 0]
    if counted["steps_witnessed"] == 0:
        wrong.append("no step was witnessed by all its members")
    if counted["steps"] != last:
        wrong.append(f"the journal has {counted['steps']} steps, metrics.jsonl {last}")
    wrong += [f"lineage {lineage} step {step} differs: {what}" for lineage, step, what
              in different[:3]]
    wrong += [f"tensor '{name}' differs" for name in tensors[:3]]
    wrong += run.crashes()
    wrong += [f"left behind: {what}" for what in run.leftovers() + reference.leftovers()]
    if wrong:
        raise Failure("\n  ".join(wrong))


def main():
    long_run = os.environ.get("SEER_TEST_LONG") == "1"
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[0].removeprefix("usage: "))
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--faults", type=int, default=300 if long_run else 30)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--haste", type=float, default=0.3,
                        help="how often a sudden fault does not wait for the last one's end")
    parser.add_argument("--only", type=lambda text: text.split(","), default=[])
    parser.add_argument("--set", action="append", default=[], dest="settings",
                        help="for the disturbed run only")
    parser.add_argument("--keep", action="store_true", help="the folder, of a good run too")
    options = parser.parse_args()
    print(f"seed {options.seed}: again with {sys.argv[0]} --seed {options.seed}", flush=True)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    directory = tempfile.mkdtemp(prefix="everseer-chaos-")
    store = make_store(directory)
    mark = f"{os.getpid()}-{options.seed}"
    run, reference = (
        ChaosRun(os.path.join(directory, name), store, workers, 7, SETTINGS + settings, mark)
        for name, workers, settings in (("run", options.workers, options.settings),
                                        ("reference", 1, [])))
    chaos = Chaos(run, random.Random(options.seed), options.haste)
    try:
        run.start()
        chaos.inject(options.faults, options.only)
        run.stop()
        judge(chaos, reference)
    except BaseException as error:
        if isinstance(error, Failure):
            print(f"FAILED (seed {options.seed}, folder {directory}): {error}", flush=True)
            run.tell()
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
