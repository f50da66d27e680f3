#!/usr/bin/env python3
# remote_shards.py - how fast a seer-loader serves a worker, in plain and by CURVE, as a table.
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The everseer authors
"""A tool, not a test: its table goes into docs/benchmarks.md. On a quiet machine: remote_shards.py --store STORE.

Loader and reader are on this host, over TCP on loopback: what it costs to serve, not what a network carries. The
rounds of the two kinds take turns; processor time is the loader's own, user and system."""
import argparse, json, os, re, shutil, statistics, subprocess, tempfile, time

SOURCE = os.path.abspath(os.path.join(os.path.dirname(__file__), "../.."))
BIN = os.environ.get("SEER_BIN") or os.path.join(SOURCE, "build", "release", "bin")
WAIT_S = 60


def seer(*words):
    return subprocess.run([os.path.join(BIN, "seer"), *words], check=True, stdout=subprocess.PIPE, text=True).stdout


class Loader:
    def __init__(self, directory, store, keys):
        self.log = os.path.join(directory, "loader.log")
        words = [os.path.join(BIN, "seer-loader"), "--store", store, "--listen", "tcp://127.0.0.1:*"]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(words + (["--keys", keys] if keys else []), stderr=log)
        self.wait_for("event=whole")

    def wait_for(self, words):
        deadline = time.monotonic() + WAIT_S
        while words not in self.text():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(self.text())
            time.sleep(0.01)

    def text(self):
        with open(self.log) as file:
            return file.read()

    def name(self):
        address, key = re.search(r'address=(\S+) stores=\d+ key="([^"]*)"', self.text()).groups()
        return f"{address},{key}" if key else address

    def cpu_seconds(self):
        with open(f"/proc/{self.process.pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def end(self):
        self.process.terminate()
        self.process.wait()


def measure(directory, options, keys, key):
    loader = Loader(directory, options.store, keys)
    try:
        before = loader.cpu_seconds()
        done = subprocess.run([os.path.join(BIN, "bench_shard_client"), options.store, loader.name(),
                               str(options.seconds)], check=True, stdout=subprocess.PIPE, text=True,
                              env=dict(os.environ, SEER_KEY=key))
        result = json.loads(done.stdout)
        result["cpu_share"] = (loader.cpu_seconds() - before) / result["seconds"]
        return result
    finally:
        loader.end()


def make_keys(directory):
    run, keys, key = (os.path.join(directory, name) for name in ("run", "keys", "bench.key"))
    seer("key", "init", "--run", run)
    seer("key", "new", "bench", "--role", "worker", "--run", run, "--out", key)
    seer("key", "init", "--keys", keys)
    with open(key) as file:
        seer("key", "allow", "bench", json.load(file)["public"], "--keys", keys)
    return keys, key


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", required=True)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    directory = tempfile.mkdtemp(prefix="everseer-bench-")
    try:
        keys, key = make_keys(directory)
        kinds = {"plain": ("", ""), "CURVE": (keys, key)}
        results = {kind: [] for kind in kinds}
        for _ in range(options.rounds):
            for kind, means in kinds.items():
                results[kind].append(measure(directory, options, *means))
    finally:
        shutil.rmtree(directory)
    print("| connection | records/s | MB/s | loader's CPU, cores |\n|---|--:|--:|--:|")
    for kind, rounds in results.items():
        print(f"| {kind} | " + " | ".join(f"{statistics.median(r[part] for r in rounds):.{digits}f}" for part, digits in
              (("records_per_second", 0), ("megabytes_per_second", 0), ("cpu_share", 2))) + " |")


if __name__ == "__main__":
    main()
