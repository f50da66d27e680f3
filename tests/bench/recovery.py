#!/usr/bin/env python3
# recovery.py - how long a death stops the training: SIGKILL of workers and of the server, stage by stage.
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The everseer authors
"""usage: recovery.py [--kills N] [--kinds worker,server,both] [--workers N] [--seed N] [--set KEY=VALUE]

Kills, waits until all members train again, kills again, N times for each kind, and prints the
quantiles of every stage as a table for docs/benchmarks.md. `both` is the server and one worker at
once. A killed server is started again after a random time of at most two seconds; a worker by
local_cluster.sh --respawn. The programs are those of SEER_BIN, else of build/release. Run it on a
quiet machine: instants are events.jsonl's, to a millisecond, and for commits those at which a line of metrics.jsonl was seen,
to about two. Exits 1 if a server's death restarted a worker or a step was lost."""
import argparse, datetime, os, random, shutil, signal, sys, tempfile, time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../chaos"))
import chaos_run  # noqa: E402
from chaos import make_store  # noqa: E402

chaos_run.TURN_S = 0.002
SETTINGS = ["server.heartbeat_ms=100", "server.lost_ms=3000"]
DOWN_S = 2.0
COMMIT_S = 30


def instant_of(event):
    return datetime.datetime.fromisoformat(event["time"].replace("Z", "+00:00")).timestamp()


class Kills:
    def __init__(self, run, rng):
        self.run, self.rng = run, rng
        self.stages = {}  # kind -> stage -> seconds
        self.clock = time.time() - time.monotonic()

    def note(self, kind, stage, seconds):
        self.stages.setdefault(kind, {}).setdefault(stage, []).append(seconds)

    def note_event(self, kind, stage, since, first, name, text=""):
        """The stage ends with the first such event since event number `first`; returns when."""
        found = self.run.events_from(first, name, text)
        if not found:
            return since
        self.note(kind, stage, instant_of(found[0]) - since)
        return instant_of(found[0])

    def wait_commit(self, step, generation):
        return self.clock + self.run.wait_step(
            step, COMMIT_S, lambda line: line["generation"] > generation)

    def wait_commit_of_new_server(self, event):
        """Lines that it writes while it reads the journal are of steps decided before."""
        self.run.wait(COMMIT_S, "the server starts",
                      lambda: self.run.events_from(event, "server_started"))
        text = self.run.events_from(event, "server_started")[0]["text"]
        first = int(dict(word.split("=") for word in text.split())["step"])
        return self.clock + self.run.wait_step(0, COMMIT_S, lambda line: line["step"] >= first)

    def kill_worker(self):
        event, step, generation = self.marks()
        name, pid = self.rng.choice(sorted(self.run.worker_pids().items()))
        killed = time.time()
        os.kill(pid, signal.SIGKILL)
        commit = self.wait_commit(step, generation)
        at = self.note_event("worker", "kill to detection", killed, event, "worker_lost",
                             f"worker={name} ")
        at = self.note_event("worker", "to forming", at, event, "generation_forming")
        at = self.note_event("worker", "to formed", at, event, "generation_formed")
        self.note("worker", "to commit", commit - at)
        self.note("worker", "kill to commit", commit - killed)

    def kill_server(self, kind="server"):
        before = self.run.worker_pids()
        os.kill(self.run.server_pid(), signal.SIGKILL)
        event, _, _ = self.marks()
        if kind == "both":
            os.kill(self.rng.choice(sorted(before.values())), signal.SIGKILL)
        self.run.pause(self.rng.uniform(0, DOWN_S))
        started = time.time()
        self.run.start_server()
        commit = self.wait_commit_of_new_server(event)
        at = self.note_event(kind, "start to listening", started, event, "server_started")
        resumed = self.run.events_from(event, "run_resumed")
        at = self.note_event(kind, "to resumed", at, event, "run_resumed")
        if not resumed:
            at = self.note_event(kind, "to forming", at, event, "generation_forming")
            at = self.note_event(kind, "to formed", at, event, "generation_formed")
        self.note(kind, "to commit", commit - at)
        self.note(kind, "start to commit", commit - started)
        if kind == "server":
            self.run.wait_whole()
            if self.run.worker_pids() != before:
                raise chaos_run.Failure("workers restarted because the server did")

    def marks(self):
        self.run.look()
        return len(self.run.events.items), len(self.run.steps.items), self.run.generation()

    def run_all(self, kinds, count):
        for number in range(count):
            for kind in kinds:
                self.run.wait_whole()
                self.run.pause(self.rng.uniform(0.3, 1.0))
                if kind == "worker":
                    self.kill_worker()
                else:
                    self.kill_server(kind)
        self.run.wait_whole()


def print_table(stages):
    print("| kind | stage, ms | n | p50 | p90 | p99 | max |\n|---|---|---|---|---|---|---|")
    for kind, rows in stages.items():
        for stage, seconds in rows.items():
            ordered = sorted(seconds)
            cells = [ordered[min(len(ordered) - 1, int(len(ordered) * part))] * 1000
                     for part in (0.5, 0.9, 0.99, 1)]
            print(f"| {kind} | {stage} | {len(ordered)} | "
                  + " | ".join(f"{cell:.0f}" for cell in cells) + " |")


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[0].removeprefix("usage: "))
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--kinds", type=lambda text: text.split(","), default=["worker", "server"])
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--set", action="append", default=[], dest="settings")
    options = parser.parse_args()
    print(f"seed {options.seed}, {options.workers} workers, load {os.getloadavg()[0]:.1f}", flush=True)
    directory = tempfile.mkdtemp(prefix="everseer-recovery-")
    run = chaos_run.ChaosRun(os.path.join(directory, "run"), make_store(directory), options.workers,
                             7, SETTINGS + options.settings, f"{os.getpid()}-{options.seed}")
    kills = Kills(run, random.Random(options.seed))
    try:
        run.start()
        kills.run_all(options.kinds, options.kills)
        run.stop()
    except BaseException as error:
        print_table(kills.stages)
        print(f"FAILED (folder {directory}): {error}", flush=True)
        if isinstance(error, chaos_run.Failure):
            run.tell()
        run.kill_all()
        sys.exit(1)
    steps = sorted(line["step_ms"] for line in run.steps.items)
    print_table(kills.stages)
    print(f"steps: median {steps[len(steps) // 2]} ms, load {os.getloadavg()[0]:.1f}")
    shutil.rmtree(directory)


if __name__ == "__main__":
    main()
