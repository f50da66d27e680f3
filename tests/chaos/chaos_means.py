# chaos_means.py - what this machine lends for faults: a network, a small disk, a slow core, single threads.
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The everseer authors
"""Everything happens in network and mount namespaces of our own, which end with our processes: no
rule, address or mount of ours is ever seen by anybody else. Each means says why it is missing where
it is; who needs it is then skipped, visibly."""
import ctypes, glob, os, signal, subprocess, sys, threading, time

INSIDE = "SEER_CHAOS_INSIDE"
SERVER = "127.0.0.1"


def enter():
    """Goes on in namespaces of our own, as root of them; without them if that cannot be."""
    if INSIDE in os.environ:
        run("ip", "link", "set", "lo", "up")
        return
    for words in (["unshare", "--net", "--mount"],
                  ["unshare", "--user", "--map-root-user", "--net", "--mount"]):
        try:
            done = subprocess.run([*words, "ip", "link", "set", "lo", "up"], capture_output=True,
                                  text=True)
            problem = done.stderr.strip() or f"code {done.returncode}"
        except FileNotFoundError as error:
            problem = str(error)
            break
        if done.returncode == 0:
            os.environ[INSIDE] = ""
            os.execvp(words[0], [*words, sys.executable, *sys.argv])
    os.environ[INSIDE] = f"no namespaces of our own: {problem}"


def run(*words, text=None):
    """What is wrong; '' = it is done."""
    try:
        done = subprocess.run(words, input=text, capture_output=True, text=True)
    except FileNotFoundError:
        return f"'{words[0]}' is not installed"
    return "" if done.returncode == 0 else \
        done.stderr.strip().split("\n")[0] or f"{words[0]}: {done.returncode}"


class Network:
    """Packets between the server and single workers, by rules of nftables on our own loopback."""

    def __init__(self):
        self.missing = os.environ[INSIDE] or self.clear()

    def clear(self):
        return run("nft", "-f", "-", text="flush ruleset\nadd table ip chaos\n"
                   "add chain ip chaos in { type filter hook input priority 0; }\n")

    def set(self, rules):
        problem = self.clear() or run("nft", "-f", "-", text="".join(
            f"add rule ip chaos in {rule}\n" for rule in rules))
        if problem:
            raise OSError(problem)

    @staticmethod
    def to_server(address):
        return f"ip saddr {address} ip daddr {SERVER}"

    @staticmethod
    def to_worker(address):
        return f"ip saddr {SERVER} ip daddr {address}"


def address_of(name):
    """As addressed_worker.sh gives it."""
    kind, _, number = name.partition("-")
    return f"127.0.{1 if kind == 'worker' else 2}.{number}"


class SmallDisk:
    """A disk of its own for a folder, that can be filled to the last byte and emptied again."""
    BYTES = 64 << 20

    def __init__(self, directory):
        os.makedirs(directory, exist_ok=True)
        self.ballast = os.path.join(directory, "ballast")
        self.missing = os.environ[INSIDE] or run(
            "mount", "-t", "tmpfs", "-o", f"size={self.BYTES}", "everseer-chaos", directory)

    def fill(self):
        piece = 1 << 20
        with open(self.ballast, "wb", buffering=0) as file:
            while piece > 0:
                try:
                    file.write(bytes(piece))
                except OSError:
                    piece //= 2

    def empty(self):
        os.unlink(self.ballast)


class SlowCore:
    """A tenth of a core for one process: by a quota of the kernel's, else by stopping it nine tenths
    of the time."""
    PERIOD_US, PART = 100000, 10

    def __init__(self):
        self.group = None
        for base, files in (("/sys/fs/cgroup/cpu", {"cpu.cfs_period_us": f"{self.PERIOD_US}",
                                                    "cpu.cfs_quota_us":
                                                    f"{self.PERIOD_US // self.PART}"}),
                            ("/sys/fs/cgroup", {"cpu.max": f"{self.PERIOD_US // self.PART} "
                                                f"{self.PERIOD_US}"})):
            group = os.path.join(base, f"everseer-chaos-{os.getpid()}")
            try:
                os.mkdir(group)
                for name, text in files.items():
                    with open(os.path.join(group, name), "w") as file:
                        file.write(text)
            except OSError:
                if os.path.isdir(group):
                    os.rmdir(group)
                continue
            self.home, self.group = base, group
            return

    def by(self):
        return "cgroup quota" if self.group else "SIGSTOP and SIGCONT in turns"

    def put(self, pid, group):
        with open(os.path.join(group, "cgroup.procs"), "w") as file:
            file.write(str(pid))

    def slow(self, pid, seconds, pause):
        """`pause(seconds)` lets time pass and may raise."""
        if self.group:
            self.put(pid, self.group)
            try:
                pause(seconds)
            finally:
                self.put(pid, self.home)
            return
        is_over = threading.Event()

        def take_turns():
            while not is_over.is_set():
                for number, share in ((signal.SIGSTOP, self.PART - 1), (signal.SIGCONT, 1)):
                    os.kill(pid, number)
                    time.sleep(self.PERIOD_US / 1e6 * share / self.PART)
        thread = threading.Thread(target=take_turns)
        thread.start()
        try:
            pause(seconds)
        finally:
            is_over.set()
            thread.join()
            os.kill(pid, signal.SIGCONT)

    def close(self):
        """Processes may still be ending in it."""
        deadline = time.monotonic() + 5
        while self.group and os.path.isdir(self.group) and time.monotonic() < deadline:
            try:
                os.rmdir(self.group)
            except OSError:
                time.sleep(0.01)


class Standstills:
    """Times in which a core ran nothing for longer than any scheduler should let one wait: a virtual
    machine's cores are taken from it, or its kernel starves them (look at dmesg). One watcher sleeps
    on each core, in a session of its own."""
    NOTED_S, MUCH_S = 0.1, 0.5
    WATCH = (f"import os, sys, time\nos.sched_setaffinity(0, {{int(sys.argv[1])}})\n"
             "last = time.monotonic()\nwhile True:\n    time.sleep(0.02)\n    now = time.monotonic()\n"
             f"    if now - last > {NOTED_S}:\n        print(last, now, flush=True)\n    last = now\n")

    def __init__(self):
        self.seen = []  # (core, begin, end), of the monotonic clock
        self.watchers = [subprocess.Popen([sys.executable, "-c", self.WATCH, str(core)], text=True,
                                          stdout=subprocess.PIPE, start_new_session=True)
                         for core in sorted(os.sched_getaffinity(0))]
        for core, watcher in enumerate(self.watchers):
            threading.Thread(target=self.note, args=(core, watcher), daemon=True).start()

    def note(self, core, watcher):
        for line in watcher.stdout:
            begin, end = map(float, line.split())
            self.seen.append((core, begin, end))
            if end - begin > self.MUCH_S:
                print(f"core {core} stood still for {end - begin:.2f} s", flush=True)

    def were_long(self, since):
        """Of any core, together."""
        time.sleep(0.2)  # a watcher wakes no earlier than others do
        return any(sum(end - max(begin, since) for at, begin, end in self.seen
                       if at == core and end > since) > self.MUCH_S
                   for core in range(len(self.watchers)))

    def close(self):
        for watcher in self.watchers:
            watcher.kill()
            watcher.wait()


class StoppedThread:
    """One thread that stands still while the others of its process go on: it is traced and
    interrupted. Made, entered and left by the same thread of ours."""
    SEIZE, INTERRUPT, DETACH, WALL = 0x4206, 0x4207, 17, 0x40000000
    libc = ctypes.CDLL(None, use_errno=True)

    def __init__(self, thread):
        self.thread = thread

    def trace(self, request):
        if self.libc.ptrace(request, self.thread, None, None) != 0:
            error = ctypes.get_errno()
            raise OSError(error, f"ptrace: {os.strerror(error)}")

    def __enter__(self):
        self.trace(self.SEIZE)
        self.trace(self.INTERRUPT)
        os.waitpid(self.thread, self.WALL)
        return self

    def __exit__(self, *exception):
        try:
            self.trace(self.DETACH)
        except ProcessLookupError:
            os.waitpid(self.thread, self.WALL)  # it was killed: its end is told to us too


def threads_of(pid):
    """name -> [thread], of a process."""
    found = {}
    for path in glob.glob(f"/proc/{pid}/task/*/comm"):
        try:
            with open(path) as file:
                found.setdefault(file.read().strip(), []).append(int(path.split("/")[4]))
        except OSError:
            pass
    return found
