#!/usr/bin/env python3
# other_hosts.py - a run with keys whose server, workers and loaders each have a network of their own.
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The everseer authors
"""usage: other_hosts.py [--rounds N]

Five network namespaces with a router between them stand for five hosts: a server, two workers, two
loaders. Everything is encrypted. Workers see neither the store nor the run's keys, loaders nothing of
the run: they have keys of their own and the workers' public halves. The two workers train as one
group, by the mpi engine, whose helpers run in the server's namespace. In turn a loader is killed,
and started again, and the other loses its cable; each time training goes on with what is left. Every
step must be committed once, with the bits of a run that reads its own disk; no shard may be called
broken, `seer audit` be clean, and nothing be left behind. One round, three with SEER_TEST_LONG=1.
Exits 0, 1 with the reason, 77 when it cannot run here."""
import argparse, json, os, shutil, signal, subprocess, sys, tempfile

import chaos_means
import chaos_oracle as oracle
from chaos import make_store
from chaos_run import BIN, CONFIG, ChaosRun, Failure, to_its_end

HOSTS = ("server", "worker-1", "worker-2", "loader-1", "loader-2")
PORT, FEED_PORT, LOADER_PORT = 5680, 5681, 5690
SETTINGS = ["server.heartbeat_ms=100", "server.lost_ms=4000", "server.form_ms=30000",
            "server.step_ms=60000", "swav.queue_images=48", "swav.queue_start_step=10"]
STEPS = 20  # that training must get further, each time
LOST_S = 30


def address_of(host):
    return f"10.77.{HOSTS.index(host)}.2"


class Hosts:
    """Namespaces in a /run of our own, so that they end with us; we are the router between them."""

    def __init__(self):
        self.missing = os.environ[chaos_means.INSIDE] or self.make()

    def make(self):
        problem = chaos_means.run("mount", "-t", "tmpfs", "everseer-chaos", "/run")
        for number, host in enumerate(HOSTS):
            for words in (f"ip netns add {host}",
                          f"ip link add {host} type veth peer name eth0 netns {host}",
                          f"ip address add 10.77.{number}.1/24 dev {host}", f"ip link set {host} up",
                          f"ip -n {host} address add 10.77.{number}.2/24 dev eth0",
                          f"ip -n {host} link set eth0 up", f"ip -n {host} link set lo up",
                          f"ip -n {host} route add default via 10.77.{number}.1"):
                problem = problem or chaos_means.run(*words.split())
        return problem or chaos_means.run("sysctl", "-qw", "net.ipv4.ip_forward=1")

    @staticmethod
    def on(host, covered, words):
        """The command line that runs there, where these folders are empty."""
        cover = "".join(f'mount -t tmpfs everseer-chaos "{folder}" && ' for folder in covered)
        return ["ip", "netns", "exec", host, "unshare", "--mount", "sh", "-c", cover + 'exec "$@"', host,
                *words]

    @staticmethod
    def cable(host, state):
        problem = chaos_means.run("ip", "link", "set", host, state)
        if problem:
            raise Failure(problem)


def seer(*words):
    done = subprocess.run([os.path.join(BIN, "seer"), *words], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=60)
    if done.returncode != 0:
        raise Failure(f"seer {' '.join(words)} ended with {done.returncode}: {done.stdout}")
    return done.stdout


def public_of(path):
    with open(path) as file:
        return json.load(file)["public"]


class Cluster:
    def __init__(self, run, directory, store):
        self.run, self.directory, self.store = run, directory, store
        self.processes = {}
        seer("key", "init", "--run", run.directory)
        for worker in HOSTS[1:3]:
            seer("key", "new", worker, "--role", "worker", "--run", run.directory, "--out",
                 self.path(f"{worker}.key"))
        for loader in HOSTS[3:]:
            seer("key", "init", "--keys", self.path(loader))
            for worker in HOSTS[1:3]:
                seer("key", "allow", worker, public_of(self.path(f"{worker}.key")), "--keys", self.path(loader))
            shutil.copytree(store, self.path(f"{loader}-store"))

    def path(self, name):
        return os.path.join(self.directory, name)

    def start(self, host):
        kind = host.partition("-")[0]
        covered, words = getattr(self, f"words_of_{kind}")(host)
        self.processes[host] = self.run.spawn(host, Hosts.on(host, covered, [os.path.join(BIN, words[0]),
                                                                             *words[1:]]))

    def words_of_server(self, host):
        words = ["seer-server", "--config", CONFIG, "--state", self.run.directory, "--store", self.store,
                 "--seed", "7"]
        for setting in [*SETTINGS, f"server.listen=tcp://{address_of(host)}:{PORT}",
                        f"server.feed=tcp://{address_of(host)}:{FEED_PORT}"]:
            words += ["--set", setting]
        return [], words

    def words_of_worker(self, host):
        words = ["seer-worker", "--server", f"tcp://{address_of('server')}:{PORT}", "--name", host, "--key",
                 self.path(f"{host}.key"), "--journal", os.path.join(self.run.directory, "workers")]
        for loader in HOSTS[3:]:
            words += ["--loader", f"tcp://{address_of(loader)}:{LOADER_PORT},"
                      f"{public_of(os.path.join(self.path(loader), 'loader.key'))}"]
        return [self.store, os.path.join(self.run.directory, "keys")], words

    def words_of_loader(self, host):
        return [self.run.directory], ["seer-loader", "--store", self.path(f"{host}-store"), "--listen",
                                      f"tcp://{address_of(host)}:{LOADER_PORT}", "--keys", self.path(host)]

    def kill(self, host):
        self.processes[host].kill()
        self.processes[host].wait()

    def said(self, host, words):
        """How often."""
        try:
            with open(os.path.join(self.run.directory, f"{host}.log")) as file:
                return sum(words in line for line in file)
        except FileNotFoundError:
            return 0

    def further(self):
        """Both train on, for a while, from now on."""
        self.run.wait_whole()
        first = len(self.run.steps.items)
        self.run.wait(LOST_S * 2, f"{STEPS} more steps", lambda: len(self.run.steps.items) >= first + STEPS)

    def see(self, event, loader, counts):
        """Both workers tell of the loader once more than they had."""
        words = f"{event} reason=\"tcp://{address_of(loader)}"
        self.run.wait(LOST_S, f"workers say {words}",
                      lambda: all(self.said(worker, words) > counts[worker, words] for worker in HOSTS[1:3]))

    def counts(self, event, loader):
        words = f"{event} reason=\"tcp://{address_of(loader)}"
        return {(worker, words): self.said(worker, words) for worker in HOSTS[1:3]}

    def disturb(self, number):
        killed, cut = HOSTS[3:] if number % 2 == 0 else reversed(HOSTS[3:])
        before = self.counts("event=loader_lost", killed)
        self.kill(killed)
        self.see("event=loader_lost", killed, before)
        self.further()
        before = self.counts("event=loader_found", killed)
        self.start(killed)
        self.see("event=loader_found", killed, before)
        before = self.counts("event=loader_lost", cut)
        Hosts.cable(cut, "down")
        try:
            self.see("event=loader_lost", cut, before)
            self.further()
        finally:
            Hosts.cable(cut, "up")
        self.further()

    def end(self):
        subprocess.run(Hosts.on("server", [], [os.path.join(BIN, "seer"), "stop", "--run", self.run.directory]),
                       check=True, stdout=subprocess.DEVNULL, timeout=60)
        for host in HOSTS[:3]:
            self.ends_well(host)
        for host in HOSTS[3:]:
            self.processes[host].terminate()
            self.ends_well(host)
        self.run.look()

    def ends_well(self, host):
        try:
            code = self.processes[host].wait(60)
        except subprocess.TimeoutExpired:
            raise Failure(f"{host} does not end")
        if code != 0:
            raise Failure(f"{host} ended with {code}")


def judge(run, reference):
    history = oracle.surviving(run.steps.items)
    oracle.check_history(history)
    last = len(history)
    reference.cluster(*reference.start_options, "--workers", "1", "--steps", str(last), seconds=600)
    reference.steps.read()
    different = oracle.differing([line for line in run.steps.items if line["step"] < last], reference.steps.items)
    counted = oracle.audit(run.directory)
    wrong = [f"{key} is {counted[key]}" for key in
             ("lost", "duplicated", "unequal_digests", *oracle.DISAGREEMENTS) if counted[key] != 0]
    wrong += [f"lineage {lineage} step {step} differs: {what}" for lineage, step, what in different[:3]]
    wrong += [f"{event['kind']}: {event['text']}" for event in run.events_from(0, "shard_broken")[:3]]
    wrong += [f"left behind: {what}" for what in run.leftovers()]
    print(f"steps: {last}, of two workers: {sum(line['world_size'] == 2 for line in history)}, lost: "
          f"{counted['lost']}, duplicated: {counted['duplicated']}, steps different from the run that reads "
          f"its own disk: {len(different)}", flush=True)
    if wrong:
        raise Failure("\n  ".join(wrong))


def play(options, directory, store):
    mark = f"{os.getpid()}-hosts"
    run = ChaosRun(os.path.join(directory, "run"), store, 2, 7, SETTINGS, mark)
    reference = ChaosRun(os.path.join(directory, "reference"), store, 1, 7, SETTINGS, mark)
    with to_its_end(run, directory):
        cluster = Cluster(run, directory, store)
        for host in HOSTS:
            cluster.start(host)
        cluster.further()
        for number in range(options.rounds):
            cluster.disturb(number)
        cluster.end()
        judge(run, reference)


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[0].removeprefix("usage: "))
    parser.add_argument("--rounds", type=int, default=3 if os.environ.get("SEER_TEST_LONG") else 1)
    options = parser.parse_args()
    chaos_means.enter()
    missing = Hosts().missing
    if missing:
        print(f"skipped: {missing}")
        sys.exit(77)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    directory = tempfile.mkdtemp(prefix="everseer-hosts-")
    play(options, directory, make_store(directory))


if __name__ == "__main__":
    main()
