#!/usr/bin/python3
# step_beside_torch.py - our training step beside PyTorch's of the same work, in alternation, as a Markdown table.
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The everseer authors
"""A tool, not a test: its table goes into docs/benchmarks.md, from a machine with nothing else to do.

8 images of RegNetY-400MF or 8GF on 2 crops of 224 and 4 of 96 pixels, one slot; head w-w-256 with ReLU, w the
trunk's width, 3000 prototypes, 3 Sinkhorn iterations, SwAV loss, SGD with momentum; one thread; fp32, or bf16 as
cpu:bf16 and as torch's autocast have it. Each round times both layouts of torch and `seer bench step` with plain sums
(train.reduction fast, which is what torch does) and with sums of which no order shows (exact), who goes first
changing with the round, so that what disturbs the machine disturbs both. The ratio of a round compares medians with
the better layout of that same round. CPU time is that of the process in torch, of the computing thread in seer, which
is all there is with one thread. Memory is the most that seer's device held.
"""
import argparse
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import time

from one_thread import OTHERS_ENVIRONMENT

try:
    import torch
    import torch.nn.functional as F
    import torchvision
    from torch import nn
except ImportError as error:
    print("skipped: PyTorch or torchvision is not installed for", sys.executable, "-", error)
    sys.exit(77)

BIG, SMALL, PROTOTYPES = 2, 4, 3000
TEMPERATURE, EPSILON, ITERATIONS = 0.1, 0.05, 3
WARMUP_STEPS = 2  # as seer bench step does
MODELS = {"regnet_y_400mf": ("regnety_400mf.yaml", 8, 440), "regnet_y_8gf": ("paper/regnety_8gf.yaml", 8, 2016)}


class Torch:
    """The step of SwAV (Caron et al. 2020, listing in appendix A) with torchvision's trunk."""

    def __init__(self, options, layout):
        torch.manual_seed(1)
        self.is_bf16, self.images = options.type == "bf16", MODELS[options.model][1]
        trunk = getattr(torchvision.models, options.model)()
        width = trunk.fc.in_features
        trunk.fc = nn.Identity()
        self.trunk = trunk.to(memory_format=layout).train()
        self.head = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 256))
        self.prototypes = nn.Linear(256, PROTOTYPES, bias=False)
        net = nn.ModuleList([self.trunk, self.head, self.prototypes])
        self.optimizer = torch.optim.SGD(net.parameters(), lr=0.001, momentum=0.9, weight_decay=1e-6)
        self.crops = [torch.randn(count * self.images, 3, size, size).contiguous(memory_format=layout)
                      for count, size in ((BIG, 224), (SMALL, 96))]

    @staticmethod
    def codes(scores):
        q = torch.exp(scores / EPSILON).t()
        q /= q.sum()
        for _ in range(ITERATIONS):
            q /= q.sum(1, keepdim=True) * q.shape[0]
            q /= q.sum(0, keepdim=True) * q.shape[1]
        return (q * q.shape[1]).t()

    def step(self):
        with torch.no_grad():
            self.prototypes.weight.copy_(F.normalize(self.prototypes.weight, dim=1))
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.is_bf16):
            features = torch.cat([self.trunk(crop) for crop in self.crops])
            scores = self.prototypes(F.normalize(self.head(features).float(), dim=1)).float()
        log_p = F.log_softmax(scores / TEMPERATURE, dim=1).view(BIG + SMALL, self.images, -1)
        loss = 0
        for crop in range(BIG):
            with torch.no_grad():
                q = self.codes(scores.detach()[crop * self.images:(crop + 1) * self.images])
            for other in range(BIG + SMALL):
                if other != crop:
                    loss = loss - (q * log_p[other]).sum(1).mean()
        loss = loss / (BIG * (BIG + SMALL - 1))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def measure(self, steps):
        wall, cpu = [], []
        for i in range(WARMUP_STEPS + steps):
            wall_start, cpu_start = time.perf_counter(), time.process_time()
            loss = self.step()
            wall_end, cpu_end = time.perf_counter(), time.process_time()
            if not 0 < loss < 100:
                sys.exit(f"torch's loss is {loss}: this is no training step")
            if i >= WARMUP_STEPS:
                wall.append(1000 * (wall_end - wall_start))
                cpu.append(1000 * (cpu_end - cpu_start))
        return {"cpu": cpu, "wall": wall}


class Seer:
    def __init__(self, options, configs, reduction):
        config, images, width = MODELS[options.model]
        self.command = [options.seer, "bench", "step", "--config", os.path.join(configs, config), "--threads", "1",
                        "--device", "cpu:bf16" if options.type == "bf16" else "cpu"]
        for override in (f"model.head=[{width},256]", "model.prototypes=3000", f"train.batch_images={images}",
                         f"train.slot_images={images}", "train.bn_group_slots=0", "train.recompute=keep",
                         "swav.queue_images=0", "swav.sinkhorn_iterations=3", "optimizer.kind=sgd",
                         f"train.reduction={reduction}"):
            self.command += ["--set", override]

    def measure(self, steps):
        command = self.command + ["--steps", str(steps), "-o", "json"]
        result = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, env=OTHERS_ENVIRONMENT).stdout)
        self.device, self.memory_bytes = result["device"], result["memory_peak_bytes"]
        return {"cpu": result["each_step"]["thread_cpu_ms"], "wall": result["each_step"]["wall_ms"]}


def processor():
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()


def row(name, rounds, clock):
    values = [value for measured in rounds for value in measured[clock]]
    return f"| {name} | {clock} | {min(values):.1f} | {statistics.median(values):.1f} | {max(values):.1f} |"


def main():
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seer", default=os.path.join(source, "build", "release", "bin", "seer"))
    parser.add_argument("--model", choices=MODELS, default="regnet_y_400mf")
    parser.add_argument("--type", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=5, help="timed steps of each in a round, after two more")
    parser.add_argument("--layout", choices=("first", "last"), help="only this one of torch: channels first, where it is "
                        "known to be the slower one, takes a minute for a step of 8GF in fp32")
    options = parser.parse_args()
    torch.set_num_threads(1)

    images = MODELS[options.model][1]
    ours = {f"seer, {kind}": Seer(options, os.path.join(source, "configs"), kind) for kind in ("fast", "exact")}
    formats = {"first": torch.contiguous_format, "last": torch.channels_last}
    layouts = {f"torch, channels {name}": Torch(options, layout) for name, layout in formats.items()
               if options.layout in (None, name)}
    order = [*ours.items(), *layouts.items()]
    fast = ours["seer, fast"]
    measured = {name: [] for name, _ in order}
    for number in range(options.rounds):
        for name, one in order if number % 2 == 0 else order[::-1]:
            measured[name].append(one.measure(options.steps))
            print(f"round {number + 1}, {name}: {statistics.median(measured[name][-1]['cpu']):.1f} ms of CPU",
                  file=sys.stderr)

    print(f"{time.strftime('%Y-%m-%d')}, {processor()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f} at the end; "
          f"torch {torch.__version__}, torchvision {torchvision.__version__}, Python {platform.python_version()}; "
          f"seer on {fast.device}, {fast.memory_bytes / 2**20 / images:.1f} MiB an image.\n")
    command = shlex.join(["python3", "tests/bench/step_beside_torch.py", "--model", options.model, "--type",
                          options.type, "--rounds", str(options.rounds), "--steps",
                          str(options.steps), *(["--layout", options.layout] if options.layout else [])])
    print(f"    {command}\n")
    print(f"| one step of {images} images | time | min ms | median ms | max ms |\n|---|---|---|---|---|")
    for name, _ in order:
        for clock in ("cpu", "wall"):
            print(row(name, measured[name], clock))
    columns = [(name, clock) for name in ours for clock in ("cpu", "wall")]
    print("\n| times faster than the better torch, round | " + " | ".join(f"{name}, {clock}" for name, clock in columns)
          + " |\n|---|" + "---|" * len(columns))
    ratios = {column: [] for column in columns}
    for number in range(options.rounds):
        for name, clock in columns:
            best = min(statistics.median(measured[layout][number][clock]) for layout in layouts)
            ratios[name, clock].append(best / statistics.median(measured[name][number][clock]))
        print(f"| {number + 1} | " + " | ".join(f"{values[-1]:.2f}" for values in ratios.values()) + " |")
    print("| median | " + " | ".join(f"{statistics.median(values):.2f}" for values in ratios.values()) + " |")


if __name__ == "__main__":
    main()
