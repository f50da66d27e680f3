#!/usr/bin/python3
# ingest_million.py - a million small JPEGs through `seer ingest`: is its memory flat, and how near is it to decoding alone?
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The everseer authors
"""A tool, not a test: its table goes into docs/benchmarks.md. --check makes it fail if memory grows.

The images come as a tar on stdin, 1000 pictures again and again, each time with a comment of its own: all files differ.
Memory is sampled from /proc: what the process has for itself (RssAnon) without the pages of the shard that it writes.
What it must keep for each image to know duplicates is 16 bytes in a table that doubles: that, and no more, may grow.
Images a second per core is by CPU time of the ingest (user and system, all threads); the floor is what one thread
decodes in a second of CPU (`seer bench loader`).
"""
import argparse
import io
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time

try:
    import numpy as np
    from PIL import Image
except ImportError as error:
    print("skipped: needs Debian's python3-pil and python3-numpy:", error)
    sys.exit(77)

DISTINCT, PER_IMAGE_BYTES, SLACK_BYTES = 1000, 64, 24 << 20


def pictures(side):
    numbers = np.random.default_rng(1)
    y, x = np.mgrid[0:side, 0:side] / side
    for _ in range(DISTINCT):
        a, b, c = numbers.uniform(1, 9, 3)
        image = np.stack([np.sin(a * x + b * y), np.cos(b * x - c * y), np.sin(c * x * y)], -1) * 90 + 128
        image += numbers.normal(0, 6, image.shape)
        out = io.BytesIO()
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(out, "JPEG", quality=85)
        yield out.getvalue()


def feed(pipe, images, count):
    """Headers by hand: tarfile takes three times as long as what is measured."""
    try:
        for number in range(count):
            data = images[number % len(images)]
            data = data[:2] + b"\xff\xfe\0\x0a%08x" % number + data[2:]
            header = bytearray(512)
            header[:14] = b"%010d.jpg" % number
            header[100:107], header[108:115], header[116:123] = b"0000644", b"0000000", b"0000000"
            header[124:135], header[136:147] = b"%011o" % len(data), b"%011o" % 0
            header[156:157], header[257:265] = b"0", b"ustar\00000"
            header[148:156] = b" " * 8
            header[148:155] = b"%06o\0" % sum(header)
            pipe.write(bytes(header) + data + bytes(-len(data) % 512))
        pipe.write(bytes(1024))
    finally:
        pipe.close()


def memory_of(pid):
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
        lines = dict(line.split(":", 1) for line in file)
    return int(lines["RssAnon"].split()[0]) * 1024


def records_so_far(process, count, samples):
    """Its progress line has no records behind the last shard, so time is the axis."""
    start = time.monotonic()
    while process.poll() is None:
        try:
            samples.append((time.monotonic() - start, memory_of(process.pid)))
        except (OSError, KeyError):
            return
        time.sleep(0.25)  # between two samples


def ingest(options, scratch, images):
    samples, start = [], time.monotonic()
    process = subprocess.Popen([options.seer, "ingest", "-", "--tar", "--store", os.path.join(scratch, "store"), "--jobs",
                                str(options.jobs), "-q", "-o", "json"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    threads = [threading.Thread(target=feed, args=(process.stdin, images, options.count)),
               threading.Thread(target=records_so_far, args=(process, options.count, samples))]
    for thread in threads:
        thread.start()
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    for thread in threads:
        thread.join()
    result = json.loads(output)
    if process.returncode != 0 or result["accepted"] != options.count:
        sys.exit(f"ingest ended with {process.returncode}: {output.decode()}")
    return result, usage.ru_utime + usage.ru_stime, time.monotonic() - start, samples


def floor(options, scratch, images):
    paths = []
    for number, data in enumerate(images[:200]):
        paths.append(os.path.join(scratch, f"{number}.jpg"))
        with open(paths[-1], "wb") as file:
            file.write(data)
    done = subprocess.run([options.seer, "bench", "loader", "--seconds", "3", "-o", "json", "--images", *paths], check=True,
                          stdout=subprocess.PIPE)
    return json.loads(done.stdout)["decode_only_images_per_second_per_core"]


def main():
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seer", default=os.path.join(source, "build", "release", "bin", "seer"))
    parser.add_argument("--count", type=int, default=1000000)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--check", action="store_true", help="fail if memory grows by more than duplicates are known by")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="everseer-million-") as scratch:
        images = list(pictures(options.side))
        before = floor(options, scratch, images)
        result, cpu, wall, samples = ingest(options, scratch, images)
        after = floor(options, scratch, images)
    memory = [value for _, value in samples]
    tenths = [memory[i * (len(memory) - 1) // 10] >> 20 for i in range(11)]
    allowed = PER_IMAGE_BYTES * options.count + SLACK_BYTES
    growth = max(memory) - memory[len(memory) // 10]
    print(f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f} at the end; "
          f"{options.count} JPEGs of {options.side} x {options.side} pixels, {sum(map(len, images)) // len(images)} bytes each, "
          f"--jobs {options.jobs}.\n")
    print("| images | shards | wall s | CPU s | images/s per core | decode only, images/s per core | of that |")
    print("|---|---|---|---|---|---|---|")
    rate, decode = options.count / cpu, (before + after) / 2
    print(f"| {options.count} | {len(result['shards'])} | {wall:.0f} | {cpu:.1f} | {rate:.0f} | {decode:.0f} | {rate / decode:.2f} |")
    print(f"\nMemory of its own (RssAnon), MB at each tenth of the time: {' '.join(map(str, tenths))}; peak {max(memory) >> 20}. "
          f"Grown by {growth >> 20} MB since the first tenth; {PER_IMAGE_BYTES} bytes an image and {SLACK_BYTES >> 20} MB are allowed.")
    if options.check and growth > allowed:
        sys.exit(f"memory grew by {growth} bytes, {allowed} are allowed")


if __name__ == "__main__":
    main()
