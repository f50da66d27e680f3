#!/usr/bin/env python3
# sharded_bits.py - a momentum in slices gives the bits of one that every member has, whoever dies.
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The everseer authors
"""usage: sharded_bits.py [--seed N] [--schedules N] [--only sizes|neighbours|schedules] [--keep]

As same_bits.py, against one worker without optimizer.sharded: with 2, 3 and 5 workers that shard
their momentum; with five of whom two neighbours are killed at once, so that the run goes back to its
newest snapshot; and through twenty random schedules of joins, drains and kills. All of it with
SEER_TEST_LONG=1 or --only; else three workers and one schedule. Exits 0, 1 with the reason, 77 when
it cannot run here."""
import argparse, os, random, signal, sys, tempfile

from chaos_run import Failure
from same_bits import (Bits, LONG_SCHEDULES, RUN_S, STEPS, await_steps, committed, to_their_end,
                       train_by_schedule, train_reference, train_undisturbed)

SIZES = (2, 3, 5)
SHARDED = ["optimizer.sharded=true"]
EVERY = ["snapshot.every_steps=10"]  # not too far back


def kill_neighbours(run):
    """All but one at once: of five members one has two slices, and the others are gone."""
    run.wait_whole()
    await_steps(run, STEPS // 2)
    victims = sorted(run.worker_pids().items())[1:]
    for _, pid in victims:
        os.kill(pid, signal.SIGKILL)
    print(f"    step {committed(run)}: {', '.join(name for name, _ in victims)} killed", flush=True)
    run.wait(RUN_S, "the way back to a snapshot", lambda: run.events_from(0, "rolled_back"))
    await_steps(run, STEPS + 1)


def check_rollbacks(run):
    """Only members that nobody of their generation outlived, or two of one, may cost a step."""
    members, lost = 1, 0
    for event in run.events.items:
        said = dict(word.split("=", 1) for word in event["text"].split() if "=" in word)
        if event["kind"] == "generation_forming":
            members, lost = int(said["members"]), 0
        elif event["kind"] == "worker_lost":
            lost += 1
        elif event["kind"] == "rolled_back" and lost < min(members, 2):
            raise Failure(f"{lost} of {members} members died, and the run went back to a snapshot")


def compare_all(bits, options):
    is_whole = options.is_long or options.only is not None
    bits.compare("plain-1", 1, train_reference, EVERY)
    sizes = SIZES if is_whole else SIZES[1:2]
    for workers in sizes if options.only in (None, "sizes") else ():
        run = bits.compare(f"sharded-{workers}", workers, train_undisturbed, SHARDED + EVERY)
        if max(line["world_size"] for line in run.steps.items) != workers:
            raise Failure(f"of {workers} workers not all took part")
    if is_whole and options.only in (None, "neighbours"):
        bits.compare("neighbours", 5, kill_neighbours, SHARDED + EVERY)
    for number in range(options.schedules if options.only in (None, "schedules") else 0):
        seed = options.seed + number
        rng = random.Random(seed)
        print(f"schedule {number + 1} of {options.schedules}, seed {seed}", flush=True)
        run = bits.compare(f"schedule-{seed}", rng.randint(2, 4),
                           lambda run, rng=rng: train_by_schedule(run, rng), SHARDED + EVERY)
        check_rollbacks(run)


def main():
    is_long = os.environ.get("SEER_TEST_LONG") == "1"
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[0].removeprefix("usage: "))
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--schedules", type=int, default=LONG_SCHEDULES if is_long else 1)
    parser.add_argument("--only", choices=("sizes", "neighbours", "schedules"))
    parser.add_argument("--keep", action="store_true", help="the folder, of a good run too")
    options = parser.parse_args()
    options.is_long = is_long
    print(f"seed {options.seed}: again with {sys.argv[0]} --seed {options.seed}", flush=True)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    bits = Bits(tempfile.mkdtemp(prefix="everseer-sharded-"), options.seed)
    to_their_end(bits, options, compare_all, f"seed {options.seed}, ")


if __name__ == "__main__":
    main()
