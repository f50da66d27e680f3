# chaos_faults.py - what is done to a run, and what must be true right after it.
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The everseer authors
"""A fault is a method of Faults. Every single blow (a signal, a cut, a full disk, a join) is counted
by strike(); one fault may strike several times. `weights` says how often each is drawn; those in
`sudden` need not leave the run whole, so that the next may come while it recovers."""
import collections, os, random, signal, time

from chaos_means import Network, address_of
from chaos_run import Failure, is_catching, state_of, words_of

# As tight as a busy machine of two cores bears without a false alarm.
LOST_MS, FORM_MS, STEP_MS = 1500, 6000, 5000
MARGIN_S = 5    # for a thing that is to happen at a limit
RETURN_S = 30   # for the next step after a fault
GUESTS_MAX = 2  # with 4 workers as many members as the tiny config has slots
# As enum worker_phase; the worker with traps (trap.c) can be struck at the border of each.
PHASES = ["idle", "form", "data", "forward", "loss", "backward", "reduce", "ready", "apply"]
STEP_PHASES = PHASES[2:]


def send(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


class Faults:
    def __init__(self, run, rng, haste, network, disk, core, standstills):
        self.run, self.rng, self.haste = run, rng, haste
        self.network, self.disk, self.core, self.standstills = network, disk, core, standstills
        self.excused = 0       # losses and ends of generations by a core that stood still
        self.is_whole = True   # everybody trains: nothing of the last fault is left
        self.ended = -1        # the generation that the last fault ends, even if it does not show yet
        self.ended_before = -1 # and the one before it
        self.may_be_lost = collections.Counter()
        self.faults, self.strikes = collections.Counter(), collections.Counter()
        self.skipped = {}      # fault -> why it cannot be here
        self.after_worker_kill_s, self.after_server_start_s = [], []
        self.guest_number = self.events_judged = 0
        self.phases = {}       # what for -> phases that still have their turn

    # ---- means ----

    def strike(self, what):
        self.strikes[what] += 1

    def next_phase(self, what, phases=None):
        """All of them have their turn, in an order of chance."""
        left = self.phases.setdefault(what, [])
        if not left:
            left += self.rng.sample(phases or STEP_PHASES, len(phases or STEP_PHASES))
        return left.pop()

    def any_worker(self):
        pids = self.run.worker_pids()
        name = self.rng.choice(sorted(pids))
        return name, pids[name]

    def any_leaver(self):
        """One of the cluster's own stays: without any it gives up a server that was killed."""
        pids = self.run.worker_pids()
        free = [name for name in sorted(pids) if self.run.supervised != {name}]
        name = self.rng.choice(free)
        return name, pids[name]

    def kill_worker(self, name, pid):
        self.may_be_lost[name] += 1
        self.strike("SIGKILL of a worker at any time")
        send(pid, signal.SIGKILL)

    def trap(self, name, pid, phase, is_stop):
        """Strikes the worker when it enters the phase next."""
        self.run.wait(MARGIN_S, f"{name} is under way", lambda: is_catching(pid, signal.SIGRTMIN))
        self.strike(f"{'SIGSTOP' if is_stop else 'SIGKILL'} of a worker in phase {phase}")
        send(pid, signal.SIGRTMIN + 2 * PHASES.index(phase) + is_stop)

    def sprung(self, name, pid, phase, is_stop):
        self.run.wait(MARGIN_S, f"the trap of {name} in phase {phase} is sprung",
                      lambda: state_of(pid) == ("T" if is_stop else ""))

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
                if self.may_be_lost[name] > 0:
                    self.may_be_lost[name] -= 1
                elif not self.is_excused(event["seen_s"]):
                    raise Failure(f"a healthy worker was lost: {event['text']}")
            if event["kind"] in ("state_differs", "record_quarantined"):
                raise Failure(f"{event['kind']}: {event['text']}")
        self.events_judged = len(self.run.events.items)

    def is_excused(self, seen_s):
        """Who is on a core that stands still is not heard of, like one that has died."""
        is_so = self.standstills.were_long(since=seen_s - LOST_MS / 1000 - 0.5)
        self.excused += is_so
        return is_so

    def judge_processes(self):
        """Helpers of the present generation only, in moments in which it does not change."""
        def is_tidy():
            return (len(self.run.programs("seer-helper")) in (0, self.run.wanted()) and
                    len(self.run.programs("mpirun")) <= 1)
        self.run.wait(MARGIN_S, "helpers of past generations end", is_tidy)

    def must_not_end(self, generation, what):
        """The fault is over; it was within the limits."""
        self.ended, end_s = -1, time.monotonic()
        self.run.wait_whole()
        if self.run.generation() != generation and not self.is_excused(end_s - LOST_MS / 1000):
            raise Failure(f"{what}, and generation {generation} became {self.run.generation()}")

    def kill_server(self):
        self.strike("SIGKILL of the server")
        send(self.run.server_pid(), signal.SIGKILL)

    def restart_server(self):
        """And how long until it commits; no worker may notice more than a pause."""
        first, start = len(self.run.steps.items), time.monotonic()
        self.run.start_server()
        return self.run.wait_step(first, RETURN_S, what="a step after the server's restart") - start

    def others_go_on(self, name, generation):
        first = len(self.run.steps.items)
        self.run.wait(RETURN_S, f"the others go on without {name}", lambda: [
            line for line in self.run.steps.items[first:] if line["generation"] > generation])

    def is_evicted(self, name, event, seconds):
        self.run.wait(seconds, f"{name} is evicted",
                      lambda: self.run.events_from(event, "worker_lost", f"worker={name} "))

    # ---- deaths ----

    def worker_killed(self):
        name, pid = self.any_worker()
        generation, was_whole, start = self.run.generation(), self.is_whole, time.monotonic()
        first = len(self.run.steps.items)
        self.kill_worker(name, pid)
        if was_whole:
            seen = self.run.wait_step(first, RETURN_S, lambda line: line["generation"] > generation,
                                      f"a step after the death of {name}")
            self.after_worker_kill_s.append(seen - start)

    def worker_killed_in_phase(self):
        name, pid = self.any_worker()
        phase = self.next_phase("kill")
        self.may_be_lost[name] += 1
        self.trap(name, pid, phase, 0)
        self.sprung(name, pid, phase, 0)

    def worker_killed_forming(self):
        """One dies, and another of the group that forms without it."""
        pids = self.run.worker_pids()
        first, second = self.rng.sample(sorted(pids), 2)
        self.may_be_lost[second] += 1
        self.trap(second, pids[second], "form", 0)
        self.kill_worker(first, pids[first])
        self.sprung(second, pids[second], "form", 0)

    def workers_killed(self):
        pids = self.run.worker_pids()
        for name in self.rng.sample(sorted(pids), min(self.rng.choice([2, 2, 3]), len(pids))):
            self.kill_worker(name, pids[name])

    def all_workers_killed(self):
        for name, pid in self.run.worker_pids().items():
            self.kill_worker(name, pid)

    def helper_killed(self):
        self.strike("SIGKILL of a helper")
        send(self.any_program("seer-helper"), signal.SIGKILL)

    def mpirun_killed(self):
        self.strike("SIGKILL of mpirun")
        send(self.any_program("mpirun"), signal.SIGKILL)

    def newcomer_killed(self, program):
        """A helper or mpirun of a generation that is being formed."""
        old = self.run.programs(program)
        self.kill_worker(*self.any_worker())
        found = []
        self.run.wait(MARGIN_S, f"a new {program} starts", lambda: found or found.extend(
            pid for pid in self.run.programs(program) if pid not in old) or found)
        self.run.pause(self.rng.uniform(0, 0.1))
        self.strike(f"SIGKILL of {'a helper' if program == 'seer-helper' else program}, forming")
        send(found[0], signal.SIGKILL)

    def helper_killed_forming(self):
        self.newcomer_killed("seer-helper")

    def mpirun_killed_forming(self):
        self.newcomer_killed("mpirun")

    def server_killed(self):
        before, was_whole = self.run.worker_pids(), self.is_whole
        self.ended = self.ended_before  # the present generation outlives its server
        self.kill_server()
        self.run.pause(self.rng.choice([0, self.rng.uniform(0, 0.3), self.rng.uniform(0, 2)]))
        seconds = self.restart_server()
        if was_whole:
            self.after_server_start_s.append(seconds)
            self.heal()
            if self.run.worker_pids() != before:
                raise Failure(f"workers restarted because the server did: {before} became "
                              f"{self.run.worker_pids()}")

    def server_killed_twice(self):
        self.ended = self.ended_before
        self.kill_server()
        self.run.start_server()
        self.run.pause(self.rng.uniform(0, 0.8))
        self.strike("SIGKILL of the server")
        send(self.run.servers[-1].pid, signal.SIGKILL)
        self.restart_server()

    def server_and_worker_killed(self):
        self.kill_server()
        self.kill_worker(*self.any_worker())
        self.run.pause(self.rng.uniform(0, 0.5))
        self.restart_server()

    def everything_killed(self):
        self.all_workers_killed()
        self.kill_server()
        self.restart_server()

    # ---- standstills ----

    def worker_paused(self):
        """Within the limits: no generation ends."""
        name, pid = self.any_worker()
        generation = self.run.generation()
        seconds = self.rng.uniform(0.05, 0.5 * LOST_MS / 1000)
        phase = self.next_phase("pause")
        self.trap(name, pid, phase, 1)
        self.sprung(name, pid, phase, 1)
        self.run.pause(seconds)
        send(pid, signal.SIGCONT)
        self.must_not_end(generation, f"{name} paused {seconds:.3f} s of the {LOST_MS} ms it may")

    def worker_frozen(self):
        """Beyond the limits: evicted, the others go on; thawed, it is back."""
        name, pid = self.any_worker()
        event, generation = len(self.run.events.items), self.run.generation()
        self.may_be_lost[name] += 1
        phase = self.next_phase("freeze", PHASES[1:])
        self.trap(name, pid, phase, 1)
        if phase == "form":
            helper = self.rng.choice(self.run.programs("seer-helper"))
            self.strike("SIGKILL of a helper")
            send(helper, signal.SIGKILL)
        self.sprung(name, pid, phase, 1)
        try:
            self.is_evicted(name, event, LOST_MS / 1000 + MARGIN_S)
            self.others_go_on(name, generation)
        finally:
            send(pid, signal.SIGCONT)
        if state_of(pid) == "":
            raise Failure(f"{name} did not live to be thawed")

    def helper_frozen(self):
        """A collective that hangs: its deadline ends it."""
        pid, generation = self.any_program("seer-helper"), self.run.generation()
        first = len(self.run.steps.items)
        self.strike("SIGSTOP of a helper")
        send(pid, signal.SIGSTOP)
        self.run.wait_step(first, STEP_MS / 1000 + 2 * MARGIN_S,
                           lambda line: line["generation"] > generation,
                           "a step after a helper froze")
        self.heal()
        if state_of(pid):
            raise Failure(f"helper {pid} stays frozen behind its generation")

    def mpirun_frozen(self):
        """It cannot see that a member dies; the server must."""
        self.strike("SIGSTOP of mpirun")
        send(self.any_program("mpirun"), signal.SIGSTOP)
        self.worker_killed()

    def server_frozen(self):
        """Its own standstill is nobody's fault, however long."""
        generation = self.run.generation()
        pid = self.run.server_pid()
        self.strike("SIGSTOP of the server")
        send(pid, signal.SIGSTOP)
        self.run.pause(self.rng.uniform(0.2, 1.7) * LOST_MS / 1000)
        send(pid, signal.SIGCONT)
        self.must_not_end(generation, "the server stood still")

    def worker_slowed(self):
        """A tenth of a core is slow, not dead."""
        name, pid = self.any_worker()
        generation, first = self.run.generation(), len(self.run.steps.items)
        self.strike("a worker at a tenth of a core")
        self.core.slow(pid, self.rng.uniform(1, 2.5), self.run.pause)
        self.run.wait_step(first, RETURN_S, what=f"a step with {name} at a tenth of its speed")
        self.must_not_end(generation, f"{name} was slow")

    # ---- the network ----

    def cut(self, what, rules, seconds):
        self.strike(what)
        self.network.set(rules)
        try:
            self.run.pause(seconds)
        finally:
            self.network.set([])

    def worker_cut_off(self):
        """Long enough: it is evicted, the others go on; then the same process is back."""
        name, pid = self.any_worker()
        event, generation = len(self.run.events.items), self.run.generation()
        address = address_of(name)
        to_server, to_worker = Network.to_server(address), Network.to_worker(address)
        what, rules = self.rng.choice([
            ("partition, both ways", [f"{to_server} drop", f"{to_worker} drop"]),
            ("partition, to the server only", [f"{to_server} drop"]),
            ("partition, from the server only", [f"{to_worker} drop"])])
        self.may_be_lost[name] += 1
        self.strike(what)
        self.network.set(rules)
        try:
            # Of silence on one way the other end learns by its transport's own heartbeats first.
            self.is_evicted(name, event, 2 * LOST_MS / 1000 + MARGIN_S)
            self.others_go_on(name, generation)
        finally:
            self.network.set([])
        if state_of(pid) == "":
            raise Failure(f"{name} died because the network was away")

    def worker_cut_short(self):
        """Packets of a moment are lost: TCP brings them again, nothing ends."""
        name, _ = self.any_worker()
        generation = self.run.generation()
        self.cut("partition, a moment",
                 [f"{way} drop" for way in (Network.to_server(address_of(name)),
                                            Network.to_worker(address_of(name)))],
                 self.rng.uniform(0.05, 0.25 * LOST_MS / 1000))
        self.must_not_end(generation, f"{name} was cut off for a moment")

    def connection_reset(self):
        """It connects again and finds its place."""
        name, _ = self.any_worker()
        generation = self.run.generation()
        self.cut("connection reset",
                 [f"{Network.to_server(address_of(name))} tcp flags & (syn | ack) == ack "
                  "reject with tcp reset"], 0.05)
        self.must_not_end(generation, f"the connection of {name} was reset")

    def network_lossy(self):
        """A tenth of all packets: slow, but nobody is lost."""
        generation = self.run.generation()
        self.cut("a tenth of the packets lost",
                 ["ip daddr 127.0.0.0/8 ip saddr != 127.0.0.1 numgen random mod 100 < 10 drop",
                  "ip saddr 127.0.0.1 ip daddr != 127.0.0.1 numgen random mod 100 < 10 drop"],
                 self.rng.uniform(0.5, 1.5))
        self.must_not_end(generation, "a tenth of the packets was lost")

    # ---- the disk ----

    def disk_filled(self):
        """The server may end, but not lie; with space again it goes on."""
        if self.run.is_first_server():
            self.server_killed()  # one that the cluster started takes all with it when it ends
            self.heal()
        self.ended = -1
        self.strike("ENOSPC in the run's folder")
        self.disk.fill()
        self.run.may_server_end = True
        try:
            self.run.pause(self.rng.uniform(0.3, 2))
        finally:
            self.disk.empty()
        # One that is about to end does not look so yet: either it ends, or it commits again.
        self.run.look()
        first, server = len(self.run.steps.items), self.run.servers[-1]
        self.run.wait(RETURN_S, "the server ends or goes on after a full disk", lambda:
                      server.poll() is not None or len(self.run.steps.items) >= first + 2)
        code = server.poll()
        if code is not None:
            if code != 1:
                raise Failure(f"with a full disk the server ended with {code}")
            self.restart_server()
        self.run.may_server_end = False

    # ---- coming and going ----

    def worker_drained(self):
        """It ends its step and leaves with 0; then it is back. Sometimes a guest goes for good."""
        name, pid = self.any_leaver()
        is_guest = name in self.run.guests
        if is_guest:
            self.run.leaving[name] = self.run.guests.pop(name)
        else:
            self.run.supervised.remove(name)
        self.strike("drain")
        self.run.ask_to_leave(name, pid)
        self.run.wait(RETURN_S, f"{name} is drained", lambda: not state_of(pid))
        if not is_guest or name.startswith("worker-"):
            self.run.start_guest(name)

    def guests(self):
        return [name for name in self.run.guests if name.startswith("guest-")]

    def worker_joins(self):
        if len(self.guests()) == GUESTS_MAX:
            self.worker_drained()
            return
        self.guest_number += 1
        self.strike("join")
        self.run.start_guest(f"guest-{self.guest_number}")

    def joiner_killed(self):
        """At any moment between its first instruction and its first step."""
        self.guest_number += 1
        name = f"guest-{self.guest_number}"
        self.strike("join")
        self.run.start_guest(name)
        self.run.pause(self.rng.uniform(0, 1.0))
        self.kill_worker(name, self.run.guests.pop(name).pid)
        self.ended = self.run.generation()  # if it was not let in, none ends
        self.run.pause(0.3)
        self.ended -= self.run.generation() == self.ended

    def join_among_deaths(self):
        """Somebody comes while others die."""
        self.worker_joins()
        self.run.pause(self.rng.uniform(0, 0.8))
        self.ended = self.run.generation()
        self.workers_killed()

    def drain_among_deaths(self):
        """Somebody is asked to go and another dies before it has."""
        pids = self.run.worker_pids()
        leaver, _ = self.any_leaver()
        victim = self.rng.choice([name for name in sorted(pids) if name != leaver])
        is_guest = leaver in self.run.guests
        if is_guest:
            self.run.leaving[leaver] = self.run.guests.pop(leaver)
        else:
            self.run.supervised.remove(leaver)
        self.strike("drain")
        self.run.ask_to_leave(leaver, pids[leaver])
        self.run.pause(self.rng.uniform(0, 0.02))
        self.kill_worker(victim, pids[victim])
        self.run.wait(RETURN_S, f"{leaver} is drained", lambda: not state_of(pids[leaver]))
        if not is_guest or leaver.startswith("worker-"):
            self.run.start_guest(leaver)

    # ---- the plan ----

    weights = {worker_killed: 6, worker_killed_in_phase: 14, worker_killed_forming: 2,
               workers_killed: 3, all_workers_killed: 1, server_killed: 6, server_killed_twice: 1,
               server_and_worker_killed: 1, everything_killed: 1, helper_killed: 3,
               helper_killed_forming: 2, mpirun_killed: 2, mpirun_killed_forming: 2,
               worker_paused: 7, worker_frozen: 8, helper_frozen: 1, mpirun_frozen: 1,
               server_frozen: 2, worker_slowed: 2, worker_cut_off: 4, worker_cut_short: 3,
               connection_reset: 3, network_lossy: 2, disk_filled: 2, worker_drained: 3,
               worker_joins: 4, joiner_killed: 3, join_among_deaths: 3, drain_among_deaths: 3}
    sudden = {worker_killed, worker_killed_in_phase, worker_killed_forming, workers_killed,
              all_workers_killed, server_killed, server_killed_twice, server_and_worker_killed,
              everything_killed, helper_killed, helper_killed_forming, mpirun_killed,
              mpirun_killed_forming, joiner_killed, join_among_deaths, drain_among_deaths}
    # Those that must find everybody in place.
    orderly = {worker_killed_in_phase, worker_killed_forming, helper_killed_forming,
               mpirun_killed_forming, drain_among_deaths}

    def find_missing(self):
        """Faults that this machine cannot do, and why."""
        for fault in (Faults.worker_cut_off, Faults.worker_cut_short, Faults.connection_reset,
                      Faults.network_lossy):
            if self.network.missing:
                self.skipped[fault] = self.network.missing
        if self.disk.missing:
            self.skipped[Faults.disk_filled] = self.disk.missing

    def plan(self, only):
        """Endless, in rounds that hold every fault by its weight."""
        kinds = [kind for kind, weight in self.weights.items() for _ in range(weight)
                 if kind not in self.skipped and (not only or kind.__name__ in only)]
        if not kinds:
            raise SystemExit("no such fault: " + ",".join(only))
        while True:
            self.rng.shuffle(kinds)
            yield from kinds

    def inject(self, count, only):
        """Until `count` strikes are done."""
        start, number = time.monotonic(), 0
        self.find_missing()
        self.heal()
        for kind in self.plan(only):
            if self.strikes.total() >= count:
                break
            is_chained = kind in self.sudden and self.rng.random() < self.haste
            if not self.is_whole and (not is_chained or kind in self.orderly):
                self.heal()
            self.run.pause(self.rng.uniform(0, 0.2))
            number += 1
            print(f"{time.monotonic() - start:7.2f} s  fault {number:3}  strikes "
                  f"{self.strikes.total():3}  step {len(self.run.steps.items):5}  {kind.__name__}"
                  f"{'' if self.is_whole else ' while it recovers'}", flush=True)
            self.ended_before, self.ended = self.ended, self.run.generation()
            kind(self)
            self.faults[kind.__name__] += 1
            self.is_whole = False
        self.heal()
