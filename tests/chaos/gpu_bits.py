#!/usr/bin/env python3
# gpu_bits.py - one GPU's worth of training by one, two and four workers: every bit is the same.
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The everseer authors
"""usage: gpu_bits.py [--device cuda:N] [--keep]

Trains a tiny model for 10 steps with real daemons that share one GPU, train.reduction exact: alone,
then two and four of them with engine mpi, whose helpers work on copies. Without --device the GPU is
emulated; then four come only with SEER_TEST_LONG=1, as do two with engine nccl, on the NCCL of
tests/chaos/fakes, and three with BN groups of which the last is cut. Exits 0, 1 with the
reason, 77 when it cannot run here."""
import argparse, os, signal, sys, tempfile

from chaos_nccl import CONFIG, check_means, make_programs
from same_bits import RUN_S, Bits, await_steps, to_their_end

STEPS = 10
LONG_S = 4 * RUN_S
GROUPS = ["train.bn_group_slots=2"]  # slots 2, 1 and 1 of three workers
SETTINGS = [f"snapshot.every_steps={STEPS}", "snapshot.keep_last=50", "server.heartbeat_ms=100",
            "server.lost_ms=8000", "server.form_ms=60000", "server.step_ms=60000"]


def train(run):
    run.wait(LONG_S, f"{STEPS + 1} steps", lambda: len(run.steps.items) > STEPS)


def train_together(run):
    """Its first steps may be one worker's while the others warm up."""
    train(run)
    run.wait(LONG_S, f"a step of all {run.wanted()}",
             lambda: any(line["world_size"] == run.wanted() for line in run.steps.items))


def compare_all(bits, options):
    bits.compare("alone", 1, lambda run: await_steps(run, 2 * STEPS))
    is_long = options.device is not None or os.environ.get("SEER_TEST_LONG") == "1"
    for workers in (2, 4) if is_long else (2,):
        bits.compare(f"mpi-{workers}", workers, train_together, ["collective.engine=mpi"])
    if options.device is None and is_long:  # chaos_nccl.py has both
        bits.compare("nccl-2", 2, train_together, ["collective.engine=nccl"])
        bits.reference = None  # groups are part of the mathematics
        bits.compare("groups-alone", 1, lambda run: await_steps(run, 2 * STEPS), GROUPS)
        bits.compare("groups-nccl-3", 3, train_together, ["collective.engine=nccl", *GROUPS])


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[0].removeprefix("usage: "))
    parser.add_argument("--device", help="a real GPU, for seer-worker of a build with CUDA")
    parser.add_argument("--keep", action="store_true", help="the folder, of a good run too")
    options = parser.parse_args()
    check_means(options.device)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    directory = tempfile.mkdtemp(prefix="everseer-gpu-")
    bits = Bits(directory, 0, SETTINGS, STEPS, config=CONFIG,
                environment=make_programs(directory, options.device))
    to_their_end(bits, options, compare_all)


if __name__ == "__main__":
    main()
