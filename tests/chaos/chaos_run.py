# chaos_run.py - a cluster under observation: its processes, its lines of steps and events, waiting.
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The everseer authors
"""The cluster is deploy/local_cluster.sh --respawn, as an operator starts it. Workers that join or
come back after a drain are ours ("guests"); like those of the cluster they are started again when
they die. Every process is known by a mark in its environment, which helpers inherit."""
import contextlib, glob, json, os, shlex, shutil, signal, subprocess, sys, time

import chaos_means

CHAOS = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.abspath(os.path.join(os.path.dirname(__file__), "../.."))
BIN = os.environ.get("SEER_BIN") or os.path.join(SOURCE, "build", "release", "bin")
CLUSTER = os.path.join(SOURCE, "deploy", "local_cluster.sh")
CONFIG = os.path.join(SOURCE, "tests", "integration", "tiny.yaml")
MARK = "SEER_CHAOS_MARK"
HEARD_S = 20      # a process has begun, on a busy machine
TURN_S = 0.005    # the files are looked at so often
HEAL_S = 60       # whatever was done to it: by then all workers train again
CRASHES = {-4, -6, -7, -8, -11, 132, 134, 135, 136, 139}  # bugs of ours, never a fault's


class Failure(Exception):
    """A promise that was broken."""


class Lines:
    """A file of JSON lines that grows, and loses its last, unfinished line when a server restarts."""

    def __init__(self, path):
        self.path, self.offset, self.items = path, 0, []

    def read(self):
        try:
            with open(self.path, "rb") as file:
                file.seek(self.offset)
                text = file.read()
        except FileNotFoundError:
            return
        text = text[:text.rfind(b"\n") + 1]
        self.offset += len(text)
        now = time.monotonic()
        for line in text.splitlines():
            self.items.append(dict(json.loads(line), seen_s=now))


def state_of(pid):
    """Its letter in /proc; '' = there is no such process, or only its remains."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            letter = file.read().rpartition(")")[2].split()[0]
    except OSError:
        return ""
    return "" if letter in "ZX" else letter


def words_of(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().decode(errors="replace").split("\0")
    except OSError:
        return [""]


def is_catching(pid, number):
    """Has it a handler for the signal?"""
    try:
        with open(f"/proc/{pid}/status") as file:
            caught = next(int(line.split()[1], 16) for line in file if line.startswith("SigCgt:"))
    except (OSError, StopIteration):
        return False
    return bool(caught >> (number - 1) & 1)


def make_programs(directory):
    """A folder of the programs in which seer-worker has traps and an address of its own."""
    os.makedirs(directory)
    for name in ("seer", "seer-server", "seer-helper"):
        os.symlink(os.path.join(BIN, name), os.path.join(directory, name))
    os.symlink(os.path.join(CHAOS, "addressed_worker.sh"), os.path.join(directory, "seer-worker"))
    return {"SEER_BIN": directory, "SEER_CHAOS_WORKER": os.path.join(BIN, "seer-worker-trapped")}


def processes_with(mark):
    """pid -> program, of all that carry the mark."""
    found, wanted = {}, f"{MARK}={mark}".encode()
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            with open(f"/proc/{entry}/environ", "rb") as file:
                if wanted not in file.read().split(b"\0"):
                    continue
        except OSError:
            continue
        if state_of(entry):
            found[int(entry)] = os.path.basename(words_of(int(entry))[0])
    return found


class ChaosRun:
    def __init__(self, directory, store, workers, seed, settings, mark, environment=(),
                 config=CONFIG):
        self.directory, self.mark = directory, mark
        # Here all deaths are by accident: workers come back soon, however often they die.
        self.environment = dict(os.environ, **dict(environment), **{MARK: mark},
                                SEER_RESPAWN_MAX_MS="200")
        os.makedirs(directory, exist_ok=True)
        self.steps = Lines(os.path.join(directory, "metrics.jsonl"))
        self.events = Lines(os.path.join(directory, "events.jsonl"))
        self.guests = {}    # name -> Popen: workers of ours that are to stay
        self.leaving = {}   # name -> Popen: those who were asked to go
        self.servers = []   # Popen of servers that we started again
        self.ended_servers = set()  # those that might and did end by themselves
        self.supervised = {f"worker-{i + 1}" for i in range(workers)}
        self.bad_ends = []  # of guests
        self.may_server_end = False  # by itself, with code 1
        self.start_options = ["--config", config, "--store", store, "--seed", str(seed)]
        for setting in settings:
            self.start_options += ["--set", setting]
        self.workers = workers

    # ---- life ----

    def cluster(self, *options, seconds=120):
        done = subprocess.run([CLUSTER, "--run", self.directory, *options], env=self.environment,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=seconds)
        if done.returncode != 0:
            raise Failure(f"local_cluster.sh ended with {done.returncode}: {done.stdout[-2000:]}")

    def start(self):
        self.cluster(*self.start_options, "--workers", str(self.workers), "--respawn", "--detach")

    def run_id(self):
        with open(os.path.join(self.directory, "server.json")) as file:
            return json.load(file)["run"]

    def log(self, name):
        return open(os.path.join(self.directory, name + ".log"), "ab")

    def spawn(self, name, words):
        with self.log(name) as log:
            return subprocess.Popen(words, env=self.environment, stdin=subprocess.DEVNULL,
                                    stdout=log, stderr=log, start_new_session=True)

    def command_of(self, name):
        with open(os.path.join(self.directory, "commands")) as file:
            for line in file:
                words = shlex.split(line)
                if name == "server" and words[0] == "server":
                    return words[1:]
                if words[0] == "worker" and name in ("", words[1]):
                    return words[2:]
        raise Failure(f"no line for '{name}' in commands")

    def start_server(self):
        self.servers.append(self.spawn("server", self.command_of("server")))

    def start_guest(self, name):
        words = self.command_of("")
        words[words.index("--name") + 1] = name
        self.guests[name] = self.spawn(name, words)

    def tend(self):
        """Guests that died are started again, as the cluster does with its own."""
        for name, process in list(self.guests.items()):
            code = process.poll()
            if code is None:
                continue
            if code == 0 or code in CRASHES:
                self.bad_ends.append(f"{name} ended with {code} though nobody asked it to leave")
            self.start_guest(name)
        for name, process in list(self.leaving.items()):
            code = process.poll()
            if code is not None:
                del self.leaving[name]
                if code != 0:
                    self.bad_ends.append(f"{name} was drained and ended with {code}")
        for process in self.servers:
            if process.poll() == 1 and (self.may_server_end or process in self.ended_servers):
                self.ended_servers.add(process)
            elif process.poll() not in (None, -signal.SIGKILL):
                self.bad_ends.append(f"a server ended by itself with {process.returncode}")

    # ---- who is there ----

    def server_pid(self):
        with open(os.path.join(self.directory, "server.json")) as file:
            return json.load(file)["pid"]

    def is_first_server(self):
        """The one that the cluster started."""
        return not self.servers

    def worker_pids(self):
        """name -> pid of those that are to stay."""
        pids = {name: process.pid for name, process in self.guests.items()}
        with open(os.path.join(self.directory, "pids")) as file:
            for line in file:
                words = line.split()
                if words[0] == "worker" and words[1] in self.supervised:
                    pids[words[1]] = int(words[2])
        return {name: pid for name, pid in sorted(pids.items()) if state_of(pid)}

    def wanted(self):
        return len(self.supervised) + len(self.guests)

    def programs(self, program):
        return sorted(pid for pid, name in processes_with(self.mark).items() if name == program)

    # ---- waiting ----

    def look(self):
        self.tend()
        self.steps.read()
        self.events.read()
        if self.bad_ends:
            raise Failure("; ".join(self.bad_ends))

    def wait(self, seconds, what, is_so):
        deadline = time.monotonic() + seconds
        while True:
            self.look()
            if is_so():
                return
            if time.monotonic() > deadline:
                raise Failure(f"waited {seconds:.1f} s in vain: {what}")
            time.sleep(TURN_S)

    def ask_to_leave(self, name, pid):
        """SIGTERM, when it is heard as a wish: a process that has hardly begun would just end."""
        def is_heard():
            try:
                with open(f"/proc/{pid}/status") as file:
                    blocked = next(line for line in file if line.startswith("SigBlk"))
            except OSError:
                return True  # it has ended
            return int(blocked.split()[1], 16) >> (signal.SIGTERM - 1) & 1
        self.wait(HEARD_S, f"{name} hears signals", is_heard)
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            pass

    def pause(self, seconds):
        """Lets time pass; what happens meanwhile is seen."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.look()
            time.sleep(TURN_S)

    def generation(self):
        """The newest that was begun."""
        begun = self.events_from(0, "generation_forming")
        return int(begun[-1]["text"].split()[0].removeprefix("generation=")) if begun else 0

    def wait_whole(self, after_generation=-1):
        """A step that everybody who is wanted takes part in, committed from now on, in a generation
        behind the given one; returns when its line was seen."""
        first, found = len(self.steps.items), []

        def is_whole():
            found[:] = [line for line in self.steps.items[first:]
                        if line["world_size"] == self.wanted() and
                        line["generation"] > after_generation]
            return found
        self.wait(HEAL_S, f"a step of all {self.wanted()} workers after generation "
                          f"{after_generation}", is_whole)
        return found[0]["seen_s"]

    def wait_step(self, first, seconds, is_it=lambda line: True, what="a step"):
        """The first line from index `first` on that is_it; returns when it was seen."""
        self.wait(seconds, what, lambda: any(map(is_it, self.steps.items[first:])))
        return next(line for line in self.steps.items[first:] if is_it(line))["seen_s"]

    def events_from(self, first, kind, text=""):
        return [event for event in self.events.items[first:]
                if event["kind"] == kind and text in event["text"] + " "]

    # ---- the end ----

    def stop(self):
        """As an operator does, then ours."""
        self.cluster("--stop")
        deadline = time.monotonic() + 30
        ours = [*self.guests.values(), *self.leaving.values(), *self.servers]
        for process in ours:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                raise Failure(f"pid {process.pid} does not end with its run: {words_of(process.pid)}")
        for name, process in self.guests.items():
            if process.returncode != 0:
                raise Failure(f"{name} was dismissed and ended with {process.returncode}")
        self.guests = {}
        self.steps.read()
        self.events.read()

    def scratch(self):
        path = os.path.join(self.directory, "server.json")
        return glob.glob(f"/dev/shm/everseer-{self.run_id()}*") if os.path.exists(path) else []

    def sockets(self):
        """Of this run, if the network is ours alone."""
        if os.environ.get(chaos_means.INSIDE) != "":
            return []
        with open("/proc/net/unix") as file:
            left = [line.split()[-1] for line in file if "/everseer-door-" in line]
        with open("/proc/net/tcp") as file:
            return left + [f"listening socket {line.split()[1]}" for line in file
                           if line.split()[3] == "0A"]

    def leftovers(self):
        left = self.sockets() + [f"process {pid} {' '.join(words_of(pid))[:200]}"
                for pid in processes_with(self.mark)]
        return left + self.scratch()

    def crashes(self):
        """Ends of supervised workers that no fault of ours explains."""
        with open(os.path.join(self.directory, "cluster.log")) as file:
            return [line.strip() for line in file if "event=worker_ended" in line and
                    any(f"code={code} " in line for code in CRASHES)]

    def kill_all(self):
        """After a failure: nothing stays."""
        for _ in range(20):
            left = processes_with(self.mark)
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            self.tend_dead()
            if not left:
                break
            time.sleep(0.05)
        for scratch in self.scratch():
            shutil.rmtree(scratch, ignore_errors=True)

    def tend_dead(self):
        for process in [*self.guests.values(), *self.leaving.values(), *self.servers]:
            process.poll()

    def tell(self, lines=40):
        """What a person needs to see why."""
        for path in sorted(glob.glob(os.path.join(self.directory, "*.log"))) + [self.events.path]:
            with open(path, errors="replace") as file:
                tail = file.readlines()[-lines:]
            print(f"==== {path}\n{''.join(tail)}", flush=True)
        for pid, program in processes_with(self.mark).items():
            print(f"==== process {pid} {state_of(pid)} {program}", flush=True)


@contextlib.contextmanager
def to_its_end(run, directory):
    """Around what a test does with its only run: a Failure is told and exits with 1; its folder
    goes, and after any failure its processes too."""
    try:
        yield
    except BaseException as error:
        if isinstance(error, Failure):
            run.tell()
            print(f"FAILED: {error}", flush=True)
        run.kill_all()
        if isinstance(error, Failure):
            sys.exit(1)
        raise
    finally:
        shutil.rmtree(directory, ignore_errors=True)
