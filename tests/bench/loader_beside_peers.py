#!/usr/bin/python3
# loader_beside_peers.py - our loader beside torchvision with Pillow and beside OpenCV, same JPEGs, one core, as a table.
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The everseer authors
"""A tool, not a test: its tables go into docs/benchmarks.md.

Work: decode a JPEG from memory, cut SwAV's crops (2 of 224 and 4 of 96 pixels; flip, jitter .8/.8/.8/.2 with p .8, grey .2,
blur .5 with sigma .1 to 2). seer does it twice: decoding in full, which is its default, and with data.jpeg_decode scaled,
which changes pixels a little. The peers decode in full; they end in float tensors, normalised; we in bytes, which the first kernel on the
device normalises. Pillow's pipeline is torchvision's own; OpenCV's has the fastest calls there are for each operation,
8-bit tables for brightness and contrast among them, and is not byte for byte torchvision's; ours is.

Each round times all three on one core, who goes first changing with the round, so that what disturbs the machine
disturbs all. Times are CPU time of the thread. Ratios are of medians of the rounds.
"""
import argparse
import glob
import io
import json
import math
import os
import platform
import random
import shlex
import statistics
import subprocess
import sys
import tempfile
import time

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"

try:
    import cv2
    import numpy as np
    import torch
    import torchvision
    import torchvision.transforms as T
    from PIL import Image, ImageFilter, features
except ImportError as error:
    print("skipped: needs Debian's python3-opencv, python3-torchvision and python3-pil:", error)
    sys.exit(77)

SOURCES = {"500x375": (500, 375), "1080x1080": (1080, 1080)}
PHOTOS = ("/usr/share/backgrounds/**/*.jp*g", "/usr/share/wallpapers/**/*.jp*g")
QUALITY = 90
CROPS = ((2, 224, 0.14, 1.0), (4, 96, 0.05, 0.14))
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class RandomBlur:
    def __call__(self, image):
        if random.random() >= 0.5:
            return image
        return image.filter(ImageFilter.GaussianBlur(radius=random.uniform(0.1, 2.0)))


class Pillow:
    """torchvision's transforms on Pillow images, as SwAV's own data loader has them."""

    name = f"torchvision {torchvision.__version__} + Pillow {Image.__version__}"

    def __init__(self):
        color = [T.RandomApply([T.ColorJitter(0.8, 0.8, 0.8, 0.2)], p=0.8), T.RandomGrayscale(p=0.2), RandomBlur()]
        self.transforms = []
        for count, size, low, high in CROPS:
            crop = [T.RandomResizedCrop(size, scale=(low, high)), T.RandomHorizontalFlip()]
            self.transforms += [T.Compose(crop + color + [T.ToTensor(), T.Normalize(MEAN, DEVIATION)])] * count

    def decode(self, data):
        return Image.open(io.BytesIO(data)).convert("RGB")

    def load(self, data):
        image = self.decode(data)
        return [transform(image) for transform in self.transforms]


class OpenCV:
    """The same by cv2: areas averaged when shrinking, tables for what maps byte to byte."""

    name = f"OpenCV {cv2.__version__}"

    def __init__(self):
        self.mean = tuple(255 * m for m in MEAN) + (0.0,)
        self.scale = tuple(1 / (255 * d) for d in DEVIATION) + (0.0,)

    def decode(self, data):
        return cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)

    @staticmethod
    def resized_crop(image, size, low, high):
        height, width = image.shape[:2]
        for _ in range(10):
            area = random.uniform(low, high) * height * width
            ratio = math.exp(random.uniform(math.log(3 / 4), math.log(4 / 3)))
            w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < w <= width and 0 < h <= height:
                x, y = random.randint(0, width - w), random.randint(0, height - h)
                how = cv2.INTER_AREA if w > size else cv2.INTER_LINEAR
                return cv2.resize(image[y:y + h, x:x + w], (size, size), interpolation=how)
        return cv2.resize(image, (size, size))

    @staticmethod
    def gray(image):
        return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)

    def jitter(self, image):
        levels = np.arange(256)
        for operation in random.sample(range(4), 4):
            factor = random.uniform(0.2, 1.8)
            if operation == 0:
                image = cv2.LUT(image, np.clip(levels * factor, 0, 255).astype(np.uint8))
            elif operation == 1:
                mean = cv2.mean(self.gray(image))[0]
                image = cv2.LUT(image, np.clip(levels * factor + mean * (1 - factor), 0, 255).astype(np.uint8))
            elif operation == 2:
                gray = cv2.cvtColor(self.gray(image), cv2.COLOR_GRAY2RGB)
                image = cv2.addWeighted(image, factor, gray, 1 - factor, 0)
            else:
                hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
                turned = ((levels + random.uniform(-0.2, 0.2) * 180) % 180).astype(np.uint8)
                hsv[..., 0] = cv2.LUT(hsv[..., 0], turned)
                image = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
        return image

    def crop(self, image, size, low, high):
        image = self.resized_crop(image, size, low, high)
        if random.random() < 0.5:
            image = cv2.flip(image, 1)
        if random.random() < 0.8:
            image = self.jitter(image)
        if random.random() < 0.2:
            image = cv2.cvtColor(self.gray(image), cv2.COLOR_GRAY2RGB)
        if random.random() < 0.5:
            image = cv2.GaussianBlur(image, (0, 0), random.uniform(0.1, 2.0))
        return cv2.multiply(cv2.subtract(image.astype(np.float32), self.mean), self.scale)

    def load(self, data):
        image = self.decode(data)
        return [self.crop(image, size, low, high) for count, size, low, high in CROPS for _ in range(count)]


class Peer:
    def __init__(self, library):
        self.library, self.name = library, library.name

    def rate(self, function, images, seconds):
        count, start = 0, time.thread_time()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for data in images:
                function(data)
            count += len(images)
        return count / (time.thread_time() - start)

    def measure(self, folder, seconds):
        images = []
        for path in sorted(glob.glob(os.path.join(folder, "*.jpg"))):
            with open(path, "rb") as file:
                images.append(file.read())
        return {"decode": self.rate(self.library.decode, images, seconds / 3),
                "crops": self.rate(self.library.load, images, seconds)}


class Seer:
    def __init__(self, name, program, config):
        self.name, self.program, self.config = name, program, config

    def measure(self, folder, seconds):
        command = [self.program, "bench", "loader", "--seconds", str(seconds), "-o", "json", "--config", self.config,
                   "--images", *sorted(glob.glob(os.path.join(folder, "*.jpg")))]
        self.last = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        return {"decode": self.last["decode_only_images_per_second_per_core"],
                "crops": self.last["images_per_second_per_core"]}


def photographs():
    paths = sorted(path for pattern in PHOTOS for path in glob.glob(pattern, recursive=True))
    return [path for path in paths if os.path.getsize(path) > 100_000]


def drawn(number, size=2048):
    """Shapes on gradients with grain: as hard on a decoder as a photograph."""
    numbers = np.random.default_rng(number)
    y, x = np.mgrid[0:size, 0:size] / size
    image = np.zeros((size, size, 3))
    for _ in range(40):
        cx, cy, radius, edge = *numbers.uniform(0, 1, 2), numbers.uniform(0.05, 0.4), numbers.uniform(5, 200)
        inside = 1 / (1 + np.exp(np.clip(edge * (np.hypot(x - cx, y - cy) - radius), -50, 50)))
        texture = 1 + 0.3 * np.sin(numbers.uniform(20, 300) * x + numbers.uniform(20, 300) * y)
        image += (inside * texture)[..., None] * (numbers.uniform(0, 255, 3) - image)
    return Image.fromarray((image + numbers.normal(0, 6, image.shape)).clip(0, 255).astype(np.uint8))


def make_images(folder, size, count):
    """Middles of photographs, or drawings where none are installed; returns a word on what they are."""
    photos = photographs()
    pieces = max(1, -(-count // max(1, len(photos))))
    os.mkdir(folder)
    for i in range(count):
        image = Image.open(photos[i % len(photos)]).convert("RGB") if photos else drawn(i)
        side = min(image.width / size[0], image.height / size[1]) * (1 - 0.3 * (i // max(1, len(photos))) / pieces)
        width, height = int(side * size[0]), int(side * size[1])
        x, y = (image.width - width) // 2, (image.height - height) // 2
        image = image.resize(size, Image.LANCZOS, box=(x, y, x + width, y + height))
        image.save(os.path.join(folder, f"{i:03}.jpg"), quality=QUALITY, subsampling=2)
    kind = f"photographs of Debian's packages of backgrounds ({len(photos)} files)" if photos else "drawings with grain"
    total = sum(os.path.getsize(path) for path in glob.glob(os.path.join(folder, "*.jpg")))
    return f"{count} JPEGs of {total // count // 1000} KB, quality {QUALITY}, 4:2:0, of {kind}"


def processor():
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))


def show(what, note, contestants, rounds):
    medians = {one.name: {key: statistics.median(measured[key] for measured in rounds[one.name]) for key in ("decode", "crops")}
               for one in contestants}
    ours = [medians[one.name]["crops"] for one in contestants if isinstance(one, Seer)]
    print(f"\n{what}: {note}.\n")
    print("| loader | decode only, images/s | with six crops, median | min to max | of decode only "
          "| seer is so many times faster: full, scaled |")
    print("|---|---|---|---|---|---|")
    for one in contestants:
        values, median = [measured["crops"] for measured in rounds[one.name]], medians[one.name]
        ratios = ", ".join(f"{mine / median['crops']:.1f}" for mine in ours)
        print(f"| {one.name} | {median['decode']:.0f} | {median['crops']:.0f} | {min(values):.0f} to {max(values):.0f} | "
              f"{median['crops'] / median['decode']:.2f} | {ratios} |")
    for one in contestants:
        if isinstance(one, Seer):
            stages = ", ".join(f"{key} {value:.0f}" for key, value in one.last["stage_us_per_image"].items())
            print(f"\n{one.name}, last round, µs per image: {stages}.")


def seers(program, scratch):
    for name, mode in (("seer", "full"), ("seer, scaled", "scaled")):
        config = os.path.join(scratch, mode + ".yaml")
        with open(config, "w", encoding="utf-8") as file:
            file.write(f"data:\n  jpeg_decode: {mode}\ncrops:\n")
            for count, size, low, high in CROPS:
                file.write(f"  - {{count: {count}, size: {size}, scale_min: {low}, scale_max: {high}}}\n")
        yield Seer(name, program, config)


def main():
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seer", default=os.path.join(source, "build", "release", "bin", "seer"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3, help="of each loader in a round")
    parser.add_argument("--images", type=int, default=48)
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})

    print(f"{time.strftime('%Y-%m-%d')}, {processor()}, {os.cpu_count()} CPUs, core {core} alone, load "
          f"{os.getloadavg()[0]:.1f} at the start; Python {platform.python_version()}, torch {torch.__version__}, "
          f"Pillow with libjpeg-turbo: {features.check_feature('libjpeg_turbo')}.\n")
    print("    " + shlex.join(["python3", "tests/bench/loader_beside_peers.py", "--rounds", str(options.rounds), "--seconds",
                               f"{options.seconds:g}", "--images", str(options.images)]))
    with tempfile.TemporaryDirectory() as scratch:
        contestants = [*seers(options.seer, scratch), Peer(Pillow()), Peer(OpenCV())]
        for what, size in SOURCES.items():
            folder = os.path.join(scratch, what)
            note = make_images(folder, size, options.images)
            rounds = {one.name: [] for one in contestants}
            for number in range(options.rounds):
                for one in contestants if number % 2 == 0 else contestants[::-1]:
                    rounds[one.name].append(one.measure(folder, options.seconds))
                    print(f"{what}, round {number + 1}, {one.name}: {rounds[one.name][-1]['crops']:.0f} images/s",
                          file=sys.stderr)
            show(what, note, contestants, rounds)


if __name__ == "__main__":
    main()
