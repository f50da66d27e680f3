#!/usr/bin/env python3
# culprit.py - whatever stands still is named in the event log, and nobody else.
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The everseer authors
"""usage: culprit.py [--rounds N] [--workers N] [--only PART[,PART]] [--seed N]

Stops one process (SIGSTOP) or one thread (by tracing it) of a run that trains, waits until the event
log names somebody, lets it go on and waits until all train again. Each part of the run has its turn
N times. Parts whose standstill holds nobody up must not be blamed, nor anybody in their place. A
thread that the tables below do not know is a failure: they must say what its standstill means.
Exits 0 if every culprit was named correctly, 1 if not, 77 when it cannot run here."""
import argparse, contextlib, json, os, random, re, signal, subprocess, sys, tempfile
import time

import chaos_means
from chaos import SETTINGS, make_store
from chaos_faults import FORM_MS, LOST_MS, PHASES, send
from chaos_means import StoppedThread, threads_of
from chaos_run import BIN, ChaosRun, Failure, is_catching, make_programs, state_of, to_its_end

NAMED_S = 2 * (FORM_MS + LOST_MS) / 1000
QUIET_S = 3   # so long nobody may be named where nobody is to be
SERVER_S = 2  # of itself the server can only say afterwards that it stood still
NOBODY, ITSELF, SERVER, DEAF = "", "itself", "server", "server or network"
# By the names that the kernel shows, in order of their start if several are alike.
WORKER_THREADS = {"seer-worker-tra": [ITSELF], "link": [ITSELF], "decode-0": [ITSELF],
                  "ZMQbg/IO/0": [ITSELF], "ZMQbg/Reaper": [NOBODY], "watchdog": [NOBODY],
                  "collective": [NOBODY], "journal": [NOBODY], "prepare": [NOBODY], "learning": [NOBODY],
                  "shards": [NOBODY]}  # it opens them
SERVER_THREADS = {"seer-server": [SERVER], "ZMQbg/IO/0": [DEAF, NOBODY],  # control, feed
                  "ZMQbg/Reaper": [NOBODY, NOBODY], "disk-snapshots": [NOBODY],
                  "disk-stores": [NOBODY]}


@contextlib.contextmanager
def stopped_process(pid):
    send(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        send(pid, signal.SIGCONT)


class Culprit:
    def __init__(self, run, rng):
        self.run, self.rng = run, rng
        self.count = 0

    def named(self, first):
        """Whoever the event log blames, in its order."""
        names = []
        for event in self.run.events.items[first:]:
            if event["kind"] == "standstill":
                names.append(re.search('culprit="([^"]*)"', event["text"]).group(1))
            elif event["kind"] == "worker_lost":
                names.append(event["text"].split()[0].removeprefix("worker="))
        return names

    def judge(self, part, stop, culprit):
        """While `stop` lasts, or right after it, `culprit` must be named and nobody else."""
        first, start = len(self.run.events.items), time.monotonic()

        def is_named():
            return self.named(first)
        with stop:
            if culprit == NOBODY:
                self.run.pause(QUIET_S)
            elif culprit == SERVER:
                self.run.pause(SERVER_S)
            else:
                self.run.wait(NAMED_S, f"{part} stands still and {culprit} is named", is_named)
        if culprit == SERVER:
            self.run.wait(NAMED_S, f"{part} stood still and {culprit} is named", is_named)
        seconds = time.monotonic() - start
        self.run.wait_whole()
        self.run.pause(0.2)  # for what may follow from it
        if [name for name in self.named(first) if name != culprit]:
            raise Failure(f"{part}: {culprit or 'nobody'} stood still, named is {self.named(first)}")
        self.count += 1
        print(f"{part}: named {culprit or 'nobody'}, {seconds:.1f} s", flush=True)

    # ---- who ----

    def any_worker(self):
        pids = self.run.worker_pids()
        name = self.rng.choice(sorted(pids))
        self.run.wait(5, f"{name} is under way", lambda: is_catching(pids[name], signal.SIGRTMIN))
        return name, pids[name]

    def any_helper(self):
        """One of the present generation, and whose it is."""
        pid = self.rng.choice(self.run.programs("seer-helper"))
        with open(f"/proc/{pid}/environ", "rb") as file:
            rank = int(re.search(rb"\0OMPI_COMM_WORLD_RANK=(\d+)", file.read()).group(1))
        done = subprocess.run([os.path.join(BIN, "seer"), "status", "--run", self.run.directory,
                               "-o", "json"], stdout=subprocess.PIPE, text=True, check=True)
        return pid, next(worker["name"] for worker in json.loads(done.stdout)["workers"]
                         if worker["rank"] == rank)

    # ---- parts ----

    def workers(self):
        """Stopped as a whole, where each phase begins."""
        for phase in PHASES[2:]:
            name, pid = self.any_worker()
            send(pid, signal.SIGRTMIN + 2 * PHASES.index(phase) + 1)
            self.run.wait(5, f"{name} stops in phase {phase}", lambda pid=pid: state_of(pid) == "T")
            self.judge(f"worker in phase {phase}", stopped_process(pid), name)

    def threads(self, program, known, pick):
        """pick() -> pid and what it is called; anew for each thread, which may have ended it."""
        for name in sorted(known):
            for index, culprit in enumerate(known[name]):
                pid, itself = pick()
                found = threads_of(pid)
                unknown = {name: len(threads) for name, threads in found.items()
                           if len(threads) != len(known.get(name, []))}
                if unknown or len(found) != len(known):
                    raise Failure(f"threads of a {program} that no table knows, or too few: {found}")
                self.judge(f"thread {name} of a {program}",
                           StoppedThread(sorted(found[name])[index]),
                           itself if culprit == ITSELF else culprit)

    def worker_threads(self):
        self.threads("worker", WORKER_THREADS, lambda: self.any_worker()[::-1])

    def server_threads(self):
        self.threads("server", SERVER_THREADS, lambda: (self.run.server_pid(), SERVER))

    def helper(self):
        pid, name = self.any_helper()
        self.judge("helper", stopped_process(pid), f"helper of {name}")

    def helper_threads(self):
        """Its main thread works; all others only wait for an end."""
        pid, name = self.any_helper()
        self.judge("main thread of a helper", StoppedThread(pid), f"helper of {name}")
        pid, name = self.any_helper()
        for thread_name, threads in sorted(threads_of(pid).items()):
            for thread in sorted(set(threads) - {pid}):
                self.judge(f"thread {thread_name} of a helper", StoppedThread(thread), NOBODY)

    def mpirun(self):
        """Once its helpers run nobody needs it before one of them dies."""
        pid = self.run.programs("mpirun")[0]
        self.judge("mpirun", stopped_process(pid), NOBODY)

    def await_new_mpirun(self):
        """A death makes a generation form anew; its mpirun, as soon as it is seen."""
        old = set(self.run.programs("mpirun"))
        send(self.run.programs("seer-helper")[0], signal.SIGKILL)
        found = []
        self.run.wait(10, "a new mpirun starts", lambda: found.extend(
            set(self.run.programs("mpirun")) - old) or found)
        return found[0]

    def mpirun_forming(self):
        """Stopped before its helpers run; it may be too late for that, then again."""
        for _ in range(10):
            pid = self.await_new_mpirun()
            first = len(self.run.events.items)
            send(pid, signal.SIGSTOP)
            self.run.pause(1)
            if not self.run.events_from(first, "generation_formed"):
                break
            send(pid, signal.SIGCONT)
            self.run.wait_whole()
        self.judge("mpirun, forming", stopped_process(pid), "mpirun or a helper")

    def worker_forming(self):
        """Its training thread still is in a step that all others have given up."""
        name, pid = self.any_worker()
        helper = self.run.programs("seer-helper")[0]
        stop = contextlib.ExitStack()
        stop.enter_context(StoppedThread(pid))
        send(helper, signal.SIGKILL)
        self.judge("training thread of a worker, forming", stop, name)

    def server(self):
        self.judge("server", stopped_process(self.run.server_pid()), SERVER)

    parts = [workers, worker_threads, worker_forming, helper, helper_threads, mpirun,
             mpirun_forming, server, server_threads]


def find_missing():
    """Why threads cannot be stopped here; '' = they can."""
    child = subprocess.Popen(["sleep", "60"], stdout=subprocess.DEVNULL)
    try:
        with StoppedThread(child.pid):
            return ""
    except OSError as error:
        return str(error)
    finally:
        child.kill()
        child.wait()


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[0].removeprefix("usage: "))
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--only", type=lambda text: text.split(","), default=[])
    options = parser.parse_args()
    chaos_means.enter()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    print(f"seed {options.seed}", flush=True)
    directory = tempfile.mkdtemp(prefix="everseer-culprit-")
    missing = find_missing()
    if missing:
        print(f"skipped: threads cannot be stopped here: {missing}")
        sys.exit(77)
    run = ChaosRun(os.path.join(directory, "run"), make_store(directory), options.workers, 7,
                   SETTINGS, f"{os.getpid()}-culprit",
                   make_programs(os.path.join(directory, "programs")))
    culprit = Culprit(run, random.Random(options.seed))
    with to_its_end(run, directory):
        run.start()
        run.wait_whole()
        for _ in range(options.rounds):
            for part in culprit.parts:
                if not options.only or part.__name__ in options.only:
                    part(culprit)
        print(f"standstills: {culprit.count}, all named correctly")
        run.stop()


if __name__ == "__main__":
    main()
