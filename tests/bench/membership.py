#!/usr/bin/env python3
# membership.py - what joins and drains cost those who stay: the gap at the change, beside a usual step.
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The everseer authors
"""usage: membership.py [--changes N] [--workers N] [--set KEY=VALUE]

N times a worker joins a run that trains, and drains again; prints quantiles as a table for
docs/benchmarks.md. A gap is the time between two commits; the extra time of a change is the gap
between the last commit of the old generation and the first of the new one, less the usual gap before
or behind the change, whichever is longer (fewer members take longer for a step). Commits are timed
when their line of metrics.jsonl is seen, to about two milliseconds. The programs
are those of SEER_BIN, else of build/release. Run it on a quiet machine. Exits 1 if a planned change aborted a step."""
import argparse, os, shutil, statistics, sys, tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../chaos"))
import chaos_run  # noqa: E402
from chaos import make_store  # noqa: E402

chaos_run.TURN_S = 0.001
USUAL_STEPS = 20
REST_STEPS = 2 * USUAL_STEPS
GUEST = "guest"


def word_of(event, key):
    return int(dict(word.split("=", 1) for word in event["text"].split() if "=" in word)[key])


class Changes:
    def __init__(self, run):
        self.run = run
        self.stages = {"join": {}, "drain": {}}

    def note(self, kind, stage, seconds):
        self.stages[kind].setdefault(stage, []).append(seconds)

    def gaps(self, first, last):
        """Between the commits of steps first-1 .. last."""
        seen = [line["seen_s"] for line in self.run.steps.items]
        return [seen[i] - seen[i - 1] for i in range(max(first, 1), min(last + 1, len(seen)))]

    def rest(self, members):
        first = len(self.run.steps.items)
        self.run.wait(chaos_run.HEAL_S, f"{REST_STEPS} steps of {members} members",
                      lambda: len([line for line in self.run.steps.items[first:]
                                   if line["world_size"] == members]) >= REST_STEPS)

    def change(self, kind, members, act):
        event = len(self.run.events.items)
        begun = self.run.steps.items[-1]["seen_s"]
        act()
        self.rest(members)
        formed = self.run.events_from(event, "generation_formed")[-1]
        prepared = self.run.events_from(event, "generation_prepared")
        step = word_of(formed, "step")
        usual = max(statistics.median(self.gaps(step - USUAL_STEPS, step - 2)),
                    statistics.median(self.gaps(step + REST_STEPS - USUAL_STEPS, step + REST_STEPS)))
        gap = self.gaps(step, step)[0]
        self.note(kind, "usual step", usual)
        self.note(kind, "gap at the change", gap)
        self.note(kind, "extra time at the change", gap - usual)
        self.note(kind, "of it state and digest", word_of(formed, "ms") / 1000)
        if prepared:
            self.note(kind, "preparation, while training", word_of(prepared[-1], "ms") / 1000)
        self.note(kind, "order to change", self.run.steps.items[step]["seen_s"] - begun)

    def leave(self):
        process = self.run.guests.pop(GUEST)
        self.run.leaving[GUEST] = process
        process.terminate()

    def run_all(self, count):
        members = self.run.workers
        self.rest(members)
        for _ in range(count):
            self.change("join", members + 1, lambda: self.run.start_guest(GUEST))
            self.change("drain", members, self.leave)


def print_table(stages):
    print("| change | ms | n | p50 | p90 | max |\n|---|---|---|---|---|---|")
    for kind, rows in stages.items():
        for stage, seconds in rows.items():
            ordered = sorted(seconds)
            cells = [ordered[min(len(ordered) - 1, int(len(ordered) * part))] * 1000
                     for part in (0.5, 0.9, 1)]
            print(f"| {kind} | {stage} | {len(ordered)} | "
                  + " | ".join(f"{cell:.0f}" for cell in cells) + " |")


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[0].removeprefix("usage: "))
    parser.add_argument("--changes", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--set", action="append", default=[], dest="settings")
    options = parser.parse_args()
    print(f"{options.workers} workers and one that comes and goes, load {os.getloadavg()[0]:.1f}",
          flush=True)
    directory = tempfile.mkdtemp(prefix="everseer-membership-")
    run = chaos_run.ChaosRun(os.path.join(directory, "run"), make_store(directory), options.workers,
                             7, options.settings, f"{os.getpid()}-membership")
    changes = Changes(run)
    try:
        run.start()
        changes.run_all(options.changes)
        run.stop()
    except BaseException as error:
        print_table(changes.stages)
        print(f"FAILED (folder {directory}): {error}", flush=True)
        run.kill_all()
        sys.exit(1)
    aborted = sum(line["attempt"] for line in run.steps.items)
    print_table(changes.stages)
    print(f"aborted steps: {aborted} of {len(run.steps.items)}, load {os.getloadavg()[0]:.1f}")
    shutil.rmtree(directory)
    sys.exit(1 if aborted else 0)


if __name__ == "__main__":
    main()
