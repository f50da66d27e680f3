#!/usr/bin/env python3
# chaos.py - faults of every kind against a real cluster; nothing may be lost, not even a bit.
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The everseer authors
"""usage: chaos.py [--seed N] [--strikes N] [--minutes M] [--workers N] [--haste P]
                [--only KIND[,KIND]] [--set KEY=VALUE] [--keep] [--long]

Throws faults of every kind (chaos_faults.py) at a server and workers that train the tiny model,
in a network and on a disk of their own, then judges: every committed step has the same digest and
loss as in an undisturbed run of one worker, and so have the parameters at the end; `seer audit`
counts nothing lost, duplicated or unequal; no process, socket or shared memory is left. Faults with
a known outcome are checked on the spot: a pause within the limits loses nobody, a longer one is
evicted and comes back, a server's death restarts nobody. The seed decides what happens in which
order to whom; instants are as exact as the machine allows. --long: run after run, for --minutes.
Exits 0 when all promises held, 1 with the reason and the logs, 77 when it cannot run here."""
import argparse, os, random, shutil, signal, statistics, subprocess, sys, tempfile, time

import chaos_means
import chaos_oracle as oracle
from chaos_faults import FORM_MS, LOST_MS, STEP_MS, Faults
from chaos_run import BIN, ChaosRun, Failure, make_programs

SETTINGS = ["server.heartbeat_ms=100", f"server.lost_ms={LOST_MS}", f"server.form_ms={FORM_MS}",
            f"server.step_ms={STEP_MS}",
            # All state there is must survive, and snapshots are to be under way when it strikes.
            "swav.queue_images=48", "swav.queue_start_step=10", "snapshot.every_steps=7"]
LONG_MINUTES = 180


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


def table(faults, facts):
    """What was done to the run, and what came of it."""
    print("\n| strike | times |\n|---|--:|")
    for what, count in sorted(faults.strikes.items()):
        print(f"| {what} | {count} |")
    print(f"| **all, in {faults.faults.total()} faults of {len(faults.faults)} kinds** | "
          f"**{faults.strikes.total()}** |\n")
    for name, value in facts:
        print(f"{name}: {value}")
    quantiles("SIGKILL of a worker to the next generation's first step", faults.after_worker_kill_s)
    quantiles("restart of the server to the next step", faults.after_server_start_s)
    for fault, reason in faults.skipped.items():
        print(f"SKIP {fault.__name__}: {reason}")
    print(f"skipped kinds: {len(faults.skipped)}", flush=True)


def judge(faults, reference):
    """Everything about a run that has ended. Raises with all that is wrong."""
    run, wrong = faults.run, []
    lines = run.steps.items
    history = oracle.surviving(lines)
    oracle.check_history(history)
    last = len(history)
    reference.cluster(*reference.start_options, "--workers", "1", "--steps", str(last), seconds=600)
    reference.steps.read()
    # A void lineage may have been further than the run is at its end: the reference is not.
    different = oracle.differing([line for line in lines if line["step"] < last],
                                 reference.steps.items)
    tensors = oracle.unequal_tensors(run.directory, reference.directory, last)
    counted = oracle.audit(run.directory)
    left = run.leftovers() + reference.leftovers()
    table(faults, [
        ("steps", last), ("generations", history[-1]["generation"]),
        ("lineages", history[-1]["lineage"] + 1), ("voided steps", len(lines) - last),
        ("lost", counted["lost"]), ("duplicated", counted["duplicated"]),
        ("unequal digests", counted["unequal_digests"]),
        ("workers that testified", counted["workers"]),
        ("steps witnessed by all their members", counted["steps_witnessed"]),
        ("places where they disagree with the server",
         sum(counted[key] for key in oracle.DISAGREEMENTS)),
        ("steps different from the undisturbed run", len(different)),
        ("tensors different at the end", len(tensors)), ("left behind", len(left)),
        ("lost while a core of this machine stood still", faults.excused)])
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
    wrong += [f"left behind: {what}" for what in left]
    if wrong:
        raise Failure("\n  ".join(wrong))


def disturb(options, seed, directory):
    """One run from its first step to its judgement. 0 = all promises held."""
    print(f"seed {seed}: again with {sys.argv[0]} --seed {seed}", flush=True)
    store = make_store(directory)
    programs = make_programs(os.path.join(directory, "programs"))
    mark = f"{os.getpid()}-{seed}"
    run = ChaosRun(os.path.join(directory, "run"), store, options.workers, 7,
                   SETTINGS + options.settings, mark, programs)
    reference = ChaosRun(os.path.join(directory, "reference"), store, 1, 7,
                         SETTINGS + oracle.PATIENCE, mark)
    core, standstills = chaos_means.SlowCore(), chaos_means.Standstills()
    faults = Faults(run, random.Random(seed), options.haste, chaos_means.Network(),
                    chaos_means.SmallDisk(run.directory), core, standstills)
    try:
        run.start()
        faults.inject(options.strikes, options.only)
        run.stop()
        judge(faults, reference)
    except BaseException as error:
        if isinstance(error, Failure):
            print(f"FAILED (seed {seed}): {error}", flush=True)
            run.tell()
        run.kill_all()
        reference.kill_all()
        if not isinstance(error, Failure):
            raise
        # The run's own disk is nobody's but ours.
        kept = directory + "-failed"
        shutil.copytree(directory, kept, symlinks=True, ignore_dangling_symlinks=True)
        print(f"folder {kept}\nFAILED (seed {seed}): {error}", flush=True)
        return 1
    finally:
        core.close()
        standstills.close()
    return 0


def main():
    is_long = os.environ.get("SEER_TEST_LONG") == "1"
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[0].removeprefix("usage: "))
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--strikes", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=50 if is_long else LONG_MINUTES)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--haste", type=float, default=0.5,
                        help="how often a sudden fault does not wait for the last one's end")
    parser.add_argument("--only", type=lambda text: text.split(","), default=[])
    parser.add_argument("--set", action="append", default=[], dest="settings",
                        help="for the disturbed run only")
    parser.add_argument("--keep", action="store_true", help="the folder, of a good run too")
    parser.add_argument("--long", action="store_true", default=is_long)
    options = parser.parse_args()
    chaos_means.enter()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    end, seed, code = time.monotonic() + 60 * options.minutes, options.seed, 0
    while code == 0:
        directory = tempfile.mkdtemp(prefix="everseer-chaos-")
        try:
            code = disturb(options, seed, directory)
            if options.keep:
                shutil.copytree(directory, directory + "-kept", symlinks=True)
                print(f"folder {directory}-kept")
        finally:
            chaos_means.run("umount", os.path.join(directory, "run"))
            shutil.rmtree(directory, ignore_errors=True)
        seed += 1
        if not options.long or time.monotonic() > end:
            break
    sys.exit(code)


if __name__ == "__main__":
    main()
