#!/usr/bin/env python3
# oversubscribed.py - a host with four times the work that it has cores for loses no worker.
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The everseer authors
"""usage: oversubscribed.py [--minutes M] [--workers N] [--times N]

Trains while N busy processes per core compete for the cores, with deadlines as tight as in chaos.py.
Nothing is done to any process, so nobody may be lost or named, and no generation may end.
Exits 0 if that is so, 1 if not, 77 when it cannot run here."""
import argparse, contextlib, os, signal, subprocess, sys, tempfile

import chaos_oracle as oracle
from chaos import SETTINGS, make_store
from chaos_run import ChaosRun, Failure, to_its_end

INNOCENT = ("worker_lost", "generation_ended", "standstill", "collective_broken", "state_differs")


@contextlib.contextmanager
def busy_processes(count):
    """Each in a session of its own: where sessions get equal shares of the cores (autogroup), all
    daemons of the run together then get that of one of these."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"], start_new_session=True)
            for _ in range(count)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def judge(run, minutes, first_event, first_step):
    steps = run.steps.items[first_step:]
    times = sorted(line["step_ms"] for line in steps)
    wrong = [f"{event['kind']}: {event['text']}" for event in run.events.items[first_event:]
             if event["kind"] in INNOCENT]
    counted = oracle.audit(run.directory)
    wrong += [f"{key} is {counted[key]}" for key in ("lost", "duplicated", "unequal_digests")
              if counted[key] != 0]
    if not steps:
        wrong.append("no step was committed")
    else:
        print(f"{minutes:g} minutes: {len(steps)} steps, step_ms median {times[len(times) // 2]}, "
              f"max {times[-1]}")
    print(f"false evictions and blames: {len(wrong)}", flush=True)
    wrong += run.crashes() + [f"left behind: {what}" for what in run.leftovers()]
    if wrong:
        raise Failure("\n  ".join(wrong))


def main():
    is_long = os.environ.get("SEER_TEST_LONG") == "1"
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[0].removeprefix("usage: "))
    parser.add_argument("--minutes", type=float, default=10 if is_long else 0.5)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--times", type=int, default=4, help="busy processes per core")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    directory = tempfile.mkdtemp(prefix="everseer-oversubscribed-")
    run = ChaosRun(os.path.join(directory, "run"), make_store(directory), options.workers, 7,
                   SETTINGS, f"{os.getpid()}-oversubscribed")
    with to_its_end(run, directory):
        run.start()
        run.wait_whole()
        first_event, first_step = len(run.events.items), len(run.steps.items)
        with busy_processes(options.times * len(os.sched_getaffinity(0))):
            run.pause(options.minutes * 60)
            last_event = len(run.events.items)
        run.stop()
        del run.events.items[last_event:]  # the end of the run ends its generation
        judge(run, options.minutes, first_event, first_step)


if __name__ == "__main__":
    main()
